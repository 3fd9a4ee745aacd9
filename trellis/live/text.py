"""How texts, lengths of time and states look on a terminal."""

from collections.abc import Sequence
from typing import Final

STATE_STYLES: Final = {
    "ready": "green", "available": "green", "fulfilled": "green", "in-use": "cyan",
    "building": "yellow", "pending": "yellow", "requested": "yellow", "starting": "yellow",
    "hold": "magenta", "paused": "magenta", "draining": "magenta", "failed": "red",
    "aborted": "red", "lost": "red", "unavailable": "red", "used": "blue", "deleting": "blue",
    "ok": "green", "warn": "yellow", "fail": "red", "serving": "green", "promoted": "green",
    "built": "green", "canary": "yellow", "uploading": "yellow", "pinned": "magenta",
    "withdrawn": "red", "missing": "red",
}  # fmt: skip
"""Rich's styles, by the state of a node, request or provider, or by a verdict."""


def printable(text: str) -> str:
    """The text without what would steer the terminal; clouds and requestors wrote parts of it."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else f"\\x{ord(char):02x}" for char in text
    )


def one_line(text: str) -> str:
    """The same, on one line."""
    return printable(" ".join(text.split()))


def duration(seconds: float) -> str:
    """A length of time, short: ``42s``, ``7m``, ``3h 5m``, ``12d``."""
    whole = max(0, int(seconds))
    if whole < 100:
        return f"{whole}s"
    if whole < 100 * 60:
        return f"{whole // 60}m"
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}h {minutes}m" if hours < 48 else f"{hours // 24}d"


def soon(seconds: float) -> str:
    """A length of time that is foretold: nothing is ready in no time."""
    return duration(max(1, round(seconds)))


def summed(names: Sequence[str]) -> str:
    """Names, each once with how often it stands there: ``debian-12 x2 fedora-40``."""
    counted = {name: names.count(name) for name in dict.fromkeys(names)}
    return " ".join(f"{name} x{n}" if n > 1 else name for name, n in counted.items())
