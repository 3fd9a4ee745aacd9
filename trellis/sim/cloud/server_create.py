"""``POST /servers``: what Nova checks before it accepts a server."""

import base64
import binascii
from collections.abc import Container
from fnmatch import fnmatchcase
from typing import Any, Final

from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.network import Net
from trellis.sim.cloud.nova import (
    LONGEST,
    check_metadata,
    check_types,
    invalid,
    microversion,
    object_in,
    refuse,
)
from trellis.sim.cloud.routes import Call
from trellis.sim.cloud.rows import Microversion, links
from trellis.sim.cloud.server_state import Flavor, Image
from trellis.sim.cloud.servers import Servers
from trellis.sim.cloud.site import Site
from trellis.sim.cloud.wire import RefusalError, Response, answer

_KINDS: Final = {
    "name": "string",
    "flavorRef": "string integer",
    "imageRef": "string null",
    "networks": "array string null",
    "networks[].uuid": "string",
    "networks[].port": "string null",
    "metadata": "object",
    "security_groups": "array",
    "security_groups[].name": "string",
    "availability_zone": "string null",
    "key_name": "string null",
    "user_data": "string null",
    "config_drive": "boolean string null",
    "description": "string null",
    "block_device_mapping_v2": "array",
    "block_device_mapping_v2[].uuid": "string null",
}


class ServerCreate:
    """The one call that makes servers.

    Args:
        keypairs: names of the keypairs there are.
    """

    def __init__(self, site: Site, servers: Servers, keypairs: Container[str]) -> None:
        self._site = site
        self._servers = servers
        self._keypairs = keypairs

    def create(self, call: Call) -> Response:
        """``POST /servers``."""
        wanted = object_in(call, "server")
        site, servers = self._site, self._servers
        version = microversion(call)
        self._check_fields(wanted, version)
        zone = wanted.get("availability_zone") or ""
        gone = zone in site.faults.zone_gone
        if gone:
            site.strike("zone-gone")
        if zone and (zone not in site.spec.zones or gone):
            raise refuse(400, "The requested availability zone is not available")
        flavor, (image, volume_gib) = self._flavor(wanted), self._boots_from(wanted)
        if site.region in site.spec.behaviour.diskless_regions and volume_gib is None:
            message = "Only volume-backed servers are allowed for flavors with zero disk."
            raise refuse(400, message)
        self._check_manners(wanted, flavor, volume_gib)
        _check_fits(flavor, image, volume_gib)
        nets = self._nets(wanted)
        key_name = wanted.get("key_name")
        if key_name is not None and key_name not in self._keypairs:
            raise refuse(400, "Invalid key_name provided.")
        for group in wanted.get("security_groups", ()):
            if group.get("name") not in ("default", servers.network.security_group_id):
                message = f"Unable to find security_group with name or id '{group.get('name')}'"
                raise refuse(400, message)
        self._check_quota(flavor, len(nets))
        server = servers.create(
            name=str(wanted["name"]),
            flavor=flavor,
            image=image,
            nets=nets,
            metadata=dict(wanted.get("metadata") or {}),
            who=site.user,
            zone=zone,
            key_name=key_name,
            volume_gib=volume_gib,
            config_drive=wanted.get("config_drive") in (True, "true", "True"),
            description=wanted.get("description") if version >= (2, 19) else wanted["name"],
        )
        accepted = answer(
            202,
            {
                "server": {
                    "id": server.id,
                    "links": links(site, "servers", server.id),
                    "OS-DCF:diskConfig": "MANUAL",
                    "security_groups": wanted.get("security_groups") or [{"name": "default"}],
                    "adminPass": server.admin_password,
                }
            },
        )
        return accepted.with_headers(location=links(site, "servers", server.id)[0]["href"])

    def _check_manners(
        self, wanted: dict[str, Any], flavor: Flavor, volume_gib: int | None
    ) -> None:
        """Refuse what this cloud, were it stock, would take."""
        behaviour, name = self._site.spec.behaviour, flavor.spec.name
        if behaviour.lacks_security_groups and "security_groups" in wanted:
            raise refuse(400, "Security groups are not supported.")
        if behaviour.lacks_zones and wanted.get("availability_zone"):
            raise refuse(400, "The requested availability zone is not available")
        if behaviour.refuses_diskless and not flavor.spec.disk_gib and volume_gib is None:
            raise refuse(400, f"Flavor {name} boots from volumes only.")
        if volume_gib is not None and any(
            fnmatchcase(name, pattern) for pattern in behaviour.volumeless_flavors
        ):
            raise refuse(400, f"Flavor {name} cannot boot from a volume.")
        most, items = behaviour.metadata_most, len(wanted.get("metadata") or {})
        if most is not None and items > most:
            message = f"Maximum number of metadata items exceeds {most}"
            over = {"code": 413, "message": message, "retryAfter": "0"}
            raise RefusalError(answer(413, {"overLimit": over}).with_headers(Retry_After="0"))

    def _check_fields(self, wanted: dict[str, Any], version: Microversion) -> None:
        check_types(wanted, _KINDS)
        for field in ("flavorRef", "name"):
            if field not in wanted:
                raise invalid("server", wanted, f"{field!r} is a required property")
        name = wanted["name"]
        if not isinstance(name, str) or not name:
            raise invalid("name", name, f"{name!r} is too short")
        if len(name) > LONGEST:
            raise invalid("name", name, f"{name!r} is too long")
        if version >= (2, 37) and "networks" not in wanted:
            raise invalid("server", wanted, "'networks' is a required property")
        check_metadata(wanted.get("metadata") or {})
        user_data = wanted.get("user_data")
        if user_data is not None:
            try:
                base64.b64decode(user_data, validate=True)
            except (binascii.Error, ValueError):
                why = f"{user_data!r} is not a 'base64'"
                raise invalid("user_data", user_data, why) from None

    def _flavor(self, wanted: dict[str, Any]) -> Flavor:
        ref = str(wanted["flavorRef"]).rpartition("/")[2]
        flavor = self._servers.flavors.get(ref)
        gone = flavor is not None and flavor.spec.name in self._site.faults.flavor_gone
        if gone:
            self._site.strike("flavor-gone")
        if flavor is None or gone:
            raise refuse(400, f"Flavor {ref} could not be found.")
        return flavor

    def _boots_from(self, wanted: dict[str, Any]) -> tuple[Image, int | None]:
        """The image, and the size of the volume that is made of it, if one is."""
        ref = str(wanted.get("imageRef") or "").rpartition("/")[2]
        devices = wanted.get("block_device_mapping_v2")
        if not devices:
            if not ref:
                raise refuse(400, "Invalid imageRef provided.")
            return self._image(ref), None
        if not isinstance(devices, list) or not all(isinstance(one, dict) for one in devices):
            why = f"{devices!r} is not of type 'array'"
            raise invalid("block_device_mapping_v2", devices, why)
        invalid_mapping = "Block Device Mapping is Invalid"
        roots = [one for one in devices if str(one.get("boot_index")) == "0"]
        if len(roots) != 1 or ref:
            raise refuse(
                400,
                f"{invalid_mapping}: Boot sequence for the instance and image/block device "
                "mapping combination is not valid.",
            )
        root = roots[0]
        kinds = root.get("source_type"), root.get("destination_type")
        if kinds != ("image", "volume") or not self._site.spec.block_storage:
            raise refuse(400, f"{invalid_mapping}: only volumes made of an image are simulated.")
        size = _whole(root.get("volume_size"))
        if size < 1:
            raise refuse(
                400,
                f"{invalid_mapping}: Images with destination_type 'volume' need to have a "
                "non-zero size specified",
            )
        image = self._image(str(root.get("uuid")))
        if size < image.spec.min_disk_gib:
            raise refuse(
                400,
                f"Volume is smaller than the minimum size specified in image metadata. Volume "
                f"size is {size << 30} bytes, minimum size is "
                f"{image.spec.min_disk_gib << 30} bytes.",
            )
        return image, size

    def _image(self, ref: str) -> Image:
        image, faults = self._servers.images.get(ref), self._site.faults
        gone = image is not None and self._servers.glance.is_gone(image)
        if gone:
            self._site.strike("image-gone")
        if image is None or gone:
            raise refuse(400, "Can not find requested image")
        inactive = image.spec.name in faults.image_inactive
        if inactive:
            self._site.strike("image-inactive")
        if image.spec.status != "active" or inactive:
            raise refuse(400, f"Image {ref} is not active.")
        return image

    def _nets(self, wanted: dict[str, Any]) -> list[Net]:
        network, asked = self._servers.network, wanted.get("networks")
        if asked == "none":
            return []
        if asked in (None, "auto", []):
            usable = network.attachable()
            if self._site.spec.behaviour.joins_all_networks:
                return usable
            inner = [net for net in usable if not net.spec.external] or usable
            if len(inner) > 1:
                message = "Multiple possible networks found, use a Network ID to be more specific."
                raise refuse(409, message)
            return inner
        if isinstance(asked, str):
            raise invalid("networks", asked, f"{asked!r} is not one of ['none', 'auto']")
        nets = []
        for entry in asked:
            net = network.nets.get(entry.get("uuid", ""))
            gone = net is not None and net.spec.name in self._site.faults.network_gone
            if gone:
                self._site.strike("network-gone")
            if net is None or gone:
                raise refuse(400, f"Network {entry.get('uuid')} could not be found.")
            if not net.spec.attachable:
                message = f"It is not allowed to create an interface on external network {net.id}"
                raise refuse(403, message)
            nets.append(net)
        return nets

    def _check_quota(self, flavor: Flavor, ports: int) -> None:
        short = self._servers.short_of(flavor.spec)
        if short:
            names = ", ".join(ask[0] for ask in short)
            requested, used, limits = (", ".join(str(ask[i]) for ask in short) for i in (1, 2, 3))
            message = f"Quota exceeded for {names}: Requested {requested}, but already used "
            message += f"{used} of {limits} {names}"
        else:
            left = self._servers.network.ports_left()
            if left is None or left >= ports:
                return
            message = "Maximum number of ports exceeded"
        site = self._site
        site.note(What.QUOTA_REFUSED, id="POST compute /servers", who=site.user, detail=message)
        if site.spec.behaviour.quota_is_413:
            over = {"code": 413, "message": message, "retryAfter": "0"}
            raise RefusalError(answer(413, {"overLimit": over}).with_headers(Retry_After="0"))
        raise refuse(403, message)


def _check_fits(flavor: Flavor, image: Image, volume_gib: int | None) -> None:
    """Refuse a flavor that is too small for what is said of the image.

    Words and order of ``nova/compute/api.py``, ``_validate_flavor_image_nostatus``.
    """
    if flavor.spec.ram_mib < image.min_ram:
        raise refuse(400, "Flavor's memory is too small for requested image.")
    disk = flavor.spec.disk_gib << 30
    if volume_gib is not None or not disk:
        return
    if (image.size or 0) > disk:
        message = "Flavor's disk is too small for requested image. Flavor disk is "
        raise refuse(400, f"{message}{disk} bytes, image is {image.size} bytes.")
    least = image.spec.min_disk_gib << 30
    if disk < least:
        message = "Flavor's disk is smaller than the minimum size specified in image metadata. "
        message += f"Flavor disk is {disk} bytes, minimum size is {least} bytes."
        raise refuse(400, message)


def _whole(value: Any) -> int:
    """A number, which nova takes as text too; 0 for what is none."""
    text = str(value)
    return int(text) if text.isdecimal() else 0
