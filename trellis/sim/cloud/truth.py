"""What is true in a simulated cloud now, as values that an oracle may keep."""

from collections.abc import Mapping
from pathlib import Path

import attrs

from trellis.sim.cloud.image_rows import checksums, size_of
from trellis.sim.cloud.region import Region
from trellis.sim.cloud.server_state import Server
from trellis.sim.cloud.servers import Servers

Regions = Mapping[str, Region]


@attrs.frozen(kw_only=True)
class ServerView:
    """A server as it truly is now.

    Attributes:
        who: the account's user, or ``stranger``.
        reachable: its sshd answers.
        hostname: the name that its guest believes to have.
        image_id, image_name: of the image that it was made from; "" for none.
    """

    id: str
    name: str
    region: str
    status: str
    who: str
    metadata: dict[str, str]
    created_at: float
    active_at: float | None
    addresses: tuple[str, ...]
    reachable: bool
    hostname: str = ""
    image_id: str = ""
    image_name: str = ""


@attrs.frozen(kw_only=True)
class ImageView:
    """An image as it truly is now.

    Attributes:
        who: the account's user, or ``stranger``; "" for one that the cloud offers.
        size: of its file in bytes; None while there is none.
        md5, sha512: of what is stored; "" where none were taken.
        file: where what was uploaded is kept; "" if it is not.
        servers: ids of the servers that were made from it and are there.
    """

    id: str
    name: str
    region: str
    who: str
    status: str
    disk_format: str
    visibility: str
    created_at: float
    size: int | None
    md5: str
    sha512: str
    properties: dict[str, str]
    file: str = ""
    servers: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class LooseView:
    """A floating IP, port, volume, keypair or object as it truly is now, with its server."""

    id: str
    name: str
    region: str
    who: str
    description: str = ""
    server_id: str | None = None


@attrs.frozen(kw_only=True)
class Machine:
    """A server that is up and has an address reached from outside: what a back end makes real.

    Attributes:
        address: the first of `addresses`.
        addresses: all at which it is reached from outside, fixed and floating, IPv4 first.
        ssh_at: when its guest answers, in seconds of the cloud's clock; may be to come.
        host_key: 32 bytes, the server's own; servers of an image with a baked key share theirs.
        public_key: the line of the keypair it was created with, as ``ssh-ed25519 AAAA…``.
        state: Nova's status, as ``ACTIVE``.
        image_file: what was uploaded as its image, where such files are kept.
        image_format: the disk format that the image was said to have.
    """

    server_id: str
    name: str
    region: str
    address: str
    addresses: tuple[str, ...]
    ssh_at: float
    host_key: bytes = attrs.field(repr=False)
    public_key: str | None
    state: str
    image_file: Path | None = None
    image_format: str = ""


def server_view(region: str, servers: Servers, server: Server, now: float) -> ServerView:
    """A server as it is now."""
    addresses = servers.network.addresses_of(server.id)
    return ServerView(
        id=server.id,
        name=server.name,
        region=region,
        status=server.now.status,
        who=server.who,
        metadata=dict(server.metadata),
        created_at=server.created,
        active_at=server.launched,
        addresses=tuple(row["addr"] for rows in addresses.values() for row in rows),
        reachable=server.ssh_at is not None and server.ssh_at <= now,
        hostname=servers.hostname(server),
        image_id=server.image.id if server.image is not None else "",
        image_name=server.image.name if server.image is not None else "",
    )


def all_servers(regions: Regions, now: float) -> tuple[ServerView, ...]:
    """Every server, oldest first."""
    return tuple(
        server_view(name, region.servers, server, now)
        for name, region in regions.items()
        for server in region.servers.live.values()
    )


def all_floating_ips(regions: Regions) -> tuple[LooseView, ...]:
    """Every floating IP."""
    return tuple(
        LooseView(
            id=ip.id,
            name=ip.address,
            region=name,
            who=ip.who,
            description=ip.description,
            server_id=ip.port.device_id if ip.port is not None else None,
        )
        for name, region in regions.items()
        for ip in region.servers.network.floating_ips.values()
    )


def all_ports(regions: Regions) -> tuple[LooseView, ...]:
    """Every port."""
    return tuple(
        LooseView(
            id=port.id,
            name=port.name,
            region=name,
            who=port.who,
            description=port.description,
            server_id=port.device_id or None,
        )
        for name, region in regions.items()
        for port in region.servers.network.ports.values()
    )


def all_volumes(regions: Regions) -> tuple[LooseView, ...]:
    """Every volume; attached ones have a server."""
    return tuple(
        LooseView(
            id=volume.id,
            name=volume.name,
            region=name,
            who=volume.who,
            description=f"{volume.size_gib} GiB, {volume.status}",
            server_id=volume.server_id or None,
        )
        for name, region in regions.items()
        for volume in region.servers.volumes.all.values()
    )


def all_keypairs(regions: Regions, who: str) -> tuple[LooseView, ...]:
    """Every keypair; all are the account's."""
    return tuple(
        LooseView(id=keypair, name=keypair, region=name, who=who)
        for name, region in regions.items()
        for keypair in region.keypairs
    )


def all_images(regions: Regions) -> tuple[ImageView, ...]:
    """Every image, in the order in which they were made."""
    found = []
    for name, region in regions.items():
        made_from: dict[str, list[str]] = {}
        for server in region.servers.live.values():
            if server.image is not None:
                made_from.setdefault(server.image.id, []).append(server.id)
        for image in region.servers.images.values():
            md5, sha512 = checksums(image)
            view = ImageView(
                id=image.id,
                name=image.name,
                region=name,
                who=image.who,
                status=image.status,
                disk_format=image.disk_format or "",
                visibility=image.visibility,
                created_at=image.created,
                size=size_of(image),
                md5=md5 or "",
                sha512=sha512 or "",
                properties=dict(image.properties),
                file=image.stored.path if image.stored is not None else "",
                servers=tuple(made_from.get(image.id, ())),
            )
            found.append(view)
    return tuple(found)


def all_objects(regions: Regions) -> tuple[LooseView, ...]:
    """Every object of the file stores."""
    return tuple(
        LooseView(
            id=one.path,
            name=one.name,
            region=name,
            who=one.who,
            description=f"{one.file.size} bytes",
        )
        for name, region in regions.items()
        if region.objects is not None
        for container in region.objects.containers.values()
        for one in container.values()
    )


def all_machines(regions: Regions) -> tuple[Machine, ...]:
    """Every server that is up and reached from outside, in the order of creation."""
    return tuple(
        machine
        for name, region in regions.items()
        for server in region.servers.live.values()
        if (machine := _machine(name, region, server)) is not None
    )


def _machine(name: str, region: Region, server: Server) -> Machine | None:
    if server.ssh_at is None:
        return None
    network = region.servers.network
    addresses: list[str] = []
    for port in network.ports_of.get(server.id, ()):
        own = (port.ipv4, port.ipv6, *(ip.address for ip in port.floating))
        addresses += [address for address in own if address in network.device_at]
    if not addresses:
        return None
    addresses.sort(key=lambda address: ":" in address)
    keypair = region.keypairs.get(server.key_name or "", {})
    image = server.image
    file = image.stored.path if image is not None and image.stored is not None else ""
    return Machine(
        server_id=server.id,
        name=server.name,
        region=name,
        address=addresses[0],
        addresses=tuple(addresses),
        ssh_at=server.ssh_at,
        host_key=server.host_key,
        public_key=keypair.get("public_key"),
        state=server.now.status,
        image_file=Path(file) if file else None,
        image_format=(image.disk_format or "") if image is not None else "",
    )
