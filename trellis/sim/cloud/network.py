"""Neutron's side of a region: networks, ports and floating IPs, as a state machine."""

import ipaddress
from collections.abc import Callable
from typing import Any

import attrs

from trellis.sim.cloud.addresses import AddressPool, cidrs_of
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.site import STRANGER, Site
from trellis.sim.cloud.spec import UNLIMITED, NetworkSpec


@attrs.define(eq=False, kw_only=True)
class Net:
    """A network with its one IPv4 subnet (and an IPv6 one, if it has one)."""

    id: str
    subnet_id: str
    subnet6_id: str
    spec: NetworkSpec
    pool: AddressPool
    prefix6: str


@attrs.define(eq=False, kw_only=True)
class Port:
    """A port; it belongs to a server by ``device_id``."""

    id: str
    net: Net
    mac: str
    ipv4: str
    ipv6: str | None
    who: str
    created: float
    device_id: str = ""
    device_owner: str = ""
    name: str = ""
    description: str = ""
    status: str = "DOWN"
    floating: "list[FloatingIp]" = attrs.field(factory=list)


@attrs.define(eq=False, kw_only=True)
class FloatingIp:
    """A floating IP; it serves a server while it has a port."""

    id: str
    address: str
    net: Net
    who: str
    description: str
    created: float
    updated: float
    port: Port | None = None
    revision: int = 0
    shown_at: float = 0.0
    """Nova does not know of it before."""


class NoAddressLeftError(Exception):
    """A network has no address left."""


class OverQuotaError(Exception):
    """The project's quota is used up; names the resource."""


class Network:
    """All ports and floating IPs of a region.

    Args:
        on_change: told the ``device_id`` whose addresses changed.
    """

    def __init__(self, site: Site, on_change: Callable[[str], None]) -> None:
        self._site = site
        self._on_change = on_change
        self.nets: dict[str, Net] = {}
        self.ports: dict[str, Port] = {}
        self.ports_of: dict[str, list[Port]] = {}
        self.floating_ips: dict[str, FloatingIp] = {}
        self.device_at: dict[str, str] = {}
        """The server reached from outside at an address."""
        self.router_id = site.new_id()
        self.security_group_id = site.new_id()
        block = site.spec.number * 4 + site.number
        for spec, cidr in zip(site.spec.networks, cidrs_of(site.spec, site.number), strict=True):
            drawn = site.new_id()
            net = Net(
                id=spec.id or drawn,
                subnet_id=site.new_id(),
                subnet6_id=site.new_id(),
                spec=spec,
                pool=AddressPool(cidr),
                prefix6=f"2001:db8:{block:x}:{len(self.nets):x}::",
            )
            self.nets[net.id] = net

    def attachable(self) -> list[Net]:
        """The networks that servers can be put on."""
        return [net for net in self.nets.values() if net.spec.attachable]

    # ---------------------------------------------------------------------------- ports

    def ports_left(self) -> int | None:
        """How many more ports the quota allows; None is endless."""
        limit = self._site.quota.ports
        return None if limit == UNLIMITED else limit - len(self.ports)

    def create_port(
        self,
        net: Net,
        *,
        who: str,
        device_id: str = "",
        device_owner: str = "",
        name: str = "",
        description: str = "",
    ) -> Port:
        """Make a port with an address.

        Raises:
            OverQuotaError, NoAddressLeftError: nothing is made.
        """
        left = self.ports_left()
        if left is not None and left < 1:
            raise OverQuotaError("port")
        address = net.pool.take()
        if address is None:
            raise NoAddressLeftError(net.id)
        site = self._site
        low = site.ids.getrandbits(24)
        mac = f"fa:16:3e:{low >> 16:02x}:{low >> 8 & 255:02x}:{low & 255:02x}"
        port = Port(
            id=site.new_id(),
            net=net,
            mac=mac,
            ipv4=address,
            ipv6=_beside(address, net.prefix6) if net.spec.ipv6 else None,
            who=who,
            created=site.now,
            device_id=device_id,
            device_owner=device_owner,
            name=name,
            description=description,
        )
        self.ports[port.id] = port
        if device_id:
            self.ports_of.setdefault(device_id, []).append(port)
            if net.spec.external or net.spec.reachable:
                self.device_at[port.ipv4] = device_id
                if port.ipv6 is not None and not site.spec.behaviour.shows_dead_ipv6:
                    self.device_at[port.ipv6] = device_id
        else:
            site.note(What.PORT_CREATED, id=port.id, name=name, who=who, detail=description)
        return port

    def delete_port(self, port: Port) -> None:
        """Remove a port; its floating IPs stay, without it."""
        del self.ports[port.id]
        for floating_ip in list(port.floating):
            self.associate(floating_ip, None, quiet=True)
        port.net.pool.give_back(port.ipv4)
        self.device_at.pop(port.ipv4, None)
        if port.ipv6 is not None:
            self.device_at.pop(port.ipv6, None)
        if port.device_id:
            of_device = self.ports_of.get(port.device_id, [])
            of_device.remove(port)
            if not of_device:
                del self.ports_of[port.device_id]
        else:
            self._site.note(What.PORT_DELETED, id=port.id, name=port.name, who=port.who)

    def leave_port(self, port: Port) -> None:
        """Let a port stay whose server is gone: nova was to delete it."""
        port.status = "DOWN"
        self.device_at.pop(port.ipv4, None)
        if port.ipv6 is not None:
            self.device_at.pop(port.ipv6, None)

    # --------------------------------------------------------------------- floating IPs

    def create_floating_ip(
        self, net: Net, port: Port | None, *, who: str, description: str = ""
    ) -> FloatingIp:
        """Allocate a floating IP, on a port at once if one is given.

        Raises:
            OverQuotaError, NoAddressLeftError: nothing is made.
        """
        site = self._site
        limit = site.quota.floating_ips
        if limit != UNLIMITED and len(self.floating_ips) >= limit:
            raise OverQuotaError("floatingip")
        address = net.pool.take()
        if address is None:
            raise NoAddressLeftError(net.id)
        floating_ip = FloatingIp(
            id=site.new_id(),
            address=address,
            net=net,
            who=who,
            description=description,
            created=site.now,
            updated=site.now,
        )
        self.floating_ips[floating_ip.id] = floating_ip
        site.note(
            What.FLOATING_IP_CREATED,
            id=floating_ip.id,
            name=address,
            who=who,
            detail=description,
        )
        if port is not None:
            self.associate(floating_ip, port)
        return floating_ip

    def associate(self, floating_ip: FloatingIp, port: Port | None, *, quiet: bool = False) -> None:
        """Put a floating IP on a port, or take it off."""
        before, floating_ip.port = floating_ip.port, port
        floating_ip.updated = self._site.now
        floating_ip.revision += 1
        self.device_at.pop(floating_ip.address, None)
        if before is not None:
            before.floating.remove(floating_ip)
        late_s = self._site.spec.behaviour.floating_shown_after_s if port is not None else 0.0
        floating_ip.shown_at = self._site.now + late_s
        if port is not None:
            port.floating.append(floating_ip)
            if port.device_id:
                self.device_at[floating_ip.address] = port.device_id
        for touched in (before, port):
            if touched is not None and touched.device_id and not quiet:
                self._on_change(touched.device_id)
                if late_s > 0.0:
                    self._site.timeline.after(late_s, self._on_change, touched.device_id)

    def delete_floating_ip(self, floating_ip: FloatingIp, by: str) -> None:
        """Release a floating IP."""
        self.associate(floating_ip, None)
        del self.floating_ips[floating_ip.id]
        floating_ip.net.pool.give_back(floating_ip.address)
        site = self._site
        if floating_ip.who == STRANGER and by != STRANGER:
            site.note(What.STRANGER_HARMED, id=floating_ip.id, who=by, detail="floating IP deleted")
        site.note(
            What.FLOATING_IP_DELETED,
            id=floating_ip.id,
            name=floating_ip.address,
            who=floating_ip.who,
            detail=floating_ip.description,
        )

    # ------------------------------------------------------------------------ addresses

    def addresses_of(self, device_id: str) -> dict[str, list[dict[str, Any]]]:
        """What Nova shows as a server's ``addresses``."""
        shown: dict[str, list[dict[str, Any]]] = {}
        for port in self.ports_of.get(device_id, ()):
            rows = shown.setdefault(port.net.spec.name, [])
            rows.append(_address(4, port.ipv4, "fixed", port.mac))
            if port.ipv6 is not None:
                rows.append(_address(6, port.ipv6, "fixed", port.mac))
            rows.extend(
                _address(4, ip.address, "floating", port.mac)
                for ip in port.floating
                if ip.shown_at <= self._site.now
            )
        if self._site.spec.behaviour.shows_plain_addresses:
            return {name: [_plain(row) for row in rows] for name, rows in shown.items()}
        return shown

    def carries_too_many(self, device_id: str) -> bool:
        """Whether a network of this server has more servers than it carries."""
        most = self._site.spec.behaviour.network_carries
        if most is None:
            return False
        nets = [port.net for port in self.ports_of.get(device_id, ())]
        return any(
            sum(port.net is net and bool(port.device_id) for port in self.ports.values()) > most
            for net in nets
        )


def _beside(ipv4: str, prefix: str) -> str:
    """The IPv6 address that goes with an IPv4 one."""
    low = int(ipaddress.IPv4Address(ipv4)) & 0xFFFF
    return str(ipaddress.IPv6Address(f"{prefix}{low:x}"))


def _plain(address: dict[str, Any]) -> dict[str, Any]:
    return {"version": address["version"], "addr": address["addr"]}


def _address(version: int, address: str, kind: str, mac: str) -> dict[str, Any]:
    return {
        "version": version,
        "addr": address,
        "OS-EXT-IPS:type": kind,
        "OS-EXT-IPS-MAC:mac_addr": mac,
    }
