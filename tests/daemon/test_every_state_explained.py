"""Whatever state a request or a node of a daemon in trouble is in, `explain` says why (P8)."""

import pytest
import trio

from tests.daemon.stage import MINUTE, Stage
from trellis.model.names import NodeId, RequestId
from trellis.model.node import Node, NodeState
from trellis.model.request import Ask, NodeRequest, RequestState
from trellis.model.status import Health
from trellis.sim.cloud.fault_spec import Faults
from trellis.sim.cloud.spec import CloudSpec, Quota

pytestmark = pytest.mark.slow

TEXT = """
deployment: stage
labels: [{name: small, min-ready: 1, max-ready-age: 5m}, {name: large}, {name: huge}]
lease-ttl: 1m
max-hold-age: 5m
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    pools: &pools
      - name: main
        max-servers: 6
        labels:
          - {name: small, cloud-image: tiny, flavor-name: ci-1c-1g}
          - {name: large, cloud-image: tiny, flavor-name: ci-2c-4g}
          - {name: huge, cloud-image: nowhere, flavor-name: ci-2c-4g}
  - {name: beta, type: openstack, cloud: beta, pools: *pools}
"""
TROUBLE = Faults(boot_error=0.25, no_valid_host=0.25, stuck_delete=0.2, stuck_delete_s=200.0)


class Asker:
    """Has everything explained, as it is met and again when it is over.

    Attributes:
        met: the states in which something was explained, by kind.
    """

    def __init__(self, stage, core):
        self.stage, self.core = stage, core
        self.met = {NodeState: set(), RequestState: set()}
        self._changed, self._news = set(), trio.Event()
        core.store.subscribe(self._see)

    def _see(self, batch):
        for change in batch.changes:
            if isinstance(change.after, Node | NodeRequest):
                self._changed.add((type(change.after), change.after.id))
                self._news.set()

    async def run(self):
        """Ask after everything that has changed, at once, for ever."""
        while True:
            await self._news.wait()
            changed, self._changed, self._news = self._changed, set(), trio.Event()
            for kind, subject in sorted(changed, key=str):
                if kind is Node:
                    await self._node(NodeId(subject))
                else:
                    await self._request(RequestId(subject))

    async def _node(self, node_id):
        found = await self.core.port.explain_node(node_id)
        state = NodeState(found.state)
        self.met[NodeState].add(state)
        self._sound(found, f"node {node_id}", waits=state in WAITING)
        if state in {NodeState.FAILED, NodeState.ABORTED}:
            assert " Reason: " in found.words, found

    async def _request(self, request_id):
        found = await self.core.port.explain_request(request_id)
        state = RequestState(found.state)
        self.met[RequestState].add(state)
        self._sound(found, f"request {request_id}", waits=state in UNSERVED)
        if state is RequestState.FAILED:
            assert "It failed: " in found.words, found
        if state in UNSERVED:
            assert found.estimate_basis, found

    def _sound(self, found, subject, *, waits):
        """It is about this, in words, with where it came from, and what it waits for if it does."""
        assert found.subject == subject
        assert found.words.rstrip().endswith((".", ")")), found
        assert "None" not in found.words, found
        assert bool(found.waits_for) >= waits, found
        assert found.history, found
        times = [event.at for event in found.history]
        assert times == sorted(times), found
        assert found.since <= self.stage.wall(), found


WAITING = {
    NodeState.BUILDING,
    NodeState.READY,
    NodeState.IN_USE,
    NodeState.HOLD,
    NodeState.DELETING,
}
UNSERVED = {RequestState.REQUESTED, RequestState.PENDING}


async def demand(stage, core):
    """Requests of every kind: served, expired, released, held, cancelled, hopeless."""

    async def one(labels, then):
        request = await core.port.submit(Ask(labels=labels, requestor="test"))
        with trio.move_on_after(2 * MINUTE):
            request = await core.port.wait(request.id)
        if then == "cancel" or request.state is not RequestState.FULFILLED:
            await core.port.cancel(request.id)
        elif then == "hold":
            await core.port.hold(request.nodes[0], by="ann", reason="to look at it")
        elif then == "release":
            await stage.release(request)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            for then in ("release", "hold", "expire"):
                nursery.start_soon(one, ("small",), then)
            nursery.start_soon(one, ("large", "small", "small"), "release")
            nursery.start_soon(one, ("huge",), "cancel")
            nursery.start_soon(one, ("large",) * 7, "cancel")
            await trio.sleep(MINUTE)


async def test_every_state_that_is_met_is_explained(tmp_path, autojump_clock):
    """Live and gone, on clouds that refuse, fail, and will not delete; one of them goes away."""
    alpha = CloudSpec(name="alpha", faults=TROUBLE, quota=Quota(instances=5))
    stage = Stage(tmp_path, configuration=TEXT, alpha=alpha)
    async with stage.running() as core, trio.open_nursery() as nursery:
        asker = Asker(stage, core)
        nursery.start_soon(asker.run)
        await stage.becomes(Health.AVAILABLE)
        for _ in range(10):  # which of them are met is chance
            await demand(stage, core)
            await trio.sleep(20 * MINUTE)
            if asker.met == {NodeState: set(NodeState), RequestState: set(RequestState)}:
                break
        nursery.cancel_scope.cancel()

    assert asker.met[NodeState] == set(NodeState)
    assert asker.met[RequestState] == set(RequestState)
