"""A request of Zuul's, from its filing to its answer: the protocol as Zuul speaks it."""

import json

import pytest
import structlog
import trio

from tests.zuul.node_stage import a_fit_node
from tests.zuul.request_stage import a_pool, the_request_stage, wait_for
from trellis.model.request import RequestState
from trellis.sim.zookeeper import Latency


async def test_a_request_is_fulfilled_used_and_nothing_is_left(autojump_clock):
    async with the_request_stage(latency=Latency()) as stage, stage.serving():
        request = await stage.ask("small", "large", "small")

        answered = await stage.becomes(request, "fulfilled")

        assert 3 == len(answered["nodes"])
        await stage.use(request, *answered["nodes"])
        await stage.all_ends()
        assert [] == stage.port.live()


async def test_the_first_writes_are_these_and_no_others(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        await trio.sleep(1)
        stage.zookeeper.history.clear()
        request = await stage.ask()
        await stage.becomes(request, "fulfilled")
        folder = f"/nodepool/requests-lock/{request}"
        done = [
            (what, path.replace(path[len(folder) + 1 : -10], "…") if "__lock__" in path else path)
            for what, path in stage.writes_of_trellis()
        ]

    assert [
        ("made", folder),
        ("made", f"{folder}/…0000000000"),
        ("written", f"/nodepool/requests/{request}"),
        ("made", "/nodepool/nodes/0000000000"),
        ("written", f"/nodepool/requests/{request}"),
        ("deleted", f"{folder}/…0000000000"),
    ] == done


async def test_from_the_znode_to_the_submit_no_time_passes(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        await trio.sleep(20.3)
        await stage.ask()
        await trio.testing.wait_all_tasks_blocked()

        assert 1 == len(stage.port.submitted)


async def test_from_the_ports_fulfilled_to_the_znodes_no_time_passes(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        stage.port.place_s, stage.port.boot_s = 1.0, 7.0
        await trio.sleep(20.3)
        began = trio.current_time()
        request = await stage.ask()
        await wait_for(lambda: bool(stage.port.nodes))
        await trio.testing.wait_all_tasks_blocked()

        assert "fulfilled" == await stage.state(request)
        assert trio.current_time() - began < 8.05


async def test_what_is_asked_of_trellis_is_what_zuul_asks(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        request = await stage.ask(
            "large", "small", precedence="099", provider="alpha", relative_priority=4
        )
        await wait_for(lambda: bool(stage.port.submitted))
        (ask,) = stage.port.submitted

    assert (("large", "small"), "system-1", "acme") == (ask.labels, ask.requestor, ask.tenant)
    assert (99, 4, "alpha", True, "zuul") == (
        ask.priority,
        ask.rank,
        ask.prefers,
        ask.reuse,
        ask.source,
    )
    assert ask.lease_ttl_s is None
    assert {
        "zuul_request": request,
        "zuul_event": "event0",
        "zuul_build_set": "b" * 32,
        "zuul_tenant": "acme",
        "zuul_pipeline": "check",
        "zuul_job": "job",
        "zuul_system": "system-1",
    } == ask.metadata


async def test_reuse_false_is_handed_on(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        await stage.ask(reuse=False)
        await wait_for(lambda: bool(stage.port.submitted))

        assert stage.port.submitted[0].reuse is False


# ------------------------------------------------------------------- until it has a place


async def test_a_request_without_a_place_is_neither_locked_nor_written(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        stage.port.place_s = None
        request = await stage.ask()
        await trio.sleep(100)

        assert "requested" == await stage.state(request)
        assert [] == await stage.contenders()
        assert 1 == len(stage.port.live())


async def test_a_priority_that_zuul_revises_is_taken_up(autojump_clock):
    """Zuul takes the lock for a moment, and writes the whole document with the version it knows."""
    async with the_request_stage(latency=Latency()) as stage, stage.serving():
        stage.port.place_s = None
        request = await stage.ask(relative_priority=20)
        await wait_for(lambda: bool(stage.port.submitted))

        contender = await stage.lock(request, stage.session)
        assert contender is not None
        await stage.write(request, relative_priority=3)
        await stage.session.delete(contender)

        await wait_for(lambda: stage.port.live()[0].ask.rank == 3)
        assert 1 == len(stage.port.submitted)
        assert "cancel" not in dict(stage.port.said)


async def test_a_request_that_zuul_deletes_while_it_waits_is_cancelled(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        stage.port.place_s = None
        request = await stage.ask()
        await wait_for(lambda: bool(stage.port.live()))

        await stage.cancel(request)

        await wait_for(lambda: not stage.port.live())
        await stage.all_ends()


async def test_a_request_that_another_launcher_serves_is_let_go(autojump_clock):
    async with the_request_stage() as stage, stage.serving(), stage.another("nodepool") as other:
        stage.port.place_s = None
        request = await stage.ask()
        await wait_for(lambda: bool(stage.port.live()))

        assert await stage.lock(request, other)
        await stage.write(request, state="pending")

        await wait_for(lambda: not stage.port.live(), within_s=1)


async def test_a_request_that_another_gives_up_is_asked_for_again(autojump_clock):
    async with the_request_stage() as stage, stage.serving(), stage.another("nodepool") as other:
        stage.port.place_s = 30.0
        request = await stage.ask()
        await wait_for(lambda: bool(stage.port.live()))
        contender = await stage.lock(request, other)
        assert contender is not None
        await stage.write(request, state="pending")
        await wait_for(lambda: not stage.port.live())

        await stage.write(request, state="requested", declined_by=["nodepool"])
        await other.delete(contender)

        answered = await stage.becomes(request, "fulfilled")
        assert ["nodepool"] == answered["declined_by"]
        assert 2 == len(stage.port.submitted)


async def test_a_lock_that_somebody_keeps_without_a_word_is_taken_for_service(autojump_clock):
    async with the_request_stage() as stage, stage.serving(), stage.another("nodepool") as other:
        stage.port.place_s = 30.0
        request = await stage.ask()
        await wait_for(lambda: bool(stage.port.live()))
        contender = await stage.lock(request, other)
        assert contender is not None

        await wait_for(lambda: not stage.port.live(), within_s=10)

        await other.delete(contender)
        await stage.becomes(request, "fulfilled")


# --------------------------------------------------------------------- after it has one


async def test_the_lock_is_held_from_the_place_to_the_answer(autojump_clock):
    async with the_request_stage(latency=Latency()) as stage, stage.serving():
        stage.port.boot_s = 50.0
        request = await stage.ask()
        await stage.becomes(request, "pending")

        for _ in range(10):
            assert await stage.lock(request, stage.session) is None
            await trio.sleep(4)
        await stage.becomes(request, "fulfilled")
        await trio.sleep(1)

        assert [] == await stage.contenders()


async def test_unknown_keys_come_back_to_the_bit(autojump_clock):
    """Among them the 128-bit integer of the span, and what a later Zuul may write."""
    later = {"from_the_future": [1e-7, 10**40, {"ü": None}], "z": "☃"}
    async with the_request_stage() as stage, stage.serving():
        request = await stage.ask(**later)
        before = await stage.read(request)
        after = await stage.becomes(request, "fulfilled")

    ours = {"state", "state_time", "nodes"}
    assert before is not None
    assert {k: v for k, v in before.items() if k not in ours} == {
        k: v for k, v in after.items() if k not in ours
    }


async def test_a_node_that_died_before_it_was_handed_out_begins_the_request_anew(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        stage.port.boot_s = 1e9
        request = await stage.ask("small", "small")
        await stage.becomes(request, "pending")
        (asked,) = stage.port.live()
        nodes = [a_fit_node(90, allocated_to=asked.id), a_fit_node(91, allocated_to=asked.id)]
        for node, lost in zip(nodes, (False, True), strict=True):
            stage.port.nodes[node.id] = (
                node if not lost else a_fit_node(91, allocated_to=asked.id, lost=True)
            )
        stage.port.boot_s = 5.0
        stage.port.took(asked.id, RequestState.FULFILLED, nodes=tuple(n.id for n in nodes))

        answered = await stage.becomes(request, "fulfilled")

        assert 2 == len(stage.port.submitted)
        await stage.use(request, *answered["nodes"])


async def test_a_node_without_the_host_keys_it_should_have_is_not_handed_out(autojump_clock):
    """Zuul takes an empty list for leave to check none."""
    async with the_request_stage() as stage, stage.serving():
        await trio.sleep(15)
        stage.port.boot_s = 1e9
        request = await stage.ask()
        await stage.becomes(request, "pending")
        (asked,) = stage.port.live()
        node = a_fit_node(90, allocated_to=asked.id, host_keys=())
        stage.port.nodes[node.id] = node
        stage.port.took(asked.id, RequestState.FULFILLED, nodes=(node.id,))

        await stage.becomes(request, "failed")

        assert [] == await stage.nodes()
        assert [] == stage.port.live()


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"state": "requested"}',
        b'{"state": "requested", "node_types": "small", "requestor": "s"}',
        b'{"state": "requested", "node_types": ["small"], "requestor": 7}',
        b'{"state": "wanted", "node_types": ["small"], "requestor": "s"}',
        b'{"state": "requested", "node_types": ["small"], "requestor": "s", "x": NaN}',
        b'{"state": "requested", "node_types": ["small"], "requestor": "s", "x": ' + b"[" * 100_000,
        b'{"state": "requested", "node_types": ["small"], "requestor": "s", "x": '
        + b"9" * 10_000
        + b"}",
    ],
    ids=[
        "empty",
        "cut-off",
        "no-object",
        "no-utf8",
        "keys-missing",
        "labels-no-list",
        "requestor-no-text",
        "unknown-state",
        "not-a-number",
        "too-deep",
        "number-too-long",
    ],
)
async def test_a_request_that_cannot_be_read_is_left_alone_and_hinders_no_other(
    data, autojump_clock
):
    """Which it is and why is said once; it is neither locked nor answered."""
    with structlog.testing.capture_logs() as logged:
        async with the_request_stage() as stage, stage.serving():
            await trio.sleep(15)
            bad = await stage.put(data)
            good = await stage.ask()
            await stage.becomes(good, "fulfilled")
            await trio.sleep(60)

            found, stat = await stage.session.get(f"/nodepool/requests/{bad}")
            assert (data, 0) == (found, stat.version)
            assert 1 == len(stage.port.submitted)
            assert not [path for _what, path in stage.writes_of_trellis() if bad in path]

    (said,) = [one for one in logged if one["event"] == "zuul_request_unreadable"]
    assert (bad, "warning") == (said["zuul_request"], said["log_level"])
    assert said["why"]


async def test_a_request_that_is_mended_is_served(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        bad = await stage.put(b"{")
        await trio.sleep(5)
        good = json.dumps({"state": "requested", "node_types": ["small"], "requestor": "s"})
        await stage.session.write(f"/nodepool/requests/{bad}", good.encode())

        await stage.becomes(bad, "fulfilled")


async def test_requests_of_nodepool_for_its_own_idle_nodes_are_declined(autojump_clock):
    async with the_request_stage() as stage, stage.another("nodepool") as other:
        await stage.register(other, "nodepool", "small")
        async with stage.serving():
            request = await stage.ask(precedence="900", requestor="NodePool:min-ready")
            await trio.sleep(60)

            assert [] == stage.port.submitted
            assert "requested" == await stage.state(request)


async def test_several_systems_are_served_on_one_tree(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        one = await stage.ask(requestor="system-a")
        two = await stage.ask(requestor="system-b")
        await stage.becomes(one, "fulfilled")
        await stage.becomes(two, "fulfilled")

        assert {"system-a", "system-b"} == {ask.requestor for ask in stage.port.submitted}


async def test_a_changed_offer_is_registered_anew(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        await trio.sleep(5)
        (before,) = await stage.pools()
        stage.port.pools = (a_pool("small"), a_pool("huge", provider="beta"))
        await trio.sleep(5)
        after = await stage.pools()

    assert ["large", "small"] == before["supported_labels"]
    assert [["small"], ["huge"]] == [one["supported_labels"] for one in after]
    assert before["id"] not in {one["id"] for one in after}


async def test_what_is_found_together_is_asked_for_in_zuuls_order(autojump_clock):
    """Precedence, then relative priority, then the sequence."""
    async with the_request_stage() as stage:
        asked = [
            (precedence, rank, await stage.ask(precedence=precedence, relative_priority=rank))
            for rank in (10, 0, 3)
            for precedence in ("300", "100", "200")
            for _ in range(7)
        ]
        async with stage.serving():
            await wait_for(lambda: len(stage.port.submitted) == len(asked))

        submitted = [ask.metadata["zuul_request"] for ask in stage.port.submitted]
        assert [name for _precedence, _rank, name in sorted(asked)] == submitted


async def test_a_life_that_crashes_takes_no_other_with_it_and_begins_again(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        await trio.sleep(5)
        real, failures = stage.port.submit, iter([RuntimeError("a bug"), RuntimeError("again")])

        async def submit(ask):
            if ask.labels == ("large",) and (failure := next(failures, None)):
                raise failure
            return await real(ask)

        stage.port.submit = submit
        one = await stage.ask("large")
        two = await stage.ask("small")
        await stage.becomes(two, "fulfilled", within_s=8)
        await stage.becomes(one, "fulfilled", within_s=20)
