"""How Neutron shows networks, ports and floating IPs."""

from typing import Any

from trellis.sim.cloud.network import FloatingIp, Net, Network, Port
from trellis.sim.cloud.site import Site


class NetworkRows:
    """The rows of one region."""

    def __init__(self, site: Site, network: Network) -> None:
        self._site = site
        self._network = network

    def net(self, net: Net) -> dict[str, Any]:
        """A network."""
        external = net.spec.external
        row: dict[str, Any] = {
            "id": net.id,
            "name": net.spec.name,
            **self.owner(foreign=external),
            "admin_state_up": True,
            "mtu": 1500 if external else 1450,
            "status": "ACTIVE",
            "subnets": [net.subnet_id, *([net.subnet6_id] if net.spec.ipv6 else [])],
            "shared": external and net.spec.attachable,
            "availability_zone_hints": [],
            "availability_zones": [],
            "ipv4_address_scope": None,
            "ipv6_address_scope": None,
            "router:external": external,
            "qinq": False,
            "vlan_transparent": False,
            "description": "",
            "port_security_enabled": True,
        }
        if external:
            row["is_default"] = False
        return row | self.history(0.0, 0.0, 2)

    def subnet(
        self, net: Net, id: str, version: int, block: tuple[str, str, str, str]
    ) -> dict[str, Any]:
        """A subnet of a network: its IPv4 one or its IPv6 one."""
        cidr, gateway, low, high = block
        return {
            "id": id,
            "name": f"{net.spec.name}-v{version}",
            **self.owner(foreign=net.spec.external),
            "network_id": net.id,
            "ip_version": version,
            "subnetpool_id": None,
            "enable_dhcp": net.spec.attachable,
            "ipv6_ra_mode": None,
            "ipv6_address_mode": None,
            "gateway_ip": gateway,
            "cidr": cidr,
            "allocation_pools": [{"start": low, "end": high}],
            "host_routes": [],
            "dns_nameservers": [],
            "description": "",
            "router:external": net.spec.external,
            "service_types": [],
            **self.history(0.0, 0.0, 0),
        }

    def port(self, port: Port) -> dict[str, Any]:
        """A port."""
        fixed = [{"subnet_id": port.net.subnet_id, "ip_address": port.ipv4}]
        if port.ipv6 is not None:
            fixed.append({"subnet_id": port.net.subnet6_id, "ip_address": port.ipv6})
        return {
            "id": port.id,
            "name": port.name,
            "network_id": port.net.id,
            **self.owner(),
            "mac_address": port.mac,
            "admin_state_up": True,
            "status": port.status,
            "device_id": port.device_id,
            "device_owner": port.device_owner,
            "fixed_ips": fixed,
            "allowed_address_pairs": [],
            "extra_dhcp_opts": [],
            "security_groups": [self._network.security_group_id],
            "description": port.description,
            "binding:vnic_type": "normal",
            "port_security_enabled": True,
            **self.history(port.created, port.created, 1),
        }

    def floating_ip(self, floating_ip: FloatingIp) -> dict[str, Any]:
        """A floating IP."""
        port = floating_ip.port
        details = None
        if port is not None:
            details = {
                "name": port.name,
                "network_id": port.net.id,
                "mac_address": port.mac,
                "admin_state_up": True,
                "status": port.status,
                "device_id": port.device_id,
                "device_owner": port.device_owner,
            }
        row = {
            "id": floating_ip.id,
            **self.owner(),
            "floating_ip_address": floating_ip.address,
            "floating_network_id": floating_ip.net.id,
            "router_id": None if port is None else self._network.router_id,
            "port_id": None if port is None else port.id,
            "fixed_ip_address": None if port is None else port.ipv4,
            "status": "DOWN" if port is None else "ACTIVE",
            "description": floating_ip.description,
            "port_details": details,
            **self.history(floating_ip.created, floating_ip.updated, floating_ip.revision),
        }
        if self._site.spec.behaviour.floating_ips_lack_descriptions:
            del row["description"]
        return row

    def owner(self, *, foreign: bool = False) -> dict[str, str]:
        """Whose it is: the project, or the cloud itself."""
        project = "0" * 32 if foreign else self._site.project_id
        return {"tenant_id": project, "project_id": project}

    def history(self, created: float, updated: float, revision: int) -> dict[str, Any]:
        """When it was made and changed."""
        stamp = self._site.timeline.stamp
        return {
            "tags": [],
            "created_at": stamp(created),
            "updated_at": stamp(updated),
            "revision_number": revision,
        }
