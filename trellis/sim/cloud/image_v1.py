"""Glance v1, as old clouds have it: the whole image goes with one POST, its fields are headers.

After ``glance/api/v1/images.py`` as it was before the release that removed it, and the project's
survey of clouds (HP Cloud, row *Image*).
"""

from typing import Any, Final

import attrs

from trellis.sim.cloud.image_checks import CONTAINER_FORMATS, DISK_FORMATS
from trellis.sim.cloud.image_rows import checksums, size_of, status_of
from trellis.sim.cloud.images import Images
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.routes import Call, Table, find, taken_apart
from trellis.sim.cloud.server_state import Image
from trellis.sim.cloud.servers import Servers
from trellis.sim.cloud.site import STRANGER, Site
from trellis.sim.cloud.uploads import Ticket, announced_size, body_of, ticket
from trellis.sim.cloud.wire import (
    RefusalError,
    Request,
    Response,
    answer,
    empty,
    html,
    page_not_found,
)

_META: Final = "x-image-meta-"
_PROPERTY: Final = "x-image-meta-property-"
_MIB: Final = 1_048_576


class ImageV1:
    """The image service of a region that knows version 1 alone."""

    def __init__(self, site: Site, servers: Servers) -> None:
        self._site = site
        self._images: Images = servers.glance
        self._table: Table = {
            ("GET", "images"): self._brief,
            ("GET", "images/detail"): self._detail,
            ("POST", "images"): self._create,
            ("HEAD", "images/*"): self._head,
            ("GET", "images/*"): self._get,
            ("PUT", "images/*"): self._update,
            ("DELETE", "images/*"): self._delete,
        }

    def versions(self) -> Response:
        """Glance's answer to a version that it does not have: those that there are."""
        link = [{"rel": "self", "href": self._site.url("image", "/v1/")}]
        rows = [
            {"id": f"v1.{n}", "status": "CURRENT" if n else "SUPPORTED", "links": link}
            for n in (1, 0)
        ]
        return answer(300, {"versions": rows})

    def handle(self, request: Request, segments: tuple[str, ...]) -> tuple[str, Response]:
        """Answer a call below ``/image``."""
        if segments[:1] != ("v1",):
            return "?", self.versions()
        kind, handler = find(self._table, request.method, segments[1:])
        if handler is None:
            return "?", page_not_found()
        try:
            return f"/{kind}", handler(taken_apart(request, segments[1:]))
        except RefusalError as refusal:
            return f"/{kind}", refusal.response

    def announce(self, request: Request, segments: tuple[str, ...]) -> Ticket:
        """A call with a long body begins.

        Raises:
            RefusalError: it is refused before its body is read.
        """
        call = taken_apart(request, segments[1:])
        if segments != ("v1", "images") or request.method != "POST":
            return Ticket(spools=False)
        self._check(call)
        image = self._make(call)
        self._images.begin(image)
        return attrs.evolve(ticket(self._site, announced_size(call)), about=image.id)

    def broke_off(self, request: Request) -> None:
        """The body of an announced call came to no end: what was made of it stays, killed."""
        image = self._images.all.get(request.about)
        if image is not None and image.taken:
            image.taken = False
            self._images.become(image, "killed")

    # --------------------------------------------------------------------------- changing

    def _check(self, call: Call) -> None:
        fields = _fields(call)
        if fields.get("disk_format") not in DISK_FORMATS:
            raise _refuse(400, f"Invalid disk format '{fields.get('disk_format')}' for image.")
        if fields.get("container_format") not in CONTAINER_FORMATS:
            message = f"Invalid container format '{fields.get('container_format')}' for image."
            raise _refuse(400, message)
        if fields.get("is_public", "").lower() == "true":
            raise _refuse(403, "You are not authorized to complete publicize_image action.")
        self._check_vendors(_properties(call))
        size = announced_size(call) or 0
        full = self._images.no_room(more=1, more_mib=size // _MIB)
        if full:
            raise _refuse(413, full)

    def _check_vendors(self, properties: dict[str, str]) -> None:
        for key in properties:
            if key.startswith(self._site.spec.behaviour.vendor_properties):
                raise _refuse(403, f"Property '{key}' is protected")

    def _create(self, call: Call) -> Response:
        if not call.request.admitted:
            self._check(call)
        fields, file = _fields(call), body_of(call, self._site)
        image = self._images.all.get(call.request.about) or self._make(call)
        image.taken = False
        said, size = fields.get("size"), file.size
        wrong = fields.get("checksum", file.md5) != file.md5
        if (said is not None and said != str(size)) or wrong:
            file.drop()
            self._images.become(image, "killed")
            raise _refuse(400, "Supplied size or checksum does not match what was uploaded.")
        if size:
            self._images.take(image, file)
        return answer(201, {"image": self._row(image)})

    def _make(self, call: Call) -> Image:
        fields = _fields(call)
        return self._images.create(
            fields.get("name", ""),
            who=self._site.user,
            disk_format=fields.get("disk_format"),
            container_format=fields.get("container_format"),
            visibility="private",
            min_disk=_whole(fields.get("min_disk")),
            min_ram=_whole(fields.get("min_ram")),
            protected=fields.get("protected", "").lower() == "true",
            properties=_properties(call),
        )

    def _update(self, call: Call) -> Response:
        image = self._mine(call)
        given, fields = _properties(call), _fields(call)
        self._check_vendors(given)
        purges = call.request.headers.get("x-glance-registry-purge-props", "true") != "false"
        image.properties = given if purges else {**image.properties, **given}
        image.protected = fields.get("protected", str(image.protected)).lower() == "true"
        self._images.change(image, name=fields.get("name", image.name))
        return answer(200, {"image": self._row(image)})

    def _delete(self, call: Call) -> Response:
        image = self._mine(call)
        if image.protected:
            raise _refuse(403, "Image is protected")
        self._images.delete(image, self._site.user)
        return empty(200)

    # ---------------------------------------------------------------------------- looking

    def _brief(self, call: Call) -> Response:
        keys = ("id", "name", "disk_format", "container_format", "size", "checksum")
        rows = [{key: row[key] for key in keys} for row in self._page(call)]
        return answer(200, {"images": rows})

    def _detail(self, call: Call) -> Response:
        return answer(200, {"images": self._page(call)})

    def _page(self, call: Call) -> list[dict[str, Any]]:
        rows = [self._row(image) for image in reversed([*self._images.listed()])]
        for name, values in call.query.items():
            if name.startswith("property-"):
                key = name.removeprefix("property-")
                rows = [row for row in rows if row["properties"].get(key) == values[-1]]
            elif name in ("name", "status", "disk_format", "container_format"):
                rows = [row for row in rows if row[name] == values[-1]]
        marker = call.asked("marker")
        if marker is not None:
            places = [place for place, row in enumerate(rows) if row["id"] == marker]
            if not places:
                raise _refuse(400, "Invalid marker")
            rows = rows[places[0] + 1 :]
        most = self._site.spec.behaviour.image_page or len(rows)
        asked = call.asked("limit")
        return rows[: min(most, int(asked)) if asked and asked.isdecimal() else most]

    def _head(self, call: Call) -> Response:
        return Response(200, b"", self._headers(self._find(call)))

    def _get(self, call: Call) -> Response:
        image = self._find(call)
        stored = image.stored
        if stored is not None and stored.data is None and not stored.path:
            return html(501, "Not Implemented: this simulated cloud keeps no file of this size")
        data = b"" if stored is None else stored.data or b""
        return Response(200, data, self._headers(image), file="" if not stored else stored.path)

    def _headers(self, image: Image) -> dict[str, str]:
        row = self._row(image)
        properties = row.pop("properties")
        headers = {"Content-Type": "application/octet-stream"}
        for key, value in row.items():
            if value is not None:
                text = str(value)
                headers[f"X-Image-Meta-{key.capitalize()}"] = text
        for key, value in properties.items():
            headers[f"X-Image-Meta-Property-{key.capitalize()}"] = value
        return headers

    def _row(self, image: Image) -> dict[str, Any]:
        def stamp(at: float) -> str:
            return self._site.timeline.stamp(at).removesuffix("Z")

        return {
            "id": image.id,
            "name": image.name,
            "status": status_of(self._site, image),
            "disk_format": image.disk_format,
            "container_format": image.container_format,
            "size": size_of(image) or 0,
            "virtual_size": image.virtual_size,
            "checksum": checksums(image)[0],
            "min_disk": image.spec.min_disk_gib,
            "min_ram": image.min_ram,
            "owner": self._site.project_id,
            "is_public": image.is_offered,
            "protected": image.protected,
            "deleted": False,
            "created_at": stamp(image.created),
            "updated_at": stamp(image.created if image.updated is None else image.updated),
            "deleted_at": None,
            "properties": dict(image.properties),
        }

    def _find(self, call: Call) -> Image:
        image = self._images.find(call.segments[1])
        if image is None:
            raise _refuse(404, f"Image with identifier {call.segments[1]} not found")
        return image

    def _mine(self, call: Call) -> Image:
        image = self._find(call)
        if image.is_offered:
            raise _refuse(403, "You are not authorized to complete modify_image action.")
        if image.who == STRANGER:
            site = self._site
            site.note(What.STRANGER_HARMED, id=image.id, who=site.user, detail="image changed")
        return image


def _fields(call: Call) -> dict[str, str]:
    return {
        key.removeprefix(_META).replace("-", "_"): value
        for key, value in call.request.headers.items()
        if key.startswith(_META) and not key.startswith(_PROPERTY)
    }


def _properties(call: Call) -> dict[str, str]:
    return {
        key.removeprefix(_PROPERTY).replace("-", "_"): value
        for key, value in call.request.headers.items()
        if key.startswith(_PROPERTY)
    }


def _whole(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0


def _refuse(status: int, message: str) -> RefusalError:
    """Version 1 refuses with a page."""
    return RefusalError(html(status, message))
