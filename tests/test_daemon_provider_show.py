"""What a cloud lacks for a label is told per label, with what comes near it."""

import pytest

from tests.daemon.stage import CONFIGURATION, Stage
from trellis.model.status import Health
from trellis.sim.cloud.spec import CloudSpec, FlavorSpec, ImageSpec, NetworkSpec

pytestmark = pytest.mark.slow
GOOD = "{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}"

ALPHA = CloudSpec(
    name="alpha",
    images=(ImageSpec(name="tiny"), ImageSpec(name="debian-12")),
    flavors=(
        FlavorSpec(name="ci-1c-1g", cores=1, ram_mib=1024),
        FlavorSpec(name="ci-2c-4g", cores=2, ram_mib=4096),
    ),
    networks=(NetworkSpec(name="public", external=True), NetworkSpec(name="ci-net")),
)


def asking_for(label: str, pool: str = "") -> str:
    """The stage's configuration with one more label at alpha, in a pool of its own."""
    first, rest = CONFIGURATION.split("  - {name: beta", 1)
    more = f"      - name: other\n        labels: [{label}]\n{pool}"
    labels = first.replace("labels: [{name: small}]", "labels: [{name: small}, {name: odd}]", 1)
    beta = rest.replace("pools: *pools", f"pools: [{{name: main, labels: [{GOOD}]}}]")
    return f"{labels}{more}  - {{name: beta{beta}"


@pytest.mark.parametrize(
    ("label", "pool", "words"),
    [
        (
            "{name: odd, cloud-image: tiny, flavor-name: ci-1c-2g}",
            "",
            ("no flavor 'ci-1c-2g'", "near: ci-1c-1g"),
        ),
        (
            "{name: odd, cloud-image: debian-13, flavor-name: ci-1c-1g}",
            "",
            ("no active image 'debian-13'", "near: debian-12"),
        ),
        (
            "{name: odd, cloud-image: tiny, flavor-name: ci-1c-1g}",
            "        networks: [ci-nett]\n",
            ("network 'ci-nett'", "near: ci-net"),
        ),
        (
            "{name: odd, cloud-image: tiny, min-ram: 64000}",
            "",
            ("no flavor with 64000 MiB", "the largest has 4096 MiB"),
        ),
        (
            "{name: odd, cloud-image: tiny, flavor-name: ci-1c-1g, key-name: opps}",
            "",
            ("no keypair 'opps'",),
        ),
        (
            "{name: odd, cloud-image: tiny, flavor-name: ci-1c-1g}",
            "        availability-zones: [nowa]\n",
            ("no available zone 'nowa'", "near: nova"),
        ),
    ],
    ids=["flavor", "image", "network", "memory", "keypair", "zone"],
)
async def test_what_the_cloud_lacks_is_told_for_each_label(
    label, pool, words, tmp_path, autojump_clock
):
    """The label that lacks something is named with near matches; its neighbour is served."""
    stage = Stage(tmp_path, alpha=ALPHA, configuration=asking_for(label, pool))
    async with stage.running() as core:
        status = await stage.becomes(Health.AVAILABLE)

        missing = {pool.name: dict(pool.missing) for pool in status.pools}
        assert ["odd"] == list(missing["other"])
        assert {} == missing["main"]
        for word in words:
            assert word in missing["other"]["odd"]
        (odd,) = [x for x in core.operator.labels() if x.name == "odd"]
        assert {"alpha/other": missing["other"]["odd"]} == dict(odd.missing)
        told = [event for event in stage.events if event["event"] == "label_missing"]
        assert [("other", "odd")] == [(event["pool"], event["label"]) for event in told]
        await stage.served(await stage.ask("alpha"))
