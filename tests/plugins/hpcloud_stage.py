"""The daemon's core with HP's twin, and a provider of type hpcloud on it."""

from typing import Any

import attrs
import yaml

from tests.daemon.stage import MINUTE, Stage
from tests.plugins.quirk_stories import Told
from trellis.model.node import Node
from trellis.sim.cloud.spec import CloudSpec, Lognormal
from trellis.sim.clouds.hpcloud import hpcloud

NETWORKS = ("ci-net-1", "ci-net-2")
QUICK = Lognormal(2.0, 4.0)


def twin(**changes: Any) -> CloudSpec:
    """HP's twin as the first cloud of a stage; boots are quick where they do not matter."""
    return attrs.evolve(hpcloud(), **{"name": "alpha", "boot": QUICK, "guest": QUICK, **changes})


def on_stage(told: Told, alpha: CloudSpec, *, networks=NETWORKS[:1], most=10) -> Stage:
    """A provider of type hpcloud on the twin, with the access key of its user."""
    image, flavor = "Ubuntu Server 14.04 LTS (amd64)", "standard.xsmall"
    pools = [
        {
            "name": "main",
            "networks": list(networks),
            "max-servers": most,
            "labels": [{"name": "small", "cloud-image": image, "flavor-name": flavor}],
        }
    ]
    configuration = {
        "deployment": "stage",
        "labels": [{"name": "small"}],
        "providers": [{"name": "alpha", "type": "hpcloud", "cloud": "alpha", "pools": pools}],
    }
    stage = told.stage(alpha=alpha, configuration=yaml.safe_dump(configuration))
    mine = alpha.credentials
    auth = {"access_key": mine.access_key, "secret_key": mine.secret_key}
    auth["auth_url"] = stage.alpha.auth_url
    stage.entry = {"profile": "hpcloud", "auth": auth}
    stage.write()
    return stage


async def all_served(stage: Stage, count: int, within_s: float = 15 * MINUTE) -> list[Node]:
    """Have so many nodes, all at once; returns them."""
    requests = [await stage.ask("alpha") for _ in range(count)]
    nodes = []
    for request_id in requests:
        request = await stage.served(request_id, within_s)
        nodes += await stage.core.port.nodes_of(request)
    return nodes
