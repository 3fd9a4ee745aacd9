"""Reads the quota of a project now and then, and at once after the cloud refused for it."""

from collections.abc import Callable

import attrs
import trio

from trellis.control.fleet import DYING, Fleet
from trellis.control.health import ProviderHealth
from trellis.control.nudge import Nudge
from trellis.control.quota import Quota
from trellis.errors import CloudError
from trellis.model.names import NodeId
from trellis.model.node import Node, ResourceKind
from trellis.model.quota import Resources
from trellis.spi.provider import Provider

EVERY_S = 60.0
SOONEST_S = 1.0


@attrs.define(eq=False, kw_only=True)
class QuotaWatch:
    """Keeps one provider's quota read; providers that share it all do, and learn from each other.

    Attributes:
        wanted: asks for a reading at once.
    """

    provider: Provider
    quota: Quota
    fleet: Fleet
    health: ProviderHealth
    nudge: Callable[[], None]
    wanted: Nudge

    async def run(self) -> None:
        """Read each minute and when asked to, until cancelled."""
        while True:
            await self.wanted.wait(at_most=EVERY_S)
            try:
                await self.read()
            except CloudError as error:
                self.health.failed(error)
            else:
                self.nudge()
            await trio.sleep(SOONEST_S)

    async def read(self) -> None:
        """Read the quota now.

        Raises:
            CloudError: it could not be read; what was known stays.
        """
        certain_before, possible_before = self._ours()
        reading = await self.provider.limits()
        certain_after, possible_after = self._ours()
        certain = [size for key, size in certain_before.items() if key in certain_after]
        possible = {**possible_before, **possible_after}
        self.quota.learn(
            reading,
            certain=sum(certain, Resources()),
            possible=sum(possible.values(), Resources()),
        )

    def _ours(self) -> tuple[dict[NodeId, Resources], dict[NodeId, Resources]]:
        """Sizes of our nodes in this quota: what surely exists of them, and what may."""
        certain, possible = {}, {}
        for node in self.fleet.nodes.values():
            if not node.resources or self.fleet.quota_of(node.provider) != self.quota.name:
                continue
            server = node.server
            if server is None:
                if node.resource(ResourceKind.VOLUME) is not None:
                    possible[node.id] = _left_of(node)
                continue
            possible[node.id] = node.shape.resources
            if server.external_id is not None and node.state not in DYING:
                certain[node.id] = _made_of(node)
        return certain, possible


def _made_of(node: Node) -> Resources:
    """The part of a node's size that is surely made: its volume and floating IP come later."""
    size = node.shape.resources
    floating = node.resource(ResourceKind.FLOATING_IP)
    made = int(floating is not None and floating.external_id is not None)
    size = attrs.evolve(size, floating_ips=min(size.floating_ips, made))
    if size.volumes and node.resource(ResourceKind.VOLUME) is None:
        return attrs.evolve(size, volumes=0, volume_gib=0)
    return size


def _left_of(node: Node) -> Resources:
    """What may be used of a node whose server is gone and whose volume is not."""
    size = node.shape.resources
    return Resources(volumes=size.volumes, volume_gib=size.volume_gib)
