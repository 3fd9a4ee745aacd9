"""Neutron: networks, subnets, routers, ports, floating IPs, security groups, quota.

Field names are those of neutron's API reference. Calls use the network service's endpoint with
its ``/v2.0``.
"""

from collections.abc import Mapping
from typing import TypeVar

import attrs
import msgspec

from trellis.http.message import Answer
from trellis.openstack.session import Session

T = TypeVar("T")


class NetworkRow(msgspec.Struct, frozen=True):
    """A network the project can see."""

    id: str
    name: str = ""
    external: bool = msgspec.field(name="router:external", default=False)
    shared: bool = False
    project_id: str | None = msgspec.field(name="tenant_id", default=None)


class SubnetRow(msgspec.Struct, frozen=True):
    """A subnet; without a gateway nothing on it can have a floating IP."""

    id: str
    network_id: str
    ip_version: int = 4
    gateway_ip: str | None = None


class Gateway(msgspec.Struct, frozen=True):
    """Where a router leads out."""

    network_id: str


class RouterRow(msgspec.Struct, frozen=True):
    """A router of the project."""

    id: str
    external_gateway_info: Gateway | None = None


class FixedIp(msgspec.Struct, frozen=True, gc=False):
    """An address of a port."""

    ip_address: str
    subnet_id: str = ""


class PortRow(msgspec.Struct, frozen=True):
    """A port; ``device_id`` is the server's id, ``device_owner`` begins with ``compute:``."""

    id: str
    network_id: str = ""
    status: str = ""
    device_id: str = ""
    device_owner: str = ""
    mac_address: str = ""
    fixed_ips: list[FixedIp] = msgspec.field(default_factory=list)


class FloatingIpRow(msgspec.Struct, frozen=True):
    """A floating IP of the project."""

    id: str
    floating_ip_address: str = ""
    fixed_ip_address: str | None = None
    port_id: str | None = None
    description: str | None = None
    status: str = ""


class SecurityGroupRow(msgspec.Struct, frozen=True):
    """A security group the account can see, which for an admin are those of every project."""

    id: str
    name: str = ""
    project_id: str | None = msgspec.field(name="tenant_id", default=None)


class QuotaRow(msgspec.Struct, frozen=True):
    """A limit, -1 for unlimited, and what counts against it."""

    limit: int = -1
    used: int = 0
    reserved: int = 0


class NetworkQuota(msgspec.Struct, frozen=True):
    """What a project may have of things on the network; None where the cloud does not say."""

    floatingip: QuotaRow | None = None
    port: QuotaRow | None = None


class _Networks(msgspec.Struct, frozen=True):
    networks: list[NetworkRow]


class _Subnets(msgspec.Struct, frozen=True):
    subnets: list[SubnetRow]


class _Routers(msgspec.Struct, frozen=True):
    routers: list[RouterRow]


class _Ports(msgspec.Struct, frozen=True):
    ports: list[PortRow]


class _FloatingIps(msgspec.Struct, frozen=True):
    floatingips: list[FloatingIpRow]


class _FloatingIp(msgspec.Struct, frozen=True):
    floatingip: FloatingIpRow


class _SecurityGroups(msgspec.Struct, frozen=True):
    security_groups: list[SecurityGroupRow]


class _QuotaAnswer(msgspec.Struct, frozen=True):
    quota: NetworkQuota


class _NetworkLimits(msgspec.Struct, frozen=True):
    floatingip: int | None = None
    port: int | None = None


class _LimitsAnswer(msgspec.Struct, frozen=True):
    quota: _NetworkLimits


@attrs.frozen
class Network:
    """Neutron in one region.

    Every method may raise any `CloudError`, MisconfiguredError where the cloud has no network
    service; one that is cancelled leaves open whether its one call was carried out. Neutron
    sends lists whole unless it is asked for pages.

    Args:
        session: carries the calls.
        budget_s: seconds for each call with its tries; None leaves it to the session.
        counts_quota: what is used of the quota is counted from lists, as neutron did not tell
            it before Pike.
    """

    _session: Session
    _budget_s: float | None = None
    _counts_quota: bool = False

    async def networks(self) -> list[NetworkRow]:
        """All networks the project can see, in the cloud's order."""
        return (await self._list("/networks", _Networks)).networks

    async def subnets(self) -> list[SubnetRow]:
        """All subnets the project can see."""
        return (await self._list("/subnets", _Subnets)).subnets

    async def routers(self) -> list[RouterRow]:
        """All routers of the project."""
        return (await self._list("/routers", _Routers)).routers

    async def ports(
        self, *, device_id: str | None = None, status: str | None = None
    ) -> list[PortRow]:
        """The ports of the project, of one server, or of one status."""
        filters = {"device_id": device_id, "status": status}
        return (await self._list("/ports", _Ports, filters)).ports

    async def security_groups(self, *, project_id: str | None = None) -> list[SecurityGroupRow]:
        """The security groups, of one project if given (an admin sees all: quirks 3.5)."""
        filters = {"project_id": project_id}
        return (await self._list("/security-groups", _SecurityGroups, filters)).security_groups

    async def floating_ips(
        self, *, description: str | None = None, port_id: str | None = None
    ) -> list[FloatingIpRow]:
        """The floating IPs of the project, of one description, or of one port."""
        filters = {"description": description, "port_id": port_id}
        return (await self._list("/floatingips", _FloatingIps, filters)).floatingips

    async def create_floating_ip(
        self, *, network_id: str, port_id: str, fixed_address: str, description: str | None
    ) -> FloatingIpRow:
        """Allocate a floating IP on a port, with one POST, which is never repeated.

        The fixed address is always given: a port with several would be refused (quirks 3.1).

        Args:
            network_id: the external network to take it from.
            fixed_address: the port's IPv4 address it shall lead to.
            description: None sends none: neutron took none before Mitaka.

        Raises:
            ConflictingStateError: this fixed address already has one from this network.
            QuotaExceededError, NoCapacityError: there is none left, for the project or at all.
        """
        wanted = {
            "floating_network_id": network_id,
            "port_id": port_id,
            "fixed_ip_address": fixed_address,
        }
        if description is not None:
            wanted["description"] = description
        answer = await self._call("POST", "/floatingips", json={"floatingip": wanted})
        return answer.decode(_FloatingIp).floatingip

    async def delete_floating_ip(self, floating_ip_id: str) -> None:
        """Delete a floating IP, attached or not.

        Raises:
            NotFoundError: this project has none of this id.
        """
        await self._call("DELETE", f"/floatingips/{floating_ip_id}", "/floatingips/{id}")

    async def delete_port(self, port_id: str) -> None:
        """Delete a port.

        Raises:
            NotFoundError: this project has none of this id.
        """
        await self._call("DELETE", f"/ports/{port_id}", "/ports/{id}")

    async def quota(self, project_id: str) -> NetworkQuota:
        """Limits and use of floating IPs and ports: by one call, or by three if it counts."""
        if self._counts_quota:
            return await self._counted_quota(project_id)
        path = f"/quotas/{project_id}/details"
        answer = await self._call("GET", path, "/quotas/{project}/details")
        return answer.decode(_QuotaAnswer).quota

    async def _counted_quota(self, project_id: str) -> NetworkQuota:
        answer = await self._call("GET", f"/quotas/{project_id}", "/quotas/{project}")
        limits = answer.decode(_LimitsAnswer).quota
        floating = port = None
        if limits.floatingip is not None:
            floating = QuotaRow(limit=limits.floatingip, used=len(await self.floating_ips()))
        if limits.port is not None:
            port = QuotaRow(limit=limits.port, used=len(await self.ports()))
        return NetworkQuota(floatingip=floating, port=port)

    async def _list(
        self, path: str, kind: type[T], filters: Mapping[str, str | None] | None = None
    ) -> T:
        params = {key: value for key, value in (filters or {}).items() if value is not None}
        return (await self._call("GET", path, params=params or None)).decode(kind)

    async def _call(
        self,
        method: str,
        path: str,
        label: str | None = None,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        return await self._session.request(
            "network",
            method,
            path,
            label=label or path,
            json=json,
            params=params,
            budget_s=self._budget_s,
        )
