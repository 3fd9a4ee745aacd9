"""Glance v2, the changing side: images made, filled, imported by tasks, marked and deleted.

Field names and states are those of glance's API reference for version 2, tried against glance 33;
the tasks of Rackspace's classic cloud are those of its documentation (docs-cloud-images).
"""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

import attrs
import msgspec

from trellis.errors import CloudBrokenError, MisconfiguredError, NotFoundError, RejectedError
from trellis.http.message import Answer, Stream
from trellis.openstack.image import MOST_PAGES
from trellis.openstack.paging import marker_in
from trellis.openstack.session import Session

GLANCE_DIRECT: Final = "glance-direct"
WEB_DOWNLOAD: Final = "web-download"

_PATCH: Final = "application/openstack-images-v2.1-json-patch"
_MOST_TASKS: Final = 50
_FIELDS: Final = frozenset(
    {
        "id", "name", "status", "created_at", "updated_at", "size", "virtual_size", "checksum",
        "os_hash_algo", "os_hash_value", "owner", "protected", "disk_format", "container_format",
        "visibility", "min_disk", "min_ram", "os_hidden", "tags", "self", "file", "schema",
        "locations", "direct_url", "stores",
    }
)  # fmt: skip


@attrs.frozen(kw_only=True)
class FullImage:
    """An image with all that is known of it.

    Attributes:
        status: ``queued``, ``saving``, ``uploading``, ``importing``, ``active``, ``deactivated``,
            ``killed``, ``deleted`` or ``pending_delete``, in small letters.
        size: of what was stored, in bytes; None before it is.
        checksum: MD5 of it; may be None for ever.
        hash_algo, hash_value: of newer glances, mostly SHA-512.
        properties: all others, as texts.
    """

    id: str
    name: str = ""
    status: str = ""
    created_at: str = ""
    size: int | None = None
    checksum: str | None = None
    hash_algo: str | None = None
    hash_value: str | None = None
    owner: str | None = None
    protected: bool = False
    disk_format: str | None = None
    properties: Mapping[str, str] = attrs.field(factory=dict)


class _Row(msgspec.Struct, frozen=True):
    id: str
    name: str | None = None
    status: str = ""
    created_at: str | None = None
    size: int | None = None
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    owner: str | None = None
    protected: bool | None = None
    disk_format: str | None = None


class _Page(msgspec.Struct, frozen=True):
    images: list[dict[str, object]]
    next: str | None = None


class _TaskResult(msgspec.Struct, frozen=True):
    image_id: str | None = None


class _TaskInput(msgspec.Struct, frozen=True):
    import_from: str | None = None


class TaskRow(msgspec.Struct, frozen=True):
    """A task: ``pending``, ``processing``, ``success`` or ``failure``.

    Attributes:
        message: why it failed; Rackspace's says the word None where there is nothing to say.
    """

    id: str
    status: str = ""
    type: str = ""
    message: str | None = None
    result: _TaskResult | None = None
    input: _TaskInput | None = None

    @property
    def image_id(self) -> str | None:
        """The image that it made."""
        return None if self.result is None else self.result.image_id

    @property
    def words(self) -> str:
        """What it says; "" if nothing."""
        return "" if self.message in (None, "None") else str(self.message)


class _Tasks(msgspec.Struct, frozen=True):
    tasks: list[TaskRow]


class _Methods(msgspec.Struct, frozen=True):
    value: list[str] = []


class _ImportInfo(msgspec.Struct, frozen=True, rename={"methods": "import-methods"}):
    methods: _Methods = msgspec.field(default_factory=_Methods)


@attrs.frozen
class ImageWrites:
    """Glance in one region, for who uploads images.

    Every method makes one call and may raise any `CloudError`; QuotaExceededError where the cloud
    takes no more or no larger images (413: glance/api/v2/images.py and image_data.py). Cancelled,
    it leaves open whether its call was carried out.

    Args:
        session: carries the calls.
        budget_s: seconds for each call with its tries but those with a body, which last as long
            as the caller waits; None leaves it to the session.
        most_pages: pages after which a list counts as endless.
    """

    _session: Session
    _budget_s: float | None = None
    _most_pages: int = MOST_PAGES

    async def create(
        self,
        *,
        name: str,
        disk_format: str,
        properties: Mapping[str, str],
        visibility: str | None = None,
    ) -> FullImage:
        """Make an image without data: it is ``queued``.

        The container is ``bare``, and ``ovf`` for VHDs, as openstacksdk has it
        (openstack/image/_base_proxy.py).
        """
        body = {
            **properties,
            "name": name,
            "disk_format": disk_format,
            "container_format": "ovf" if disk_format == "vhd" else "bare",
        }
        if visibility is not None:
            body["visibility"] = visibility
        answer = await self._call("POST", "/images", json=body)
        return _full(answer.decode(dict[str, object]), answer)

    async def put_file(self, image_id: str, body: Stream) -> None:
        """Send the data of a ``queued`` image; it is ``saving`` meanwhile, ``active`` afterwards.

        Raises:
            ConflictingStateError: it has data, or is being given some (recorded, glance 33).
        """
        await self._send(f"/images/{_in_path(image_id)}/file", "/images/{id}/file", body)

    async def stage(self, image_id: str, body: Stream) -> None:
        """Send the data of a ``queued`` image to where imports take it: it is ``uploading`` then.

        Raises:
            ConflictingStateError: as `put_file`.
        """
        await self._send(f"/images/{_in_path(image_id)}/stage", "/images/{id}/stage", body)

    async def import_methods(self) -> tuple[str, ...]:
        """How images can be imported; empty where they cannot, or the cloud does not know of it."""
        try:
            answer = await self._call("GET", "/info/import")
        except (NotFoundError, RejectedError, MisconfiguredError):
            return ()
        return tuple(answer.decode(_ImportInfo).methods.value)

    async def start_import(self, image_id: str, method: str, uri: str | None = None) -> None:
        """Have what was staged, or what lies at *uri*, made the image's data.

        Raises:
            ConflictingStateError: an import of it is under way, or its state does not allow one.
        """
        way = {"name": method} if uri is None else {"name": method, "uri": uri}
        path = f"/images/{_in_path(image_id)}/import"
        await self._call("POST", path, "/images/{id}/import", json={"method": way})

    async def set_properties(self, image_id: str, properties: Mapping[str, str]) -> FullImage:
        """Add properties, or change them; may be repeated."""
        changes = [
            {"op": "add", "path": f"/{_pointer(key)}", "value": value}
            for key, value in properties.items()
        ]
        answer = await self._call(
            "PATCH", f"/images/{_in_path(image_id)}", "/images/{id}", json=changes, kind=_PATCH
        )
        return _full(answer.decode(dict[str, object]), answer)

    async def image(self, image_id: str) -> FullImage:
        """One image.

        Raises:
            NotFoundError: the project can see none of this id.
        """
        answer = await self._call("GET", f"/images/{_in_path(image_id)}", "/images/{id}")
        return _full(answer.decode(dict[str, object]), answer)

    async def images(self, filters: Mapping[str, str]) -> list[FullImage]:
        """Images that the project can see, page by page.

        Args:
            filters: fields or properties that must have these very values. A cloud that does not
                know one shows all, so what comes is to be looked at again.

        Raises:
            CloudBrokenError: the list has no end.
        """
        params = dict(filters)
        found: dict[str, FullImage] = {}
        for _ in range(self._most_pages):
            answer = await self._call("GET", "/images", params=params)
            page = answer.decode(_Page)
            rows = [_full(row, answer) for row in page.images]
            new = {row.id: row for row in rows if row.id not in found}
            found.update(new)
            if page.next is None or not new:
                return list(found.values())
            params["marker"] = marker_in(page.next, rows[-1].id)
        raise CloudBrokenError(
            f"the list has no end: {self._most_pages} pages and {len(found)} rows",
            cloud=self._session.cloud,
            call="GET image /images",
        )

    async def delete(self, image_id: str) -> None:
        """Delete an image, whatever its state.

        Raises:
            NotFoundError: the project has none of this id.
            ConflictingStateError: a server uses it, where the cloud's store cannot do without it
                (glance_store InUseByStore: Ceph).
            RejectedError: it is protected (403, recorded, glance 33).
        """
        await self._call("DELETE", f"/images/{_in_path(image_id)}", "/images/{id}")

    # -------------------------------------------------------------------------------- tasks

    async def create_import_task(self, import_from: str, name: str) -> TaskRow:
        """Have an object of the file store made an image, by a task.

        Any property but the name makes the task fail (docs-cloud-images, import tasks).

        Args:
            import_from: container and object, with a slash between.
        """
        body = {
            "type": "import",
            "input": {"import_from": import_from, "image_properties": {"name": name}},
        }
        return (await self._call("POST", "/tasks", json=body)).decode(TaskRow)

    async def task(self, task_id: str) -> TaskRow:
        """One task.

        Raises:
            NotFoundError: there is none; tasks expire, after two days at Rackspace.
        """
        return (await self._call("GET", f"/tasks/{_in_path(task_id)}", "/tasks/{id}")).decode(
            TaskRow
        )

    async def import_tasks(self) -> Sequence[TaskRow]:
        """The newest tasks of imports; their list may leave out input and result."""
        params = {"type": "import", "sort_key": "created_at", "sort_dir": "desc"}
        answer = await self._call("GET", "/tasks", params={**params, "limit": str(_MOST_TASKS)})
        return answer.decode(_Tasks).tasks

    async def why_failed(self, image_id: str) -> str:
        """What the last task of an image's import says; "" where nothing is told."""
        try:
            answer = await self._call(
                "GET", f"/images/{_in_path(image_id)}/tasks", "/images/{id}/tasks"
            )
        except (NotFoundError, RejectedError, MisconfiguredError):
            return ""
        failed = [row for row in answer.decode(_Tasks).tasks if row.status == "failure"]
        return failed[-1].words if failed else ""

    async def _send(self, path: str, label: str, body: Stream) -> None:
        await self._session.request("image", "PUT", path, label=label, stream=body)

    async def _call(
        self,
        method: str,
        path: str,
        label: str | None = None,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
        kind: str | None = None,
    ) -> Answer:
        return await self._session.request(
            "image",
            method,
            path,
            label=label or path,
            json=json,
            params=params or None,
            headers=None if kind is None else {"Content-Type": kind},
            budget_s=self._budget_s,
        )


def _full(row: Mapping[str, object], answer: Answer) -> FullImage:
    try:
        read = msgspec.convert(row, _Row)
    except msgspec.ValidationError as error:
        raise CloudBrokenError(
            f"an image of another shape: {error}",
            cloud=answer.cloud,
            call=answer.call,
            status=answer.status,
            cloud_request_id=answer.request_id,
        ) from error
    return FullImage(
        id=read.id,
        name=read.name or "",
        status=read.status.lower(),
        created_at=read.created_at or "",
        size=read.size,
        checksum=read.checksum,
        hash_algo=read.os_hash_algo,
        hash_value=read.os_hash_value,
        owner=read.owner,
        protected=bool(read.protected),
        disk_format=read.disk_format,
        properties={
            key: value
            for key, value in row.items()
            if key not in _FIELDS and isinstance(value, str)
        },
    )


def _in_path(part: str) -> str:
    return quote(part, safe="")


def _pointer(key: str) -> str:
    """A key in a path of RFC 6901, as the patches of glance have it."""
    return key.replace("~", "~0").replace("/", "~1")
