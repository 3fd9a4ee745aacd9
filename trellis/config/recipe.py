"""What an image is made of, as a hash: another one means that it has to be built anew."""

import hashlib
import json
from typing import Any, Final

import attrs

from trellis.config.kinds import key_of, looks_secret
from trellis.config.rendering import as_plain
from trellis.spi.config import ImageConfig

_LOGIN: Final = ("username", "python_path", "shell_type", "connection_type", "connection_port")
_COUNTED: Final = frozenset({"type", *_LOGIN})
"""Of the keys that all images have: which builder, and what it is told of logging in."""


def recipe_of(image: ImageConfig) -> str:
    """A stable hash of all that an image is made of.

    That is its builder, all keys of that builder, and how to log in to what it makes. How often it
    is built, in what formats, and where it is kept is not in it; nor is what sounds secret: a
    rotated password makes no other image. A key left at its default does not count, so that a
    later release which adds one builds nothing anew.
    """
    common = {field.name for field in attrs.fields(ImageConfig)}
    plain = as_plain(image, masked=False)
    made_of = {
        key: _without_secrets(plain.get(key))
        for field in attrs.fields(type(image))
        if (field.name not in common or field.name in _COUNTED)
        and not looks_secret(key := key_of(field))
        and getattr(image, field.name) != field.default
    }
    kept = {key: value for key, value in made_of.items() if value not in (None, [], {})}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_secrets(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_secrets(part) for key, part in value.items() if not looks_secret(key)}
