"""Glance v2: images are made, filled, imported, changed, shown and deleted.

Shapes and words were read off a real Glance 2026.2, and off ``glance/api/v2`` of that release.
What only Rackspace has is in `image_tasks`; version 1 is in `image_v1`.
"""

from typing import Any, Final

import attrs

from trellis.sim.cloud.image_checks import (
    CONTAINER_FORMATS,
    DISK_FORMATS,
    changes_from,
    check_count,
    created_from,
    refuse,
)
from trellis.sim.cloud.image_files import ImageFiles
from trellis.sim.cloud.image_lists import ImageLists
from trellis.sim.cloud.image_rows import row
from trellis.sim.cloud.image_tasks import ImageTasks
from trellis.sim.cloud.image_v1 import ImageV1
from trellis.sim.cloud.images import QUEUED
from trellis.sim.cloud.object_store import ObjectStore
from trellis.sim.cloud.routes import Call, Table, find, taken_apart
from trellis.sim.cloud.server_state import Image
from trellis.sim.cloud.servers import Servers
from trellis.sim.cloud.site import STRANGER, Site
from trellis.sim.cloud.uploads import Ticket
from trellis.sim.cloud.wire import (
    RefusalError,
    Request,
    Response,
    answer,
    empty,
    glance_error,
    page_not_found,
)

_NO_TOKEN: Final = (
    "This server could not verify that you are authorized to access the document you requested. "
    "Either you supplied the wrong credentials (e.g., bad password), or your browser does not "
    "understand how to supply the credentials required."
)


class ImageApi:
    """The image service of a region."""

    def __init__(self, site: Site, servers: Servers, objects: ObjectStore | None) -> None:
        self._site = site
        self._servers = servers
        self._images = servers.glance
        self._files = ImageFiles(site, self._images)
        self._v1 = ImageV1(site, servers)
        lists = ImageLists(site, self._images)
        self._table: Table = {
            ("GET", "images"): lists.list,
            ("POST", "images"): self._create,
            ("GET", "images/*"): self._show,
            ("PATCH", "images/*"): self._patch,
            ("DELETE", "images/*"): self._delete,
            ("PUT", "images/*/file"): self._files.put,
            ("GET", "images/*/file"): self._files.get,
            ("PUT", "images/*/stage"): self._files.stage,
            ("POST", "images/*/import"): self._files.import_,
            ("PUT", "images/*/tags/*"): self._tag,
            ("DELETE", "images/*/tags/*"): self._untag,
            ("GET", "schemas/image"): _schema,
            ("GET", "info/import"): self._import_info,
            ("GET", "images/*/tasks"): self._files.tasks_of,
            **ImageTasks(site, self._images, objects).table(),
        }

    def without_token(self, refusal: Response) -> Response:
        """Glance words it in its own way."""
        return attrs.evolve(refusal, body=glance_error(401, _NO_TOKEN).body)

    def discover(self, segments: tuple[str, ...]) -> Response | None:
        """Answer the version document, which needs no token."""
        if segments not in ((), ("",), ("versions",)):
            return None
        if self._site.spec.behaviour.speaks_glance_v1:
            return self._v1.versions()
        link = [{"rel": "self", "href": self._site.url("image", "/v2/")}]
        versions = [
            {"id": f"v2.{minor}", "status": "SUPPORTED" if minor < 18 else "CURRENT", "links": link}
            for minor in range(18, -1, -1)
        ]
        return answer(300, {"versions": versions})

    def handle(self, request: Request, segments: tuple[str, ...]) -> tuple[str, Response]:
        """Answer a call below ``/image``, with a good token; returns its kind too."""
        if self._site.spec.behaviour.speaks_glance_v1:
            return self._v1.handle(request, segments)
        kind, handler = find(self._table, request.method, segments[1:])
        if segments[:1] != ("v2",) or handler is None:
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
        if self._site.spec.behaviour.speaks_glance_v1:
            return self._v1.announce(request, segments)
        kind, handler = find(self._table, request.method, segments[1:])
        if handler is None or not kind.endswith(("/file", "/stage")):
            return Ticket(spools=False)
        call = taken_apart(request, segments[1:])
        return self._files.begin(call, staged=kind.endswith("/stage"))

    def broke_off(self, request: Request, segments: tuple[str, ...]) -> None:
        """The body of an announced call came to no end."""
        if self._site.spec.behaviour.speaks_glance_v1:
            self._v1.broke_off(request)
            return
        image = self._images.all.get(segments[2]) if len(segments) > 2 else None
        if image is not None and request.method == "PUT":
            self._images.broke_off(image)

    def elsewhere(self, request: Request, segments: tuple[str, ...]) -> Response | None:
        """How the service answers in another project, which sees what the cloud offers alone."""
        image = self._images.all.get(segments[2]) if len(segments) > 2 else None
        if image is not None and not image.is_offered:
            return glance_error(404, f"No image found with ID {image.id}")
        if request.method not in ("GET", "HEAD"):
            return glance_error(403, "You are not authorized to complete add_image action.")
        everything = segments[1:] == ("images",)
        if everything and any(not one.is_offered for one in self._images.all.values()):
            rows = [row(self._site, one) for one in self._images.all.values() if one.is_offered]
            return answer(200, {"images": rows, "first": "/v2/images"})
        return None

    # ---------------------------------------------------------------------------- images

    def _create(self, call: Call) -> Response:
        site, behaviour = self._site, self._site.spec.behaviour
        if behaviour.imports_by_task:
            raise refuse(403, "You are not authorized to complete add_image action.")
        base, properties = created_from(call)
        if base.get("visibility") == "public":
            raise refuse(403, "You are not authorized to complete publicize_image action.")
        if base.get("owner") not in (None, site.project_id):
            raise refuse(403, "You are not permitted to create images owned by another project.")
        self._check_vendors(properties)
        if base.get("id") in self._images.all:
            raise refuse(409, f"Image ID {base['id']} already exists!")
        full = self._images.no_room(more=1)
        if full:
            raise refuse(413, full)
        image = self._images.create(
            base.get("name") or "",
            who=site.user,
            id=base.get("id"),
            disk_format=base.get("disk_format"),
            container_format=base.get("container_format"),
            visibility=base.get("visibility", "shared"),
            min_disk=base.get("min_disk", 0),
            min_ram=base.get("min_ram", 0),
            protected=base.get("protected", False),
            hidden=base.get("os_hidden", False),
            tags=[*dict.fromkeys(base.get("tags", ()))],
            properties=properties,
        )
        made = answer(201, row(site, image))
        made = made.with_headers(Location=site.url("image", f"/v2/images/{image.id}"))
        if behaviour.import_methods:
            methods = ",".join(behaviour.import_methods)
            made = made.with_headers(OpenStack_image_import_methods=methods)
        return made.with_headers(OpenStack_image_store_ids="local")

    def _show(self, call: Call) -> Response:
        return answer(200, row(self._site, self._find(call)))

    def _patch(self, call: Call) -> Response:
        """Either all of the operations, or none."""
        image, changes = self._mine(call), changes_from(call)
        base: dict[str, Any] = {}
        properties = dict(image.properties)
        shown = row(self._site, image)
        for change in changes:
            own = change.key in shown and change.key not in image.properties
            self._check_vendors({change.key: ""} if not own else {})
            if change.op == "remove" and own:
                raise refuse(403, f"Property {change.key} may not be removed.")
            if change.op != "add" and not own and change.key not in properties:
                raise refuse(409, f"Property {change.key} does not exist.")
            if change.op == "remove":
                del properties[change.key]
            elif own:
                base[change.key] = change.value
            else:
                properties[change.key] = change.value
        check_count(properties)
        self._check_base(image, base)
        image.properties = properties
        name = base.get("name", image.name) or ""
        self._images.change(
            image, name=name, min_disk_gib=base.get("min_disk", image.spec.min_disk_gib)
        )
        image.visibility = base.get("visibility", image.visibility)
        image.min_ram = base.get("min_ram", image.min_ram)
        image.protected = base.get("protected", image.protected)
        image.hidden = base.get("os_hidden", image.hidden)
        image.tags = [*dict.fromkeys(base.get("tags", image.tags))]
        image.disk_format = base.get("disk_format", image.disk_format)
        image.container_format = base.get("container_format", image.container_format)
        return answer(200, row(self._site, image))

    def _check_base(self, image: Image, base: dict[str, Any]) -> None:
        if base.get("visibility") == "public":
            raise refuse(403, "You are not authorized to complete publicize_image action.")
        if "owner" in base:
            raise refuse(403, "Owner can't be updated by non admin.")
        for key in ("disk_format", "container_format"):
            if key in base and image.status != QUEUED:
                raise refuse(403, f"Attribute {key} can be only replaced for a queued image.")

    def _check_vendors(self, properties: dict[str, str]) -> None:
        prefixes = self._site.spec.behaviour.vendor_properties
        for key in properties:
            if key.startswith(prefixes):
                raise refuse(403, f"Property '{key}' is protected")

    def _delete(self, call: Call) -> Response:
        image, site = self._images.find(call.segments[1]), self._site
        if image is None or image.ended is not None:
            raise refuse(404, f"Failed to find image {call.segments[1]} to delete")
        if image.is_offered:
            raise refuse(403, "You are not authorized to complete delete_image action.")
        if image.protected:
            raise refuse(403, f"Image {image.id} is protected and cannot be deleted.")
        faults = site.faults
        if image.refuses_until is None and site.befalls(
            "image-undeletable", faults.image_undeletable
        ):
            image.refuses_until = site.now + faults.image_undeletable_s
        in_use = site.spec.behaviour.clones_images and self._is_cloned(image)
        if in_use or site.now < (image.refuses_until or 0.0):
            message = f"Image {image.id} could not be deleted because it is in use: "
            raise refuse(409, message + "The image cannot be deleted because it is in use")
        self._images.delete(image, site.user)
        return empty(204)

    def _is_cloned(self, image: Image) -> bool:
        servers, volumes = self._servers.live.values(), self._servers.volumes.all.values()
        return any(server.image is image for server in servers) or any(
            volume.image_id == image.id for volume in volumes
        )

    # ------------------------------------------------------------------------------ tags

    def _tag(self, call: Call) -> Response:
        image, tag = self._mine(call), call.segments[3]
        if tag not in image.tags:
            image.tags.append(tag)
        return empty(204)

    def _untag(self, call: Call) -> Response:
        image, tag = self._mine(call), call.segments[3]
        if tag not in image.tags:
            raise refuse(404, "Failed to find tag")
        image.tags.remove(tag)
        return empty(204)

    # ---------------------------------------------------------------------------- others

    def _import_info(self, _call: Call) -> Response:
        methods = {
            "description": "Import methods available.",
            "type": "array",
            "value": list(self._site.spec.behaviour.import_methods),
        }
        return answer(200, {"import-methods": methods})

    def _find(self, call: Call) -> Image:
        image = self._images.find(call.segments[1])
        if image is None:
            raise refuse(404, f"No image found with ID {call.segments[1]}")
        return image

    def _mine(self, call: Call) -> Image:
        image = self._find(call)
        if image.is_offered or image.ended is not None:
            raise refuse(403, "You are not authorized to complete modify_image action.")
        if image.who == STRANGER:
            self._files.harmed(image, "image changed")
        return image


def _schema(_call: Call) -> Response:
    """What an image may have, as far as anybody asks: the formats of disks and containers."""
    shown = {
        key: {
            "type": ["null", "string"],
            "description": f"Format of the {of}",
            "enum": [None, *all],
        }
        for key, of, all in (
            ("disk_format", "disk", DISK_FORMATS),
            ("container_format", "container", CONTAINER_FORMATS),
        )
    }
    return answer(200, {"name": "image", "properties": shown})
