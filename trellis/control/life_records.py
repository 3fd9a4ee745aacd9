"""What a node's life puts on record: each step is one commit, and none is taken twice."""

from collections.abc import Callable
from typing import Final

import attrs
import structlog

from trellis.control.amend import amend, head
from trellis.control.health import PROJECT_CHANGED, ProviderHealth
from trellis.errors import MisconfiguredError, TrellisError
from trellis.model.names import NodeId
from trellis.model.node import Home, Node, NodeState, Resource, ResourceKind
from trellis.model.records import Change
from trellis.model.request import NodeRequest, RequestState
from trellis.spi.config import ProviderConfig
from trellis.spi.provider import Provider
from trellis.store.store import Store
from trellis.world import World

log = structlog.get_logger()

DELETE_ORDER: Final = (
    ResourceKind.FLOATING_IP,
    ResourceKind.SERVER,
    ResourceKind.PORT,
    ResourceKind.VOLUME,
    ResourceKind.KEYPAIR,
)
"""Floating IPs first: one that is left on a deleted server leaks (quirks.md part 1 §2.10)."""
STUCK_AFTER_S: Final = 600.0
STUCK: Final = "the deletion is stuck"


class MovedOnError(TrellisError):
    """Somebody else has ended this launch: it was cancelled, or its node is to be deleted."""


@attrs.define(eq=False, kw_only=True)
class LifeRecords:
    """The steps of the nodes of one provider, as changes of their records.

    Attributes:
        foreign: why a project and endpoint are not those of our records; "" if they are.
    """

    config: ProviderConfig
    provider: Provider
    store: Store
    world: World
    health: ProviderHealth
    foreign: Callable[[Home], str]
    _known_home: Home | None = attrs.field(default=None, init=False)

    async def note(self, node_id: NodeId, change: Callable[[Node], Node]) -> Node:
        """Record a step of a launch, unless somebody else has ended it.

        Raises:
            MovedOnError: the node is no longer building.
        """
        return await amend(self.store, Node, node_id, lambda n: change(still_building(n)))

    async def intend(self, node_id: NodeId, kind: ResourceKind) -> Node:
        """Record that a thing is about to be made, and in which project.

        Raises:
            MovedOnError: the node is no longer building.
            CloudError: the account has no token, or it leads where no record speaks of.
        """
        home = await self.home()
        now = self.world.wall()
        intent = Resource(kind=kind, sent_at=now)
        launch_by = now + self.config.launch_timeout

        def begun(node: Node) -> Node:
            deadline = launch_by if kind is ResourceKind.SERVER else node.launch_by
            return attrs.evolve(node.with_resource(intent), home=home, launch_by=deadline)

        return await self.note(node_id, begun)

    async def home(self) -> Home:
        """Where calls go now: nothing is made in two places under one name (rule 2).

        Raises:
            CloudError: the account has no token, or it leads where no record speaks of.
        """
        home = await self.provider.home()
        if home != self._known_home:
            if reason := self.foreign(home):
                self.health.closed_for(reason, kind=PROJECT_CHANGED)
                raise MisconfiguredError(reason)
            self._known_home = home
        return home

    async def made(
        self, node_id: NodeId, kind: ResourceKind, external_id: str, address: str | None = None
    ) -> Node:
        """Record what the cloud called a thing; done also when the launch has been ended."""

        def with_id(node: Node) -> Node:
            resource = node.resource(kind)
            assert resource is not None
            node = node.with_resource(attrs.evolve(resource, external_id=external_id))
            if address is None or node.addresses is None:
                return node
            public = attrs.evolve(node.addresses, interface_ip=address, public_ipv4=address)
            return attrs.evolve(node, addresses=public, wants_public=False)

        return still_building(await amend(self.store, Node, node_id, with_id))

    async def not_made(self, node_id: NodeId, kind: ResourceKind) -> Node:
        """Take back an intent whose call was certainly not carried out."""

        def without(node: Node) -> Node:
            kept = tuple(r for r in node.resources if r.kind is not kind)
            return attrs.evolve(node, resources=kept)

        return still_building(await amend(self.store, Node, node_id, without))

    async def end(self, node_id: NodeId, state: NodeState, fault: str) -> None:
        """Record how a launch ended, and count it against its request's place, in one batch."""
        node = head(self.store, Node, node_id)
        if node.state is not NodeState.BUILDING or node.set_apart:
            return
        log.warning("launch_ended", node=node_id, state=state.value, fault=fault)
        changes = [Change(node, node.became(state, self.world.wall(), fault=fault))]
        if node.allocated_to is not None:
            request = self.store.head(NodeRequest, node.allocated_to)
            if request is not None and (after := _counted(request, node, state)):
                changes.append(Change(request, after))
        await self.store.commit(changes)

    async def forget(self, node_id: NodeId, resource: Resource, found: str | None = None) -> Node:
        """Record that a thing is gone; or, with *found*, that one in doubt is there after all."""
        now = self.world.wall()
        if found is not None:
            known = attrs.evolve(resource, external_id=found)
            return await amend(self.store, Node, node_id, lambda n: n.with_resource(known))
        gone = attrs.evolve(resource, gone_at=now)
        return await self.note_gone(node_id, lambda n: n.with_resource(gone))

    async def tell_if_stuck(self, node_id: NodeId, resource: Resource, last: str) -> None:
        """Have an old deletion say so, once: in the log, in its record, in `explain` (P4, P8)."""
        node = head(self.store, Node, node_id)
        age_s = self.world.wall() - node.state_at
        if age_s < STUCK_AFTER_S or (node.fault or "").startswith(STUCK):
            return
        thing = f"{resource.kind.value} {resource.external_id or '(in doubt)'}"
        fault = f"{STUCK} for {age_s / 60:.0f} min: {thing}: {last}"
        log.error("deletion_stuck", node=node_id, provider=node.provider, why=fault)
        await amend(self.store, Node, node_id, lambda n: attrs.evolve(n, fault=fault), why=fault)

    async def note_gone(self, node_id: NodeId, change: Callable[[Node], Node]) -> Node:
        """Record that something is gone; with the last thing of a node it is gone itself."""
        before = head(self.store, Node, node_id)
        after = change(before)
        over = next_to_delete(after) is None
        if over:
            after = after.became(NodeState.GONE, self.world.wall())
        await self.store.commit([Change(before, after, archive=over)])
        return after


def still_building(node: Node) -> Node:
    """The node, if its launch goes on.

    Raises:
        MovedOnError: it does not.
    """
    if node.state is not NodeState.BUILDING or node.set_apart:
        raise MovedOnError
    return node


def next_to_delete(node: Node) -> Resource | None:
    """What of a node has to go next; None if nothing of it is left."""
    things = (node.resource(kind) for kind in DELETE_ORDER)
    return next((thing for thing in things if thing is not None), None)


def _counted(request: NodeRequest, node: Node, state: NodeState) -> NodeRequest | None:
    """The request with this ending counted against its place; None where it does not count.

    An aborted launch is no launch retry, but so many refusals send the request elsewhere.
    """
    place = request.placement
    if request.state is not RequestState.PENDING or place is None:
        return None
    if place.provider != node.provider:
        return None
    if state is NodeState.FAILED:
        place = attrs.evolve(place, failures=place.failures + 1)
    else:
        place = attrs.evolve(place, refusals=place.refusals + 1)
    return attrs.evolve(request, placement=place)
