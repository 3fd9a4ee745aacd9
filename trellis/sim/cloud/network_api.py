"""Neutron: networks, ports, floating IPs, quotas."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from trellis.sim.cloud.bodies import is_of
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.network import (
    FloatingIp,
    Net,
    Network,
    NoAddressLeftError,
    OverQuotaError,
    Port,
)
from trellis.sim.cloud.network_rows import NetworkRows
from trellis.sim.cloud.routes import Call, Table, find, taken_apart
from trellis.sim.cloud.site import STRANGER, Site
from trellis.sim.cloud.wire import (
    RefusalError,
    Request,
    Response,
    answer,
    empty,
    json_object,
    neutron_error,
)

_KINDS: Final = {
    "name": "string",
    "description": "string",
    "network_id": "string",
    "device_id": "string",
    "device_owner": "string",
    "floating_network_id": "string",
    "port_id": "string null",
    "fixed_ip_address": "string null",
}
_NOT_FILTERS: Final = ("fields", "limit", "marker", "sort_key", "sort_dir", "page_reverse")


class NetworkApi:
    """The network service of a region."""

    def __init__(self, site: Site, network: Network) -> None:
        self._site = site
        self._network = network
        self._rows = NetworkRows(site, network)
        self._table: Table = {
            ("GET", "networks"): self._list_networks,
            ("GET", "networks/*"): self._show_network,
            ("GET", "subnets"): self._list_subnets,
            ("GET", "routers"): self._list_routers,
            ("GET", "security-groups"): self._list_security_groups,
            ("GET", "extensions"): self._list_extensions,
            ("GET", "quotas/*"): self._quota,
            ("GET", "quotas/*/details"): self._quota,
            ("GET", "ports"): self._list_ports,
            ("POST", "ports"): self._create_port,
            ("GET", "ports/*"): self._show_port,
            ("DELETE", "ports/*"): self._delete_port,
            ("GET", "floatingips"): self._list_floating_ips,
            ("POST", "floatingips"): self._create_floating_ip,
            ("GET", "floatingips/*"): self._show_floating_ip,
            ("PUT", "floatingips/*"): self._update_floating_ip,
            ("DELETE", "floatingips/*"): self._delete_floating_ip,
        }

    def discover(self, segments: tuple[str, ...]) -> Response | None:
        """Answer the version document, which needs no token."""
        if segments not in ((), ("",)):
            return None
        link = {"rel": "self", "href": self._site.url("network", "/v2.0/")}
        return answer(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]})

    def without_token(self, refusal: Response) -> Response:
        """Neutron's token check words it as Keystone does."""
        return refusal

    def handle(self, request: Request, segments: tuple[str, ...]) -> tuple[str, Response]:
        """Answer a call below ``/network``, with a good token; returns its kind too."""
        kind, handler = find(self._table, request.method, segments[1:])
        if segments[:1] != ("v2.0",) or handler is None:
            return "?", neutron_error(404, "HTTPNotFound", "The resource could not be found.")
        try:
            return f"/{kind}", handler(taken_apart(request, segments[1:]))
        except RefusalError as refusal:
            return f"/{kind}", refusal.response
        except OverQuotaError as over:
            message = f"Quota exceeded for resources: ['{over}']."
            site = self._site
            call = f"{request.method} network /{kind}"
            site.note(What.QUOTA_REFUSED, id=call, who=site.user, detail=message)
            return f"/{kind}", neutron_error(409, "OverQuota", message)
        except NoAddressLeftError as none_left:
            message = f"No more IP addresses available on network {none_left}."
            return f"/{kind}", neutron_error(409, "IpAddressGenerationFailure", message)

    # --------------------------------------------------------------------------- networks

    def _list_networks(self, call: Call) -> Response:
        gone = self._site.faults.network_gone
        nets = [net for net in self._network.nets.values() if net.spec.name not in gone]
        if len(nets) < len(self._network.nets):
            self._site.strike("network-gone")
        rows = [self._rows.net(net) for net in nets]
        return answer(200, {"networks": _filtered(rows, call.query)})

    def _show_network(self, call: Call) -> Response:
        return answer(200, {"network": self._rows.net(self._known_net(call.segments[1]))})

    def _known_net(self, id: str) -> Net:
        net = self._network.nets.get(id)
        if net is None or net.spec.name in self._site.faults.network_gone:
            message = f"Network {id} could not be found."
            raise RefusalError(neutron_error(404, "NetworkNotFound", message))
        return net

    def _list_subnets(self, call: Call) -> Response:
        rows = []
        for net in self._network.nets.values():
            low, high = net.pool.bounds
            range4 = (str(net.pool.network), net.pool.gateway, low, high)
            rows.append(self._rows.subnet(net, net.subnet_id, 4, range4))
            if net.spec.ipv6:
                prefix = net.prefix6
                range6 = (f"{prefix}/64", f"{prefix}1", f"{prefix}2", f"{prefix}ffff")
                rows.append(self._rows.subnet(net, net.subnet6_id, 6, range6))
        return answer(200, {"subnets": _filtered(rows, call.query)})

    def _list_routers(self, call: Call) -> Response:
        nets = list(self._network.nets.values())
        external = [net for net in nets if net.spec.external]
        rows = []
        if external and any(not net.spec.external for net in nets):
            row = {
                "id": self._network.router_id,
                "name": "router",
                **self._rows.owner(),
                "admin_state_up": True,
                "status": "ACTIVE",
                "external_gateway_info": {
                    "network_id": external[0].id,
                    "external_fixed_ips": [],
                    "enable_snat": True,
                },
                "description": "",
                "availability_zones": [],
                "availability_zone_hints": [],
                "routes": [],
                "flavor_id": None,
                **self._rows.history(0.0, 0.0, 3),
            }
            rows.append(row)
        return answer(200, {"routers": _filtered(rows, call.query)})

    def _list_security_groups(self, call: Call) -> Response:
        row = {
            "id": self._network.security_group_id,
            "name": "default",
            "stateful": True,
            **self._rows.owner(),
            "description": "Default security group",
            "shared": False,
            "security_group_rules": [],
            **self._rows.history(0.0, 0.0, 1),
        }
        return answer(200, {"security_groups": _filtered([row], call.query)})

    def _list_extensions(self, _: Call) -> Response:
        names = ("router", "security-group", "quotas", "quota_details", "external-net")
        rows = [{"alias": name, "name": name, "description": "", "links": []} for name in names]
        return answer(200, {"extensions": rows})

    def _quota(self, call: Call) -> Response:
        network, quota = self._network, self._site.quota
        detailed = call.segments[-1] == "details"
        if detailed and self._site.spec.behaviour.lacks_quota_details:
            message = "The resource could not be found."
            raise RefusalError(neutron_error(404, "HTTPNotFound", message))
        limits = {
            "network": (100, len(network.nets)),
            "subnet": (100, len(network.nets)),
            "subnetpool": (-1, 0),
            "port": (quota.ports, len(network.ports)),
            "router": (10, 1),
            "floatingip": (quota.floating_ips, len(network.floating_ips)),
            "rbac_policy": (10, 0),
            "security_group": (10, 1),
            "security_group_rule": (100, 0),
        }
        rows = {
            name: {"limit": limit, "used": used, "reserved": 0} if detailed else limit
            for name, (limit, used) in limits.items()
        }
        return answer(200, {"quota": rows})

    # ------------------------------------------------------------------------------ ports

    def _list_ports(self, call: Call) -> Response:
        devices = call.query.get("device_id")
        ports: Iterable[Port] = self._network.ports.values()
        if devices is not None:
            ports = [p for device in devices for p in self._network.ports_of.get(device, ())]
        rows = [self._rows.port(port) for port in ports]
        return answer(200, {"ports": _filtered(rows, call.query)})

    def _create_port(self, call: Call) -> Response:
        wanted = _object_in(call, "port")
        port = self._network.create_port(
            self._known_net(str(wanted.get("network_id"))),
            who=self._site.user,
            device_id=wanted.get("device_id", ""),
            device_owner=wanted.get("device_owner", ""),
            name=wanted.get("name", ""),
            description=wanted.get("description", ""),
        )
        return answer(201, {"port": self._rows.port(port)})

    def _show_port(self, call: Call) -> Response:
        return answer(200, {"port": self._rows.port(self._known_port(call.segments[1]))})

    def _delete_port(self, call: Call) -> Response:
        port, site = self._known_port(call.segments[1]), self._site
        if port.who == STRANGER:
            site.note(What.STRANGER_HARMED, id=port.id, who=site.user, detail="port deleted")
        self._network.delete_port(port)
        return empty(204)

    def _known_port(self, id: str) -> Port:
        port = self._network.ports.get(id)
        if port is None:
            message = f"Port {id} could not be found."
            raise RefusalError(neutron_error(404, "PortNotFound", message))
        return port

    # ----------------------------------------------------------------------- floating IPs

    def _list_floating_ips(self, call: Call) -> Response:
        rows = [self._rows.floating_ip(ip) for ip in self._network.floating_ips.values()]
        query = dict(call.query)
        if self._site.spec.behaviour.floating_ips_lack_descriptions:
            query.pop("description", None)
        return answer(200, {"floatingips": _filtered(rows, query)})

    def _create_floating_ip(self, call: Call) -> Response:
        wanted = _object_in(call, "floatingip")
        if "description" in wanted and self._site.spec.behaviour.floating_ips_lack_descriptions:
            message = "Unrecognized attribute(s) 'description'"
            raise RefusalError(neutron_error(400, "HTTPBadRequest", message))
        net = self._known_net(str(wanted.get("floating_network_id")))
        if not net.spec.external:
            message = f"Bad floatingip request: Network {net.id} is not a valid external network."
            raise RefusalError(neutron_error(400, "BadRequest", message))
        port = self._port_for(wanted, net)
        floating_ip = self._network.create_floating_ip(
            net, port, who=self._site.user, description=wanted.get("description", "")
        )
        return answer(201, {"floatingip": self._rows.floating_ip(floating_ip)})

    def _port_for(self, wanted: dict[str, Any], net: Net) -> Port | None:
        if wanted.get("port_id") is None:
            return None
        port = self._known_port(str(wanted["port_id"]))
        fixed = wanted.get("fixed_ip_address")
        if fixed not in (None, port.ipv4):
            message = f"Bad floatingip request: Port {port.id} does not have fixed ip {fixed}."
            raise RefusalError(neutron_error(400, "BadRequest", message))
        if port.floating:
            other = port.floating[0]
            message = (
                f"Cannot associate floating IP {other.address} ({other.id}) with port {port.id} "
                f"using fixed IP {port.ipv4}, as that fixed IP already has a floating IP on "
                f"external network {net.id}."
            )
            raise RefusalError(neutron_error(409, "FloatingIPPortAlreadyAssociated", message))
        return port

    def _show_floating_ip(self, call: Call) -> Response:
        found = self._known_floating_ip(call.segments[1])
        return answer(200, {"floatingip": self._rows.floating_ip(found)})

    def _update_floating_ip(self, call: Call) -> Response:
        floating_ip = self._known_floating_ip(call.segments[1])
        wanted = _object_in(call, "floatingip")
        if "description" in wanted:
            floating_ip.description = str(wanted["description"])
        if "port_id" in wanted:
            port = self._port_for(wanted, floating_ip.net)
            self._network.associate(floating_ip, port)
        return answer(200, {"floatingip": self._rows.floating_ip(floating_ip)})

    def _delete_floating_ip(self, call: Call) -> Response:
        found, site = self._known_floating_ip(call.segments[1]), self._site
        faults = site.faults
        if site.befalls("floating-ip-delete-missing", faults.floating_ip_delete_missing):
            message = f"Floating IP {found.id} could not be found"
            raise RefusalError(neutron_error(404, "FloatingIPNotFound", message))
        if site.befalls("floating-ip-delete-conflict", faults.floating_ip_delete_conflict):
            message = f"Floating IP {found.id} is in use by another operation."
            raise RefusalError(neutron_error(409, "Conflict", message))
        if site.befalls("floating-ip-delete-lies", faults.floating_ip_delete_lies):
            self._network.associate(found, None)
            return empty(204)
        self._network.delete_floating_ip(found, site.user)
        return empty(204)

    def _known_floating_ip(self, id: str) -> FloatingIp:
        floating_ip = self._network.floating_ips.get(id)
        if floating_ip is None:
            message = f"Floating IP {id} could not be found"
            raise RefusalError(neutron_error(404, "FloatingIPNotFound", message))
        return floating_ip


def _object_in(call: Call, key: str) -> dict[str, Any]:
    body = json_object(call.request)
    if body is None:
        message = "Malformed request body: Cannot understand JSON."
        raise RefusalError(neutron_error(400, "MalformedRequestBody", message))
    inner = body.get(key)
    if not isinstance(inner, dict):
        message = f"Unable to find '{key}' in request body"
        raise RefusalError(neutron_error(400, "HTTPBadRequest", message))
    for field, kinds in _KINDS.items():
        if field in inner and not is_of(inner[field], kinds):
            message = f"Invalid input for {field}. Reason: '{inner[field]}' is not a valid string."
            raise RefusalError(neutron_error(400, "HTTPBadRequest", message))
    return inner


def _filtered(rows: list[dict[str, Any]], query: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """Keep the rows whose fields are as asked; several values of a field mean any of them."""
    filters = {name: values for name, values in query.items() if name not in _NOT_FILTERS}
    return [row for row in rows if all(_fits(row.get(name), filters[name]) for name in filters)]


def _fits(value: Any, wanted: list[str]) -> bool:
    if isinstance(value, bool):
        return any((text.lower() in ("true", "1")) is value for text in wanted)
    return ("" if value is None else str(value)) in wanted
