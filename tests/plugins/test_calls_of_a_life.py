"""What a plugin adds to the calls of a node's life: the same life on a stock cloud beside it."""

import attrs
import pytest
import yaml

from tests.daemon.stage import MINUTE, Stage
from trellis.model.status import Health
from trellis.plugin_host import load_plugins
from trellis.sim.cloud.behaviour import STOCK
from trellis.sim.cloud.spec import Latency, direct_networks, fixed
from trellis.sim.clouds.ovh import ovh
from trellis.sim.clouds.vexxhost import vexxhost

TYPES = load_plugins(environment={}).providers
LIVES = 20
PACE = {"boot": fixed(20.0), "guest": fixed(5.0), "delete": fixed(2.0), "latency": Latency()}
VOLUME = {"boot-from-volume": True, "volume-size": 80}


async def calls_of_lives(folder, twin, kind, region, label):
    """So many nodes, each deleted before the next is asked for; what all that took in calls."""
    folder.mkdir()
    alpha = {"name": "alpha", "type": kind, "cloud": "alpha", "region-name": region}
    label = {"name": "small", "cloud-image": twin.images[0].name, **label}
    configuration = {
        "deployment": "stage",
        "labels": [{"name": "small"}],
        "providers": [{**alpha, "pools": [{"name": "main", "labels": [label]}]}],
    }
    spec = attrs.evolve(twin, name="alpha", **PACE)
    stage = Stage(folder, alpha=spec, configuration=yaml.safe_dump(configuration), types=TYPES)
    who = spec.credentials
    auth = {"username": who.username, "password": who.password, "project_name": who.project}
    auth |= {"user_domain_name": "Default", "project_domain_name": "Default"}
    auth["auth_url"] = stage.alpha.auth_url
    stage.entry = {"auth_type": "v3password", "auth": auth}
    if kind != "openstack":
        stage.entry["profile"] = kind
    stage.write()
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        for _ in range(LIVES):
            request = await stage.served(await stage.ask())
            (node,) = await core.port.nodes_of(request)
            await stage.release(request)
            await stage.gone(node.id, 5 * MINUTE)
    return len(stage.calls)


@pytest.mark.parametrize(
    ("kind", "make", "region", "flavor", "stock_label"),
    [
        ("ovh", ovh, "GRA1", "b2-7", {}),
        ("vexxhost", vexxhost, "ca-ymq-1", "v2-highcpu-8", {}),
        ("vexxhost", vexxhost, "sjc1", "v2-highcpu-8", VOLUME),
    ],
    ids=["ovh", "vexxhost-ca-ymq-1", "vexxhost-sjc1-from-volumes"],
)
async def test_a_life_costs_at_most_one_call_more_than_on_a_stock_cloud(
    kind, make, region, flavor, stock_label, tmp_path, autojump_clock
):
    """Twenty lives one after the other, lists, looks at the inventory and the login included."""
    twin = make()
    stock = attrs.evolve(
        twin, behaviour=STOCK, rate_limits=(), networks=direct_networks(), name="stock"
    )
    label = {"flavor-name": flavor}

    usual = await calls_of_lives(
        tmp_path / "stock", stock, "openstack", region, {**label, **stock_label}
    )
    taken = await calls_of_lives(tmp_path / kind, twin, kind, region, label)

    assert taken <= usual + LIVES
    assert taken <= usual  # what is asked of floating IPs at a stock cloud is not asked here
