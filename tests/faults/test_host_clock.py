"""The clock of the daemon's host is wrong: nothing is given up early, nothing is kept late."""

import pytest
import trio

from tests.daemon.stage import CONFIGURATION, MINUTE, Stage, hanging, wall
from trellis.control.leases import GRACE_S
from trellis.model.node import NodeState
from trellis.model.request import Ask, RequestState
from trellis.model.status import Health
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import CloudSpec, Faults, FaultWindow

pytestmark = pytest.mark.slow

HOUR = 60 * MINUTE
DAY = 24 * HOUR
LEASE_S = 15 * MINUTE
JUMPS = [-DAY, -600.0, 60.0, DAY]


class Host:
    """A wall clock that can be set."""

    def __init__(self, stage: Stage):
        self.set_by = 0.0
        stage.wall = self

    def __call__(self):
        return wall() + self.set_by


@pytest.mark.parametrize("by_s", JUMPS)
async def test_no_lease_moves_with_the_clock(by_s, tmp_path, autojump_clock):
    """A quarter of an hour is one, wherever the hands stand: the node goes then, and not before."""
    stage = Stage(tmp_path, configuration=CONFIGURATION + f"lease-ttl: {LEASE_S:g}\n")
    host = Host(stage)
    async with stage.running() as core:
        request = await stage.served(await stage.ask())
        granted_at = trio.current_time()
        await trio.sleep(MINUTE)
        host.set_by = by_s
        while (await core.port.request(request.id)).state is RequestState.FULFILLED:  # noqa: ASYNC110
            await trio.sleep(5.0)

        lasted_s = trio.current_time() - granted_at
        assert 0.95 * LEASE_S <= lasted_s <= 1.08 * LEASE_S
        assert [by_s] == [e["by_s"] for e in stage.events if e["event"] == "clock_jumped"]


@pytest.mark.parametrize("by_s", JUMPS)
async def test_a_lease_outlives_a_jump_while_nobody_looked(by_s, tmp_path, autojump_clock):
    """A clock set while the daemon was down: ten minutes at least, and never a day more."""
    stage = Stage(tmp_path, configuration=CONFIGURATION + f"lease-ttl: {LEASE_S:g}\n")
    host = Host(stage)
    async with stage.running():
        request = await stage.served(await stage.ask())
    host.set_by = by_s
    began_at = trio.current_time()
    async with stage.running() as core:
        while (await core.port.request(request.id)).state is RequestState.FULFILLED:  # noqa: ASYNC110
            await trio.sleep(5.0)

        lasted_s = trio.current_time() - began_at
        assert GRACE_S <= lasted_s <= 1.08 * LEASE_S


async def test_a_clock_that_was_ahead_once_is_told_of_and_caught_up_with(tmp_path, autojump_clock):
    """The first start was an hour early; times shown come back, the more so over a restart."""
    stage = Stage(tmp_path)
    host = Host(stage)
    host.set_by = HOUR
    behind = []
    async with stage.running():
        await stage.served(await stage.ask())
    host.set_by = 0.0
    for _ in range(3):
        stage.seed += 1
        async with stage.running():
            await stage.served(await stage.ask())
            await trio.sleep(10 * MINUTE)
            behind += [e["by_s"] for e in stage.events if e["event"] == "clock_behind_store"]
        await trio.sleep(10 * MINUTE)

    assert behind == sorted(behind, reverse=True)
    assert len(behind) == 3
    assert behind[0] == pytest.approx(HOUR, abs=1.0)
    assert behind[-1] < HOUR - 2 * 9 * MINUTE


@pytest.mark.parametrize("when", ["running", "down"])
@pytest.mark.parametrize("by_s", [600.0, DAY])
async def test_a_create_in_doubt_keeps_its_time(by_s, when, tmp_path, autojump_clock):
    """Its server appears 100 s after the call, the clock jumps before that: it is taken up."""
    lost = Faults(lose_answer=1.0, appear_late=1.0, appear_late_s=(100.0, 100.0))
    window = FaultWindow(start=0.0, end=15.0, faults=lost)
    stage = Stage(tmp_path, alpha=CloudSpec(name="alpha", fault_windows=(window,)))
    host = Host(stage)
    events = []
    async with stage.running() as core:
        await stage.ask("alpha")
        while not any(method == "POST" and "servers" in path for _, method, path in stage.calls):  # noqa: ASYNC110
            await trio.sleep(0.5)
        await trio.sleep(5.0)
        if when == "running":
            host.set_by = by_s
            await trio.sleep(12 * MINUTE)
        events += stage.events
    if when == "down":
        host.set_by = by_s
        async with stage.running() as core:
            await trio.sleep(12 * MINUTE)
            events += stage.events
    node = core.fleet.nodes.get("0000000001")

    assert node is None or node.external_id is not None
    made = [f for f in stage.alpha.ledger.of(What.SERVER_CREATED) if f.name == "tr0000000001"]
    assert 1 == len(made), "it did appear"
    assert [] == [e for e in events if e["event"] == "leak_suspected"], "and was awaited"


@pytest.mark.parametrize("by_s", [DAY, -DAY])
async def test_ready_nodes_do_not_wear_out_by_a_jump(by_s, tmp_path, autojump_clock):
    """`max-ready-age` counts hours, not what the clock shows."""
    kept = CONFIGURATION.replace(
        "{name: small}]", "{name: small, min-ready: 3, max-ready-age: 1h}]", 1
    )
    stage = Stage(tmp_path, configuration=kept)
    host = Host(stage)
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE, "beta")
        await trio.sleep(10 * MINUTE)
        made = {node.id for node in core.fleet.nodes.values()}
        host.set_by = by_s
        await trio.sleep(30 * MINUTE)

        assert made == {node.id for node in core.fleet.nodes.values()}
        assert 3 == len(made)
        await trio.sleep(HOUR)
        assert not made & core.fleet.nodes.keys(), "and they do wear out in their time"


@pytest.mark.parametrize("by_s", [DAY, -DAY])
async def test_a_launch_under_way_keeps_its_deadline(by_s, tmp_path, autojump_clock):
    """A server that boots for ever fails after launch-timeout, jump or not."""
    window = FaultWindow(start=0.0, end=30 * DAY, faults=Faults(stuck_build=1.0))
    stage = Stage(tmp_path, alpha=CloudSpec(name="alpha", fault_windows=(window,)))
    host = Host(stage)
    async with stage.running() as core:
        await stage.ask("alpha")
        while not stage.created():  # noqa: ASYNC110
            await trio.sleep(1.0)
        made_at = trio.current_time()
        host.set_by = by_s
        while core.fleet.nodes["0000000001"].state is NodeState.BUILDING:  # noqa: ASYNC110
            await trio.sleep(1.0)

        assert trio.current_time() - made_at == pytest.approx(600.0, rel=0.06)


@pytest.mark.parametrize("by_s", [DAY, -DAY])
async def test_a_closed_provider_is_tried_again_in_time(by_s, tmp_path, autojump_clock):
    """What is left alone for a while is left alone for that while."""
    stage = Stage(tmp_path)
    host = Host(stage)
    async with stage.running():
        await stage.served(await stage.ask("alpha"))
        stage.meddle = hanging()
        await trio.sleep(5 * MINUTE)
        host.set_by = by_s
        stage.meddle = None
        await stage.served(await stage.ask("alpha"), within_s=10 * MINUTE)


@pytest.mark.parametrize("by_s", [25 * HOUR, -25 * HOUR])
async def test_an_idempotency_key_counts_a_day_whatever_the_clock_says(
    by_s, tmp_path, autojump_clock
):
    """A request filed again after a jump is the same request."""
    stage = Stage(tmp_path)
    host = Host(stage)
    async with stage.running() as core:
        ask = Ask(labels=("small",), requestor="test", idempotency_key="once")
        request = await stage.served((await core.port.submit(ask)).id)
        await stage.release(request)
        await trio.sleep(5 * MINUTE)
        host.set_by = by_s

        assert request.id == (await core.port.submit(ask)).id
        assert 1 == len(stage.alpha.ledger.of(What.SERVER_CREATED)) + stage.created("beta")
