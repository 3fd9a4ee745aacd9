"""The control face below ``/_sim``: what is true in the clouds, and what to change in them.

JSON both ways. It is for tests, benches and the demo; no cloud has such a thing.
"""

import enum
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import attrs

from trellis.config.document import DocumentError, read_document
from trellis.config.document import Mapping as MappingTree
from trellis.config.structure import INVALID, Structurer
from trellis.sim.cloud import Faults, OutageKind, Quota, RateLimit, Request, Response, SimCloud
from trellis.sim.cloud.wire import answer, empty

_MOST_FACTS: Final = 50_000


class _Wrong(Exception):
    """The call cannot be carried out: the status, and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@attrs.frozen(kw_only=True)
class _OutageAsked:
    kind: str = attrs.field(
        validator=attrs.validators.in_(["none", *(kind.value for kind in OutageKind)])
    )


@attrs.frozen(kw_only=True)
class _LimitsAsked:
    limits: tuple[RateLimit, ...]


class _Do(enum.Enum):
    FAIL = "fail"
    STOP = "stop"
    REMOVE = "remove"
    REBUILD = "rebuild"


@attrs.frozen(kw_only=True)
class _Deed:
    do: _Do


class Control:
    """Answers the calls of the control face.

    Args:
        clouds: by name.
    """

    def __init__(self, clouds: Mapping[str, SimCloud]) -> None:
        self._clouds = clouds
        self._table: Mapping[tuple[str, str], Callable[[SimCloud, Request], Any]] = {
            ("GET", "calls"): _calls,
            ("GET", "facts"): _facts,
            ("GET", "servers"): lambda cloud, _: {"servers": cloud.servers()},
            ("GET", "floating_ips"): lambda cloud, _: {"floating_ips": cloud.floating_ips()},
            ("GET", "ports"): lambda cloud, _: {"ports": cloud.ports()},
            ("GET", "volumes"): lambda cloud, _: {"volumes": cloud.volumes()},
            ("GET", "keypairs"): lambda cloud, _: {"keypairs": cloud.keypairs()},
            ("GET", "images"): lambda cloud, _: {"images": cloud.images()},
            ("GET", "objects"): lambda cloud, _: {"objects": cloud.objects()},
            ("POST", "faults"): _set_faults,
            ("POST", "outage"): _set_outage,
            ("POST", "quota"): _set_quota,
            ("POST", "rate-limits"): _set_rate_limits,
            ("POST", "revoke-tokens"): lambda cloud, _: cloud.revoke_all(),
        }

    def answer(self, request: Request, path: str) -> Response:
        """Answer a call to *path*, which is below ``/_sim/``."""
        parts = [unquote(part) for part in path.rstrip("/").split("/")]
        try:
            found = self._done(request, parts)
        except _Wrong as wrong:
            return answer(wrong.status, {"error": str(wrong)})
        return empty(204) if found is None else answer(200, found)

    def _done(self, request: Request, parts: list[str]) -> Any:
        match parts:
            case ["clouds"]:
                return {"clouds": [_described(cloud) for cloud in self._clouds.values()]}
            case [name, "servers", server_id] if request.method == "POST":
                return _do(self._named(name), server_id, request)
            case [name, "images", image_id] if request.method == "DELETE":
                return _remove_image(self._named(name), image_id)
            case [name, what]:
                handler = self._table.get((request.method, what))
                if handler is not None:
                    return handler(self._named(name), request)
        methods = [m for m, what in self._table if parts[-1] == what]
        if methods and len(parts) == 2:
            raise _Wrong(405, f"{request.method} is not for this path, but {' and '.join(methods)}")
        there = ", ".join(f"{method} /_sim/NAME/{what}" for method, what in self._table)
        deeds = "POST /_sim/NAME/servers/ID, DELETE /_sim/NAME/images/ID"
        raise _Wrong(404, f"there is GET /_sim/clouds, {there}, {deeds}")

    def _named(self, name: str) -> SimCloud:
        cloud = self._clouds.get(name)
        if cloud is None:
            raise _Wrong(404, f"there is no cloud {name!r}, but {', '.join(self._clouds)}")
        return cloud


# ------------------------------------------------------------------------------- looking


def _described(cloud: SimCloud) -> dict[str, Any]:
    return {
        "name": cloud.spec.name,
        "url": cloud.root,
        "auth_url": cloud.auth_url,
        "regions": cloud.spec.regions,
        "zones": cloud.spec.zones,
        "project_id": cloud.project_id,
        "quota": cloud.spec.quota,
        "faults": cloud.spec.faults,
        **_time(cloud),
    }


def _time(cloud: SimCloud) -> dict[str, float]:
    """The cloud's clock, in whose seconds facts are told, and the same moment in UTC."""
    return {"now": cloud.now, "utc": cloud.utc}


def _calls(cloud: SimCloud, _: Request) -> dict[str, Any]:
    ledger = cloud.ledger
    return {
        "calls": ledger.calls,
        "total": ledger.total_calls,
        "statuses": {str(status): count for status, count in ledger.statuses.items()},
        "peak_instances": ledger.peak_instances,
        **_time(cloud),
    }


def _facts(cloud: SimCloud, request: Request) -> dict[str, Any]:
    text = parse_qs(request.query).get("from", ["0"])[-1]
    if not text.isdecimal():
        raise _Wrong(400, f"from must be the number of a fact, 0 or more, not {text!r}")
    facts = cloud.ledger.facts
    first = int(text)
    found = facts[first : first + _MOST_FACTS]
    rows = [
        {**attrs.asdict(fact, recurse=False), "metadata": dict(fact.metadata)} for fact in found
    ]
    return {"facts": rows, "next": min(first, len(facts)) + len(found), **_time(cloud)}


# ------------------------------------------------------------------------------ changing


def _set_faults(cloud: SimCloud, request: Request) -> None:
    cloud.change(faults=_read(request, Faults)[0])


def _set_outage(cloud: SimCloud, request: Request) -> None:
    kind = _read(request, _OutageAsked)[0].kind
    cloud.set_outage(None if kind == "none" else OutageKind(kind))


def _set_rate_limits(cloud: SimCloud, request: Request) -> None:
    cloud.change(rate_limits=_read(request, _LimitsAsked)[0].limits)


def _set_quota(cloud: SimCloud, request: Request) -> None:
    quota, given = _read(request, Quota)
    named = {name: getattr(quota, name) for name in given}
    cloud.change(quota=attrs.evolve(cloud.spec.quota, **named))


def _do(cloud: SimCloud, server_id: str, request: Request) -> None:
    deed = _read(request, _Deed)[0].do
    try:
        match deed:
            case _Do.FAIL:
                cloud.fail_server(server_id)
            case _Do.STOP:
                cloud.stop_server(server_id)
            case _Do.REMOVE:
                cloud.remove_server(server_id)
            case _Do.REBUILD:
                cloud.rebuild_server(server_id)
    except LookupError as unknown:
        raise _Wrong(404, str(unknown)) from None


def _remove_image(cloud: SimCloud, image_id: str) -> None:
    try:
        cloud.remove_image(image_id)
    except LookupError as unknown:
        raise _Wrong(404, str(unknown)) from None


def _read(request: Request, kind: type[Any]) -> tuple[Any, list[str]]:
    """The body as a value of this kind, and the names of the fields that it gives."""
    try:
        # Every JSON document is a YAML one, and so the faults get their places.
        tree, faults = read_document(request.body.decode("utf-8"))
    except (DocumentError, UnicodeDecodeError) as error:
        raise _Wrong(400, f"the body is no JSON: {error}") from None
    if not isinstance(tree, MappingTree):
        raise _Wrong(400, "the body must be an object")
    tree.entries = {name.replace("_", "-"): entry for name, entry in tree.entries.items()}
    structurer = Structurer(folder=Path())
    found = structurer.instance(tree, kind, ())
    faults += structurer.faults
    if found is INVALID or faults:
        raise _Wrong(400, "; ".join(fault.render("body") for fault in faults))
    return found, [name.replace("-", "_") for name in tree.entries]
