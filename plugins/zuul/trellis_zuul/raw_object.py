"""A JSON object whose members are kept as they were written.

Zuul's documents hold 128-bit integers, and floats whose last digit matters to whoever wrote them.
So what is not ours is never decoded and encoded again: its very characters are written back.

Most documents are read often and written back never: where each member begins and ends is looked
for only when one is.
"""

import json
import re
from collections.abc import Iterator, Mapping
from json.decoder import JSONDecoder
from typing import Any, Final, NoReturn

import attrs

MOST_BYTES: Final = 1_000_000
"""ZooKeeper takes no more than 1 MiB in one znode."""

_OPEN: Final = re.compile(r"[ \t\n\r]*\{[ \t\n\r]*")
_CLOSE: Final = re.compile(r"[ \t\n\r]*\}[ \t\n\r]*")
_COMMA: Final = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
_COLON: Final = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")


class NotAnObjectError(ValueError):
    """It is no JSON object; the text says why."""


def _no_constant(name: str) -> NoReturn:
    raise NotAnObjectError(f"it has {name}, which is no JSON")


_DECODER: Final = JSONDecoder(parse_constant=_no_constant)


@attrs.frozen
class RawObject(Mapping[str, Any]):
    """A JSON object: what its members mean, and how each was written.

    Attributes:
        values_by_key: decoded.
        text: the whole document.
    """

    values_by_key: Mapping[str, Any]
    text: str

    def __getitem__(self, key: str) -> Any:
        return self.values_by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_key)

    def __len__(self) -> int:
        return len(self.values_by_key)

    def encoded(self, changes: Mapping[str, Any]) -> bytes:
        """The object with other values for some keys; all others as they were written."""
        written = _members(self.text)
        for key, value in changes.items():
            written[key] = json.dumps(value, allow_nan=False)
        members = (f"{json.dumps(key)}: {text}" for key, text in written.items())
        return ("{" + ", ".join(members) + "}").encode()


def read_object(data: bytes) -> RawObject:
    """Read a JSON object.

    Raises:
        NotAnObjectError: it is none, or one that cannot be written back as it was.
    """
    if len(data) > MOST_BYTES:
        raise NotAnObjectError(f"it has {len(data)} bytes, {MOST_BYTES} is the most")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise NotAnObjectError(f"it is not UTF-8 at byte {error.start}") from error
    if _OPEN.match(text) is None:
        raise NotAnObjectError("it is not a JSON object" if text.strip() else "it is empty")
    try:
        return RawObject(_DECODER.decode(text), text)
    except NotAnObjectError:
        raise
    except RecursionError as error:
        raise NotAnObjectError("it is nested too deeply") from error
    except ValueError as error:  # also an integer of more digits than Python takes
        raise NotAnObjectError(f"it is not JSON: {error}") from error


def _members(text: str) -> dict[str, str]:
    """By key, the characters of its value, in the order of the document, which was read before."""
    opened = _OPEN.match(text)
    assert opened is not None
    written: dict[str, str] = {}
    decode = _DECODER.raw_decode
    at = opened.end()
    while _CLOSE.match(text, at) is None:
        if written:
            at = _after(_COMMA, text, at)
        key, at = decode(text, at)
        start = _after(_COLON, text, at)
        _value, at = decode(text, start)
        written[key] = text[start:at]
    return written


def _after(mark: re.Pattern[str], text: str, at: int) -> int:
    found = mark.match(text, at)
    assert found is not None
    return found.end()
