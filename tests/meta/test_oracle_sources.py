"""The oracle judges by what clouds and requestors wrote down, and can see nothing of the daemon."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
THE_DAEMON = (
    "trellis.accounts",
    "trellis.control",
    "trellis.daemon",
    "trellis.http",
    "trellis.providers",
    "trellis.scheduler",
    "trellis.store",
    "trellis.world",
)
# Scenarios name troubles of the host, and the disk on which those are played is a log.
THE_PLAYED_DISK = {"trellis.store.log", "trellis.store.simulated"}


def imported(module: str) -> set[str]:
    """The modules of Trellis that this one imports when it is loaded."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = set[str]()
    for statement in ast.parse(file.read_text()).body:
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("trellis"):
            found.add(statement.module or "")
            inner = [f"{statement.module}.{alias.name}" for alias in statement.names]
            found.update(x for x in inner if is_module(x))
        elif isinstance(statement, ast.Import):
            found.update(x.name for x in statement.names if x.name.startswith("trellis"))
    return found


def is_module(name: str) -> bool:
    """Whether there is a module or package of this name."""
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_the_oracle_reaches_no_part_of_the_daemon():
    """Neither it nor anything it imports, however far, is a part of what it judges."""
    reached, to_look_at = set[str](), ["trellis.sim.oracle"]
    while to_look_at:
        module = to_look_at.pop()
        if module not in reached:
            reached.add(module)
            to_look_at += imported(module)

    assert {"trellis.sim.cloud.ledger", "trellis.sim.transcript"} <= reached
    assert [x for x in sorted(reached - THE_PLAYED_DISK) if x.startswith(THE_DAEMON)] == []
