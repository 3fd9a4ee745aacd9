"""What Nova's calls have in common: faults, bodies, microversions."""

import re
from collections.abc import Mapping
from typing import Any, Final

from trellis.sim.cloud.bodies import is_of
from trellis.sim.cloud.routes import Call
from trellis.sim.cloud.rows import BASE, HIGHEST, Microversion
from trellis.sim.cloud.wire import RefusalError, Request, json_object, nova_fault

LONGEST: Final = 255
"""The most characters of a name and of a metadata value."""


def refuse(status: int, message: str) -> RefusalError:
    """A fault of Nova's, to be raised."""
    return RefusalError(nova_fault(status, message))


def invalid(field: str, value: object, why: str) -> RefusalError:
    """What Nova's schema check says."""
    return refuse(400, f"Invalid input for field/attribute {field}. Value: {value}. {why}")


def object_in(call: Call, key: str) -> dict[str, Any]:
    """The object under the only key of the body."""
    body = json_object(call.request)
    if body is None:
        raise refuse(400, "Malformed request body")
    inner = body.get(key)
    if not isinstance(inner, dict):
        raise invalid("body", body, f"{key!r} is a required property")
    return inner


def check_types(given: dict[str, Any], kinds: Mapping[str, str]) -> None:
    """Refuse fields that are not of the types that Nova's schema has for them.

    Args:
        given: the fields; one that is missing is of the right type.
        kinds: by field, its types of JSON Schema, as ``string null``; ``networks[].uuid`` is the
            field of each object in a list.

    Raises:
        RefusalError: as Nova words it.
    """
    for place, wanted in kinds.items():
        field, _, inner = place.partition("[].")
        if field not in given:
            continue
        values = [given[field]]
        if inner:
            rows = given[field] if isinstance(given[field], list) else []
            _all_of(rows, field, "object")
            values = [row[inner] for row in rows if inner in row]
        _all_of(values, inner or field, wanted)


def _all_of(values: list[Any], field: str, wanted: str) -> None:
    for value in values:
        if not is_of(value, wanted):
            names = ", ".join(f"'{kind}'" for kind in wanted.split())
            raise invalid(field, value, f"{value!r} is not of type {names}")


def microversion(call: Call) -> Microversion:
    """The microversion of a call; the check before all handlers has seen that it is one."""
    return asked_microversion(call.request) or BASE


def asked_microversion(request: Request) -> Microversion | None:
    """The microversion that a request names, in the present or the former header.

    Raises:
        RefusalError: it is no version.
    """
    header = request.headers.get("openstack-api-version")
    if header is None:
        former = request.headers.get("x-openstack-nova-api-version")
        return None if former is None else parsed_microversion(f"compute {former}")
    return parsed_microversion(header)


def parsed_microversion(header: str) -> Microversion | None:
    """``compute 2.96`` as numbers, None for another service's."""
    service, _, text = header.partition(" ")
    if service != "compute":
        return None
    if text == "latest":
        return HIGHEST
    matched = re.fullmatch(r"(\d+)\.(\d+)", text)
    if matched is None:
        message = f"API Version String {text} is of invalid format. "
        raise refuse(400, message + "Must be of format MajorNum.MinorNum.")
    return int(matched[1]), int(matched[2])


def check_metadata(metadata: dict[str, Any]) -> None:
    """Refuse metadata whose values are no texts of at most 255 characters."""
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise invalid(key, value, f"{value!r} is not of type 'string'")
        if len(value) > LONGEST:
            raise invalid(key, value, f"{value!r} is too long")
