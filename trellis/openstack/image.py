"""Glance: the images a server can be made from. Reading only; `image_write` changes them."""

from collections.abc import Mapping
from typing import Final

import attrs
import msgspec

from trellis.errors import CloudBrokenError, NotFoundError, RejectedError
from trellis.http.message import Answer
from trellis.openstack.paging import marker_in
from trellis.openstack.session import Session

ACTIVE: Final = "active"
MOST_PAGES: Final = 1000


class ImageRow(msgspec.Struct, frozen=True):
    """An image; ``status`` is ``active`` when servers can be made from it."""

    id: str
    name: str | None = None
    status: str = ""
    created_at: str = ""
    min_ram: int = 0
    min_disk: int = 0
    disk_format: str | None = None


class _Page(msgspec.Struct, frozen=True):
    images: list[ImageRow]
    next: str | None = None


@attrs.frozen
class Image:
    """Glance in one region.

    Every method may raise any `CloudError`.

    Args:
        session: carries the calls.
        budget_s: seconds for each call with its tries; None leaves it to the session.
        most_pages: pages after which a list counts as endless.
    """

    _session: Session
    _budget_s: float | None = None
    _most_pages: int = MOST_PAGES

    async def image(self, image_id: str) -> ImageRow:
        """One image by its id.

        Raises:
            NotFoundError: the project can see none of this id.
        """
        return (await self._call(f"/images/{image_id}", "/images/{id}")).decode(ImageRow)

    async def images(self, filters: Mapping[str, str] | None = None) -> list[ImageRow]:
        """The images the project can see, page by page (25 a page on some: quirks 4.4).

        Args:
            filters: fields or properties that must have these very values.

        Raises:
            CloudBrokenError: the list has no end.
        """
        params = dict(filters or {})
        rows: dict[str, ImageRow] = {}
        for _ in range(self._most_pages):
            page = (await self._call("/images", "/images", params)).decode(_Page)
            new = {row.id: row for row in page.images if row.id not in rows}
            rows.update(new)
            if page.next is None or not new:
                return list(rows.values())
            params["marker"] = marker_in(page.next, page.images[-1].id)
        raise CloudBrokenError(
            f"the list has no end: {self._most_pages} pages and {len(rows)} rows",
            cloud=self._session.cloud,
            call="GET image /images",
        )

    async def find(self, name_or_id: str) -> ImageRow | None:
        """The newest active image of this name, or the active one of this id; None if none is.

        Names are not unique in any glance, and base images are renewed under the same name.
        """
        named = newest_active(await self.images({"name": name_or_id}))
        if named is not None:
            return named
        try:
            image = await self.image(name_or_id)
        except (NotFoundError, RejectedError):
            return None
        return image if image.status == ACTIVE else None

    async def _call(self, path: str, label: str, params: Mapping[str, str] | None = None) -> Answer:
        return await self._session.request(
            "image", "GET", path, label=label, params=params or None, budget_s=self._budget_s
        )


def newest_active(images: list[ImageRow]) -> ImageRow | None:
    """Of several images the one to boot: active, newest, and by id among those of one second."""
    active = [image for image in images if image.status == ACTIVE]
    return max(active, key=lambda image: (image.created_at, image.id), default=None)
