"""The types that fields of configuration classes may have, and what they are called."""

import enum
import inspect
import types
import typing
from collections.abc import Mapping as AbstractMapping
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import attrs

from trellis.spi.config import Seconds

_NAMES: Final[dict[Any, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Seconds: "duration",
    Any: "anything",
    object: "anything",
    Path: "path",
}


_SECRET_WORDS: Final = ("password", "passwd", "secret", "token", "credential", "private-key")


def looks_secret(key: str) -> bool:
    """Whether a key sounds as if its value must not be shown, whatever its field says."""
    key = key.lower().replace("_", "-")
    return any(word in key for word in _SECRET_WORDS)


def key_of(field: "attrs.Attribute[Any]") -> str:
    """The key of a field in the file: its name with dashes."""
    return field.name.replace("_", "-")


@cache
def field_types(cls: type[Any]) -> dict[str, Any]:
    """The resolved types of a configuration class's fields."""
    return typing.get_type_hints(cls)


def describe(kind: Any) -> str:
    """A type in the words of the documentation and of messages."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(arg) for arg in args if arg is not type(None))
    if origin is Literal:
        return " or ".join(f"`{arg}`" for arg in args)
    if origin is tuple:
        return f"list of {describe(args[0])}"
    if origin in (AbstractMapping, dict):
        return f"mapping of text to {describe(args[1])}"
    if inspect.isclass(kind) and issubclass(kind, enum.Enum):
        return " or ".join(f"`{member.value}`" for member in kind)
    if kind in _NAMES:
        return _NAMES[kind]
    return "text" if hasattr(kind, "from_text") else "mapping"


def unusable_fields(cls: type, _within: tuple[type, ...] = ()) -> list[str]:
    """Say in words which fields of a configuration class have types that no file can give."""
    try:
        kinds = typing.get_type_hints(cls)
    except NameError as error:
        return [f"{cls.__name__}: {error}; types of fields must be imported at run time"]
    problems = []
    for field in attrs.fields(cls):
        if field.init and (bad := _unusable(kinds[field.name], (*_within, cls))):
            problems.append(f"{cls.__name__}.{field.name}: {bad}")
    return problems


def _unusable(kind: Any, within: tuple[type, ...]) -> str:
    if kind in (str, int, float, bool, Seconds, Any, object, type(None)):
        return ""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ""
    if origin is tuple:
        if len(args) != 2 or args[1] is not Ellipsis:
            return f"{kind}: write tuple[X, ...]"
        return _unusable(args[0], within)
    if origin in (AbstractMapping, dict):
        return _unusable(args[1], within) if args[0] is str else f"{kind}: keys must be str"
    if origin in (typing.Union, types.UnionType):
        return "; ".join(filter(None, (_unusable(arg, within) for arg in args)))
    if inspect.isclass(kind):
        if issubclass(kind, enum.Enum | Path) or hasattr(kind, "from_text"):
            return ""
        if attrs.has(kind):
            return "" if kind in within else "; ".join(unusable_fields(kind, within))
    return f"{kind!r} cannot be written in a configuration file"
