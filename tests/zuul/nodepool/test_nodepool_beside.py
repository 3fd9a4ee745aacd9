"""A real Nodepool 11, Trellis beside it and after it, and Nodepool again; one Zuul all the time.

The steps are those of the how-to `replace-nodepool`.
"""

import json
import signal

import pytest

from tests.zuul.nodepool.both_sites import PATIENCE_S

pytestmark = pytest.mark.zuul

REQUESTS = 6


async def test_beside_nodepool_each_request_is_served_exactly_once(site):
    """First with labels and clouds of their own, then with a label and a cloud in common."""
    zuul = site.zuul
    site.write_nodepool({"alpha": ("small",), "beta": ("small", "large")})
    converted = await site.convert()
    site.write_nodepool({"alpha": ("small",)})
    site.write_trellis(converted, {"beta": ("large",)})
    await site.start_nodepool()
    await site.command("config", "check", "trellis.yaml")
    await site.start_trellis()

    small = await zuul.do("submit", labels=["small"])
    large = await zuul.do("submit", labels=["large", "large"])
    unknown = await zuul.do("submit", labels=["smal"])
    apart = await zuul.do("submit", labels=["small", "large"])
    by_nodepool, by_trellis = await site.used(small), await site.used(large)
    assert ["alpha", "beta"] == [build["provider"] for build in (by_nodepool, by_trellis)]
    for node in (*by_nodepool["nodes"], *by_trellis["nodes"]):
        assert site.sshd.host_keys(node["interface_ip"]) == sorted(node["host_keys"])
    for request, missing in ((unknown, "smal"), (apart, "small")):
        await zuul.becomes(request, "failed", within_s=PATIENCE_S)
        explained = await site.command("request", "explain", request)
        assert f"there is no label '{missing}'" in explained
    for request in (small, large):
        await zuul.do("give_back", request=request)
    await site.until(site.nothing_left)

    site.write_nodepool({"alpha": ("small",)}, max_servers=2)
    site.write_trellis(converted, {"alpha": ("small",), "beta": ("small",)}, max_servers=2)
    await site.until(site.trellis_offers(alpha=["small"], beta=["small"]))
    before = await site.made()
    requests = [await zuul.do("submit", labels=["small"]) for _ in range(REQUESTS)]
    for request in [await zuul.do("submit", labels=["small"]) for _ in range(3)]:
        await zuul.do("cancel", request=request)
    seen = []
    for request in requests:
        seen += [node["external_id"] for node in (await site.used(request))["nodes"]]
        await zuul.do("give_back", request=request)

    assert REQUESTS == len(set(seen))
    assert set(seen) <= await site.made() - before
    await site.until(site.nothing_left)


async def test_what_nodepool_leaves_behind_is_seen_to_its_end(site):
    """In use, held, idle and building; with the floating IPs that Nodepool made for them."""
    zuul = site.zuul
    site.write_nodepool({"alpha": ("small",), "beta": ("large",)})
    converted = await site.convert()
    await site.start_nodepool()
    small, idle, large, held = [
        await zuul.do("submit", labels=[label]) for label in ("small", "small", "large", "large")
    ]
    for request in (small, large, held):
        await site.used(request)
    hold = await zuul.do("hold", request=held)
    await zuul.becomes(idle, "fulfilled", within_s=PATIENCE_S)
    await zuul.do("cancel", request=idle)
    await site.until(site.has_states("hold", "in-use", "in-use", "ready"))

    # One provider is moved: what Nodepool has there goes on, and ends with its job.
    site.write_nodepool({"beta": ("large",)})
    site.write_trellis(converted, {"alpha": ("small",)})
    await site.start_trellis()
    job = await site.run_job("small")
    assert "alpha" == job["provider"]
    assert job["nodes"][0]["host_keys"]
    await site.until(site.has_states("hold", "in-use", "in-use"))
    await zuul.do("give_back", request=small)
    await site.until(site.no_servers("alpha"))

    # The other one too, when the launcher dies while it builds nodes.
    await site.boots_end("beta", end=False)
    waiting = await zuul.do("submit", labels=["large", "large"])
    await site.until(site.has_states("building", "building", "hold", "in-use"))
    await site.until(site.has_external_ids)
    await site.stop_nodepool(signal.SIGKILL)
    await site.boots_end("beta", end=True)
    left = {server["id"] for server in await site.servers("beta")}
    assert 4 == len(left)
    assert 2 == len(await site.floating_ips())
    site.write_trellis(converted, {"alpha": ("small",), "beta": ("large",)})

    build = await site.used(waiting)
    assert not left & {node["external_id"] for node in build["nodes"]}
    await site.until(site.has_states("hold", "in-use", "in-use", "in-use"))
    await zuul.do("hold_deleted", hold=hold)
    await zuul.do("give_back", request=large)
    await zuul.do("give_back", request=waiting)
    await site.until(site.nothing_left)


async def test_the_way_back(site):
    """Nodepool serves at once, and sees to what was left; nothing of Trellis's stays."""
    zuul = site.zuul
    offers = {"alpha": ("small",), "beta": ("large",)}
    site.write_nodepool(offers, max_servers=0)
    converted = await site.convert()
    await site.start_nodepool()
    site.write_trellis(converted, offers)
    await site.start_trellis()
    small, large, held = [
        await zuul.do("submit", labels=[label]) for label in ("small", "large", "large")
    ]
    for request in (small, large, held):
        await site.used(request)
    hold = await zuul.do("hold", request=held)
    await site.until(site.has_states("hold", "in-use", "in-use"))

    for provider in offers:
        await site.command("provider", "drain", provider)
    waiting = await zuul.do("submit", labels=["small"])
    await site.until(site.has_declined(waiting, "alpha"))
    site.write_nodepool(offers)
    await site.restart_nodepool()
    (node,) = (await site.used(waiting))["nodes"]
    assert await site.is_nodepools(node["id"])
    for request in (small, waiting):
        await zuul.do("give_back", request=request)
    await site.until(site.no_servers("alpha"))

    # Stopped before all has ended: what stands in the tree is Nodepool's, too.
    await site.stop_trellis()
    assert [] == await site.pools_of_trellis()
    await zuul.do("hold_deleted", hold=hold)
    await zuul.do("give_back", request=large)
    await site.run_job("small")
    await site.until(site.nothing_left)
    await site.until(site.no_locks)

    await site.start_trellis()
    await site.until(site.trellis_has_no_nodes)
    assert [] == json.loads(await site.command("leak", "list", "-o", "json"))
    await site.stop_trellis()
    assert [] == await site.pools_of_trellis()
