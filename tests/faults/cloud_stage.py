"""One cloud that can be made bad, the daemon's core on it, and what must hold in the end."""

from contextlib import asynccontextmanager

import attrs
import trio

from tests.daemon.stage import MINUTE, Stage
from trellis.model.node import NodeState
from trellis.model.request import RequestState
from trellis.model.status import Health
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.site import STRANGER
from trellis.sim.cloud.spec import CloudSpec, Faults, floating_networks

CONFIGURATION = """
deployment: stage
labels: [{name: small, min-ready: MIN_READY}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    sweep: delete
    launch-timeout: 300
    boot-timeout: 60
    pools:
      - name: main
        max-servers: 10
        networks: [NETWORK]
        labels: [{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]
"""
SETTLED_S = 90 * MINUTE


class CloudStage(Stage):
    """A stage with alpha alone, which is the cloud in trouble."""

    def now(self, **faults):
        """Have these faults from now on, and no others."""
        self.alpha.change(faults=Faults(**faults))

    def struck(self, name):
        """How many times a fault took effect."""
        return self.alpha.ledger.struck[name]

    def ours(self):
        """The servers of the account that there are."""
        return [server for server in self.alpha.servers() if server.who != STRANGER]

    async def a_lease(self):
        """A request that is fulfilled, and its one node."""
        request = await self.served(await self.ask())
        (node,) = await self.core.port.nodes_of(request)
        return request, node

    async def nothing_left(self, within_s=SETTLED_S):
        """Wait until nothing of ours is left in the cloud, and nothing is on record."""
        with trio.move_on_after(within_s):  # noqa: ASYNC912
            while self.left() or self.core.fleet.nodes:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(10.0)
        assert self.left() == []
        assert self.core.fleet.nodes == {}
        assert self.alpha.ledger.violations == []

    def left(self):
        """Everything of the account's in the cloud, in words."""
        cloud = self.alpha
        things = [*cloud.servers(), *cloud.floating_ips(), *cloud.ports(), *cloud.volumes()]
        return [f"{type(x).__name__} {x.id} {x.name}" for x in things if x.who != STRANGER]

    def was_made_once(self):
        """No create was carried out twice (P3)."""
        names = [
            fact.name for fact in self.alpha.ledger.of(What.SERVER_CREATED) if fact.who != STRANGER
        ]
        return len(names) == len(set(names))

    def told(self, event):
        """The log's entries of this kind."""
        return [entry for entry in self.events if entry["event"] == event]


def a_stage(
    tmp_path, *, floating=False, min_ready=0, boots_from_volume=False, faults=None, **changes
):
    """A cloud without chance, but for what a test asks for."""
    networks = {"networks": floating_networks()} if floating else {}
    faults = {"faults": Faults(**faults)} if faults else {}
    spec = attrs.evolve(CloudSpec(name="alpha"), **networks, **faults, **changes)
    text = CONFIGURATION.replace("MIN_READY", str(min_ready))
    text = text.replace("NETWORK", "ci-net" if floating else "public")
    if boots_from_volume:
        text = text.replace("1g}", "1g, boot-from-volume: true, volume-size: 20}")
    return CloudStage(tmp_path, alpha=spec, configuration=text)


@asynccontextmanager
async def used_once(tmp_path, **made):
    """A stage in which one node is leased, and given back at the end; nothing must be left."""
    stage = a_stage(tmp_path, **made)
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        request, node = await stage.a_lease()
        yield stage, node
        if (await stage.core.port.request(request.id)).state is RequestState.FULFILLED:
            await stage.release(request)
        await stage.nothing_left()
        assert stage.was_made_once()


__all__ = ["MINUTE", "CloudStage", "Health", "NodeState", "a_stage", "used_once"]
