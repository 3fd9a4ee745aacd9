"""Nodepool's tree as Zuul sees it: where things are, and what Zuul writes there."""

import json
import re
from random import Random
from typing import Any, Final

NODEPOOL: Final = "/nodepool"
REQUESTS: Final = f"{NODEPOOL}/requests"
REQUEST_LOCKS: Final = f"{NODEPOOL}/requests-lock"
NODES: Final = f"{NODEPOOL}/nodes"
POOLS: Final = f"{NODEPOOL}/components/pool"
_NODE: Final = re.compile(rf"{NODES}/([^/]+)\Z")
_REQUEST: Final = re.compile(rf"{REQUESTS}/([^/]+)\Z")

Document = dict[str, Any]


def request_path(request_id: str) -> str:
    """Of a request."""
    return f"{REQUESTS}/{request_id}"


def request_lock(request_id: str) -> str:
    """The folder of a request's lock."""
    return f"{REQUEST_LOCKS}/{request_id}"


def node_path(node_id: str) -> str:
    """Of a node."""
    return f"{NODES}/{node_id}"


def node_lock(node_id: str) -> str:
    """The folder of a node's lock."""
    return f"{NODES}/{node_id}/lock"


def node_of(path: str) -> str | None:
    """The node whose znode this is; None if it is none's."""
    found = _NODE.match(path)
    return found and found[1]


def request_of(path: str) -> str | None:
    """The request whose znode this is; None if it is none's."""
    found = _REQUEST.match(path)
    return found and found[1]


def encoded(document: Document) -> bytes:
    """As Zuul writes it."""
    return json.dumps(document).encode()


def decoded(data: bytes) -> Document | None:
    """What stands there; None if nothing does, or no document."""
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def to_the_bit(data: bytes) -> dict[str, Any]:
    """A document with its numbers as they are written, to compare two."""
    if not data:
        return {}
    found = json.loads(data, parse_float=str, parse_int=str)
    return found if isinstance(found, dict) else {}


def request_document(
    labels: tuple[str, ...],
    *,
    system: str,
    job: str,
    tenant: str,
    now: float,
    provider: str | None,
    relative_priority: int,
    random: Random,
) -> Document:
    """A request as Zuul files it, and a key of a Zuul to come."""
    trace = random.getrandbits(128)
    return {
        "created_time": now,
        "event_id": None if random.random() < 0.3 else f"{random.getrandbits(128):032x}",
        "node_types": list(labels),
        "provider": provider,
        "relative_priority": relative_priority,
        "requestor": system,
        "requestor_data": {
            "build_set_uuid": f"{random.getrandbits(128):032x}",
            "job_name": job.rpartition("-")[0] or job,
            "job_uuid": f"{random.getrandbits(128):032x}",
            "pipeline_name": random.choice(("check", "gate", "post")),
            "span_info": {
                "name": "RequestNodes",
                "span_id": random.getrandbits(64),
                "start_time": int(now * 1e9),
                "trace_flags": 3,
                "trace_id": trace,
            },
            "tenant_name": tenant,
        },
        "state": "requested",
        "state_time": now,
        "tenant_name": tenant,
        "of_a_later_zuul": {"share": random.random() / 3.0, "big": 10**30 + trace, "text": "ü\n"},
    }
