"""A node: one machine Trellis manages, which is one attempt, from its intent until it is gone."""

import enum
from typing import Any, Final

import attrs

from trellis.errors import TransitionError
from trellis.model.names import LeaseId, NodeId, RequestId
from trellis.model.quota import Resources


class NodeState(enum.Enum):
    """Where a node is in its life; `NODE_TRANSITIONS` has every step there is."""

    __hash__ = object.__hash__  # each is there once; Enum's own is a function of Python's

    BUILDING = "building"
    READY = "ready"
    IN_USE = "in-use"
    USED = "used"
    HOLD = "hold"
    FAILED = "failed"
    """It was launched and did not become ready: counts as a launch retry."""
    ABORTED = "aborted"
    """Refused for quota or capacity, not the node's fault: counts as no launch retry."""
    DELETING = "deleting"
    GONE = "gone"


_S = NodeState
NODE_TRANSITIONS: Final = {
    _S.BUILDING: frozenset({_S.READY, _S.FAILED, _S.ABORTED, _S.DELETING}),
    _S.READY: frozenset({_S.IN_USE, _S.DELETING}),
    _S.IN_USE: frozenset({_S.USED, _S.HOLD, _S.DELETING}),
    _S.USED: frozenset({_S.HOLD, _S.DELETING}),
    _S.HOLD: frozenset({_S.USED, _S.DELETING}),
    _S.FAILED: frozenset({_S.DELETING}),
    _S.ABORTED: frozenset({_S.DELETING}),
    _S.DELETING: frozenset({_S.GONE}),
    _S.GONE: frozenset[NodeState](),
}


class ResourceKind(enum.Enum):
    """The kinds of thing a node may own in a cloud."""

    SERVER = "server"
    FLOATING_IP = "floating-ip"
    PORT = "port"
    VOLUME = "volume"
    KEYPAIR = "keypair"


@attrs.frozen(kw_only=True)
class Resource:
    """One thing of a node in a cloud, recorded from its *intent* until it is proved gone.

    Attributes:
        sent_at: when the call that makes it was about to be sent. Set and no ``external_id``
            means *in doubt*: it may exist, and the call is never sent again.
        missing_since: first look that did not find it, while it is in doubt.
    """

    kind: ResourceKind
    sent_at: float
    external_id: str | None = None
    gone_at: float | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether its making was sent and nothing is known of the outcome."""
        return self.external_id is None and self.gone_at is None

    @property
    def exists(self) -> bool:
        """Whether it may be there: everything that is not proved gone."""
        return self.gone_at is None


@attrs.frozen(kw_only=True)
class Addresses:
    """The addresses of a node; ``interface_ip`` is the one to reach it at."""

    interface_ip: str
    public_ipv4: str | None = None
    private_ipv4: str | None = None
    public_ipv6: str | None = None


@attrs.frozen(kw_only=True)
class Login:
    """How to log in to a node; comes from the label's image."""

    connection_type: str = "ssh"
    connection_port: int = 22
    username: str | None = None
    python_path: str = "auto"
    shell_type: str | None = None
    host_key_checking: bool = True
    """False: no connection is tried and no host keys are read; said loudly wherever it shows."""


@attrs.frozen(kw_only=True)
class Shape:
    """What a pool's label came down to in the cloud: the very flavor and image, and their size."""

    flavor_id: str
    flavor_name: str
    image_id: str
    image_name: str
    resources: Resources
    disk_gib: int = 0


@attrs.frozen(kw_only=True)
class Home:
    """Where a node's things are: a 404 from another project or endpoint proves nothing."""

    project_id: str
    region: str
    endpoint: str


@attrs.frozen(kw_only=True)
class Node:
    """One machine, from the decision to launch it until it is proved gone.

    Attributes:
        label_hash: of the configuration that it is made from; "" in records of earlier releases.
        allocated_to: the request for whose slot it is launched or reserved; None is idle.
        slot: its place among the request's labels.
        tenant: on whose behalf that request was made; None also while it is nobody's.
        replaces: the failed attempt before it, for the same slot.
        resources: everything of it in the cloud, the server included.
        launch_by: deadline of the launch, known once its create is about to be sent.
        wants_public: it still needs a floating IP; its addresses are private ones so far.
        boot_by: deadline for it to answer, known once the server is active.
        checked_at: when it was last seen to answer.
        fault: why it failed, was aborted or is deleted, in words.
        console: the end of its server's console, read where its label asks for that and its
            launch has failed; None where it was not read.
        lease_id: of the lease that it is handed out under; one that is ready and has a lease is
            given to the request of a demand source, which has yet to hand it out.
        hold_until: when a hold ends by itself; None is upon a word, or at ``max-hold-age``.
        lost: it died under its lease.
        origin: the mark of the store's opening that launched it, which its tags bear too.
        set_apart: it may have been handed out by a later state of the store than this: nobody is
            given it and nothing deletes it but a person's word.
    """

    id: NodeId
    label: str
    state: NodeState
    state_at: float
    created_at: float
    provider: str
    pool: str
    cloud: str
    region: str
    shape: Shape
    login: Login
    label_hash: str = ""
    launch_by: float | None = None
    az: str | None = None
    hostname: str = ""
    home: Home | None = None
    resources: tuple[Resource, ...] = ()
    allocated_to: RequestId | None = None
    slot: int | None = None
    tenant: str | None = None
    replaces: NodeId | None = None
    lease_id: LeaseId | None = None
    addresses: Addresses | None = None
    wants_public: bool = False
    active_at: float | None = None
    boot_by: float | None = None
    host_keys: tuple[str, ...] = ()
    ready_at: float | None = None
    checked_at: float | None = None
    fault: str | None = None
    console: str | None = None
    held_by: str | None = None
    hold_reason: str | None = None
    hold_until: float | None = None
    lost: bool = False
    origin: str = ""
    set_apart: bool = False

    def became(self, state: NodeState, at: float, **changes: Any) -> "Node":
        """Take one step of life.

        Raises:
            TransitionError: the table has no such step.
        """
        if state not in NODE_TRANSITIONS[self.state]:
            raise TransitionError(f"node {self.id}: {self.state.value} → {state.value}")
        return attrs.evolve(self, state=state, state_at=at, **changes)

    def resource(self, kind: ResourceKind) -> Resource | None:
        """Its thing of this kind that is not proved gone, if any."""
        for resource in self.resources:
            if resource.kind is kind and resource.exists:
                return resource
        return None

    @property
    def server(self) -> Resource | None:
        """Its server, as far as it may exist."""
        return self.resource(ResourceKind.SERVER)

    @property
    def external_id(self) -> str | None:
        """The cloud's id of its server, also of one that is gone."""
        for resource in self.resources:
            if resource.kind is ResourceKind.SERVER:
                return resource.external_id
        return None

    @property
    def idle(self) -> bool:
        """Whether it is ready and nobody's."""
        free = self.allocated_to is None and self.lease_id is None and not self.set_apart
        return self.state is NodeState.READY and free

    @property
    def given(self) -> bool:
        """Whether it is ready and a request of a demand source has it, maybe handed out by now."""
        return self.state is NodeState.READY and self.lease_id is not None

    def freed(self) -> "Node":
        """The same node, nobody's."""
        return attrs.evolve(self, allocated_to=None, slot=None, tenant=None, lease_id=None)

    def with_resource(self, resource: Resource) -> "Node":
        """Record *resource*, in the place of itself or of one of its kind that is in doubt."""
        others = tuple(
            r
            for r in self.resources
            if r.kind is not resource.kind
            or not (r.in_doubt or (r.exists and r.external_id == resource.external_id))
        )
        return attrs.evolve(self, resources=(*others, resource))
