"""Rackspace's twins on a stage, and the entry and the configuration that go with them."""

import attrs
import yaml
from trellis_rackspace.classic import PROFILE

from tests.daemon.stage import MINUTE, Stage
from tests.plugins.quirk_stories import Told
from trellis.openstack.clouds import CloudConfig, read_clouds
from trellis.sim.cloud.behaviour import Behaviour
from trellis.sim.cloud.spec import CloudSpec, Lognormal
from trellis.sim.clouds.rackspace import rackspace

IMAGE = "Debian 12 (PVHVM)"
LABEL = {"name": "small", "cloud-image": IMAGE, "flavor-name": "Performance", "min-ram": 2048}
QUICK = Lognormal(2.0, 4.0)


def twin(*, behaviour: dict[str, object] | None = None, **changes: object) -> CloudSpec:
    """The classic twin as the first cloud of a stage; boots are quick where they do not matter."""
    stock = rackspace()
    ways: Behaviour = attrs.evolve(stock.behaviour, **(behaviour or {}))
    usual = {"name": "alpha", "boot": QUICK, "guest": QUICK, "behaviour": ways}
    return attrs.evolve(stock, **{**usual, **changes})


def configured(
    *, kind: str = "rackspace", label: dict[str, object] | None = None, most: int = 10,
    region: str = "DFW", provider: dict[str, object] | None = None, **pool: object,
) -> str:  # fmt: skip
    """The text of a configuration with one provider."""
    pools = [{"name": "main", "max-servers": most, "labels": [label or LABEL], **pool}]
    alpha = {"name": "alpha", "type": kind, "cloud": "alpha", "region-name": region}
    return yaml.safe_dump(
        {
            "deployment": "stage",
            "labels": [{"name": "small"}],
            "providers": [{**alpha, "pools": pools, **(provider or {})}],
        }
    )


def with_key(stage: Stage) -> Stage:
    """Have the stage's first cloud used with its user's API key."""
    mine = stage.alpha.spec.credentials
    auth = {"username": mine.username, "api_key": mine.api_key}
    stage.entry = {"profile": PROFILE.name, "auth": {**auth, "auth_url": stage.alpha.auth_url}}
    stage.write()
    return stage


def on_stage(told: Told, alpha: CloudSpec | None = None, **changes: object) -> Stage:
    """A provider of type rackspace on the twin."""
    return with_key(told.stage(alpha=alpha or twin(), configuration=configured(**changes)))


def entry_of(told: Told, region: str = "DFW", **auth: str) -> CloudConfig:
    """What an entry comes to that says only what the customer knows himself."""
    file = told.folder / "clouds.yaml"
    auth = auth or {"username": "trellis-ci", "api_key": "0123456789abcdef0123456789abcdef"}
    file.write_text(yaml.safe_dump({"clouds": {"rax": {"auth": auth}}}))
    profiles = {name: found.entry for name, found in told.types.profiles().items()}
    clouds = read_clouds({"OS_CLIENT_CONFIG_FILE": str(file)}, profiles=profiles)
    return clouds.get("rax", region, profile=told.profile.name)


async def all_served(stage: Stage, count: int = 1, within_s: float = 15 * MINUTE):
    """Have so many nodes, all asked for at once; returns them."""
    requests = [await stage.ask("alpha") for _ in range(count)]
    nodes = []
    for request_id in requests:
        request = await stage.served(request_id, within_s)
        nodes += await stage.core.port.nodes_of(request)
    return nodes


def creates_tried(stage: Stage) -> int:
    """How many times a server was asked for at the first cloud."""
    return sum(
        cloud == "alpha" and method == "POST" and path.endswith("/servers")
        for cloud, method, path in stage.calls
    )
