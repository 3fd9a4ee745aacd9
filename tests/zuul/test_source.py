"""The source as a whole: its way to ZooKeeper, and many requests at a time."""

import sys
from types import FrameType

import pytest
import trio
from trellis_zuul import source
from trellis_zuul.config import ZooKeeperServerConfig, ZooKeeperTlsConfig, ZuulConfig

from tests.zuul.request_stage import the_request_stage, wait_for
from trellis.sim.zookeeper import Latency


async def test_zookeeper_away_is_reported_and_tried_again_until_it_is_back(autojump_clock):
    async with the_request_stage() as stage:
        request = await stage.ask()
        stage.zookeeper.restart(down_s=200)
        async with stage.serving():
            await trio.sleep(150)
            assert "no ZooKeeper at zk:2281" in stage.reports[-1]
            assert "Tried again in 30 s" in stage.reports[-1]
            waits = [report.rpartition("in ")[2] for report in stage.reports]
            assert ["1 s.", "2 s.", "4 s.", "8 s."] == waits[:4]

            await trio.sleep(60)
            async with stage.another("scheduler") as session:
                stage.session = session
                await stage.becomes(request, "fulfilled")
            assert "" == stage.reports[-1]


async def test_a_tree_that_may_not_be_written_is_reported_and_tried_again(autojump_clock):
    async with the_request_stage() as stage:
        stage.zookeeper.read_only = True
        async with stage.serving():
            await trio.sleep(100)
            assert "read-only" in stage.reports[-1]

            stage.zookeeper.read_only = False
            await trio.sleep(60)
            assert "" == stage.reports[-1]


async def test_a_tree_that_may_not_be_written_any_more_is_reported(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        await trio.sleep(20)
        request = await stage.ask()
        await wait_for(lambda: bool(stage.port.submitted))
        stage.zookeeper.read_only = True
        await trio.sleep(30)
        assert "requested" == await stage.state(request)
        assert "read-only" in stage.reports[-1]

        stage.zookeeper.read_only = False
        await stage.becomes(request, "fulfilled", within_s=200)
        assert "" == stage.reports[-1]


async def test_a_lost_session_is_replaced_and_what_waits_keeps_its_place(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        stage.port.place_s = 30.0
        await trio.sleep(15)
        request = await stage.ask()
        await wait_for(lambda: bool(stage.port.submitted))

        stage.zookeeper.expire(*(s for s in stage.zookeeper.sessions if s.who == "trellis"))

        await stage.becomes(request, "fulfilled")
        assert 1 == len(stage.port.submitted)


async def test_the_end_of_the_source_ends_its_session_and_leaves_what_it_asked(autojump_clock):
    async with the_request_stage() as stage:
        stage.port.place_s = None
        async with stage.serving():
            await stage.ask()
            await wait_for(lambda: bool(stage.port.submitted))
        assert not [s for s in stage.zookeeper.sessions if s.who == "trellis"]
        assert [] == await stage.pools()
        assert 1 == len(stage.port.live())


@pytest.mark.slow
@pytest.mark.parametrize("backlog", [50, 5000])
async def test_a_request_costs_the_same_calls_in_any_backlog(backlog, autojump_clock, monkeypatch):
    """Also the deletion of one that waits, and a new priority."""
    # A look whether ZooKeeper takes writes is a call of its own, and is of no request.
    monkeypatch.setattr(source, "LOOK_EVERY_S", 3600.0)
    async with the_request_stage() as stage:
        stage.port.place_s = None
        waiting = [await stage.ask("large") for _ in range(backlog)]
        async with stage.serving():
            await wait_for(lambda: len(stage.port.submitted) == backlog)
            await trio.sleep(20)
            counts = stage.zookeeper.counts["trellis"]
            calls = dict(counts.calls)

            await stage.write(waiting[7], relative_priority=5)
            await stage.cancel(waiting[8])
            stage.port.place_s = 1.0
            request = await stage.ask("small")
            await stage.becomes(request, "fulfilled")
            await trio.sleep(5)

            made = {name: n - calls.get(name, 0) for name, n in counts.calls.items()}
            assert 11 >= sum(made.values()), made
            # Taken over, its node made, answered: each in one go.
            writing = ("transact", "write", "create", "delete")
            assert 3 == sum(made.get(name, 0) for name in writing), made


@pytest.mark.slow
async def test_a_life_computes_the_same_in_any_backlog(autojump_clock):
    """Counted in calls of the plugin's functions: no reading of the clock comes into it."""
    few, many = [await _computed(backlog) for backlog in (50, 2000)]

    assert few > 500
    assert many < 1.05 * few


async def _computed(backlog: int) -> int:
    """How often functions of the plugin are called while requests are served and others wait."""
    calls = 0

    def count(frame: FrameType, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event == "call" and "trellis_zuul" in frame.f_code.co_filename

    async with the_request_stage() as stage:
        stage.port.place_s = None
        for _ in range(backlog):
            await stage.ask("large")
        async with stage.serving():
            await wait_for(lambda: len(stage.port.submitted) == backlog)
            await trio.sleep(20)
            stage.port.place_s = 1.0
            before = sys.getprofile()
            sys.setprofile(count)
            try:
                for _ in range(10):
                    request = await stage.ask("small")
                    await stage.becomes(request, "fulfilled")
            finally:
                sys.setprofile(before)
    return calls


@pytest.mark.slow
async def test_hundreds_of_requests_at_once_are_all_served(autojump_clock):
    async with the_request_stage(latency=Latency()) as stage, stage.serving():
        await trio.sleep(15)
        requests = [await stage.ask() for _ in range(300)]
        last = requests[-1]
        await stage.becomes(last, "fulfilled")
        for request in requests:
            await stage.becomes(request, "fulfilled")
        assert 300 == len(await stage.nodes())


def test_servers_are_written_as_nodepool_writes_them():
    config = ZuulConfig(
        name="zuul",
        type="zuul",
        zookeeper_servers=(
            ZooKeeperServerConfig(host="zk01", chroot="/site"),
            ZooKeeperServerConfig(host="2001:db8::1", port=2181, chroot="/site"),
        ),
        zookeeper_tls=ZooKeeperTlsConfig(cert="c.pem", key="k.pem", ca="ca.pem"),
    )

    assert ("zk01:2281", "[2001:db8::1]:2181") == config.servers.hosts
    assert "/site" == config.servers.chroot
    assert config.servers.tls is not None


@pytest.mark.parametrize(
    ("servers", "wrong"),
    [
        ((), "at least one"),
        ((("a", "/x"), ("b", "")), "one chroot for all"),
        ((("a", "x"),), "must be a path"),
        ((("a", "/x/"),), "must be a path"),
        (((" ", ""),), "empty"),
    ],
    ids=["none", "two-chroots", "relative", "slash-at-the-end", "no-host"],
)
def test_faults_of_the_configuration_are_said_in_words(servers, wrong):
    with pytest.raises(ValueError, match=wrong):
        ZuulConfig(
            name="zuul",
            type="zuul",
            zookeeper_servers=tuple(
                ZooKeeperServerConfig(host=host, chroot=chroot) for host, chroot in servers
            ),
        )
