"""Requests that cannot be served: who says so when, beside others on the same tree."""

import pytest
import trio

from tests.zuul.request_stage import a_pool, the_request_stage, wait_for
from trellis.errors import RefusedError
from trellis.sim.zookeeper import Called, Latency


async def test_a_label_that_nobody_has_fails_at_once_when_all_pools_are_known(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        await trio.sleep(20)
        request = await stage.ask("never-there")

        document = await stage.becomes(request, "failed", within_s=0.2)

        (pool,) = await stage.pools()
        assert [pool["id"]] == document["declined_by"]
        assert [] == await stage.contenders()


async def test_a_label_that_nobody_has_does_not_fail_in_the_first_seconds(autojump_clock):
    """Else every job of a site that restarts would fail: other launchers start, too."""
    async with the_request_stage() as stage:
        request = await stage.ask("never-there")
        async with stage.serving():
            await trio.sleep(9)

            assert "requested" == await stage.state(request)

            await stage.becomes(request, "failed", within_s=5)


async def test_a_pool_that_comes_late_is_waited_for(autojump_clock):
    async with the_request_stage() as stage, stage.another("nodepool") as other:
        request = await stage.ask("theirs")
        async with stage.serving():
            await trio.sleep(8)
            await stage.register(other, "nodepool-1", "theirs")
            await trio.sleep(60)

            assert "requested" == await stage.state(request)


async def test_a_label_that_another_pool_offers_is_left_to_it_without_a_write(autojump_clock):
    async with the_request_stage() as stage, stage.another("nodepool") as other:
        await stage.register(other, "nodepool-1", "theirs")
        async with stage.serving():
            await trio.sleep(20)
            stage.zookeeper.history.clear()
            await stage.ask("theirs")
            await trio.sleep(60)

            assert [] == stage.writes_of_trellis()


async def test_when_the_other_pool_declines_ours_is_the_last_and_fails_it(autojump_clock):
    async with the_request_stage() as stage, stage.another("nodepool") as other:
        await stage.register(other, "nodepool-1", "theirs")
        async with stage.serving():
            await trio.sleep(20)
            request = await stage.ask("theirs")
            await trio.sleep(5)
            await stage.write(request, declined_by=["nodepool-1"])

            document = await stage.becomes(request, "failed", within_s=1)

            (ours,) = (one["id"] for one in await stage.pools() if one["id"] != "nodepool-1")
            assert ["nodepool-1", ours] == document["declined_by"]


async def test_a_pool_that_goes_away_without_a_word_is_no_reason_to_wait(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        async with stage.another("nodepool") as other:
            await stage.register(other, "nodepool-1", "theirs")
            await trio.sleep(20)
            request = await stage.ask("theirs")
            await trio.sleep(20)
            assert "requested" == await stage.state(request)

        await stage.becomes(request, "failed", within_s=20)


async def test_a_request_that_failed_here_goes_back_while_others_may_serve_it(autojump_clock):
    async with the_request_stage() as stage, stage.another("nodepool") as other:
        await stage.register(other, "nodepool-1", "small")
        stage.port.failing = {"small"}
        async with stage.serving():
            await trio.sleep(20)
            request = await stage.ask("small")
            await stage.becomes(request, "pending")

            document = await stage.becomes(request, "requested")

            assert 1 == len(document["declined_by"])
            await trio.sleep(60)
            assert 1 == len(stage.port.submitted)
            assert [] == stage.port.live()
            assert [] == await stage.contenders()


async def test_a_request_that_failed_here_fails_when_nobody_else_is_there(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        stage.port.failing = {"small"}
        await trio.sleep(20)
        request = await stage.ask("small")

        await stage.becomes(request, "failed")

        assert [] == stage.port.live()


async def test_want_of_quota_is_no_failure(autojump_clock):
    """It waits, as long as it takes; the port knows no end of it."""
    async with the_request_stage() as stage, stage.serving():
        stage.port.place_s = None
        request = await stage.ask()
        await trio.sleep(7 * 3600)

        assert "requested" == await stage.state(request)


async def test_a_label_offered_later_is_served_though_it_was_declined(autojump_clock):
    async with the_request_stage() as stage, stage.another("nodepool") as other:
        await stage.register(other, "nodepool-1", "something-else")
        async with stage.serving():
            await trio.sleep(20)
            request = await stage.ask("new")
            await wait_for(lambda: bool(stage.writes_of_trellis()))
            await trio.sleep(5)
            assert "requested" == await stage.state(request)

            stage.port.pools = (a_pool("small", "new"),)

            await stage.becomes(request, "fulfilled", within_s=20)


async def test_without_any_pool_nothing_is_declined(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        stage.port.pools = ()
        await trio.sleep(20)
        request = await stage.ask()
        await trio.sleep(60)

        assert 0 == (await stage.session.exists(f"/nodepool/requests/{request}")).version
        assert [] == await stage.pools()


async def test_a_paused_pool_says_so_and_keeps_its_requests(autojump_clock):
    """Others have declined, and it is the last: a pause ends, and a decline is for good."""
    async with the_request_stage() as stage, stage.another("nodepool") as other:
        await stage.register(other, "nodepool-1", "small")
        async with stage.serving():
            stage.port.pools = (a_pool("small", paused=True),)
            stage.port.place_s = None
            await trio.sleep(20)
            request = await stage.ask("small", declined_by=["nodepool-1"])
            await trio.sleep(24 * 3600)

            assert [True] == [one["paused"] for one in await stage.pools() if "paused" in one]
            assert "requested" == await stage.state(request)


NO_LAUNCH = (
    {"max_servers": 0},
    {"shut": frozenset({"big"})},
)


@pytest.mark.parametrize("parts", NO_LAUNCH, ids=["pool", "label"])
async def test_a_pool_that_may_launch_nothing_declines_and_says_why(parts, autojump_clock):
    """As Nodepool's with max-servers: 0; else nobody would ever say that the request failed."""
    async with the_request_stage() as stage, stage.another("nodepool") as other:
        await stage.register(other, "nodepool-1", "big")
        async with stage.serving():
            stage.port.pools = (a_pool("small"), a_pool("big", pool="b", **parts))
            stage.port.place_s = None
            await trio.sleep(20)
            request = await stage.ask("big")
            document = await stage.becomes(request, "requested", within_s=5)
            await wait_for(lambda: bool(stage.port.turned_away), within_s=3)
            await trio.sleep(1)
            document = await stage.read(request)
            ours = {one["id"] for one in await stage.pools()} - {"nodepool-1"}
            assert document is not None
            assert ours == set(document["declined_by"])
            assert "requested" == document["state"], "Nodepool has not said anything yet"

            await stage.write(request, declined_by=[*document["declined_by"], "nodepool-1"])

            await stage.becomes(request, "failed", within_s=2)
            why = "no node of it may be launched: limits are 0 (big in alpha/b)"
            assert {request: why} == stage.port.turned_away
            assert 1 == len(stage.port.submitted)
            assert [] == stage.port.live()
            assert [] == await stage.contenders()


async def test_two_that_may_launch_nothing_do_not_wait_for_each_other(autojump_clock):
    """Two daemons with max-servers: 0: each has the label registered."""
    async with the_request_stage(latency=Latency()) as stage, stage.serving(), stage.serving():
        stage.port.pools = (a_pool("small", max_servers=0),)
        stage.port.place_s = None
        await trio.sleep(30)
        request = await stage.ask("small")

        document = await stage.becomes(request, "failed", within_s=10)

        assert 2 == len(document["declined_by"])


async def test_what_is_ready_is_handed_out_where_nothing_may_be_launched(autojump_clock):
    """Trellis has a place for it at once: an idle node."""
    async with the_request_stage() as stage, stage.serving():
        stage.port.pools = (a_pool("small", max_servers=0),)
        stage.port.place_s = stage.port.boot_s = 0.1
        await trio.sleep(20)
        request = await stage.ask("small")

        answered = await stage.becomes(request, "fulfilled")

        await stage.use(request, *answered["nodes"])
        await stage.all_ends()


async def test_another_provider_that_may_launch_it_is_waited_for(autojump_clock):
    """One provider has to serve all labels: two that have one each are none."""
    async with the_request_stage() as stage, stage.serving():
        stage.port.pools = (
            a_pool("small", "large", max_servers=0),
            a_pool("small", provider="beta", paused=True),
            a_pool("large", provider="gamma"),
        )
        stage.port.place_s = None
        await trio.sleep(20)
        one, both = await stage.ask("small"), await stage.ask("small", "large")
        await trio.sleep(600)

        assert "requested" == await stage.state(one)
        assert "failed" == await stage.state(both)


async def test_a_request_that_waits_is_declined_when_the_limit_becomes_zero(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        stage.port.place_s = None
        await trio.sleep(20)
        request = await stage.ask("small")
        await trio.sleep(600)
        assert "requested" == await stage.state(request)

        stage.port.pools = (a_pool("small", "large", max_servers=0),)

        await stage.becomes(request, "failed", within_s=20)
        assert request in stage.port.turned_away


async def test_what_was_declined_for_a_limit_of_zero_is_served_when_it_is_lifted(autojump_clock):
    """Nodepool's launcher has to be restarted for that."""
    async with the_request_stage() as stage, stage.another("nodepool") as other:
        await stage.register(other, "nodepool-1", "small")
        async with stage.serving():
            stage.port.pools = (a_pool("small", max_servers=0),)
            stage.port.place_s = None
            await trio.sleep(20)
            request = await stage.ask("small")
            await wait_for(lambda: bool(stage.port.turned_away))
            await trio.sleep(600)
            assert "requested" == await stage.state(request)

            stage.port.place_s = 1.0
            stage.port.pools = (a_pool("small", max_servers=1),)

            await stage.becomes(request, "fulfilled", within_s=20)


async def test_a_limit_that_is_lifted_before_it_was_declined_fails_nothing(autojump_clock):
    """It is lifted while the request is being locked to decline it."""
    async with the_request_stage(latency=Latency()) as stage, stage.serving():
        stage.port.pools = (a_pool("small", max_servers=0),)
        stage.port.place_s = None
        await trio.sleep(20)

        def lift(called: Called) -> None:
            if called.who == "trellis" and stage.port.turned_away:
                stage.zookeeper.on_call = None
                stage.port.place_s = 1.0
                stage.port.pools = (a_pool("small"),)

        stage.zookeeper.on_call = lift
        request = await stage.ask("small")

        answered = await stage.becomes(request, "fulfilled", within_s=30)

        assert request in stage.port.turned_away
        assert "declined_by" not in answered


async def test_offers_are_looked_at_when_they_change_and_seldom_else(autojump_clock):
    """Once a minute; a change of the configuration is seen at once all the same."""
    async with the_request_stage() as stage, stage.serving():
        await trio.sleep(20)
        before = stage.port.offers_asked
        await trio.sleep(3600)
        assert 50 < stage.port.offers_asked - before < 70

        stage.port.pools = (a_pool("new"),)
        await trio.sleep(0.1)

        assert [["new"]] == [one["supported_labels"] for one in await stage.pools()]


@pytest.mark.parametrize("seed", range(5))
async def test_three_launchers_that_cannot_serve_it_fail_it_once(seed, autojump_clock):
    """Three Trellis daemons on one tree; none has the label, one of them fails the request."""
    async with (
        the_request_stage(latency=Latency(), seed=seed) as stage,
        stage.serving(),
        stage.serving(),
        stage.serving(),
    ):
        await trio.sleep(30)
        request = await stage.ask("never-there")

        document = await stage.becomes(request, "failed", within_s=20)

        ids = {one["id"] for one in await stage.pools()}
        assert 3 == len(ids)
        assert ids == set(document["declined_by"])
        assert len(ids) == len(document["declined_by"])


async def test_a_component_that_cannot_be_read_is_a_pool_that_has_not_declined(autojump_clock):
    async with the_request_stage() as stage, stage.another("strange") as other:
        path = await other.create("/nodepool/components/pool/x-", b"?", ephemeral=True)
        async with stage.serving():
            await trio.sleep(20)
            request = await stage.ask("never-there")
            await trio.sleep(60)
            assert "requested" == await stage.state(request)

            await other.delete(path)

            await stage.becomes(request, "failed", within_s=20)


async def test_after_a_lost_session_the_pools_have_their_ids_again(autojump_clock):
    """What they declined they do not try again."""
    async with the_request_stage() as stage, stage.serving():
        await trio.sleep(20)
        before = await stage.pools()

        stage.zookeeper.expire(*(s for s in stage.zookeeper.sessions if s.who == "trellis"))
        await trio.sleep(5)

        assert before == await stage.pools()
        assert 1 == len(before)


async def test_a_pool_that_somebody_deletes_is_registered_again(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        await trio.sleep(20)
        (name,) = await stage.session.children("/nodepool/components/pool")

        await stage.session.delete(f"/nodepool/components/pool/{name}")
        await trio.sleep(5)

        assert 1 == len(await stage.pools())


async def test_two_that_offer_the_labels_and_refuse_the_request_do_not_wait_for_each_other(
    autojump_clock, monkeypatch
):
    """As of more nodes than one request may have."""

    async def refuses(_ask):
        await trio.lowlevel.checkpoint()
        raise RefusedError("the request names 101 labels, 100 is the most")

    async with the_request_stage(latency=Latency()) as stage, stage.serving(), stage.serving():
        monkeypatch.setattr(stage.port, "submit", refuses)
        await trio.sleep(30)
        request = await stage.ask("small")

        document = await stage.becomes(request, "failed", within_s=300)

        assert 2 == len(document["declined_by"])
        assert [] == await stage.contenders()
