"""Bugs that somebody might really write, put into the daemon on purpose.

Each is a function that patches the daemon. Those in the second half were chosen from the code of
`trellis.control` and `trellis.store` alone, without looking at how the oracle works.
"""

import contextlib
import json
import math
from datetime import UTC, datetime

import attrs
import pytest

from trellis.control import life_records, scheduling, sweep
from trellis.control.attached import Attached
from trellis.control.fleet import Fleet
from trellis.control.life import Life
from trellis.control.port import Port
from trellis.control.provider import RunningProvider
from trellis.control.scheduling import Scheduling
from trellis.control.sweep import Sweep
from trellis.control.watcher import Watcher
from trellis.errors import AnswerLostError, CloudBrokenError, CloudError, ConflictError
from trellis.model.names import NodeId
from trellis.model.node import Node, NodeState, ResourceKind
from trellis.model.records import Change
from trellis.spi.provider import Instance, InstanceState, Tag
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Store

# ------------------------------------------------------------------- chosen from the promises


def creates_before_the_intent(patch: pytest.MonkeyPatch) -> None:
    """The create is recorded when it is answered, not before it is sent."""

    async def create_then_record(self, node, *_):
        await self.provider.create_turn()
        external_id = await self.provider.create(self._intent(node))
        await self._records.intend(node.id, ResourceKind.SERVER)
        return await self._records.made(node.id, ResourceKind.SERVER, external_id)

    patch.setattr(Life, "_create", create_then_record)


def repeats_a_lost_create(patch: pytest.MonkeyPatch) -> None:
    """A create without an answer is sent again without looking."""

    async def send_again(self, node, *_):
        while True:
            try:
                external_id = await self.provider.create(self._intent(node))
            except (AnswerLostError, CloudBrokenError):
                continue
            return await self._records.made(node.id, ResourceKind.SERVER, external_id)

    patch.setattr(Life, "_settle", send_again)


def takes_absence_for_gone(patch: pytest.MonkeyPatch) -> None:
    """What a list does not show is held to be gone."""
    take, rest = Watcher._take, Watcher._rest
    seen: dict[str, None] = {}

    def taking(self, row):
        seen[row.external_id] = None
        take(self, row)

    async def resting(self, next_full):
        for waiter in list(self._waiting.values()):
            if waiter.external_id is not None and waiter.external_id not in seen:
                gone = Instance(external_id=waiter.external_id, name="", state=InstanceState.GONE)
                self._offer(waiter, gone)
        seen.clear()
        await rest(self, next_full)

    patch.setattr(Watcher, "_take", taking)
    patch.setattr(Watcher, "_rest", resting)


def forgets_leases(patch: pytest.MonkeyPatch) -> None:
    """Leases live in memory only: a restart knows nothing of them."""
    opened = SimulatedLog.open

    async def open_without(self):
        contents = await opened(self)
        kept = [row for row in contents.records if row.key[0] != "lease"]
        return attrs.evolve(contents, records=kept)

    patch.setattr(SimulatedLog, "open", open_without)


def hands_out_twice(patch: pytest.MonkeyPatch) -> None:
    """A node that is handed out stays on the shelf for others."""
    fulfil = Scheduling._fulfil

    def careless(self, decision):
        changes = fulfil(self, decision)
        return [
            Change(x.before, attrs.evolve(x.before, allocated_to=None, slot=None))
            if isinstance(x.after, Node)
            else x
            for x in changes
        ]

    patch.setattr(Scheduling, "_fulfil", careless)


def shelves_used_nodes(patch: pytest.MonkeyPatch) -> None:
    """A node that was given back is given to the next one."""
    became = Node.became

    def reuse(self, state, at, **changes):
        if state is NodeState.USED:
            return attrs.evolve(
                self,
                state=NodeState.READY,
                state_at=at,
                allocated_to=None,
                slot=None,
                lease_id=None,
            )
        return became(self, state, at, **changes)

    patch.setattr(Node, "became", reuse)


def forgets_what_is_building(patch: pytest.MonkeyPatch) -> None:
    """Only what the cloud has acknowledged counts against the quota."""
    count = Fleet._count_quota

    def count_acknowledged(self, node, sign):
        if node.external_id is not None:
            count(self, node, sign)

    patch.setattr(Fleet, "_count_quota", count_acknowledged)


def cancel_forgets_nodes(patch: pytest.MonkeyPatch) -> None:
    """A cancelled request's nodes are left to themselves, and nobody looks for such ones."""
    patch.setattr(Port, "_released", lambda self, request, now: [])
    patch.setattr(Scheduling, "_orphans", lambda self: [])


def forgets_floating_ips(patch: pytest.MonkeyPatch) -> None:
    """A node's floating IP is not deleted with it."""
    order = tuple(x for x in life_records.DELETE_ORDER if x is not ResourceKind.FLOATING_IP)
    patch.setattr(life_records, "DELETE_ORDER", order)


def forgets_volumes(patch: pytest.MonkeyPatch) -> None:
    """A node's volume is left to the cloud, and no look at it proves it gone."""
    order = tuple(x for x in life_records.DELETE_ORDER if x is not ResourceKind.VOLUME)
    patch.setattr(life_records, "DELETE_ORDER", order)


def looks_at_ready_volumes_only(patch: pytest.MonkeyPatch) -> None:
    """What a server has is recorded when it is active: of a launch cut short nobody knows."""
    see = Attached.see

    def late(self, row):
        if row.state is InstanceState.ACTIVE:
            see(self, row)

    patch.setattr(Attached, "see", late)


def takes_any_volume(patch: pytest.MonkeyPatch) -> None:
    """Whatever looks like a volume of nova's is held to be ours."""

    async def ours(self, external_id):
        return NodeId("0000000001")

    patch.setattr(Attached, "whose", ours)


def splits_sets(patch: pytest.MonkeyPatch) -> None:
    """The nodes of a request come from wherever there is room."""
    new_node = Scheduling._new_node

    def anywhere(self, new_id, launch, request_id, now):
        az = ("az1", "az2")[(launch.slot or 0) % 2]
        return new_node(self, new_id, attrs.evolve(launch, az=az), request_id, now)

    patch.setattr(Scheduling, "_new_node", anywhere)


def sweeps_everything(patch: pytest.MonkeyPatch) -> None:
    """The sweep takes every server that no record claims, whoever's it is."""

    def see(self, listing):
        known = {node.external_id for node in self.nodes().values()}
        tag = Tag(deployment=self.deployment, node_id=NodeId("0000000001"))
        rows = [x for x in listing.instances if x.state is not InstanceState.GONE]
        seen = {x.external_id: tag for x in rows if x.external_id not in known}
        self._note(ResourceKind.SERVER, seen)

    patch.setattr(Sweep, "see", see)


def asks_since_our_own_clock(patch: pytest.MonkeyPatch) -> None:
    """Lists of changes are asked for from our own clock's time on, not from the cloud's."""
    furnish = RunningProvider._furnish

    def furnish_with_our_clock(self, connected):
        works = furnish(self, connected)
        ask = works.provider.list
        last = [None]

        async def listed(since):
            asked_at = self._world.wall()
            found = await ask(None if since is None else last[0])
            last[0] = stamp(asked_at)
            return found

        patch.setattr(works.watcher._provider, "list", listed, raising=False)
        return works

    patch.setattr(RunningProvider, "_furnish", furnish_with_our_clock)


def stamp(at: float) -> str:
    """A time as Nova writes it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def cancel_calls_the_cloud(patch: pytest.MonkeyPatch) -> None:
    """A cancelled request's servers are deleted by the cancelling call, which then forgets them."""

    def released(self, request, now):
        changes = []
        for node_id in self._fleet.slots.get(request.id, {}):
            node = self._store.head(Node, node_id)
            if node is None or node.allocated_to != request.id:
                continue
            gone = node.became(NodeState.DELETING, now).became(NodeState.GONE, now)
            changes.append(Change(node, gone, archive=True))
        return changes

    cancel = Port.cancel

    async def cancel_and_delete(self, request_id):
        slots = list(self._fleet.slots.get(request_id, {}).values())
        answer = await cancel(self, request_id)
        for node in slots:
            running = self._scheduling._providers[node.provider]
            if node.server is None or node.server.external_id is None or running._works is None:
                continue
            tag = Tag(deployment=running._deployment, node_id=node.id)
            with contextlib.suppress(CloudError):
                await running._works.provider.delete_step(node.server, tag)
        return answer

    patch.setattr(Port, "_released", released)
    patch.setattr(Port, "cancel", cancel_and_delete)


def sweeps_at_first_sight(patch: pytest.MonkeyPatch) -> None:
    """One sighting of a leak is held to be proof."""
    patch.setattr(sweep, "SIGHTINGS", 1)


# --------------------------------------------- chosen from the code, the oracle not being known


def fulfils_in_two_commits(patch: pytest.MonkeyPatch) -> None:
    """That a request is fulfilled is one commit, and that its nodes are leased the next."""
    fulfil, act = Scheduling._fulfil, Scheduling._act
    later = []

    def request_only(self, decision):
        changes = fulfil(self, decision)
        later.append([x for x in changes if isinstance(x.after, Node)])
        return [x for x in changes if not isinstance(x.after, Node)]

    async def act_in_two(self, found, nursery):
        later.clear()
        await act(self, found, nursery)
        for changes in later:
            with contextlib.suppress(ConflictError):
                await self._store.commit(changes)

    patch.setattr(Scheduling, "_fulfil", request_only)
    patch.setattr(Scheduling, "_act", act_in_two)


def tells_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    """Views, events and answers follow a commit before it is synced."""

    async def publish_first(self):
        batch = self._batch
        for staged in batch.staged:
            self._publish(staged.committed)
        patched, self._publish = self._publish, lambda _: None
        try:
            await write(self)
        finally:
            self._publish = patched

    write = Store._write_batch
    patch.setattr(Store, "_write_batch", publish_first)


def numbers_nodes_by_those_alive(patch: pytest.MonkeyPatch) -> None:
    """After a restart node numbers go on behind the highest one that is still there."""
    opened = SimulatedLog.open

    async def open_and_count(self):
        contents = await opened(self)
        highest = max((int(x.key[1]) for x in contents.records if x.key[0] == "node"), default=0)
        rows = []
        for row in contents.records:
            if row.key == ("meta", "store"):
                meta = json.loads(row.value)
                meta["next_node"] = highest + 1
                row = attrs.evolve(row, value=json.dumps(meta))
            rows.append(row)
        return attrs.evolve(contents, records=tuple(rows))

    patch.setattr(SimulatedLog, "open", open_and_count)


def takes_an_accepted_delete_for_gone(patch: pytest.MonkeyPatch) -> None:
    """A deletion that the cloud has accepted is concluded at once."""

    async def at_once(*_):
        return True

    patch.setattr(Life, "_seen_gone", at_once)


def looks_once_for_a_doubted_server(patch: pytest.MonkeyPatch) -> None:
    """A node whose create is in doubt is deleted after one look, not when it had its time."""

    async def once(self, node, _resource):
        found = await self.provider.find(self._tag(node), node.hostname)
        return found.external_id if found is not None else None

    patch.setattr(Life, "_find_doubted", once)


def launches_without_deadline(patch: pytest.MonkeyPatch) -> None:
    """A launch that does not end is waited for."""
    patch.setattr(Life, "_left_s", lambda *_: math.inf)


def forgets_doubted_floating_ips(patch: pytest.MonkeyPatch) -> None:
    """A floating IP whose answer was lost is not looked for when its node is deleted."""
    delete = Life._delete_resource

    async def forget(self, node, resource):
        if resource.kind is ResourceKind.FLOATING_IP and resource.external_id is None:
            return await self._records.forget(node.id, resource)
        return await delete(self, node, resource)

    patch.setattr(Life, "_delete_resource", forget)


def never_looks_again(patch: pytest.MonkeyPatch) -> None:
    """The planner runs when something was recorded, and never because time has passed."""
    patch.setattr(scheduling, "RESYNC_S", 1e9)


def gives_up_launches_at_a_start(patch: pytest.MonkeyPatch) -> None:
    """What was building when the daemon ended is failed when it starts, instead of resumed."""
    work = RunningProvider._work_connected

    async def give_up_first(self, connected):
        for node in list(self.nodes().values()):
            if node.state is NodeState.BUILDING and node.server is not None:
                failed = node.became(NodeState.FAILED, self._world.wall(), fault="restarted")
                await self._store.commit([Change(node, failed)])
        await work(self, connected)

    patch.setattr(RunningProvider, "_work_connected", give_up_first)
