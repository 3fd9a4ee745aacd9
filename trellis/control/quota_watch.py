"""Reads the quota of a project now and then, and at once after the cloud refused for it."""

from collections.abc import Callable

import attrs
import structlog
import trio

from trellis.control.fleet import DYING, Fleet
from trellis.control.health import ProviderHealth
from trellis.control.nudge import Nudge
from trellis.control.quota import Quota
from trellis.control.quota_book import QuotaBook
from trellis.errors import AnswerLostError, CloudBrokenError, CloudError
from trellis.model.names import NodeId
from trellis.model.node import Node, ResourceKind
from trellis.model.quota import Limits, QuotaReading, Resources
from trellis.scheduler.snapshot import QuotaView
from trellis.spi.provider import Provider

log = structlog.get_logger()

EVERY_S = 60.0
AGAIN_S = 10.0
"""So soon it is tried again where a refusal waits for a reading that has failed."""
SOONEST_S = 1.0
PATIENCE = 3
"""So many readings may come to nothing before a cloud is used without: its refusals teach then."""

_UNKNOWN = QuotaReading(limits=Limits(), used=Resources(), read_at=0.0)


@attrs.define(eq=False, kw_only=True)
class QuotaWatch:
    """Keeps one provider's quota read; providers that share it all do, each in its turn.

    Attributes:
        quota: what it keeps; another one once it is known whose project this is.
        book: keeps what is learnt of it over a restart.
        wanted: asks for a reading at once.
    """

    provider: Provider
    quota: Quota
    fleet: Fleet
    health: ProviderHealth
    nudge: Callable[[], None]
    book: QuotaBook
    wanted: Nudge
    _failures: int = attrs.field(default=0, init=False)

    async def run(self) -> None:
        """Read each minute and when asked to, until cancelled."""
        while True:
            await self.wanted.wait(at_most=AGAIN_S if self.quota.doubted else EVERY_S)
            before = self._view()
            try:
                async with self.quota.turn:
                    if self._is_due():
                        await self.read()
            except CloudError as error:
                self.health.failed(error)
                self.quota.unread()
            self.book.note(self.quota)
            if self._view() != before:
                self.nudge()
            await trio.sleep(SOONEST_S)

    def _view(self) -> QuotaView:
        """The quota as the planner would see it with nothing of ours."""
        return self.quota.view(ours=Resources(), freeing=Resources())

    def _is_due(self) -> bool:
        """Whether no other provider that shares it has read it just now."""
        read = self.quota.read_since
        due = read is None or trio.current_time() - read >= EVERY_S - SOONEST_S
        return due or self.quota.doubted

    async def read(self) -> None:
        """Read the quota now.

        Raises:
            CloudError: it could not be read; what was known stays.
        """
        begun_at = trio.current_time()
        certain_before, possible_before, _ = self._ours()
        try:
            reading = await self.provider.limits()
        except (CloudBrokenError, AnswerLostError) as error:
            self._failures += 1
            if self.quota.reading is not None or self._failures < PATIENCE:
                raise
            log.warning("quota_unknown", quota=self.quota.name, why=str(error))
            reading = _UNKNOWN
        self._failures = 0
        if self.quota.reading is None:
            self.book.recall(self.quota)
        certain_after, possible_after, proved = self._ours()
        certain = [size for key, size in certain_before.items() if key in certain_after]
        possible = {**possible_before, **possible_after}
        self.quota.learn(
            reading,
            certain=sum(certain, Resources()),
            possible=sum(possible.values(), Resources()),
            proved=proved,
            begun_at=begun_at,
        )

    def _ours(self) -> tuple[dict[NodeId, Resources], dict[NodeId, Resources], Resources]:
        """Sizes of our nodes in this quota: what surely exists of them, what may, what is proved.

        Proved is what the cloud has given beyond doubt: a server that is active is not refused
        for quota any more.
        """
        certain, possible, proved = {}, {}, Resources()
        for node in self.fleet.nodes.values():
            if not node.resources or self.fleet.quota_of(node) != self.quota.name:
                continue
            server = node.server
            if server is None:
                if node.resource(ResourceKind.VOLUME) is not None:
                    possible[node.id] = _left_of(node)
                continue
            possible[node.id] = node.shape.resources
            if server.external_id is not None and node.state not in DYING:
                certain[node.id] = _made_of(node)
                if node.active_at is not None:
                    proved += certain[node.id]
        return certain, possible, proved


def _made_of(node: Node) -> Resources:
    """The part of a node's size that is surely made: its ports, volume, floating IP come later."""
    size = node.shape.resources
    floating = node.resource(ResourceKind.FLOATING_IP)
    made = int(floating is not None and floating.external_id is not None)
    ports = size.ports if node.active_at is not None else 0
    size = attrs.evolve(size, floating_ips=min(size.floating_ips, made), ports=ports)
    if size.volumes and node.resource(ResourceKind.VOLUME) is None:
        return attrs.evolve(size, volumes=0, volume_gib=0)
    return size


def _left_of(node: Node) -> Resources:
    """What may be used of a node whose server is gone and whose volume is not."""
    size = node.shape.resources
    return Resources(volumes=size.volumes, volume_gib=size.volume_gib)
