"""Volumes that nova makes for servers that boot from them: whether there can be any, and leaks."""

from typing import Final

import attrs
import structlog

from trellis.errors import MisconfiguredError
from trellis.model.node import ResourceKind
from trellis.openstack.volume import BlockStorage, VolumeRow
from trellis.spi.provider import Leftover

log = structlog.get_logger()

_LEFT: Final = frozenset({"available", "error", "error_deleting", "in-use"})
"""States of a volume that nothing is under way with."""


@attrs.define(eq=False)
class Volumes:
    """The volumes of one provider's nodes.

    Args:
        storage: carries the calls.
        wanted: some label boots from a volume; without one, cinder is never asked for anything.
        provider: for the log.

    Attributes:
        lacking: why the cloud has no block storage, once `look` has found none; else "".
    """

    storage: BlockStorage
    wanted: bool
    provider: str
    lacking: str = attrs.field(default="", init=False)
    _looked: bool = attrs.field(default=False, init=False)

    async def service(self) -> BlockStorage | None:
        """The service, if it is wanted and there is one; what `look` last found stands.

        Raises:
            CloudError: as `look`, which is asked at the first time.
        """
        if not self._looked:
            await self.look()
        return self.storage if self.wanted and not self.lacking else None

    async def look(self) -> None:
        """See whether the cloud's catalog has block storage; said in the log when it has none.

        Raises:
            CloudError: there is no token to look with.
        """
        if not self.wanted:
            self._looked = True
            return
        before = self.lacking
        try:
            await self.storage.endpoint()
        except MisconfiguredError as error:
            self.lacking = str(error)
        else:
            self.lacking = ""
        self._looked = True
        if self.lacking and not before:
            log.info("block_storage_missing", provider=self.provider, error=self.lacking)

    async def leftovers(self) -> tuple[Leftover, ...]:
        """Volumes that look as nova makes them at boot, with their server if they have one.

        Nothing on such a volume says whose it is. One with a name or metadata is somebody's own.
        """
        storage = await self.service()
        if storage is None:
            return ()
        return tuple(
            Leftover(
                kind=ResourceKind.VOLUME,
                external_id=row.id,
                tag=None,
                server_id=row.server_id,
                description=f"{row.size} GiB, {row.status}",
            )
            for row in await storage.volumes()
            if row.status in _LEFT and _made_by_nova(row)
        )


def _made_by_nova(row: VolumeRow) -> bool:
    """Nova gives them neither name nor metadata (nova/virt/block_device.py, DriverVolImage…).

    One that failed while it was made is not bootable yet.
    """
    return not row.name and not row.metadata and (row.boots or row.status.startswith("error"))
