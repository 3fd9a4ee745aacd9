"""A config drive as Nova makes it: a small ISO 9660 disk with the label ``config-2``.

What a guest reads there, cloud-init and glean alike, is told in Nova's user documentation under
"Config drives": ``meta_data.json``, ``network_data.json`` and ``vendor_data.json`` below
``openstack/latest``.
"""

import json
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any, Final

import attrs

from trellis.sim.serving.netns import ALL_IPV6, run

_LABEL: Final = "config-2"
_LINK: Final = "tap0"
_NETWORK: Final = "network0"
_MTU: Final = 1500


@attrs.frozen(kw_only=True)
class Guest:
    """What a guest is told about itself.

    Attributes:
        uuid: the server's id.
        name: the server's name.
        hostname: what it should call itself.
        mac: hardware address of its one network card.
        addresses: of that card, IPv4 first.
        subnet: the network of its IPv4 addresses, whose first address leads out of it.
        public_keys: lines as ``ssh-ed25519 AAAA…``; their owners may log in.
    """

    uuid: str
    name: str
    hostname: str
    mac: str
    addresses: tuple[str, ...]
    subnet: IPv4Network
    public_keys: tuple[str, ...]


def meta_data(guest: Guest) -> dict[str, Any]:
    """What ``meta_data.json`` says."""
    named = {f"key{number}": f"{key}\n" for number, key in enumerate(guest.public_keys)}
    keys = [{"name": name, "type": "ssh", "data": key} for name, key in named.items()]
    return {
        "uuid": guest.uuid, "name": guest.name, "hostname": guest.hostname,
        "launch_index": 0, "availability_zone": "nova", "project_id": "", "devices": [],
        "public_keys": named, "keys": keys, "meta": {},
    }  # fmt: skip


def network_data(guest: Guest) -> dict[str, Any]:
    """What ``network_data.json`` says: every address is fixed, for there is no DHCP."""
    link = {
        "id": _LINK, "vif_id": "vif0", "type": "ovs", "mtu": _MTU,
        "ethernet_mac_address": guest.mac,
    }  # fmt: skip
    networks = [
        _network(f"{_NETWORK}-{number}", address, guest.subnet)
        for number, address in enumerate(guest.addresses)
    ]
    return {"links": [link], "networks": networks, "services": []}


def _network(id: str, address: str, subnet: IPv4Network) -> dict[str, Any]:
    known = ip_address(address)
    network: IPv4Network | IPv6Network = subnet if known.version == 4 else ALL_IPV6
    nowhere = "0.0.0.0" if known.version == 4 else "::"
    route = {"network": nowhere, "netmask": nowhere, "gateway": str(network[1])}
    return {
        "id": id, "network_id": id, "link": _LINK, "type": f"ipv{known.version}",
        "ip_address": address, "netmask": str(network.netmask), "routes": [route],
    }  # fmt: skip


async def write(guest: Guest, folder: Path, drive: Path, *, program: Sequence[str]) -> None:
    """Write the disk.

    Args:
        guest: whose it is.
        folder: where its files are gathered; made here.
        drive: the file of the disk.
        program: what writes an ISO, with the arguments of mkisofs.

    Raises:
        CommandFailedError: that program failed.
        OSError: the files cannot be written.
    """
    latest = folder / "openstack" / "latest"
    latest.mkdir(parents=True)
    for name, content in (
        ("meta_data.json", meta_data(guest)),
        ("network_data.json", network_data(guest)),
        ("vendor_data.json", {}),
    ):
        (latest / name).write_text(json.dumps(content), encoding="utf-8")
    await run(*program, "-quiet", "-J", "-r", "-V", _LABEL, "-o", str(drive), str(folder))
