"""A node's document in ZooKeeper: written from a Trellis node, read as Zuul left it. Pure.

Zuul reads a whole document, changes a few keys and writes the whole document back. It writes only
those keys that it has read, beside six of its own: a document without ``state_time`` or
``hold_expiration`` would come back from a hold without its times. So every key is always there.
"""

import enum
import functools
import json
import math
from collections.abc import Mapping
from typing import Any, Final, Self

import attrs

from trellis.errors import TrellisError
from trellis.model.names import NodeId, RequestId
from trellis.model.node import Node
from trellis_zuul.raw_object import NotAnObjectError, RawObject, read_object

MARK: Final = "trellis"
"""Our key in ``driver_data``, which Zuul keeps and never reads."""
READ_LATELY: Final = 256
"""So many documents are kept as they were read: a few MiB at most, as Zuul writes them."""
_KEYED: Final = frozenset({"ssh", "network_cli"})
"""Connection types for which host keys are read."""


class DocumentError(TrellisError):
    """A znode does not hold what a node's document is; the text says what is wrong."""


class UnfitNodeError(TrellisError):
    """A node that must not be handed out; the text says why."""


class ZnodeState(enum.Enum):
    """The states of a node in ZooKeeper, Nodepool's and Zuul's."""

    INIT = "init"
    BUILDING = "building"
    TESTING = "testing"
    READY = "ready"
    IN_USE = "in-use"
    USED = "used"
    HOLD = "hold"
    FAILED = "failed"
    ABORTED = "aborted"
    DELETING = "deleting"
    DELETED = "deleted"
    OTHER = "other"
    """None of these: written by somebody else, or by a later release."""


@attrs.frozen(kw_only=True)
class Mark:
    """Which node of which Trellis a document is about.

    Attributes:
        deployment: the Trellis whose node it is.
        source: the demand source that wrote it.
        node: its id in that Trellis's store.
        request: the id, there too, of the request it was launched or reserved for.
    """

    deployment: str
    source: str
    node: NodeId
    request: RequestId

    def is_of(self, deployment: str, source: str) -> bool:
        """Whether the document is this deployment's and this source's."""
        return (self.deployment, self.source) == (deployment, source)

    def value(self) -> dict[str, Any]:
        """The value of ``driver_data`` that carries it."""
        return {MARK: attrs.asdict(self)}

    @classmethod
    def read(cls, driver_data: object) -> Self | None:
        """The mark in a value of ``driver_data``; None if there is none that is whole."""
        found = driver_data.get(MARK) if isinstance(driver_data, Mapping) else None
        if not isinstance(found, Mapping):
            return None
        values: dict[str, Any] = {field.name: found.get(field.name) for field in attrs.fields(cls)}
        if not all(isinstance(value, str) and value for value in values.values()):
            return None
        return cls(**values)


@attrs.frozen(kw_only=True)
class NodeDocument:
    """What a znode of a node says.

    Attributes:
        whole: the document.
        state_at: when it took that state, in UTC seconds; None if it does not say.
        allocated_to: the request, by its id in ZooKeeper; None is nobody's.
        pool: of the provider.
        label: the first of its labels.
        hold_for_s: how long it is held from ``state_at``; None is without end.
        mark: which Trellis's it is; None is not Trellis's.
    """

    whole: RawObject = attrs.field(repr=False)
    state: ZnodeState
    state_at: float | None
    allocated_to: str | None
    provider: str | None
    pool: str | None
    label: str | None
    external_id: str | None
    hold_job: str | None
    comment: str | None
    hold_for_s: float | None
    mark: Mark | None

    def hold_until(self, written_at: float) -> float | None:
        """When its hold ends by itself, in UTC seconds; None is upon a word.

        Args:
            written_at: when the znode was written, which counts if the document does not say.
        """
        if self.hold_for_s is None:
            return None
        return (written_at if self.state_at is None else self.state_at) + self.hold_for_s

    def written(self, state: ZnodeState, now: float) -> bytes:
        """The document in another state: every other key as it was found."""
        return self.whole.encoded({"state": state.value, "state_time": now})


@functools.lru_cache(maxsize=READ_LATELY)
def read_node(data: bytes) -> NodeDocument:
    """Read the data of a node's znode.

    Several look at each document when it is written, so the latest are kept.

    Nothing but JSON and its being an object is demanded: what is missing or of a wrong type reads
    as absent, as one strange document must not stop the rest.

    Raises:
        DocumentError: it is no JSON object, or names no state.
    """
    try:
        raw = read_object(data)
    except NotAnObjectError as error:
        raise DocumentError(str(error)) from error
    state = _text(raw.get("state"))
    if state is None:
        raise DocumentError("the document names no state")
    labels = raw.get("type")
    return NodeDocument(
        whole=raw,
        state=ZnodeState(state) if state in _STATES else ZnodeState.OTHER,
        state_at=_seconds(raw.get("state_time")),
        allocated_to=_text(raw.get("allocated_to")),
        provider=_text(raw.get("provider")),
        pool=_text(raw.get("pool")),
        label=_text(labels[0] if isinstance(labels, list) and labels else labels),
        external_id=_text(raw.get("external_id")),
        hold_job=_text(raw.get("hold_job")),
        comment=_text(raw.get("comment")),
        # 0 and nothing mean the same to Zuul and to Nodepool: until somebody ends it.
        hold_for_s=_seconds(raw.get("hold_expiration")) or None,
        mark=Mark.read(raw.get("driver_data")),
    )


_STATES: Final = frozenset(state.value for state in ZnodeState)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _seconds(value: object) -> float | None:
    """A time as people and programs write it: number or text; None if it is none, or negative."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0.0 else None


@attrs.frozen(kw_only=True)
class Handover:
    """What is known of a node beside its own record, when it is handed to Zuul.

    Attributes:
        zuul_request: the request's id in ZooKeeper.
        requestor: the Zuul system that asks.
        tenant: Zuul's tenant.
        launcher: the id under which the node's pool is registered.
        attributes: ``node-attributes`` of the pool.
    """

    deployment: str
    source: str
    zuul_request: str
    request: RequestId
    requestor: str | None
    tenant: str | None
    launcher: str | None
    attributes: Mapping[str, str] = attrs.field(factory=dict)


def ready_document(node: Node, to: Handover, now: float) -> bytes:
    """The document of a node that is ready for the request it was launched for.

    Raises:
        UnfitNodeError: it has no address, or no host keys though they are to be checked: Zuul
            takes an empty list for leave to check none.
    """
    addresses, login = node.addresses, node.login
    if addresses is None or not addresses.interface_ip:
        raise UnfitNodeError(f"node {node.id} has no address")
    if login.host_key_checking and login.connection_type in _KEYED and not node.host_keys:
        raise UnfitNodeError(
            f"node {node.id} has no host keys, and its label has them checked: Zuul would "
            "connect without checking any"
        )
    resources = node.shape.resources
    mark = Mark(deployment=to.deployment, source=to.source, node=node.id, request=to.request)
    document = {
        "state": ZnodeState.READY.value,
        "state_time": now,
        "created_time": node.created_at,
        "cloud": node.cloud,
        "provider": node.provider,
        "region": node.region or None,
        "az": node.az,
        "pool": node.pool,
        "launcher": to.launcher,
        "type": [node.label],
        "allocated_to": to.zuul_request,
        "requestor": to.requestor,
        "tenant_name": to.tenant,
        "interface_ip": addresses.interface_ip,
        "public_ipv4": addresses.public_ipv4,
        "private_ipv4": addresses.private_ipv4,
        "public_ipv6": addresses.public_ipv6,
        "private_ipv6": None,
        "host_id": None,
        "hostname": node.hostname,
        "external_id": node.external_id,
        "image_id": node.shape.image_name,
        "connection_type": login.connection_type,
        "connection_port": login.connection_port,
        "ssh_port": login.connection_port,
        "username": login.username,
        "python_path": login.python_path,
        "shell_type": login.shell_type,
        "host_keys": list(node.host_keys),
        "resources": {
            "cores": resources.cores,
            "ram": resources.ram_mib,
            "instances": resources.instances,
        },
        "attributes": dict(to.attributes),
        "node_properties": {},
        "slot": None,
        "hold_job": None,
        "hold_expiration": None,
        "comment": None,
        "user_data": None,
        "driver_data": mark.value(),
    }
    return json.dumps(document, sort_keys=True, allow_nan=False).encode()
