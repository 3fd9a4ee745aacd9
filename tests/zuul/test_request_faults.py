"""Whatever happens between any two calls, each request ends well and nothing is left."""

import json
from collections.abc import Callable

import pytest
import trio

from tests.zuul.request_stage import RequestStage, the_request_stage
from trellis.sim.zookeeper import Called, Latency, Strike
from trellis.zookeeper.errors import NoSuchZnodeError
from trellis.zookeeper.session import Create, Delete, Write

START_S = 15.0
"""By then the pools have settled."""

STRIDE = 4
"""Every so many-th call is struck, another one by each strike: each alone takes a minute."""

Meddle = Callable[[Called], Strike | None]


def at_call(stage: RequestStage, number: int, meddle: Meddle, *, writes: bool = False) -> list[str]:
    """Have something happen as Trellis makes its so many-th call from now on; what call it was."""
    seen: list[str] = []
    hit: list[str] = []

    def on_call(called: Called) -> Strike | None:
        if called.who != "trellis" or (writes and not called.call.writes):
            return None
        seen.append(called.call.name)
        if len(seen) != number:
            return None
        hit.append(f"{called.call.name} {called.call.path}")
        return meddle(called)

    stage.zookeeper.on_call = on_call
    return hit


async def use_when_fulfilled(stage: RequestStage, request: str) -> None:
    answered = await stage.becomes(request, "fulfilled", within_s=400)
    await stage.use(request, *answered["nodes"])


def assert_single_use(stage: RequestStage) -> None:
    """No node of Trellis's was locked by an executor under two znodes."""
    marks = {
        one.path: json.loads(one.data)["driver_data"]["trellis"]["node"]
        for one in stage.zookeeper.history
        if one.path.count("/") == 3 and one.path.startswith("/nodepool/nodes/") and one.data
        if json.loads(one.data).get("driver_data")
    }
    locked = {
        one.path.rsplit("/", 2)[0]
        for one in stage.zookeeper.history
        if one.who == "executor" and "/lock/" in one.path
    }
    used = [marks[path] for path in locked if path in marks]
    assert len(used) == len(set(used))


@pytest.mark.slow
@pytest.mark.parametrize("strike", list(Strike), ids=[one.name.lower() for one in Strike])
async def test_a_connection_or_session_lost_at_any_call_loses_nothing(strike, autojump_clock):
    number = list(Strike).index(strike) + 1 - STRIDE
    while True:
        number += STRIDE
        async with the_request_stage(latency=Latency(), seed=number) as stage, stage.serving():
            await trio.sleep(START_S)
            hit = at_call(stage, number, lambda _called: strike)
            requests = [await stage.ask("small", "large"), await stage.ask("small")]
            async with trio.open_nursery() as nursery:
                for request in requests:
                    nursery.start_soon(use_when_fulfilled, stage, request)
            try:
                await stage.all_ends()
                assert_single_use(stage)
            except AssertionError as error:
                raise AssertionError(f"call {number}, {hit}: {error}") from error
        if not hit:
            break
    assert number > 40


@pytest.mark.slow
@pytest.mark.parametrize("strike", list(Strike), ids=[one.name.lower() for one in Strike])
async def test_a_connection_or_session_lost_at_any_call_while_it_starts(strike, autojump_clock):
    number = list(Strike).index(strike) + 1 - STRIDE
    while True:
        number += STRIDE
        async with the_request_stage(latency=Latency(), seed=number) as stage:
            request = await stage.ask()
            hit = at_call(stage, number, lambda _called: strike)
            async with stage.serving():
                await use_when_fulfilled(stage, request)
                await stage.all_ends()
        if not hit:
            break
    assert number > 25


async def test_a_request_deleted_before_any_write_leaves_nothing(autojump_clock):
    number = 0
    while True:
        number += 1
        async with the_request_stage(latency=Latency(), seed=number) as stage, stage.serving():
            await trio.sleep(START_S)
            request = await stage.ask("small", "large")

            def cancel(_called: Called, stage=stage, request=request) -> None:
                path = f"/nodepool/requests/{request}"
                try:
                    stage.zookeeper.carry_out(stage.session, (Delete(path=path),))
                except NoSuchZnodeError:
                    return

            hit = at_call(stage, number, cancel, writes=True)
            await stage.becomes(request, None, "fulfilled")
            await trio.sleep(1)
            if hit:
                assert await stage.state(request) is None
                await stage.all_ends()
                done = [(one.happened.value, one.path) for one in stage.zookeeper.history]
                after = done[done.index(("deleted", f"/nodepool/requests/{request}")) :]
                made = [path for what, path in after if what == "made" and "/lock" not in path]
                assert not [path for path in made if path.count("/") == 3 and "pool/nodes" in path]
        if not hit:
            break
    assert number == 4  # pool, take-over, nodes, answer: one call after the other


async def test_nodes_of_a_request_deleted_before_they_are_shown_serve_others(autojump_clock):
    """Those were never handed out: deleting them would waste a boot."""
    async with the_request_stage(latency=Latency()) as stage, stage.serving():
        await trio.sleep(START_S)
        request = await stage.ask()
        await stage.becomes(request, "pending")

        def cancel(called: Called) -> None:
            if called.who == "trellis" and called.call.path.startswith("/nodepool/nodes/"):
                stage.zookeeper.on_call = None
                path = f"/nodepool/requests/{request}"
                stage.zookeeper.carry_out(stage.session, (Delete(path=path),))

        stage.zookeeper.on_call = cancel
        await stage.all_ends()

        (node,) = stage.port.nodes.values()
        assert ("ready", None) == (node.state.value, node.allocated_to)
        assert ["give_back"] == [what for what, _one in stage.port.said]


async def test_a_request_written_by_others_before_any_write_is_served_all_the_same(autojump_clock):
    """A careless tool writes it without its lock: what it wrote is not lost."""
    number = 0
    while True:
        number += 1
        async with the_request_stage(latency=Latency(), seed=number) as stage, stage.serving():
            await trio.sleep(START_S)
            request = await stage.ask("small")

            def touch(_called: Called, stage=stage, request=request) -> None:
                path = f"/nodepool/requests/{request}"
                document = json.loads(stage.zookeeper.tree.znode(path, "get").data)
                data = json.dumps({**document, "touched": True}).encode()
                stage.zookeeper.carry_out(stage.session, (Write(path=path, data=data),))

            hit = at_call(stage, number, touch, writes=True)
            answered = await stage.becomes(request, "fulfilled")
            assert bool(hit) is ("touched" in answered)
            await stage.use(request, *answered["nodes"])
            await stage.all_ends()
            assert_single_use(stage)
        if not hit:
            break
    assert number > 4


@pytest.mark.parametrize("serves", [True, False], ids=["serves", "gives-up"])
async def test_another_launcher_may_take_the_request_before_any_call(serves, autojump_clock):
    """Whoever has the lock serves; if he gives up, Trellis does."""
    number = 0
    while True:
        number += 1
        async with (
            the_request_stage(latency=Latency(), seed=number) as stage,
            stage.another("nodepool") as other,
            stage.serving(),
        ):
            await trio.sleep(START_S)
            request = await stage.ask("small")
            took = trio.Event()
            contender: list[str] = []

            def take(
                _called: Called, stage=stage, request=request, other=other, took=took, by=contender
            ) -> None:
                path = f"/nodepool/requests/{request}"
                folder = f"/nodepool/requests-lock/{request}"
                if (znode := stage.zookeeper.tree.find(path)) is None:
                    return
                document = json.loads(znode.data)
                found = stage.zookeeper.tree.find(folder)
                if document["state"] != "requested" or (found is not None and found.children):
                    return
                if found is None:
                    stage.zookeeper.carry_out(other, (Create(path=folder),))
                name = f"{folder}/{'0' * 32}__lock__"
                create = Create(path=name, ephemeral=True, sequence=True)
                by.extend(stage.zookeeper.carry_out(other, (create,)))
                data = json.dumps({**document, "state": "pending"}).encode()
                stage.zookeeper.carry_out(other, (Write(path=path, data=data),))
                took.set()

            hit = at_call(stage, number, take)
            with trio.move_on_after(30):
                await took.wait()
                await trio.sleep(20)
            if contender:
                document = await stage.read(request)
                assert document is not None
                assert "pending" == document["state"]
                assert [] == await stage.nodes()
                if serves:
                    await stage.write(request, state="fulfilled", nodes=[])
                    await other.delete(contender[0])
                    await trio.sleep(5)
                    await stage.cancel(request)
                else:
                    await stage.write(request, state="requested", declined_by=["nodepool"])
                    await other.delete(contender[0])
            if not contender or not serves:
                await use_when_fulfilled(stage, request)
            await stage.all_ends()
            assert_single_use(stage)
        if not hit:
            break
    assert number > 10


async def test_a_daemon_that_is_killed_at_any_call_goes_on_where_it_was(autojump_clock):
    """Its session lives on for ten seconds, with its locks; what Trellis launches goes on."""
    number = 0
    while True:
        number += 1
        async with the_request_stage(latency=Latency(), seed=number) as stage:
            request = ""
            async with trio.open_nursery() as nursery:
                dead = trio.Event()

                def kill(_called: Called, stage=stage, dead=dead) -> Strike:
                    dead.set()
                    return Strike.LOST_CALL

                nursery.start_soon(stage.source().run, stage.port)
                await trio.sleep(START_S)
                hit = at_call(stage, number, kill)
                request = await stage.ask("small", "small")
                with trio.move_on_after(20):
                    await dead.wait()
                # kill -9: its sessions say nothing.
                for session in stage.zookeeper.sessions:
                    if session.who == "trellis":
                        stage.zookeeper.abandon(session)
                nursery.cancel_scope.cancel()
            stage.zookeeper.on_call = None
            async with stage.serving():
                await use_when_fulfilled(stage, request)
                await stage.all_ends()
                assert_single_use(stage)
            assert 1 == len(stage.port.submitted), "a launch under way was given up"
        if not hit:
            break
    assert number > 10


async def test_zookeeper_paused_for_a_minute_loses_nothing(autojump_clock):
    async with the_request_stage(latency=Latency()) as stage, stage.serving():
        await trio.sleep(START_S)
        requests = [await stage.ask() for _ in range(20)]
        async with trio.open_nursery() as nursery:
            await trio.sleep(1.5)
            stage.zookeeper.pause(60)
            await trio.sleep(61)
            for request in requests:
                nursery.start_soon(survive, stage, request)
        async with stage.another("zuul") as stage.session:  # the first may have expired, too
            await stage.all_ends()
        assert_single_use(stage)


async def survive(stage: RequestStage, request: str) -> None:
    """Use it when it is fulfilled; the session of whoever looks may break."""
    async with stage.another("scheduler") as session:
        while True:
            try:
                data, _stat = await session.get(f"/nodepool/requests/{request}")
                document = json.loads(data)
                if document["state"] == "fulfilled":
                    break
            except NoSuchZnodeError:
                raise AssertionError(f"{request} is gone") from None
            await trio.sleep(0.5)
    await stage.use(request, *document["nodes"])


async def test_a_node_that_an_operator_deletes_before_the_answer_does_not_hold_it_up(
    autojump_clock,
):
    """The other node of the request has a znode, and would keep the old request for ever."""
    async with the_request_stage(latency=Latency()) as stage, stage.serving():
        await trio.sleep(START_S)
        made: list[str] = []

        def on_call(called: Called) -> Strike | None:
            znodes = sorted(stage.zookeeper.tree.znode("/nodepool/nodes").children)
            if made or called.who != "trellis" or called.call.name != "transact" or not znodes:
                return None
            made.extend(znodes)
            gone = Delete(path=f"/nodepool/nodes/{znodes[0]}")
            stage.zookeeper.carry_out(stage.session, (gone,))
            return Strike.LOST_CALL

        stage.zookeeper.on_call = on_call
        request = await stage.ask("small", "large")
        await stage.becomes(request, "pending")
        await trio.sleep(30)
        stage.zookeeper.on_call = None

        answered = await stage.becomes(request, "fulfilled", within_s=60)

        assert 2 == len(made)
        assert len(stage.writes_of_trellis()) < 60
        await stage.use(request, *answered["nodes"])
        await stage.all_ends()
