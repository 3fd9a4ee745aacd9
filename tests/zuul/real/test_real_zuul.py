"""Zuul's own scheduler and executor classes are served by a whole Trellis through ZooKeeper."""

import attrs
import pytest
import trio

from tests.zuul.real.conftest import QUICK

pytestmark = pytest.mark.zuul


async def test_a_job_has_its_nodes_uses_them_and_they_are_gone(open_site):
    """As Zuul's executor sees them: allocated to its request, with all it needs for a login."""
    async with open_site() as site:
        zuul = site.zuul
        request = await zuul.do("submit", labels=["small", "small"], event_id="e" * 32)
        before = (await zuul.do("look", request=request))["span"]

        done = await zuul.becomes(request, "fulfilled")
        assert done["fulfilled"]
        assert before == done["span"]
        assert before["trace_id"] > 2**64
        await site.told_of(request, "fulfilled")
        build = await zuul.do("accept", request=request)

        assert await zuul.do("look", request=request) is None
        assert "alpha" in build["provider"]
        for node in build["nodes"]:
            assert (request, "ready", "acme") == tuple(
                node[key] for key in ("allocated_to", "state", "tenant_name")
            )
            assert node["host_keys"]
            assert node["interface_ip"]
            assert node["username"]
            assert node["resources"]["cores"]
        assert {node["id"] for node in build["nodes"]} == set(done["nodes"])
        assert 1 == len({node["az"] for node in build["nodes"]})
        await zuul.do("use", request=request)
        await site.nodes_become("in-use", "in-use")
        await trio.sleep(1)
        assert 2 == await site.trellis.servers()
        await zuul.do("give_back", request=request)

        await site.until(site.nothing_left)


async def test_the_labels_and_pools_are_shown_by_zuul_s_web_face(open_site):
    """Whoever looks for a label finds it."""
    async with open_site() as site:

        async def registered():
            return bool(await site.zuul.do("launchers"))

        await site.until(registered)
        assert [["small"]] == [one["labels"] for one in await site.zuul.do("launchers")]


async def test_a_request_is_revised_and_served_in_its_new_turn(open_site):
    """Zuul can lock and write it as long as there is no room for it."""
    async with open_site(attrs.evolve(QUICK, slots=1)) as site:
        zuul = site.zuul
        first = await zuul.do("submit", labels=["small"])
        await zuul.becomes(first, "fulfilled")
        await zuul.do("accept", request=first)
        second = await zuul.do("submit", labels=["small"], relative_priority=1)
        third = await zuul.do("submit", labels=["small"], relative_priority=2)
        await trio.sleep(1)

        assert await zuul.do("revise", request=third, relative_priority=0)
        await trio.sleep(1)
        await zuul.do("use", request=first)
        await zuul.do("give_back", request=first)

        await zuul.becomes(third, "fulfilled")
        assert "requested" == (await zuul.do("look", request=second))["state"]
        await zuul.do("accept", request=third)
        await zuul.do("use", request=third)
        await zuul.do("give_back", request=third)
        await zuul.becomes(second, "fulfilled")


async def test_cancelled_at_any_moment_a_request_leaves_nothing(open_site):
    """While it waits, while its node boots, when it was fulfilled."""
    async with open_site(attrs.evolve(QUICK, slots=2)) as site:
        zuul = site.zuul
        for delay in (0.0, 0.02, 0.1, 0.3, 0.6, 1.0, 2.0):
            requests = [await zuul.do("submit", labels=["small"]) for _ in range(3)]
            await trio.sleep(delay)
            for request in requests:
                await zuul.do("cancel", request=request)

        await site.until(site.nothing_left)


async def test_a_label_that_nobody_has_fails_its_request(open_site):
    """Zuul takes the next alternative of the nodeset then."""
    async with open_site() as site:
        request = await site.zuul.do("submit", labels=["small", "smal"])

        await site.zuul.becomes(request, "failed", within_s=40)

        await site.told_of(request, "failed")


async def test_a_held_node_stays_until_the_hold_is_deleted(open_site):
    """Zuul marks it as used then, under its lock."""
    async with open_site() as site:
        zuul = site.zuul
        request = await zuul.do("submit", labels=["small"])
        await zuul.becomes(request, "fulfilled")
        await zuul.do("accept", request=request)
        await zuul.do("use", request=request)

        hold = await zuul.do("hold", request=request)
        await trio.sleep(3)
        await site.nodes_become("hold")
        assert 1 == await site.trellis.servers()
        await zuul.do("hold_deleted", hold=hold)

        await site.until(site.nothing_left)


async def test_a_held_node_is_deleted_when_its_hold_expires(open_site):
    """Counted from the moment at which it was held."""
    async with open_site() as site:
        zuul = site.zuul
        request = await zuul.do("submit", labels=["small"])
        await zuul.becomes(request, "fulfilled")
        await zuul.do("accept", request=request)
        await zuul.do("use", request=request)
        await zuul.do("hold", request=request, expiration=4)
        await trio.sleep(2)
        await site.nodes_become("hold")

        await site.until(site.nothing_left)


@pytest.mark.parametrize("used", [False, True], ids=["before-the-build", "in-the-build"])
async def test_an_executor_that_dies_leaves_nothing(open_site, used):
    """Its locks vanish with its session; whatever it had is deleted, and none used again."""
    async with open_site() as site:
        zuul = site.zuul
        request = await zuul.do("submit", labels=["small", "small"])
        await zuul.becomes(request, "fulfilled")
        await zuul.do("accept", request=request)
        if used:
            await zuul.do("use", request=request)

        await zuul.do("die")

        await site.until(site.nothing_left)


async def test_the_daemon_killed_at_any_moment_goes_on_where_it_was(open_site):
    """With requests that wait, that boot, that were fulfilled, and with nodes in use."""
    async with open_site(attrs.evolve(QUICK, slots=4)) as site:
        zuul = site.zuul
        using = await zuul.do("submit", labels=["small"])
        await zuul.becomes(using, "fulfilled")
        await zuul.do("accept", request=using)
        await zuul.do("use", request=using)
        fulfilled = await zuul.do("submit", labels=["small"])
        await zuul.becomes(fulfilled, "fulfilled")
        rest = [await zuul.do("submit", labels=["small"]) for _ in range(4)]
        await trio.sleep(0.3)

        await site.trellis.daemon.kill()
        given_back = await zuul.do("accept", request=fulfilled)
        await zuul.do("use", request=fulfilled)
        await zuul.do("give_back", request=fulfilled)
        await site.trellis.start_daemon()
        await zuul.do("give_back", request=using)
        seen = {node["external_id"] for node in given_back["nodes"]}
        for request in rest:
            await zuul.becomes(request, "fulfilled", within_s=60)
            build = await zuul.do("accept", request=request)
            for node in build["nodes"]:
                assert node["external_id"] not in seen
                seen.add(node["external_id"])
            await zuul.do("use", request=request)
            await zuul.do("give_back", request=request)

        await site.until(site.nothing_left)


@pytest.mark.parametrize("how", ["killed", "hung"])
async def test_a_zookeeper_that_was_away_has_lost_nothing(open_site, how):
    """Launches go on meanwhile; requests are answered and nodes deleted when it is back."""
    async with open_site(attrs.evolve(QUICK, slots=4)) as site:
        zuul, zookeeper = site.zuul, site.zookeeper
        using = await zuul.do("submit", labels=["small"])
        await zuul.becomes(using, "fulfilled")
        await zuul.do("accept", request=using)
        await zuul.do("use", request=using)
        rest = [await zuul.do("submit", labels=["small"]) for _ in range(5)]
        await trio.sleep(0.2)

        if how == "killed":
            await trio.to_thread.run_sync(zookeeper.kill)
            await trio.sleep(2)
            await trio.to_thread.run_sync(zookeeper.start)
        else:
            zookeeper.pause()
            await trio.sleep(5)
            zookeeper.resume()

        await zuul.do("give_back", request=using)
        seen = set[str]()
        for request in rest:
            await zuul.becomes(request, "fulfilled", within_s=60)
            build = await zuul.do("accept", request=request)
            for node in build["nodes"]:
                assert node["external_id"] not in seen
                seen.add(node["external_id"])
            await zuul.do("use", request=request)
            await zuul.do("give_back", request=request)

        await site.until(site.nothing_left)
