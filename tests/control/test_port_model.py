"""The demand port against a tiny model of what its sources believe, with kills at any moment (P1).

The model knows of each node only who has been told that it is his. All else follows from the
records, which have to agree with one another after every single commit.
"""

from contextlib import suppress
from random import Random

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.control.port_ground import Ground, an_ask
from trellis.control.fleet import Fleet
from trellis.errors import AlreadyDoneError, FencedError
from trellis.model.node import Node, NodeState
from trellis.model.records import Change
from trellis.model.request import Ask, Lease, NodeRequest, RequestState

PATIENCE_S = 3600.0
OUT = (NodeState.READY, NodeState.IN_USE)

some = st.integers(0, 7)
COMMON = (
    *(("take", 0, 7), ("take", 1, 1), ("give_back", 0, 7), ("give_back", 1, 1)),
    *(("release", 0, 7), ("release", 1, 1), ("hold", 0, 1, "zuul"), ("hold", 1, 1, "ada")),
    *(
        ("served", 2),
        ("served", 1),
        ("wait", 30.0),
        ("cancel", 0),
        ("die", 0),
        ("ask", 2, False, True),
    ),
)
KILLS = (None, None, 0.0, 0.0005, 0.001, 0.002, 0.003)
common = st.sampled_from(COMMON)
steps = st.one_of(
    common,
    common,
    st.tuples(st.just("ask"), st.integers(1, 3), st.booleans(), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 30.0, 400.0])),
    st.tuples(st.sampled_from(["take", "release", "give_back"]), some, some),
    st.tuples(st.sampled_from(["take", "release", "give_back"]), some, st.just(7)),
    st.tuples(st.just("hold"), some, some, st.sampled_from(["zuul", "ada"])),
    st.tuples(st.sampled_from(["cancel", "die"]), some),
    st.tuples(st.just("rank"), some, st.integers(0, 2)),
    st.tuples(st.just("fail"), st.integers(1, 2)),
)
kills = st.sampled_from(KILLS)
first = st.tuples(st.tuples(st.just("served"), st.integers(1, 3)), st.none())
stories = st.builds(
    lambda one, others: [one, *others],
    first,
    st.lists(st.tuples(steps, kills), min_size=2, max_size=12),
)


class Model:
    """What was asked, and to whom each node was handed out: the first word counts for ever."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.asked: list[str] = []
        self.holder: dict[str, str] = {}
        self.seen = 0

    # -------------------------------------------------------------------- what is done

    async def do(self, step) -> None:
        """Take one step; said again after a kill it must come to the same."""
        port = self.ground.port
        match step:
            case "ask", count, of_source, reuse:
                await self._ask(count, of_source, reuse)
            case "served", count:
                await self._ask(count, True, True)
                with trio.move_on_after(60):  # the clouds may be full
                    await port.wait(self.asked[-1])
            case "wait", seconds:
                await trio.sleep(seconds)
            case "fail", count:
                self.ground.fails += count
            case "take", which, mask:
                if request := self._fulfilled(which):
                    chosen = _chosen(request, mask)
                    for node_id in chosen:
                        node = self.ground.node(node_id)
                        if node is not None and node.given and node.allocated_to == request.id:
                            self.holder.setdefault(node_id, request.id)
                    await port.in_use(self._own(request, chosen))
            case "release" | "give_back" as way, which, mask:
                if request := self._fulfilled(which):
                    chosen = self._own(request, _chosen(request, mask))
                    act = port.release_nodes if way == "release" else port.give_back
                    await act(chosen, why=way)
            case "hold", which, mask, by:
                if request := self._fulfilled(which):
                    for node_id in self._own(request, _chosen(request, mask)):
                        with suppress(AlreadyDoneError):
                            await port.hold(node_id, by=by, reason="to look at it")
            case "cancel", which:
                if self.asked:
                    await port.cancel(self.asked[which % len(self.asked)])
            case "rank", which, rank:
                if self.asked:
                    with suppress(AlreadyDoneError):
                        await port.reprioritise(self.asked[which % len(self.asked)], 200, rank=rank)
            case "die", which:
                request = self._fulfilled(which)
                for node_id in self._own(request, request.nodes) if request else ():
                    await self.ground.lose(node_id)

    async def _ask(self, count: int, of_source: bool, reuse: bool) -> None:
        key = f"key-{len(self.asked)}"
        labels = ("small", "large", "small")[:count]
        if of_source:
            ask = an_ask(labels, idempotency_key=key, reuse=reuse, tenant="acme")
        else:
            ask = Ask(labels=labels, requestor="ada", idempotency_key=key)
        request = await self.ground.port.submit(ask)
        self.asked.append(request.id)

    def _fulfilled(self, which: int) -> NodeRequest | None:
        live = self.ground.port.asked_by("zuul")
        there = [request for request in live if request.state is RequestState.FULFILLED]
        return there[which % len(there)] if there else None

    def _own(self, request: NodeRequest, node_ids) -> list[str]:
        """Those that are still the request's: a source does not speak of others' nodes."""
        found = ((x, self.ground.node(x)) for x in node_ids)
        return [x for x, node in found if node is None or node.allocated_to == request.id]

    # ------------------------------------------------------------------- what must hold

    def check(self) -> None:
        """The records agree with one another, and nobody has what is another's."""
        ground = self.ground
        nodes, leases = ground.store.all(Node), ground.store.all(Lease)
        requests = ground.store.all(NodeRequest)
        for change in ground.history[self.seen :]:
            self._check_change(change)
        self.seen = len(ground.history)
        listed = [node_id for lease in leases.values() for node_id in lease.nodes]
        assert len(listed) == len(set(listed)), "a node is in two leases"
        for lease in leases.values():
            request = requests[lease.request_id]
            assert (request.state, request.lease_id) == (RequestState.FULFILLED, lease.id)
            assert lease.nodes
            assert (lease.expires_at is None) == (request.ask.source is not None)
            for node_id in lease.nodes:
                node = nodes.get(node_id)
                assert node is None or node.lease_id == lease.id
        for request in requests.values():
            assert request.state is not RequestState.FULFILLED or request.lease_id in leases
        for node in nodes.values():
            if node.lease_id is not None and node.state in OUT:
                assert node.id in leases[node.lease_id].nodes, "out, and in no lease"
                assert node.allocated_to == leases[node.lease_id].request_id

    def _check_change(self, change: Change) -> None:
        node = change.after
        assert isinstance(node, Node)
        if node.state is NodeState.IN_USE:
            self.holder.setdefault(node.id, node.allocated_to)
        if node.state is NodeState.READY and node.id in self.holder:
            assert node.allocated_to == self.holder[node.id], "handed out, and another's now"
        if node.state is NodeState.IN_USE:
            assert node.allocated_to == self.holder[node.id]

    def check_indexes(self) -> None:
        """What is counted is what a restart would count."""
        ground, fresh = self.ground, Fleet()
        for cls in (NodeRequest, Lease, Node):
            fresh.load(ground.store.all(cls).values())
        now = ground.fleet
        for name in ("nodes", "requests", "leases", "lease_of", "slots", "by_source", "pending"):
            assert getattr(now, name) == getattr(fresh, name), name
        assert now.tallies.held == fresh.tallies.held
        full = {key: shelf for key, shelf in now.idle.items() if shelf}
        assert full == {key: shelf for key, shelf in fresh.idle.items() if shelf}


def _chosen(request: NodeRequest, mask: int) -> tuple[str, ...]:
    return tuple(x for number, x in enumerate(request.nodes) if mask >> number & 1)


async def _play(story) -> None:
    ground = Ground(most=4, min_ready=1)
    model, left = Model(ground), list(story)
    while True:
        # A kill fences the store, which says so to who still writes.
        with Fenced():
            async with ground.running():
                ground.store.subscribe(lambda _batch: model.check())
                if await _go_on(model, left):
                    await _end(model)
                    return


async def _go_on(model: Model, left) -> bool:
    """Take the steps that are left; False when killed, with the step cut off still to be taken."""
    while left:
        step, kill_after_s = left[0]
        if kill_after_s is None:
            await model.do(step)
            left.pop(0)
            continue
        left[0] = step, None
        asked = len(model.asked)
        with trio.move_on_after(kill_after_s):
            await model.do(step)
        del model.asked[asked:]  # who is killed does not remember the answer
        model.ground.log.crash()
        return False
    model.check_indexes()
    return True


class Fenced:
    """Passes over what a killed store tells, alone or in groups."""

    def __enter__(self) -> None: ...

    def __exit__(self, _type, error, _trace) -> bool:
        if isinstance(error, BaseExceptionGroup):
            return error.split(FencedError)[1] is None
        return isinstance(error, FencedError)


async def _end(model: Model) -> None:
    """Whatever has happened: once all is released, everything ends, and within a bound."""
    ground = model.ground
    await trio.sleep(60)
    for request in list(ground.store.all(NodeRequest).values()):
        await ground.port.cancel(request.id)
    for node in list(ground.store.all(Node).values()):
        if node.state is NodeState.HOLD:
            head = ground.store.head(Node, node.id)
            await ground.store.commit([Change(head, head.became(NodeState.USED, head.state_at))])
    with trio.fail_after(PATIENCE_S):  # noqa: ASYNC912
        while any(node for node in ground.fleet.nodes.values() if not node.idle):  # noqa: ASYNC110
            await trio.sleep(5)
    assert not ground.fleet.requests
    assert not ground.fleet.leases
    assert ground.fleet.tallies.held == {}


@given(story=stories)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_node_reaches_two_and_nothing_is_stuck(story):
    """Whatever a source says in whatever order, and wherever the daemon is killed."""
    trio.run(_play, story, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("seed", range(12))
def test_no_node_reaches_two_in_long_stories_either(seed):
    """What is said most often, in any order; Hypothesis likes to say one thing many times."""
    chance = Random(seed)
    for _ in range(5):
        story = [(("served", 2), None)]
        story += [(chance.choice(COMMON), chance.choice(KILLS)) for _ in range(20)]
        trio.run(_play, story, clock=trio.testing.MockClock(autojump_threshold=0))
