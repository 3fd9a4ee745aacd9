"""What Glance v2 checks before it makes or changes an image; words and order are a real one's.

After ``glance/api/v2/images.py`` of 2026.2: `RequestDeserializer`, and the factory behind it.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from trellis.sim.cloud.bodies import is_of
from trellis.sim.cloud.routes import Call
from trellis.sim.cloud.wire import RefusalError, glance_error

DISK_FORMATS: Final = (
    "ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop",
)  # fmt: skip
CONTAINER_FORMATS: Final = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")
VISIBILITIES: Final = ("community", "public", "private", "shared")
PATCH: Final = "application/openstack-images-v2.1-json-patch"

_DISALLOWED: Final = ("direct_url", "self", "file", "schema", "stores")
_READ_ONLY: Final = (
    "created_at", "updated_at", "status", "checksum", "size", "virtual_size", "direct_url", "self",
    "file", "schema", "id", "os_hash_algo", "os_hash_value",
)  # fmt: skip
_RESERVED: Final = ("location", "locations", "deleted", "deleted_at")
_OWN_NAMESPACE: Final = "os_glance"
_BASE: Final = {
    "id": "string",
    "name": "string null",
    "visibility": "string",
    "protected": "boolean",
    "os_hidden": "boolean",
    "owner": "string null",
    "container_format": "string null",
    "disk_format": "string null",
    "tags": "array",
    "min_disk": "integer",
    "min_ram": "integer",
}
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "visibility": VISIBILITIES,
    "container_format": CONTAINER_FORMATS,
    "disk_format": DISK_FORMATS,
}
_OPERATIONS: Final = ("add", "remove", "replace")
_ID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_LONGEST: Final = 255
_MOST_PROPERTIES: Final = 128
"""Glance's ``image_property_quota``."""


@attrs.frozen
class Change:
    """One operation of a PATCH."""

    op: str
    key: str
    value: Any = None


def refuse(status: int, message: str) -> RefusalError:
    """A refusal in Glance's shape."""
    return RefusalError(glance_error(status, message))


def created_from(call: Call) -> tuple[dict[str, Any], dict[str, str]]:
    """The base fields and the properties of a create.

    Raises:
        RefusalError: Glance refuses them.
    """
    wanted = _json(call)
    if not isinstance(wanted, dict):
        raise refuse(400, "Provided object does not match schema 'image'")
    for key in _DISALLOWED:
        if key in wanted:
            raise refuse(403, f"Attribute '{key}' is read-only.")
    for key, value in wanted.items():
        _check(key, value)
    base = {key: value for key, value in wanted.items() if key in _BASE}
    properties = {key: value for key, value in wanted.items() if key not in _BASE}
    for key in properties:
        if len(key) > _LONGEST:
            raise refuse(400, "Custom property should not be greater than 255 characters.")
        if key in _RESERVED or key.startswith(_OWN_NAMESPACE):
            raise refuse(403, f"Attribute '{key}' is reserved.")
        if key in _READ_ONLY:
            raise refuse(403, f"Attribute '{key}' is read-only.")
    check_count(properties)
    return base, properties


def check_count(properties: Mapping[str, str]) -> None:
    """Refuse more properties than an image may have."""
    if len(properties) > _MOST_PROPERTIES:
        raise refuse(
            413,
            "The limit has been exceeded on the number of allowed image properties. Attempted: "
            f"{len(properties)}, Maximum: {_MOST_PROPERTIES}",
        )


def changes_from(call: Call) -> list[Change]:
    """The operations of a PATCH.

    Raises:
        RefusalError: Glance refuses them.
    """
    kind = call.request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != PATCH:
        raise refuse(415, f"Image PATCH expects Content-Type one of: {PATCH}")
    document = _json(call)
    if not isinstance(document, list):
        raise refuse(400, "Request body must be a JSON array of operation objects.")
    return [_change(raw) for raw in document]


def _change(raw: Any) -> Change:
    if not isinstance(raw, dict):
        raise refuse(400, "Operations must be JSON objects.")
    op, path = raw.get("op"), raw.get("path")
    if op not in _OPERATIONS:
        among = f"It must be one of the following: {', '.join(_OPERATIONS)}."
        if op is None:
            raise refuse(400, f"Unable to find `op` in JSON Schema change. {among}")
        raise refuse(400, f"Invalid operation: `{op}`. {among}")
    if not isinstance(path, str):
        raise refuse(400, "Unable to find 'path' in JSON Schema change")
    key = _key(path)
    if op != "remove" and "value" not in raw:
        raise refuse(400, f'Operation "{op}" requires a member named "value".')
    if key in _READ_ONLY:
        raise refuse(403, f"Attribute '{key}' is read-only.")
    if key in _RESERVED or key.startswith(_OWN_NAMESPACE):
        raise refuse(403, f"Attribute '{key}' is reserved.")
    if op != "remove":
        _check(key, raw["value"])
    return Change(op, key, raw.get("value"))


def _key(pointer: str) -> str:
    """The one attribute that a JSON pointer of Glance's names."""
    if not pointer.startswith("/"):
        raise refuse(400, f'Pointer `{pointer}` does not start with "/".')
    if re.search("~[^01]", pointer) or pointer.endswith("~"):
        message = f'Pointer `{pointer}` contains "~" not part of a recognized escape sequence.'
        raise refuse(400, message)
    parts = pointer.lstrip("/").split("/")
    if len(parts) != 1 or not parts[0].strip():
        raise refuse(400, f"Invalid JSON pointer for this resource: '{pointer}'")
    return parts[0].replace("~1", "/").replace("~0", "~").strip()


def _check(key: str, value: Any) -> None:
    """Hold one attribute against the schema: what is not Glance's own is text."""
    if key in _READ_ONLY and key != "id":
        return  # refused by another rule, with other words
    kinds = _BASE.get(key, "string")
    if not is_of(value, kinds):
        types = ", ".join(f"'{kind}'" for kind in kinds.split())
        raise _unfit(f"{value!r} is not of type {types}", key)
    choices = _CHOICES.get(key)
    if choices is not None and value is not None and value not in choices:
        raise _unfit(f"{value!r} is not one of {list(choices)!r}", key)
    if key == "id" and not _ID.match(value):
        raise _unfit(f"{value!r} does not match its pattern", key)
    if key in ("name", "owner") and value is not None and len(value) > _LONGEST:
        raise _unfit(f"{value!r} is too long", key)
    if key in ("min_disk", "min_ram") and not 0 <= value < 1 << 31:
        raise refuse(
            400, f"Invalid value '{value}' for parameter '{key}': Cannot be a negative value"
        )
    if key == "tags" and not all(isinstance(tag, str) and len(tag) <= _LONGEST for tag in value):
        raise _unfit("a tag is no text, or too long", key)


def _unfit(why: str, key: str) -> RefusalError:
    message = f"Provided object does not match schema 'image': {why}: Failed validating {key!r}"
    return refuse(400, message)


def _json(call: Call) -> Any:
    if not call.request.body:
        raise refuse(400, "Body expected in request.")
    try:
        return msgspec.json.decode(call.request.body)
    except msgspec.DecodeError:
        raise refuse(400, "Malformed JSON in request body.") from None
