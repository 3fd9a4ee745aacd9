"""Glance v2, as far as it is read."""

import hashlib
from typing import Any, Final

import attrs

from trellis.sim.cloud.routes import Call, Table, find, taken_apart
from trellis.sim.cloud.server_state import Image
from trellis.sim.cloud.servers import Servers
from trellis.sim.cloud.site import Site
from trellis.sim.cloud.wire import (
    RefusalError,
    Request,
    Response,
    answer,
    glance_error,
    page_not_found,
)

_SIZE: Final = 1_048_576
_FILTERS: Final = ("name", "id", "status", "visibility", "owner")
_FORMATS: Final = (
    "ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop",
)  # fmt: skip
_NO_TOKEN: Final = (
    "This server could not verify that you are authorized to access the document you requested. "
    "Either you supplied the wrong credentials (e.g., bad password), or your browser does not "
    "understand how to supply the credentials required."
)


class ImageApi:
    """The image service of a region."""

    def __init__(self, site: Site, servers: Servers) -> None:
        self._site = site
        self._servers = servers
        self._table: Table = {
            ("GET", "images"): self._list,
            ("GET", "images/*"): self._show,
            ("GET", "schemas/image"): _schema,
            ("GET", "info/import"): _import_info,
        }

    def without_token(self, refusal: Response) -> Response:
        """Glance words it in its own way."""
        return attrs.evolve(refusal, body=glance_error(401, _NO_TOKEN).body)

    def discover(self, segments: tuple[str, ...]) -> Response | None:
        """Answer the version document, which needs no token."""
        if segments not in ((), ("",), ("versions",)):
            return None
        link = [{"rel": "self", "href": self._site.url("image", "/v2/")}]
        versions = [
            {"id": f"v2.{minor}", "status": "SUPPORTED" if minor < 18 else "CURRENT", "links": link}
            for minor in range(18, -1, -1)
        ]
        return answer(300, {"versions": versions})

    def handle(self, request: Request, segments: tuple[str, ...]) -> tuple[str, Response]:
        """Answer a call below ``/image``, with a good token; returns its kind too."""
        if self._site.spec.behaviour.speaks_glance_v1:
            return "?", self._only_v1()
        kind, handler = find(self._table, request.method, segments[1:])
        if segments[:1] != ("v2",) or handler is None:
            return "?", page_not_found()
        try:
            return f"/{kind}", handler(taken_apart(request, segments[1:]))
        except RefusalError as refusal:
            return f"/{kind}", refusal.response

    def _only_v1(self) -> Response:
        """Glance's answer to a version that it does not have: those that there are."""
        link = [{"rel": "self", "href": self._site.url("image", "/v1/")}]
        rows = [
            {"id": f"v1.{n}", "status": "CURRENT" if n else "SUPPORTED", "links": link}
            for n in (1, 0)
        ]
        return answer(300, {"versions": rows})

    def _list(self, call: Call) -> Response:
        gone = self._site.faults.image_gone
        images = [image for image in self._servers.images.values() if image.spec.name not in gone]
        if len(images) < len(self._servers.images):
            self._site.strike("image-gone")
        rows = [self._image(image) for image in images]
        for field in _FILTERS:
            wanted = call.asked(field)
            if wanted is not None:
                text = wanted.removeprefix("in:").strip('"')
                rows = [row for row in rows if row[field] == text]
        first = f"/v2/images?{call.request.query}" if call.request.query else "/v2/images"
        return answer(200, {"images": rows, "first": first, "schema": "/v2/schemas/images"})

    def _show(self, call: Call) -> Response:
        image = self._servers.images.get(call.segments[1])
        if image is None or image.spec.name in self._site.faults.image_gone:
            raise RefusalError(glance_error(404, f"No image found with ID {call.segments[1]}"))
        return answer(200, self._image(image))

    def _image(self, image: Image) -> dict[str, Any]:
        status = image.spec.status
        if status == "active" and image.spec.name in self._site.faults.image_inactive:
            self._site.strike("image-inactive")
            status = "deactivated"
        there = image.spec.status not in ("queued", "saving", "importing", "uploading")
        stamp = self._site.timeline.stamp(image.created)
        digest = hashlib.sha512(image.id.encode()).hexdigest()
        row: dict[str, Any] = {
            "name": image.spec.name,
            "disk_format": "raw",
            "container_format": "bare",
            "visibility": "shared",
            "size": _SIZE if there else None,
            "virtual_size": _SIZE if there else None,
            "status": status,
            "checksum": digest[:32] if there else None,
            "protected": False,
            "min_ram": 0,
            "min_disk": image.spec.min_disk_gib,
            "owner": self._site.project_id,
            "os_hidden": False,
            "os_hash_algo": "sha512" if there else None,
            "os_hash_value": digest if there else None,
            "id": image.id,
            "created_at": stamp,
            "updated_at": stamp,
            "tags": [],
            "self": f"/v2/images/{image.id}",
            "file": f"/v2/images/{image.id}/file",
            "schema": "/v2/schemas/image",
        }
        if there:
            row["stores"] = "local"
        return row


def _schema(_call: Call) -> Response:
    """What an image may have, as far as anybody asks: the formats of disks."""
    formats = {
        "type": ["null", "string"],
        "description": "Format of the disk",
        "enum": [None, *_FORMATS],
    }
    return answer(200, {"name": "image", "properties": {"disk_format": formats}})


def _import_info(_call: Call) -> Response:
    methods = {
        "description": "Import methods available.",
        "type": "array",
        "value": ["glance-direct", "web-download"],
    }
    return answer(200, {"import-methods": methods})
