"""Glance v1, as clouds of before 2016 have it: the whole image goes with one POST.

Fields are headers, ``x-image-meta-…``, and properties ``x-image-meta-property-…``, whose names
glance reads in small letters and with underscores for hyphens (glance/api/v1/images.py, which was
removed with release 2018.1).
"""

from collections.abc import Mapping
from typing import Final

import attrs
import msgspec

from trellis.errors import CloudBrokenError
from trellis.http.message import Answer, Stream
from trellis.openstack.image import MOST_PAGES
from trellis.openstack.image_write import FullImage
from trellis.openstack.session import Session

_META: Final = "x-image-meta-"
_PROPERTY: Final = "x-image-meta-property-"
_VERSION: Final = "v1"


class _Row(msgspec.Struct, frozen=True):
    id: str
    name: str | None = None
    status: str = ""
    created_at: str | None = None
    size: int | None = None
    checksum: str | None = None
    owner: str | None = None
    protected: bool = False
    disk_format: str | None = None
    properties: dict[str, str] = msgspec.field(default_factory=dict)

    def full(self) -> FullImage:
        """The same row in glance v2's form."""
        return FullImage(
            id=self.id,
            name=self.name or "",
            status=self.status.lower(),
            created_at=self.created_at or "",
            size=self.size or None,
            checksum=self.checksum,
            owner=self.owner,
            protected=self.protected,
            disk_format=self.disk_format,
            properties=self.properties,
        )


class _Page(msgspec.Struct, frozen=True):
    images: list[_Row]


class _One(msgspec.Struct, frozen=True):
    image: _Row


class _NovaRow(msgspec.Struct, frozen=True):
    id: str
    name: str | None = None
    status: str = ""
    created: str = ""
    size: int | None = msgspec.field(name="OS-EXT-IMG-SIZE:size", default=None)
    metadata: dict[str, str] = msgspec.field(default_factory=dict)


class _OneOfNova(msgspec.Struct, frozen=True):
    image: _NovaRow


@attrs.frozen
class ImageV1:
    """Glance v1 in one region.

    Every method makes one call (or one a page) and may raise any `CloudError`,
    QuotaExceededError where there is no room. Cancelled, it leaves open whether its call was
    carried out.

    Args:
        session: carries the calls.
        budget_s: seconds for each call with its tries but uploads; None leaves it to the session.
        most_pages: pages after which a list counts as endless.
    """

    _session: Session
    _budget_s: float | None = None
    _most_pages: int = MOST_PAGES

    async def post(
        self,
        *,
        name: str,
        disk_format: str,
        properties: Mapping[str, str],
        md5: str,
        public: bool,
        body: Stream,
    ) -> FullImage:
        """Make an image and send its data, all in one.

        Args:
            md5: of the body; glance compares it, and the size.

        Raises:
            RejectedError: what came is not what *md5* says, among others.
        """
        fields = {
            "name": name,
            "disk_format": disk_format,
            "container_format": "ovf" if disk_format == "vhd" else "bare",
            "is_public": str(public),
            "size": str(body.size),
            "checksum": md5,
        }
        answer = await self._session.request(
            "image",
            "POST",
            "/images",
            label="/images",
            version=_VERSION,
            stream=body,
            headers={
                **{f"{_META}{key}": value for key, value in fields.items() if value},
                **{f"{_PROPERTY}{key}": value for key, value in properties.items()},
            },
        )
        return answer.decode(_One).image.full()

    async def images(self, filters: Mapping[str, str]) -> list[FullImage]:
        """Images that the project can see, page by page.

        Args:
            filters: ``name``, and properties, that must have these very values.

        Raises:
            CloudBrokenError: the list has no end.
        """
        params = {
            key if key == "name" else f"property-{key}": value for key, value in filters.items()
        }
        found: dict[str, FullImage] = {}
        for _ in range(self._most_pages):
            page = (await self._call("GET", "/images/detail", params=params)).decode(_Page)
            new = {row.id: row.full() for row in page.images if row.id not in found}
            found.update(new)
            if not new:
                return list(found.values())
            params["marker"] = page.images[-1].id
        raise CloudBrokenError(
            f"the list has no end: {self._most_pages} pages and {len(found)} rows",
            cloud=self._session.cloud,
            call="GET image /images/detail",
        )

    async def image(self, image_id: str) -> FullImage:
        """One image, as nova shows it: glance v1 refuses in pages, which prove nothing.

        Raises:
            NotFoundError: the project can see none of this id.
        """
        answer = await self._session.request(
            "compute",
            "GET",
            f"/images/{image_id}",
            label="/images/{id}",
            budget_s=self._budget_s,
        )
        row = answer.decode(_OneOfNova).image
        return FullImage(
            id=row.id,
            name=row.name or "",
            status=row.status.lower(),
            created_at=row.created,
            size=row.size,
            properties=row.metadata,
        )

    async def delete(self, image_id: str) -> None:
        """Delete an image.

        Raises:
            CloudBrokenError: refused in a page; whether it is there, `image` tells.
        """
        await self._call("DELETE", f"/images/{image_id}", "/images/{id}")

    async def _call(
        self,
        method: str,
        path: str,
        label: str | None = None,
        *,
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        return await self._session.request(
            "image",
            method,
            path,
            label=label or path,
            version=_VERSION,
            params=params or None,
            budget_s=self._budget_s,
        )
