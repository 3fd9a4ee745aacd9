"""The files of images at Glance v2: upload, stage, import, download."""

from typing import Any
from urllib.parse import urlsplit

from trellis.sim.cloud.bodies import object_of, text_of
from trellis.sim.cloud.image_checks import refuse
from trellis.sim.cloud.images import ACTIVE, QUEUED, UPLOADING, Images
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.routes import Call
from trellis.sim.cloud.server_state import Image
from trellis.sim.cloud.site import STRANGER, Site
from trellis.sim.cloud.uploads import Ticket, announced_size, body_of, ticket
from trellis.sim.cloud.wire import RefusalError, Response, answer, empty, html, json_object

_MIB = 1_048_576


class ImageFiles:
    """The handlers about files of images."""

    def __init__(self, site: Site, images: Images) -> None:
        self._site = site
        self._images = images

    # ------------------------------------------------------------------------- uploading

    def begin(self, call: Call, *, staged: bool) -> Ticket:
        """An upload begins: what speaks against it is said before its body is read.

        Raises:
            RefusalError: something does.
        """
        site, size = self._site, announced_size(call)
        front = site.spec.behaviour.front_mib_most
        if front is not None and (size or 0) > front * _MIB:
            raise RefusalError(html(413, "Request Entity Too Large"))
        kind = call.request.headers.get("content-type", "").partition(";")[0].strip()
        if kind != "application/octet-stream":
            message = f"The resource does not support media type {kind or 'of none'}"
            raise refuse(415, message)
        full = self._images.no_room(more_mib=(size or 0) // _MIB)
        if full:
            raise refuse(413, full)
        image = self._target(call)
        if site.spec.behaviour.imports_by_task:
            raise refuse(403, f"Not allowed to upload image data for image {image.id}")
        to = UPLOADING if staged else "saving"
        if image.status != QUEUED:
            message = f"Image status transition from {image.status} to {to} is not allowed"
            raise refuse(409, message)
        formats = {
            "disk_format": image.disk_format, "container_format": image.container_format,
        }  # fmt: skip
        missing = [key for key, value in formats.items() if not value]
        if missing and not staged:
            name = "Property" if len(missing) == 1 else "Properties"
            raise refuse(400, f"{name} {', '.join(missing)} must be set prior to saving data.")
        if staged:
            image.taken = True
            self._images.become(image, UPLOADING)
        else:
            self._images.begin(image)
        return ticket(site, size)

    def put(self, call: Call) -> Response:
        """``PUT /images/{id}/file``."""
        image = self._came(call, staged=False)
        self._images.take(image, body_of(call, self._site))
        return empty(204)

    def stage(self, call: Call) -> Response:
        """``PUT /images/{id}/stage``."""
        image = self._came(call, staged=True)
        image.staged, image.taken = body_of(call, self._site), False
        image.size = image.staged.size
        return empty(204)

    def _came(self, call: Call, *, staged: bool) -> Image:
        """The image whose body has come, which it was begun for."""
        if not call.request.admitted:
            self.begin(call, staged=staged)
        image, data = self._images.all.get(call.segments[1]), body_of(call, self._site)
        if image is None or not image.taken:
            data.drop()
            raise refuse(
                410,
                f"Image {call.segments[1]} could not be found after upload. The image may have "
                "been deleted during the upload, cleaning up the chunks uploaded.",
            )
        full = self._images.no_room(more_mib=data.size // _MIB)
        if full and announced_size(call) is None:
            data.drop()
            image.taken = False
            self._images.become(image, QUEUED)
            raise refuse(413, full)
        return image

    # --------------------------------------------------------------------------- importing

    def import_(self, call: Call) -> Response:
        """``POST /images/{id}/import``."""
        site, images = self._site, self._images
        method = object_of(json_object(call.request) or {}, "method")
        name = text_of(method, "name")
        if not name:
            raise refuse(400, "Import request requires a 'name' field.")
        if name not in site.spec.behaviour.import_methods:
            raise refuse(400, f"Unknown import method name '{name}'.")
        image = self._target(call)
        if image.status == ACTIVE:
            raise refuse(409, "Image with status active cannot be target for import")
        if name == "web-download" and image.status != QUEUED:
            raise refuse(409, "Image needs to be in 'queued' state to use 'web-download' method")
        if name == "glance-direct" and (image.status != UPLOADING or image.taken):
            message = "Image needs to be staged before 'glance-direct' method can be used"
            raise refuse(409, message)
        for key in ("container_format", "disk_format"):
            if not getattr(image, key):
                raise refuse(409, f"'{key}' needs to be set before import")
        if name == "glance-direct":
            images.begin_import(image, image.staged)
            return empty(202)
        uri = text_of(method, "uri")
        if urlsplit(uri).scheme not in ("http", "https"):
            raise refuse(400, f"URI for web-download does not pass filtering: {uri}")
        if images.fetch is None:
            images.begin_import(image, images.web.get(uri))
        else:
            images.await_import(image, uri)
        return empty(202)

    # ------------------------------------------------------------------------ downloading

    def get(self, call: Call) -> Response:
        """``GET /images/{id}/file``."""
        image = self._images.find(call.segments[1])
        if image is None or image.ended is not None:
            raise refuse(404, f"No image found with ID {call.segments[1]}")
        if image.status != ACTIVE:
            return empty(204)
        stored = image.stored
        headers: dict[str, Any] = {"Content-Type": "application/octet-stream"}
        if stored is None:
            return Response(200, b"\0" * _MIB, headers)
        if stored.md5:
            headers["Content-MD5"] = stored.md5
        if stored.data is not None:
            return Response(200, stored.data, headers)
        if stored.path:
            return Response(200, b"", headers, file=stored.path)
        return html(501, "Not Implemented: this simulated cloud keeps no file of this size")

    # ---------------------------------------------------------------------------- shared

    def tasks_of(self, call: Call) -> Response:
        """``GET /images/{id}/tasks``: none is shown."""
        self._target(call)
        return answer(200, {"tasks": []})

    def _target(self, call: Call) -> Image:
        image = self._images.find(call.segments[1])
        if image is None or image.ended is not None:
            raise refuse(404, f"No image found with ID {call.segments[1]}")
        if image.is_offered:
            raise refuse(403, "You are not authorized to complete modify_image action.")
        if image.who == STRANGER:
            self.harmed(image, "image filled")
        return image

    def harmed(self, image: Image, what: str) -> None:
        """Write down that a caller touched what the stranger owns."""
        self._site.note(What.STRANGER_HARMED, id=image.id, who=self._site.user, detail=what)
