"""``%(NODEPOOL_X)`` in a text, replaced from the environment before it is read as YAML.

Nodepool replaces in the text (`nodepool/config.py: substitute_env_vars`), so that what a variable
holds may be any YAML. What is found there later stands at other places than in the file: `Text`
knows the way back.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

import attrs

from trellis.config.document import Fault, Mark

_PLACEHOLDER: Final = re.compile(r"%\((NODEPOOL_[^)\s]*)\)")
_BREAK: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_LEAST_MASKED: Final = 4
"""A shorter value is in too many words to be masked, and is no secret."""


@attrs.frozen
class _Piece:
    """A variable's value in the new text, and its placeholder in the old one; in characters."""

    start: int
    end: int
    old_start: int
    old_end: int


@attrs.frozen(kw_only=True)
class Text:
    """A text with its variables replaced.

    Attributes:
        text: as it is read.
        faults: variables that are not set, where the file names them.
    """

    text: str
    faults: tuple[Fault, ...] = ()
    _original: str = ""
    _pieces: tuple[_Piece, ...] = ()
    _values: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    def in_file(self, mark: Mark) -> Mark:
        """Where in the file something stands that was found in the text."""
        if not self._pieces:
            return mark
        lines = _line_starts(self.text)
        at = lines[min(mark.line, len(lines) - 1)] + mark.column
        moved = at
        for piece in self._pieces:
            if at < piece.start:
                break
            # All of a value stands where its placeholder does.
            inside = at < piece.end
            moved = piece.old_start if inside else at - piece.end + piece.old_end
        return _mark(self._original, moved)

    def masked(self, message: str) -> str:
        """A message without the values of variables, which may be secrets: their names instead."""
        for name, value in sorted(self._values.items(), key=lambda item: -len(item[1])):
            if len(value) >= _LEAST_MASKED:
                message = message.replace(value, f"%({name})")
        return message


def substitute(text: str, environment: Mapping[str, str]) -> Text:
    """Replace the variables of *text* whose names begin with ``NODEPOOL_``.

    One that is named in a comment only need not be set.

    Args:
        environment: names and values; others than ``NODEPOOL_`` are not looked at.
    """
    parts: list[str] = []
    pieces: list[_Piece] = []
    faults: list[Fault] = []
    values: dict[str, str] = {}
    done = length = 0
    for found in _PLACEHOLDER.finditer(text):
        name = found[1]
        value = environment.get(name)
        if value is None:
            if not _in_comment(text, found.start()):
                message = f"the environment variable {name[:100]} is not set: set it, as Nodepool's"
                faults.append(Fault(_mark(text, found.start()), (), f"{message} service has it"))
            continue
        values[name] = value
        parts += [text[done : found.start()], value]
        start = length + found.start() - done
        length = start + len(value)
        pieces.append(_Piece(start, length, *found.span()))
        done = found.end()
    return Text(
        text="".join((*parts, text[done:])),
        faults=tuple(faults),
        original=text,
        pieces=tuple(pieces),
        values=values,
    )


def _in_comment(text: str, at: int) -> bool:
    before = text[text.rfind("\n", 0, at) + 1 : at]
    comment = re.search(r"(^|\s)#", before)
    return comment is not None and not re.search(r"['\"]", before[: comment.start()])


def _line_starts(text: str) -> list[int]:
    return [0, *(found.end() for found in _BREAK.finditer(text))]


def _mark(text: str, at: int) -> Mark:
    lines = _line_starts(text)
    line = bisect_right(lines, at) - 1
    return Mark(line, at - lines[line])
