"""Images as nova shows them, for clouds whose glance speaks version 1 only.

Nova passed on the calls to glance and kept its own form of the rows (nova
api/openstack/compute/images.py; deprecated since microversion 2.36, and without one still there).
"""

from collections.abc import Mapping

import msgspec

from trellis.errors import CloudBrokenError
from trellis.http.message import Answer
from trellis.openstack.compute.rows import Link
from trellis.openstack.image import Image, ImageRow
from trellis.openstack.paging import marker_in


class _Row(msgspec.Struct, frozen=True):
    id: str
    name: str | None = None
    status: str = ""
    created: str = ""
    min_ram: int = msgspec.field(name="minRam", default=0)
    min_disk: int = msgspec.field(name="minDisk", default=0)
    metadata: dict[str, str] = msgspec.field(default_factory=dict)

    def as_image(self) -> ImageRow:
        """The same row in glance's form, whose states are in small letters."""
        return ImageRow(
            id=self.id,
            name=self.name,
            status=self.status.lower(),
            created_at=self.created,
            min_ram=self.min_ram,
            min_disk=self.min_disk,
        )

    def has(self, properties: Mapping[str, str]) -> bool:
        """Whether its metadata, which are glance's properties, have these values."""
        return all(self.metadata.get(key) == value for key, value in properties.items())


class _Page(msgspec.Struct, frozen=True):
    images: list[_Row]
    images_links: list[Link] = msgspec.field(default_factory=list)


class _One(msgspec.Struct, frozen=True):
    image: _Row


class NovaImages(Image):
    """The images of one region by nova's calls; reading only, as `Image` in all else."""

    async def image(self, image_id: str) -> ImageRow:
        """One image by its id.

        Raises:
            NotFoundError: the project can see none of this id.
        """
        answer = await self._ask(f"/images/{image_id}", "/images/{id}")
        return answer.decode(_One).image.as_image()

    async def images(self, filters: Mapping[str, str] | None = None) -> list[ImageRow]:
        """The images the project can see, page by page.

        Args:
            filters: ``name``, and properties, that must have these very values.

        Raises:
            CloudBrokenError: the list has no end.
        """
        properties = dict(filters or {})
        name = properties.pop("name", None)
        params = {} if name is None else {"name": name}
        rows: dict[str, _Row] = {}
        for _ in range(self._most_pages):
            page = (await self._ask("/images/detail", "/images/detail", params)).decode(_Page)
            new = {row.id: row for row in page.images if row.id not in rows}
            rows.update(new)
            following = next((link for link in page.images_links if link.rel == "next"), None)
            if following is None or not new:
                there = [row for row in rows.values() if name is None or row.name == name]
                return [row.as_image() for row in there if row.has(properties)]
            params["marker"] = marker_in(following.href, page.images[-1].id)
        raise CloudBrokenError(
            f"the list has no end: {self._most_pages} pages and {len(rows)} rows",
            cloud=self._session.cloud,
            call="GET compute /images/detail",
        )

    async def _ask(self, path: str, label: str, params: Mapping[str, str] | None = None) -> Answer:
        return await self._session.request(
            "compute", "GET", path, label=label, params=params or None, budget_s=self._budget_s
        )
