"""What the documents show: command lines, and the files beside them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_SHELL = {"sh", "console"}
_ASSIGNMENT = re.compile(r"[A-Z_]+=")


@attrs.frozen
class Block:
    """Lines that a page sets apart.

    Attributes:
        line: of the page, where it begins, from 1.
        kind: of its fence; "indented" without one.
    """

    line: int
    kind: str
    text: str


@attrs.frozen
class Command:
    """A line that a reader types, without its comment."""

    where: str
    line: str


def blocks(text: str) -> Iterator[Block]:
    """All blocks of a page, in their order."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        begin = at
        if fence := re.match(r"```(\w*)$", lines[at]):
            at += 1
            while lines[at] != "```":
                at += 1
            yield Block(begin + 2, fence[1], "\n".join(lines[begin + 1 : at]) + "\n")
            at += 1
        elif lines[at].startswith("    "):
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            inner = [line[4:] for line in lines[begin:at]]
            yield Block(begin + 1, "indented", "\n".join(inner).rstrip() + "\n")
        else:
            at += 1


def commands(page: Path) -> Iterator[Command]:
    """The command lines of a page, in their order."""
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.kind in _SHELL or (block.kind == "indented" and is_command(block.text)):
            for number, line in enumerate(block.text.splitlines(), block.line):
                if words := shlex.join(shlex.split(line.removeprefix("$ "), comments=True)):
                    shown = line.removeprefix("$ ")
                    bare = shown if "#" not in shown else re.sub(r"\s+#.*$", "", shown)
                    yield Command(f"{page.relative_to(ROOT)}:{number}", bare.strip() or words)


def others(page: Path) -> Iterator[Block]:
    """The indented blocks of a page that are no commands."""
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.kind == "indented" and not is_command(block.text):
            yield block


def is_command(text: str) -> bool:
    """Whether the first line is for a shell."""
    return program(text.splitlines()[0]) != ""


def program(line: str) -> str:
    """What a line runs: a program of ours, or one that every reader has; "" if nothing."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return ""
    while words and (_ASSIGNMENT.match(words[0]) or words[0] == "env"):
        words = words[1:]
    first = words[0] if words else ""
    if first in {"trellis", "make", "sudo", "export", "curl"}:
        return first
    return first if "/" in first and not first.startswith("/") else ""


def file_of(page: Path, key: str) -> str:
    """The one YAML file that a page shows which has this key at its top."""
    found = [
        block.text
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.kind in {"yaml", "indented"} and re.match(rf"{key}:", block.text)
    ]
    (text,) = found
    return text
