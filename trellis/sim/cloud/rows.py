"""How Nova shows a server, at microversion 2.1 and later."""

from typing import Any, Final

import msgspec

from trellis.sim.cloud.server_state import Flavor, Revision, Server
from trellis.sim.cloud.site import Site

Microversion = tuple[int, int]
BASE: Final[Microversion] = (2, 1)
HIGHEST: Final[Microversion] = (2, 96)

_PROGRESS: Final = ("ACTIVE", "BUILD")
_FAULTY: Final = ("ERROR", "DELETED")


def links(site: Site, kind: str, id: str) -> list[dict[str, str]]:
    """The two links of a thing of Nova's."""
    return [
        {"rel": "self", "href": site.url("compute", f"/v2.1/{kind}/{id}")},
        {"rel": "bookmark", "href": site.url("compute", f"/{kind}/{id}")},
    ]


def rendered(site: Site, server: Server, look: Revision) -> bytes:
    """The detailed row at microversion 2.1, made once for each look."""
    if look.rendered is None:
        look.rendered = msgspec.json.encode(detail(site, server, look, BASE))
    return look.rendered


def brief(site: Site, server: Server) -> dict[str, Any]:
    """The row of a list without details."""
    return {"id": server.id, "name": server.name, "links": links(site, "servers", server.id)}


def unknown(site: Site, server: Server) -> dict[str, Any]:
    """All that Nova can say of a server whose cell is down (api-guide, *Handling Down Cells*)."""
    return {
        "id": server.id,
        "status": "UNKNOWN",
        "tenant_id": site.project_id,
        "created": site.timeline.stamp(server.created),
        "links": links(site, "servers", server.id),
    }


def detail(site: Site, server: Server, look: Revision, version: Microversion) -> dict[str, Any]:
    """The whole server."""
    stamp = site.timeline.stamp
    row: dict[str, Any] = {
        "accessIPv4": server.access_ipv4,
        "accessIPv6": "",
        "addresses": look.addresses,
        "created": stamp(server.created),
        "flavor": _flavor(site, server.flavor, version),
        "hostId": server.host_id if _on_host(look) else "",
        "id": server.id,
        "image": _image(site, server),
        "links": links(site, "servers", server.id),
        "metadata": server.metadata,
        "name": server.name,
        "status": look.status,
        "tenant_id": site.project_id,
        "user_id": site.user_id,
        "updated": stamp(look.updated),
        "OS-DCF:diskConfig": "MANUAL",
    }
    if look.status in _PROGRESS:
        row["progress"] = 0
    if look.fault is not None and look.status in _FAULTY:
        row["fault"] = look.fault
    launched, ended = server.launched, server.ended
    long_stamp = site.timeline.long_stamp
    row |= {
        "OS-EXT-AZ:availability_zone": _zone(site, server) if _on_host(look) else "",
        "config_drive": "True" if server.config_drive else "",
        "key_name": server.key_name,
        "OS-SRV-USG:launched_at": None if launched is None else long_stamp(launched),
        "OS-SRV-USG:terminated_at": None if ended is None else long_stamp(ended),
        "OS-EXT-STS:task_state": look.task_state,
        "OS-EXT-STS:vm_state": look.vm_state,
        "OS-EXT-STS:power_state": look.power_state,
        "os-extended-volumes:volumes_attached": _volumes(look, version),
    }
    if _on_host(look):
        row["security_groups"] = [{"name": "default"}]
    return row | _later_fields(server, version)


def _zone(site: Site, server: Server) -> str:
    return "" if site.spec.behaviour.lacks_zones else server.zone


def _on_host(look: Revision) -> bool:
    never_placed = look.vm_state == "error" and look.power_state == 0
    return look.task_state != "scheduling" and not never_placed


def _volumes(look: Revision, version: Microversion) -> list[dict[str, Any]]:
    if version < (2, 3):
        return [{"id": volume} for volume in look.volumes]
    return [{"id": volume, "delete_on_termination": True} for volume in look.volumes]


def _image(site: Site, server: Server) -> Any:
    if server.image is None or server.volume_gib is not None:
        return ""
    return {"id": server.image.id, "links": links(site, "images", server.image.id)[1:]}


def _flavor(site: Site, flavor: Flavor, version: Microversion) -> dict[str, Any]:
    if version < (2, 47):
        return {"id": flavor.id, "links": links(site, "flavors", flavor.id)[1:]}
    return {
        "vcpus": flavor.spec.cores,
        "ram": flavor.spec.ram_mib,
        "disk": flavor.spec.disk_gib,
        "ephemeral": 0,
        "swap": 0,
        "original_name": flavor.spec.name,
        "extra_specs": {},
    }


def _later_fields(server: Server, version: Microversion) -> dict[str, Any]:
    """What later microversions add; from the API's version history and a real answer at 2.96."""
    fields: tuple[tuple[Microversion, str, Any], ...] = (
        ((2, 9), "locked", False),
        ((2, 19), "description", server.description),
        ((2, 26), "tags", []),
        ((2, 63), "trusted_image_certificates", None),
        ((2, 71), "server_groups", []),
        ((2, 73), "locked_reason", None),
        ((2, 90), "OS-EXT-SRV-ATTR:hostname", server.name),
        ((2, 96), "pinned_availability_zone", None),
    )
    return {key: value for since, key, value in fields if version >= since}
