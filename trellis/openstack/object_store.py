"""Swift: objects that image imports read, and their segments where they are too large for one.

Calls and limits are those of Swift's API reference for version 1; there is no recorded cloud.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import attrs

from trellis.errors import MisconfiguredError
from trellis.http.message import Stream
from trellis.openstack.session import Session

SERVICE: Final = "object-store"
MOST_OBJECT: Final = 5 * 1024**3
"""Bytes of one object (``max_file_size`` of Swift's constraints, which clouds leave as it is)."""


@attrs.frozen(kw_only=True)
class Segment:
    """A part of a large object, as its manifest names it.

    Attributes:
        path: container and name, with a slash between.
        etag: MD5, as the answer to its upload said.
        size: in bytes.
    """

    path: str
    etag: str
    size: int


@attrs.frozen
class ObjectStore:
    """Swift in one region.

    Every method makes one call and may raise any `CloudError`, MisconfiguredError where the cloud
    has no object store. Cancelled, it leaves open whether its call was carried out.

    Args:
        session: carries the calls.
        budget_s: seconds for each call with its tries but uploads; None leaves it to the session.
    """

    _session: Session
    _budget_s: float | None = None

    async def offered(self) -> bool:
        """Whether the cloud's catalog has an object store; no call but the login's, if one is due.

        Raises:
            CloudError: there is no token to look with.
        """
        try:
            await self._session.endpoint(SERVICE)
        except MisconfiguredError:
            return False
        return True

    async def create_container(self, container: str) -> None:
        """Make a container; fine if it is there."""
        await self._call("PUT", container)

    async def put_object(
        self, container: str, name: str, body: Stream, *, md5: str = "", keep_s: int
    ) -> str:
        """Write an object and return its ETag; one of that name is written over.

        Args:
            md5: of the body, which Swift compares; "" leaves it.
            keep_s: seconds after which Swift deletes it by itself (``X-Delete-After``).

        Raises:
            RejectedError: what came is not what *md5* says (422).
            QuotaExceededError: the account or the container may not hold as much (413).
        """
        headers = {"X-Delete-After": str(keep_s)}
        if md5:
            headers["ETag"] = md5
        answer = await self._session.request(
            SERVICE,
            "PUT",
            _path(container, name),
            label="/{container}/{object}",
            stream=body,
            headers=headers,
        )
        return str(answer.headers.get("etag", "")).strip('"')

    async def put_manifest(
        self, container: str, name: str, segments: Sequence[Segment], *, keep_s: int
    ) -> None:
        """Make an object of segments (a static large object), which are read one after the other.

        Raises:
            RejectedError: a segment is not there, or not as it is said to be.
        """
        rows = [{"path": f"/{x.path}", "etag": x.etag, "size_bytes": x.size} for x in segments]
        await self._session.request(
            SERVICE,
            "PUT",
            _path(container, name),
            label="/{container}/{object}",
            json=rows,
            params={"multipart-manifest": "put"},
            headers={"X-Delete-After": str(keep_s)},
            budget_s=self._budget_s,
        )

    async def delete_object(self, container: str, name: str) -> None:
        """Delete an object; of a manifest it alone.

        Raises:
            NotFoundError: there is none, or no such container.
        """
        await self._call("DELETE", container, name)

    async def _call(self, method: str, container: str, name: str = "") -> None:
        await self._session.request(
            SERVICE,
            method,
            _path(container, name),
            label="/{container}/{object}" if name else "/{container}",
            budget_s=self._budget_s,
        )


def _path(container: str, name: str = "") -> str:
    path = "/" + quote(container, safe="")
    return f"{path}/{quote(name)}" if name else path
