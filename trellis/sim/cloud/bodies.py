"""Taking bodies of calls apart that anybody may have written."""

from collections.abc import Mapping
from typing import Any


def text_of(given: Mapping[str, Any], key: str) -> str:
    """The text under a key; empty if there is none, or something else."""
    value = given.get(key)
    return value if isinstance(value, str) else ""


def object_of(given: Any, key: str) -> dict[str, Any]:
    """The object under a key; empty if there is none, or something else."""
    value = given.get(key) if isinstance(given, dict) else None
    return value if isinstance(value, dict) else {}


KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}
"""The types of JSON Schema, as Python reads them."""


def is_of(value: Any, kinds: str) -> bool:
    """Whether a value is of one of these types of JSON Schema, as ``string null``."""
    # Python's True is an int; JSON's is not.
    return any(
        isinstance(value, KINDS[kind]) and not (kind == "integer" and isinstance(value, bool))
        for kind in kinds.split()
    )
