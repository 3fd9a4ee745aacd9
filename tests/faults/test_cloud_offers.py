"""Flavors, images, networks and zones that go; quota that lies: waits are explained, then end."""

import attrs
import pytest
import trio

from tests.faults.cloud_stage import MINUTE, Health, a_stage
from trellis.model.request import RequestState
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import Quota

GONE = [
    ({"flavor_gone": ("ci-1c-1g",)}, "flavor"),
    ({"image_gone": ("tiny",)}, "image"),
    ({"image_inactive": ("tiny",)}, "image"),
    ({"network_gone": ("public",)}, "network"),
    ({"zone_gone": ("az1",)}, "zone"),
]


@pytest.mark.parametrize(("faults", "word"), GONE, ids=[next(iter(f)) for f, _ in GONE])
async def test_what_disappears_is_named_and_taken_up_again(tmp_path, autojump_clock, faults, word):
    """Requests wait with the reason, few creates are wasted, and all are served afterwards."""
    stage = a_stage(tmp_path, zones=("az1", "az2"))
    if word == "zone":
        stage.configuration = stage.configuration.replace(
            "max-servers", "availability-zones: [az1]\n        max-servers"
        )
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        kept, node = await stage.a_lease()
        stage.now(**faults)
        asked = await stage.ask()
        await trio.sleep(40 * MINUTE)

        (name,) = faults
        assert stage.struck(name.replace("_", "-")) > 0
        assert (await core.port.request(asked)).state is not RequestState.FULFILLED
        assert word in (await core.port.explain_request(asked)).words
        assert len([c for c in stage.calls if c[1] == "POST" and c[2].endswith("/servers")]) <= 6
        assert not core.fleet.nodes[node.id].lost
        stage.now()
        await stage.release(await stage.served(asked, within_s=30 * MINUTE))
        await stage.release(kept)
        await stage.nothing_left()


@pytest.mark.parametrize(
    "lie",
    [
        {"quota_too_high": True},
        {"quota_too_low": True},
        {"quota_unlimited": True},
        {"quota_refused": True},
        {"quota_missing": True},
        {"quota_changed": 0.5},
        {"quota_stuck": 2},
    ],
    ids=lambda lie: next(iter(lie)),
)
async def test_quota_that_lies_stalls_nobody(tmp_path, autojump_clock, lie):
    """Six ask where four fit: all are served in turn, and few creates are refused."""
    stage = a_stage(tmp_path, quota=Quota(instances=4, cores=400), faults=lie)
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)

        async def one():
            request = await stage.served(await stage.ask(), within_s=120 * MINUTE)
            await trio.sleep(60.0)
            await core.port.release(request.lease_id)

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(one)
        await stage.nothing_left()
        (name,) = lie
        assert stage.struck(name.replace("_", "-")) > 0

    assert len(stage.alpha.ledger.of(What.QUOTA_REFUSED)) <= 12
    assert stage.was_made_once()


async def test_quota_that_is_told_again_is_kept_again(tmp_path, autojump_clock):
    """A cloud that told nothing for a while, and then less than it had."""
    stage = a_stage(tmp_path, quota=Quota(instances=6))
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        stage.now(quota_missing=True)
        await trio.sleep(5 * MINUTE)
        stage.alpha.change(
            quota=attrs.evolve(stage.alpha.spec.quota, instances=2),
            faults=attrs.evolve(stage.alpha.spec.faults, quota_missing=False),
        )
        await trio.sleep(3 * MINUTE)
        asked = [await stage.ask() for _ in range(3)]
        first = await stage.served(asked[0])
        await stage.served(asked[1])
        assert stage.alpha.ledger.of(What.QUOTA_REFUSED) == []
        await stage.release(first)
        await stage.served(asked[2])
    assert stage.alpha.ledger.of(What.QUOTA_REFUSED) == []
