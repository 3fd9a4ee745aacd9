"""Cinder: volumes and their quota.

Volumes of nodes are made by nova, from an image at boot; here they are looked at and deleted.
Field names are those of cinder's API reference for v3 (documented; the recorded cloud has no
cinder). Version 2 answers alike, as far as these fields go.
"""

from collections.abc import Mapping
from typing import Final

import attrs
import msgspec

from trellis.errors import CloudBrokenError
from trellis.http.message import Answer
from trellis.openstack.paging import marker_in
from trellis.openstack.session import Session

SERVICE: Final = "block-storage"
"""The type by which the catalog is asked; ``volumev3``, ``volumev2`` and others mean the same."""
MOST_PAGES: Final = 1000


class Attachment(msgspec.Struct, frozen=True, gc=False):
    """Where a volume is attached."""

    server_id: str | None = None


class VolumeRow(msgspec.Struct, frozen=True):
    """A volume: ``size`` in GiB.

    Attributes:
        name: "" or None for those that nova makes at boot.
        bootable: ``true`` for those made from an image, as text.
        status: ``creating``, ``available``, ``in-use``, ``deleting``, ``error_deleting``, …
    """

    id: str
    status: str = ""
    size: int = 0
    name: str | None = None
    bootable: str | bool = "false"
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    attachments: list[Attachment] = msgspec.field(default_factory=list)

    @property
    def server_id(self) -> str | None:
        """The server it is attached to; None if it is to none."""
        return next((one.server_id for one in self.attachments if one.server_id), None)

    @property
    def boots(self) -> bool:
        """Whether a server can boot from it."""
        return str(self.bootable).lower() == "true"


class VolumeLimits(msgspec.Struct, frozen=True, rename="camel"):
    """Cinder's quota and use: -1 is unlimited, None is not told. Space in GiB."""

    max_total_volumes: int | None = None
    max_total_volume_gigabytes: int | None = None
    total_volumes_used: int = 0
    total_gigabytes_used: int = 0


class _Link(msgspec.Struct, frozen=True, gc=False):
    href: str
    rel: str = ""


class _Page(msgspec.Struct, frozen=True):
    volumes: list[VolumeRow]
    volumes_links: list[_Link] = msgspec.field(default_factory=list)


class _VolumeAnswer(msgspec.Struct, frozen=True):
    volume: VolumeRow


class _Limits(msgspec.Struct, frozen=True):
    absolute: VolumeLimits


class _LimitsAnswer(msgspec.Struct, frozen=True):
    limits: _Limits


@attrs.frozen
class BlockStorage:
    """Cinder in one region.

    Every method may raise any `CloudError`, MisconfiguredError where the cloud has no block
    storage; one that is cancelled leaves open whether its one call was carried out.

    Args:
        session: carries the calls.
        budget_s: seconds for each call with its tries; None leaves it to the session.
        most_pages: pages after which a list counts as endless.
    """

    _session: Session
    _budget_s: float | None = None
    _most_pages: int = MOST_PAGES

    async def endpoint(self) -> str:
        """The URL of the service; no call but the login's, if one is due.

        Raises:
            MisconfiguredError: the cloud's catalog has no block storage in this region.
        """
        return await self._session.endpoint(SERVICE)

    async def volume(self, volume_id: str) -> VolumeRow:
        """One volume.

        Raises:
            NotFoundError: this project has none of this id in this region.
        """
        answer = await self._call("GET", f"/volumes/{volume_id}", "/volumes/{id}")
        return answer.decode(_VolumeAnswer).volume

    async def volumes(self) -> list[VolumeRow]:
        """All volumes of the project, each once, page by page.

        Raises:
            CloudBrokenError: the list has no end.
        """
        rows: dict[str, VolumeRow] = {}
        params: dict[str, str] = {}
        for _ in range(self._most_pages):
            page = (await self._call("GET", "/volumes/detail", params=params)).decode(_Page)
            new = {row.id: row for row in page.volumes if row.id not in rows}
            rows.update(new)
            following = next((link.href for link in page.volumes_links if link.rel == "next"), None)
            if following is None or not new:
                return list(rows.values())
            params = {"marker": marker_in(following, page.volumes[-1].id)}
        raise CloudBrokenError(
            f"the list has no end: {self._most_pages} pages and {len(rows)} rows",
            cloud=self._session.cloud,
            call=f"GET {SERVICE} /volumes/detail",
        )

    async def delete_volume(self, volume_id: str) -> None:
        """Tell cinder to delete a volume; it answers before anything has happened.

        Raises:
            NotFoundError: this project has none of this id in this region.
            RejectedError: it is attached, or in a state that only an operator of the cloud can
                lead out of, as ``error_deleting`` (cinder/volume/api.py, delete).
        """
        await self._call("DELETE", f"/volumes/{volume_id}", "/volumes/{id}")

    async def limits(self) -> VolumeLimits:
        """Quota and use of the project, by anyone."""
        return (await self._call("GET", "/limits")).decode(_LimitsAnswer).limits.absolute

    async def _call(
        self,
        method: str,
        path: str,
        label: str | None = None,
        *,
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        return await self._session.request(
            SERVICE,
            method,
            path,
            label=label or path,
            params=params or None,
            budget_s=self._budget_s,
        )
