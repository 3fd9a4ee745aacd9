"""What nova is sent and what it answers, as typed values that name only the fields in use.

Field names are those of nova's API reference; a server of a down cell has next to none of them
(nova doc, *Handling Down Cells*), so each has a default.
"""

import base64
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec


class ServerAddress(msgspec.Struct, frozen=True, gc=False):
    """One address of a server; ``type`` is "" where the cloud does not say (nova v2)."""

    addr: str
    version: int = 4
    type: str = msgspec.field(name="OS-EXT-IPS:type", default="")
    mac: str = msgspec.field(name="OS-EXT-IPS-MAC:mac_addr", default="")


class ServerFault(msgspec.Struct, frozen=True, gc=False):
    """Why a server is in ERROR, in the cloud's words."""

    message: str | None = None
    code: int = 0


class AttachedVolume(msgspec.Struct, frozen=True, gc=False):
    """A volume attached to a server."""

    id: str


class ServerRow(msgspec.Struct, frozen=True):
    """A server, in a list or by itself.

    Attributes:
        addresses: by the *label* of the network, in the cloud's order.
        updated: the cloud's own time stamp, as ``2026-11-22T14:13:47Z``.
        task_state: ``deleting`` while a delete is under way and ``status`` is still ACTIVE.
    """

    id: str
    name: str | None = None
    status: str = "UNKNOWN"
    addresses: dict[str, list[ServerAddress]] = msgspec.field(default_factory=dict)
    access_ipv4: str | None = msgspec.field(name="accessIPv4", default=None)
    access_ipv6: str | None = msgspec.field(name="accessIPv6", default=None)
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    created: str | None = None
    updated: str | None = None
    fault: ServerFault | None = None
    zone: str | None = msgspec.field(name="OS-EXT-AZ:availability_zone", default=None)
    task_state: str | None = msgspec.field(name="OS-EXT-STS:task_state", default=None)
    volumes: list[AttachedVolume] = msgspec.field(
        name="os-extended-volumes:volumes_attached", default_factory=list
    )
    project_id: str | None = msgspec.field(name="tenant_id", default=None)


class Link(msgspec.Struct, frozen=True, gc=False):
    """A link of an answer; only ``next`` is of use."""

    href: str
    rel: str = ""


class ServerPage(msgspec.Struct, frozen=True):
    """One page of a server list."""

    servers: list[ServerRow]
    servers_links: list[Link] = msgspec.field(default_factory=list)


class ServerAnswer(msgspec.Struct, frozen=True):
    """One server, wrapped as nova wraps it."""

    server: ServerRow


class Created(msgspec.Struct, frozen=True):
    """The answer to a create: an id and little else (quirks 2.6)."""

    id: str


class CreatedAnswer(msgspec.Struct, frozen=True):
    """The answer to a create, wrapped as nova wraps it."""

    server: Created


class FlavorRow(msgspec.Struct, frozen=True):
    """A flavor: ``ram`` in MiB, ``disk`` in GiB."""

    id: str
    name: str
    ram: int
    vcpus: int
    disk: int = 0
    disabled: bool = msgspec.field(name="OS-FLV-DISABLED:disabled", default=False)


class FlavorPage(msgspec.Struct, frozen=True):
    """One page of a flavor list."""

    flavors: list[FlavorRow]
    flavors_links: list[Link] = msgspec.field(default_factory=list)


class AbsoluteLimits(msgspec.Struct, frozen=True, rename="camel"):
    """Nova's quota and use: -1 is unlimited, None is not told. Memory in MiB."""

    max_total_instances: int | None = None
    max_total_cores: int | None = None
    max_total_ram_size: int | None = msgspec.field(name="maxTotalRAMSize", default=None)
    total_instances_used: int = 0
    total_cores_used: int = 0
    total_ram_used: int = msgspec.field(name="totalRAMUsed", default=0)


class Limits(msgspec.Struct, frozen=True):
    """The part of the limits that is not about rates."""

    absolute: AbsoluteLimits


class LimitsAnswer(msgspec.Struct, frozen=True):
    """The limits, wrapped as nova wraps them."""

    limits: Limits


class ZoneState(msgspec.Struct, frozen=True):
    """Whether a zone can be used."""

    available: bool = True


class ZoneRow(msgspec.Struct, frozen=True):
    """An availability zone."""

    name: str = msgspec.field(name="zoneName")
    state: ZoneState = msgspec.field(name="zoneState", default_factory=ZoneState)


class ZonesAnswer(msgspec.Struct, frozen=True):
    """The availability zones, under nova's name for the list."""

    zones: list[ZoneRow] = msgspec.field(name="availabilityZoneInfo")


class KeypairRow(msgspec.Struct, frozen=True):
    """A keypair of the user."""

    name: str


class KeypairItem(msgspec.Struct, frozen=True):
    """A keypair, wrapped as nova wraps each."""

    keypair: KeypairRow


class KeypairPage(msgspec.Struct, frozen=True):
    """One page of a keypair list."""

    keypairs: list[KeypairItem]


class ConsoleAnswer(msgspec.Struct, frozen=True):
    """The end of a console."""

    output: str | None = None


@attrs.frozen(kw_only=True)
class ServerRequest:
    """What a server is created from.

    Attributes:
        networks: ids; empty sends none, and nova takes the project's only network.
        security_groups: names or ids; empty sends none, which means the project's default.
        user_data: as the guest shall see it; at most 65535 bytes once in base64.
        metadata: keys and values of at most 255 characters.
        volume_gib: boots from a volume of this size that nova makes from the image, and deletes
            with the server; None boots from the flavor's own disk.
        extra: further keys of the ``server`` object, for what only one cloud knows.
    """

    name: str
    flavor_id: str
    image_id: str
    networks: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    zone: str | None = None
    key_name: str | None = None
    user_data: str | None = attrs.field(default=None, repr=False)
    config_drive: bool = False
    metadata: Mapping[str, str] = attrs.field(factory=dict)
    volume_gib: int | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    def body(self, microversion: str | None = None) -> dict[str, Any]:
        """The body of ``POST /servers``.

        Args:
            microversion: the one asked for; from 2.37 on nova wants ``networks`` in any case
                (nova doc, REST API version history).
        """
        server: dict[str, Any] = {
            "name": self.name,
            "flavorRef": self.flavor_id,
            "imageRef": self.image_id,
            "metadata": dict(self.metadata),
        }
        if self.networks:
            server["networks"] = [{"uuid": network} for network in self.networks]
        elif microversion is not None and version_of(microversion) >= (2, 37):
            server["networks"] = "auto"
        if self.security_groups:
            server["security_groups"] = [{"name": group} for group in self.security_groups]
        if self.zone is not None:
            server["availability_zone"] = self.zone
        if self.key_name is not None:
            server["key_name"] = self.key_name
        if self.user_data is not None:
            server["user_data"] = base64.b64encode(self.user_data.encode()).decode()
        if self.config_drive:
            server["config_drive"] = True
        if self.volume_gib is not None:
            # The image is named by the volume alone: both would be two devices to boot from.
            server["imageRef"] = ""
            server["block_device_mapping_v2"] = [
                {
                    "boot_index": 0,
                    "source_type": "image",
                    "uuid": self.image_id,
                    "destination_type": "volume",
                    "volume_size": self.volume_gib,
                    "delete_on_termination": True,
                }
            ]
        return {"server": {**server, **self.extra}}


def version_of(microversion: str) -> tuple[int, ...]:
    """A microversion as numbers, so that 2.100 is above 2.37."""
    return tuple(int(part) for part in microversion.split("."))
