"""From a marked tree to frozen attrs values, by the types of their fields, all faults at once."""

import difflib
import enum
import types
import typing
from collections.abc import Callable, Iterable
from collections.abc import Mapping as AbstractMapping
from pathlib import Path as FilePath
from typing import Any, Final, Literal, get_args, get_origin

import attrs

from trellis.config.document import Fault, Mapping, Path, Scalar, Sequence, Tree
from trellis.config.durations import read_duration
from trellis.config.kinds import describe, field_types, key_of, looks_secret
from trellis.spi.config import Seconds

MOST_HINTS: Final = 100
"""Looking for near matches stops after so many faults: nobody reads them, and it takes time."""

_TOO_LARGE: Final = 2**63

INVALID: Final = object()
"""Stands for a value whose faults have been noted."""

_NODEPOOL: Final = {
    "driver": "type",
    "diskimages": "images",
    "diskimage": "image",
    "zookeeper-servers": "store",
    "webapp": "web",
}


def near(word: str, known: Iterable[str]) -> str:
    """A hint in words to what *word* may have meant, or ""."""
    matches = difflib.get_close_matches(word[:100], list(known), 1)
    return f", did you mean {matches[0]!r}?" if matches else ""


def shown(text: str) -> str:
    """A text from the file as a message may show it: quoted, and not too long."""
    return repr(text if len(text) <= 60 else text[:60] + "…")


@attrs.define
class Structurer:
    """Builds values and notes faults.

    Attributes:
        folder: what relative `pathlib.Path` values are relative to.
        variants: classes that stand for several: given the mapping, which one is meant; None
            if that cannot be said, when the function has noted the fault.
        faults: what was found so far.
    """

    folder: FilePath
    variants: AbstractMapping[type, Callable[[Mapping, Path], type | None]] = attrs.field(
        factory=dict
    )
    faults: list[Fault] = attrs.field(factory=list)

    def value(self, tree: Tree, kind: Any, path: Path, *, secret: bool = False) -> Any:
        """Build a value of the type *kind*; `INVALID` if there are faults, which are noted.

        Args:
            secret: messages must not show the value.
        """
        if kind is Seconds:
            return self._scalar(tree, path, secret, "a duration", read_duration)
        if kind is Any or kind is object:
            return plain(tree)
        if kind is str:
            return self._text(tree, path, secret)
        if kind in (bool, int, float):
            return self._number(tree, kind, path, secret)
        origin = get_origin(kind)
        if origin in (typing.Union, types.UnionType):
            return self._union(tree, get_args(kind), path, secret)
        if origin is Literal:
            return self._choice(tree, {x: x for x in get_args(kind)}, path, secret)
        if origin is tuple:
            return self._tuple(tree, get_args(kind)[0], path, secret)
        if origin in (AbstractMapping, dict):
            return self._mapping(tree, get_args(kind)[1], path, secret)
        if attrs.has(kind) and not hasattr(kind, "from_text"):
            return self.instance(tree, kind, path)
        if issubclass(kind, enum.Enum):
            return self._choice(tree, {x.value: x for x in kind}, path, secret)
        text = self._text(tree, path, secret)
        if text is INVALID:
            return INVALID
        if issubclass(kind, FilePath):
            return self.folder / FilePath(text).expanduser()
        return self._scalar(tree, path, secret, "text", kind.from_text)

    def instance(self, tree: Tree, cls: type, path: Path) -> Any:
        """Build a configuration class from a mapping."""
        if not isinstance(tree, Mapping):
            return self._wrong(tree, path, "a mapping", False)
        if cls in self.variants:
            chosen = self.variants[cls](tree, path)
            if chosen is None:
                return INVALID
            cls = chosen
        fields = {key_of(f): f for f in attrs.fields(cls) if f.init}
        values = {}
        for key, entry in tree.entries.items():
            if key not in fields:
                self._unknown(key, entry.mark, fields, path)
                continue
            field = fields[key]
            secret = not field.repr or looks_secret(key)
            kind = field_types(cls)[field.name]
            value = self.value(entry.value, kind, (*path, key), secret=secret)
            if value is not INVALID:
                value = self._checked(field, value, entry.value, (*path, key), secret)
            values[field.alias or field.name] = value
        for key, field in fields.items():
            if key not in tree.entries and field.default is attrs.NOTHING:
                self._fault(tree, path, f"required key {key!r} is missing")
                values[field.name] = INVALID
        if any(value is INVALID for value in values.values()):
            return INVALID
        try:
            return cls(**values)
        except (ValueError, TypeError) as error:
            return self._fault(tree, path, _reason(error))

    def _checked(
        self, field: "attrs.Attribute[Any]", value: Any, tree: Tree, path: Path, secret: bool
    ) -> Any:
        if field.validator is None:
            return value
        # Run one by one, so that the fault has the place of its key. A validator that looks at
        # other fields finds none here and has its say when the whole is made.
        try:
            field.validator(object(), field, value)
        except AttributeError:
            return value
        except (ValueError, TypeError) as error:
            return self._fault(tree, path, "not allowed" if secret else _reason(error))
        return value

    def _text(self, tree: Tree, path: Path, secret: bool) -> Any:
        if not isinstance(tree, Scalar) or tree.value is None:
            return self._wrong(tree, path, "text", secret)
        if not isinstance(tree.value, str):
            if secret:
                return self._fault(tree, path, "expected text, got something else; quote it")
            kind = "a boolean" if isinstance(tree.value, bool) else "a number"
            return self._fault(
                tree, path, f'expected text, got {kind}; quote it: "{tree.text[:60]}"'
            )
        return tree.value

    def _number(self, tree: Tree, kind: type, path: Path, secret: bool) -> Any:
        expected = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        if not isinstance(tree, Scalar):
            return self._wrong(tree, path, expected, secret)
        value = tree.value
        if type(value) is int and abs(value) >= _TOO_LARGE and kind is not bool:
            # Beyond what can be compared, computed with, or written in a message.
            return self._fault(tree, path, f"too large a number: {shown(tree.text)}")
        if type(value) is kind:
            return value
        if kind is float and type(value) is int and abs(value) < 2**53:
            return float(value)
        return self._wrong(tree, path, expected, secret)

    def _scalar(
        self, tree: Tree, path: Path, secret: bool, expected: str, read: Callable[[Any], Any]
    ) -> Any:
        if not isinstance(tree, Scalar) or tree.value is None:
            return self._wrong(tree, path, expected, secret)
        try:
            return read(tree.value)
        except ValueError as error:
            return self._fault(tree, path, f"not {expected}" if secret else _reason(error))

    def _choice(
        self, tree: Tree, options: AbstractMapping[Any, Any], path: Path, secret: bool
    ) -> Any:
        value = tree.value if isinstance(tree, Scalar) else None
        for option, meant in options.items():
            if type(option) is type(value) and option == value:
                return meant
        names = [str(option) for option in options]
        hint = near(value, names) if isinstance(value, str) and not secret else ""
        return self._wrong(tree, path, f"one of {', '.join(names)}", secret, hint)

    def _union(self, tree: Tree, kinds: tuple[Any, ...], path: Path, secret: bool) -> Any:
        if isinstance(tree, Scalar) and tree.value is None and type(None) in kinds:
            return None
        kinds = tuple(kind for kind in kinds if kind is not type(None))
        for kind in kinds:
            if len(kinds) == 1 or _suits(tree, kind):
                return self.value(tree, kind, path, secret=secret)
        expected = " or ".join(describe(kind) for kind in kinds)
        return self._wrong(tree, path, expected, secret)

    def _tuple(self, tree: Tree, kind: Any, path: Path, secret: bool) -> Any:
        if not isinstance(tree, Sequence):
            return self._wrong(tree, path, "a list", secret)
        items = [
            self.value(item, kind, (*path, i), secret=secret) for i, item in enumerate(tree.items)
        ]
        return INVALID if any(item is INVALID for item in items) else tuple(items)

    def _mapping(self, tree: Tree, kind: Any, path: Path, secret: bool) -> Any:
        if not isinstance(tree, Mapping):
            return self._wrong(tree, path, "a mapping", secret)
        values = {
            key: self.value(
                entry.value, kind, (*path, key),
                secret=secret or looks_secret(key),
            )
            for key, entry in tree.entries.items()
        }  # fmt: skip
        return INVALID if any(value is INVALID for value in values.values()) else values

    def _unknown(self, key: str, mark: Any, fields: Iterable[str], path: Path) -> None:
        known = list(fields)
        renamed = _NODEPOOL.get(key)
        if renamed in known:
            hint = f", it is called {renamed!r} here"
        else:
            hint = near(key, known) if len(self.faults) < MOST_HINTS else ""
        self.faults.append(Fault(mark, (*path, key[:60]), f"unknown key{hint}"))

    def _wrong(self, tree: Tree, path: Path, expected: str, secret: bool, hint: str = "") -> Any:
        match tree:
            case Scalar(value=None):
                got = "nothing"
            case Scalar():
                got = "something else" if secret else shown(tree.text)
            case Sequence():
                got = "a list"
            case _:
                got = "a mapping"
        return self._fault(tree, path, f"expected {expected}, got {got}{hint}")

    def _fault(self, tree: Tree, path: Path, message: str) -> Any:
        self.faults.append(Fault(tree.mark, path, message))
        return INVALID


def plain(tree: Tree) -> Any:
    """The tree as plain lists, dicts and scalars."""
    match tree:
        case Scalar():
            return tree.value
        case Sequence():
            return [plain(item) for item in tree.items]
        case _:
            return {key: plain(entry.value) for key, entry in tree.entries.items()}


def _suits(tree: Tree, kind: Any) -> bool:
    """Whether a value of this form can be meant for this member of a union."""
    origin = get_origin(kind)
    from_text = hasattr(kind, "from_text")
    if isinstance(tree, Mapping):
        return origin in (AbstractMapping, dict) or (attrs.has(kind) and not from_text)
    if isinstance(tree, Sequence):
        return origin is tuple
    value = tree.value
    if kind in (str, int, bool):
        return type(value) is kind
    if kind is float:
        return type(value) in (int, float)
    if kind is Seconds:
        return type(value) in (int, float, str)
    if origin is Literal:
        return value in get_args(kind)
    return isinstance(value, str) and origin is None and (from_text or not attrs.has(kind))


def _reason(error: Exception) -> str:
    """The text of a validator's error; attrs' own put the field and the value behind it."""
    return str(error.args[0]) if error.args else type(error).__name__
