"""An operator removes the znode of a node by hand, at any moment: the request ends well.

He removes it with all that is below it, as the tools for it do.
"""

from contextlib import suppress

import pytest
import trio
from trellis_zuul.marks import Marks
from trellis_zuul.mirror import Znode
from trellis_zuul.node_wire import Mark

from tests.zuul.request_stage import RequestStage, the_request_stage
from tests.zuul.test_request_faults import START_S, assert_single_use
from trellis.model.node import NodeState
from trellis.sim.zookeeper import Called, Latency, Strike
from trellis.zookeeper.errors import NoSuchZnodeError
from trellis.zookeeper.session import Delete

NODES = "/nodepool/nodes"


def paths_below(stage: RequestStage, path: str) -> list[str]:
    """All below a path and itself, the deepest first."""
    names = sorted(stage.zookeeper.tree.znode(path, "list").children)
    below = [one for name in names for one in paths_below(stage, f"{path}/{name}")]
    return [*below, path]


class Operator:
    """Removes a node's znode as Trellis makes its so many-th call since there is one.

    Attributes:
        removed: what he removed.
        calls: those of Trellis since then, by name and path.
    """

    def __init__(self, stage: RequestStage, which: int, number: int) -> None:
        self._stage, self._which, self._number = stage, which, number
        self._seen = 0
        self.removed: str | None = None
        self.calls: list[str] = []
        stage.zookeeper.on_call = self._called

    def _called(self, called: Called) -> None:
        if called.who != "trellis":
            return
        if self.removed is not None:
            self.calls.append(f"{trio.current_time():.3f} {called.call.name} {called.call.path}")
            return
        znodes = sorted(self._stage.zookeeper.tree.znode(NODES, "list").children)
        if not znodes:
            return
        self._seen += 1
        if self._seen == self._number and self._which < len(znodes):
            self.removed = f"{NODES}/{znodes[self._which]}"
            deletes = [Delete(path=path) for path in paths_below(self._stage, self.removed)]
            self._stage.zookeeper.carry_out(self._stage.session, deletes)


async def serve_like_zuul(stage: RequestStage, request: str) -> bool:
    """Have an executor use the nodes; where one is not there the job fails. Whether it did not."""
    answered = await stage.becomes(request, "fulfilled", within_s=120)
    try:
        await stage.use(request, *answered["nodes"])
    except NoSuchZnodeError:
        with suppress(NoSuchZnodeError):
            await stage.cancel(request)
        return False
    return True


@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
async def test_removed_at_any_call_the_request_ends_well(which, autojump_clock):
    """Before the answer it gets other nodes; afterwards the job fails, as with any launcher."""
    number, well = 0, 0
    while True:
        number += 1
        async with the_request_stage(latency=Latency(), seed=number) as stage, stage.serving():
            await trio.sleep(START_S)
            operator = Operator(stage, which, number)
            request = await stage.ask("small", "large")
            try:
                well += await serve_like_zuul(stage, request)
                await stage.all_ends()
                assert_single_use(stage)
                assert len(operator.calls) < 150
            except AssertionError as error:
                first = operator.calls[:40]
                raise AssertionError(
                    f"call {number}, {operator.removed} {first}: {error}"
                ) from error
        if operator.removed is None:
            break
    assert number > 8
    assert well >= 1


@pytest.mark.parametrize("after_s", [0.0, 1.0, 6.0, 11.0, 14.0, 40.0])
async def test_removed_at_any_time_the_request_ends_well(after_s, autojump_clock):
    """Not only as Trellis does something: also while its executor uses it, and long afterwards."""
    async with the_request_stage(latency=Latency()) as stage, stage.serving():
        await trio.sleep(START_S)
        request = await stage.ask("small", "large")

        async def remove() -> None:
            while not stage.zookeeper.tree.znode(NODES, "list").children:  # noqa: ASYNC110
                await trio.sleep(0.01)
            path = f"{NODES}/{min(stage.zookeeper.tree.znode(NODES, 'list').children)}"
            await trio.sleep(after_s)
            with suppress(NoSuchZnodeError):
                deletes = [Delete(path=one) for one in paths_below(stage, path)]
                stage.zookeeper.carry_out(stage.session, deletes)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(remove)
            await serve_like_zuul(stage, request)
        await stage.all_ends()
        assert_single_use(stage)


async def test_removed_while_the_daemon_is_away_its_node_is_released(autojump_clock):
    """The other node of the request has a znode, and its life goes on."""
    async with the_request_stage(latency=Latency()) as stage:
        async with stage.serving():
            await trio.sleep(START_S)
            request = await stage.ask("small", "large")
            answered = await stage.becomes(request, "fulfilled")
        first, _second = answered["nodes"]
        await stage.session.delete(f"{NODES}/{first}")

        async with stage.serving():
            await trio.sleep(60)

            gone = [node for node in stage.port.nodes.values() if node.state is NodeState.GONE]
            assert ["small"] == [node.label for node in gone]
            await stage.cancel(request)
            await stage.all_ends()


async def test_what_may_have_been_used_before_it_was_removed_is_never_given_back(autojump_clock):
    """The connection breaks at the answer; when it is back there is nothing left of the request."""
    async with the_request_stage(latency=Latency()) as stage, stage.serving():
        await trio.sleep(START_S)
        request = await stage.ask("small")
        struck: list[str] = []

        def on_call(called: Called) -> Strike | None:
            znodes = sorted(stage.zookeeper.tree.znode(NODES, "list").children)
            if called.who != "trellis" or not znodes:
                return None
            if not struck and called.call.name == "transact":
                struck.extend(znodes)
                return Strike.LOST_ANSWER
            if struck and stage.zookeeper.tree.find(f"/nodepool/requests/{request}") is not None:
                deletes = [Delete(path=path) for path in paths_below(stage, f"{NODES}/{struck[0]}")]
                deletes.append(Delete(path=f"/nodepool/requests/{request}"))
                stage.zookeeper.carry_out(stage.session, deletes)
            return None

        stage.zookeeper.on_call = on_call
        await stage.becomes(request, None)
        await stage.all_ends()

        assert struck
        assert "give_back" not in {what for what, _node in stage.port.said}


class PlayedMirror:
    """Shows nothing but what the test says."""

    def tell(self, told):
        self.told = told

    def __contains__(self, _path):
        return False


async def test_one_that_the_mirror_shows_while_it_is_asked_for_is_left_to_its_own_life(
    autojump_clock,
):
    """Made and removed, it is shown as both at last: that life has seen to its node."""
    mirror, name = PlayedMirror(), "0000000001"
    marks = Marks(mirror, deployment="ours", source="zuul")
    mark = Mark(deployment="ours", source="zuul", node="0000000007", request="request")
    marks.made(name, mark)
    await trio.sleep(6.0)
    assert {name: mark} == marks.unseen(5.0)

    mirror.told(f"{NODES}/{name}", None, Znode())

    assert not marks.forget_unseen(name)
    assert {} == marks.unseen(0.0)
