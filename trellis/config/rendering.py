"""A configuration as plain data and as YAML: defaults filled in, secrets masked."""

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import attrs
import yaml

from trellis.config.configuration import Configuration
from trellis.config.durations import write_duration
from trellis.config.kinds import field_types, key_of, looks_secret
from trellis.spi.config import Seconds

MASK: Final = "********"


def render(configuration: Configuration) -> str:
    """Write a configuration as YAML with every default filled in and every secret masked."""
    dumped: str = yaml.safe_dump(
        as_plain(configuration), sort_keys=False, allow_unicode=True, default_flow_style=False
    )
    return dumped


def as_plain(value: Any, *, masked: bool = True) -> Any:
    """A configuration value as plain dicts, lists and scalars, keyed as in the file.

    Args:
        masked: False shows fields with ``repr=False`` as they are.
    """
    if attrs.has(type(value)) and not hasattr(value, "from_text"):
        kinds = field_types(value.__class__)
        return {
            key_of(field): _field(getattr(value, field.name), field, kinds[field.name], masked)
            for field in attrs.fields(type(value))
            if field.init
        }
    return _plain(value, None, masked)


def _field(value: Any, field: "attrs.Attribute[Any]", kind: Any, masked: bool) -> Any:
    if masked and not field.repr and value not in (None, "", (), {}):
        # Which variables there are is no secret, and says what is being built.
        return dict.fromkeys(value, MASK) if isinstance(value, Mapping) else MASK
    return _plain(value, kind, masked)


def _plain(value: Any, kind: Any, masked: bool) -> Any:
    arguments = get_args(kind)
    match value:
        case None | bool() | str():
            return value
        case int() | float():
            is_duration = kind is Seconds or Seconds in arguments
            return write_duration(value) if is_duration else value
        case enum.Enum():
            return value.value
        case Path():
            return str(value)
        case tuple() | list():
            item = arguments[0] if get_origin(kind) is tuple else None
            return [_plain(x, item, masked) for x in value]
        case Mapping():
            return {
                key: MASK if masked and looks_secret(key) and inner else _plain(inner, None, masked)
                for key, inner in value.items()
            }
    if hasattr(value, "from_text"):
        return str(value)
    return as_plain(value, masked=masked)
