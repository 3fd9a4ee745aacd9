"""How Glance v2 shows an image; the fields and their order are those of a real one."""

import hashlib
from typing import Any, Final

from trellis.sim.cloud.images import ACTIVE, BASE_SIZE
from trellis.sim.cloud.server_state import Image
from trellis.sim.cloud.site import Site

_EMPTY: Final = ("queued", "saving", "importing", "uploading", "deleted")


def status_of(site: Site, image: Image) -> str:
    """Its status as it is shown now."""
    if image.status == ACTIVE and image.name in site.faults.image_inactive:
        site.strike("image-inactive")
        return "deactivated"
    return image.status


def checksums(image: Image) -> tuple[str | None, str | None]:
    """Its md5 and its sha512; None where none was taken."""
    if image.status in _EMPTY:
        return None, None
    if image.stored is not None:
        return image.stored.md5 or None, image.stored.sha512 or None
    digest = hashlib.sha512(image.id.encode()).hexdigest()
    return digest[:32], digest


def size_of(image: Image) -> int | None:
    """Size of its file; None while there is none. What was staged counts (recorded, glance 33)."""
    if image.status in ("uploading", "importing"):
        return image.size
    if image.status in _EMPTY:
        return None
    return BASE_SIZE if image.size is None else image.size


def row(site: Site, image: Image) -> dict[str, Any]:
    """An image as lists and ``GET /images/{id}`` show it."""
    there = image.status not in _EMPTY
    md5, sha512 = checksums(image)
    stamp, updated = site.timeline.stamp, image.updated
    virtual = image.virtual_size if image.stored is not None else size_of(image)
    shown: dict[str, Any] = {
        **image.properties,
        "name": image.name or None,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "visibility": image.visibility,
        "size": size_of(image),
        "virtual_size": virtual if there else None,
        "status": status_of(site, image),
        "checksum": md5,
        "protected": image.protected,
        "min_ram": image.min_ram,
        "min_disk": image.spec.min_disk_gib,
        "owner": site.project_id,
        "os_hidden": image.hidden,
        "os_hash_algo": "sha512" if sha512 else None,
        "os_hash_value": sha512,
        "id": image.id,
        "created_at": stamp(image.created),
        "updated_at": stamp(image.created if updated is None else updated),
        "tags": image.tags,
        "self": f"/v2/images/{image.id}",
        "file": f"/v2/images/{image.id}/file",
        "schema": "/v2/schemas/image",
    }
    if there:
        shown["stores"] = "local"
    return shown
