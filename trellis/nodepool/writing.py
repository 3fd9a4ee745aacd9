"""YAML with comments: a document that is put together key by key, and written."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import yaml

_WIDTH: Final = 96
_STEP: Final = 2
_SHORT: Final = 80
_SHOWN: Final = 200


@attrs.define
class Block:
    """A mapping, in order, with comments between its keys.

    Its values are texts, numbers, booleans, lists and mappings of these, other blocks, and lists
    of blocks.
    """

    _parts: list["_Entry | _Comment"] = attrs.field(factory=list)

    def __setitem__(self, key: str, value: Any) -> None:
        """Add a key; each is added once."""
        self._parts.append(_Entry(key, value))

    def say(self, text: str) -> None:
        """Add a comment where the next key will stand."""
        self._parts.append(_Comment(text))

    def space(self) -> None:
        """Leave a line empty before the next key."""
        self._parts.append(_Comment(""))

    def render(self) -> str:
        """The whole as YAML."""
        return "".join(f"{line}\n" for line in self._lines(0))

    def _lines(self, indent: int) -> Iterator[str]:
        blank, blank_before = " " * indent, False
        for part in self._parts:
            if isinstance(part, _Comment):
                if part.text or not blank_before:
                    yield from part.lines(indent)
                blank_before = not part.text
                continue
            blank_before = False
            key = _flow(part.key)
            match part.value:
                case Block() as block:
                    yield f"{blank}{key}:"
                    yield from block._lines(indent + _STEP)
                case [Block(), *_] as blocks:
                    yield f"{blank}{key}:"
                    for block in blocks:
                        yield from block._item(indent + _STEP)
                case value:
                    yield from _plain(key, value, blank)

    def _item(self, indent: int) -> Iterator[str]:
        """Its lines as an item of a list: the first key behind the dash."""
        lines = self._lines(indent + _STEP)
        first = next(lines)
        yield " " * indent + "- " + first[indent + _STEP :]
        yield from lines


@attrs.frozen
class _Entry:
    key: str
    value: Any


@attrs.frozen
class _Comment:
    text: str

    def lines(self, indent: int) -> Iterator[str]:
        if not self.text:
            yield ""
            return
        blank = " " * indent
        wrapped = textwrap.wrap(
            printed(self.text),
            max(40, _WIDTH - indent - 2),
            break_long_words=False,
            break_on_hyphens=False,
        )
        yield from (f"{blank}# {line}" for line in wrapped)


def printed(text: str) -> str:
    """A text without line breaks and characters that are not printed: they are escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shown_key(key: str, value: Any) -> str:
    """A key of Nodepool's with its value, on one line, as a comment shows it."""
    text = _flow({key: value})[1:-1]
    text = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return printed(text)


def _plain(key: str, value: Any, blank: str) -> Iterator[str]:
    """The lines of a key whose value has no blocks in it."""
    inner = blank + " " * _STEP
    if isinstance(value, str) and _can_be_lines(value):
        lines = value.removesuffix("\n").split("\n")
        yield f"{blank}{key}: |" + ("" if value.endswith("\n") else "-")
        yield from (f"{inner}{line}" if line else "" for line in lines)
    elif isinstance(value, Mapping) and _wants_lines(value):
        yield f"{blank}{key}:"
        for one, text in value.items():
            yield from _plain(_flow(one), text, inner)
    elif isinstance(value, list | tuple) and len(_flow(value)) > _SHORT:
        yield f"{blank}{key}:"
        yield from (f"{inner}- {_flow(item)}" for item in value)
    else:
        yield f"{blank}{key}: {_flow(value)}"


def _can_be_lines(value: str) -> bool:
    """Whether a text can stand as lines below its key, and comes out the same."""
    lines = value.removesuffix("\n").split("\n")
    return (
        "\n" in value
        and all(line.isprintable() for line in lines)
        # YAML takes the first line's indentation away, and more than one break at the end.
        and bool(lines[0].strip())
        and lines[0][0] != " "
        and bool(lines[-1].strip())
        and not any(line and not line.strip() for line in lines)
        and "\ufeff" not in value
    )


def _wants_lines(value: Mapping[str, Any]) -> bool:
    # A key that begins a line can have 1024 characters at most.
    return len(_flow(value)) > _SHORT and all(len(_flow(key)) < 200 for key in value)


class _OneLine(yaml.SafeDumper):
    """Writes everything on one line: what is not printable is escaped."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Write what is there twice twice."""
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_OneLine.add_representer(str, _text_node)


def _flow(value: Any) -> str:
    """A value on one line."""
    text: str = yaml.dump(
        [_thawed(value)],
        Dumper=_OneLine,
        default_flow_style=True,
        width=float("inf"),
        allow_unicode=True,
        sort_keys=False,
    )
    return text.removesuffix("\n")[1:-1]


def _thawed(value: Any) -> Any:
    """Tuples and mappings as the plain lists and dicts that YAML has."""
    if isinstance(value, Mapping):
        return {key: _thawed(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_thawed(item) for item in value]
    return value
