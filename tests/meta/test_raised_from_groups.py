"""Nothing is raised in an ``except*``: Python before 3.11.4 wraps it in a group of its own.

So `raise SystemExit(1)` there ends a command by a traceback, with Debian 12's Python.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path.relative_to(ROOT)
    for folder in ("trellis", "plugins", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if "except*" in path.read_text(encoding="utf-8")
)


def raised_in_except_star(source: str) -> list[int]:
    """The lines of what is raised there; a bare ``raise`` hands on the group that there was."""
    return [
        inner.lineno
        for outer in ast.walk(ast.parse(source))
        if isinstance(outer, ast.TryStar)
        for handler in outer.handlers
        for inner in ast.walk(handler)
        if isinstance(inner, ast.Raise) and inner.exc is not None
    ]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_nothing_is_raised_in_an_except_star(path):
    found = raised_in_except_star((ROOT / path).read_text(encoding="utf-8"))

    assert [] == [f"{path}:{line}: raise it after the block" for line in found]


def test_it_would_be_found():
    """The rule above sees what it is about, and nothing else."""
    source = "try: f()\nexcept* ValueError:\n  raise{}\n"

    assert [3] == raised_in_except_star(source.format(" SystemExit(1) from None"))
    assert [] == raised_in_except_star(source.format(""))
