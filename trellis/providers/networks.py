"""What a provider must know of a cloud's networks: names, what is external, where to float."""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import attrs

from trellis.openstack.network import Network, NetworkRow, PortRow, RouterRow
from trellis.providers.lookup import MissingError, by_name_or_id

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class NetworkFacts:
    """The networks as the project sees them.

    Attributes:
        usable: False where the cloud has no network service.
        floating: id of the network floating IPs come from; None if there is none.
        dead_ends: ids of subnets without a gateway: nothing on them can have a floating IP.
        doubt: why a configured floating network was not found.
    """

    usable: bool = False
    networks: tuple[NetworkRow, ...] = ()
    floating: str | None = None
    dead_ends: frozenset[str] = frozenset()
    doubt: str = ""

    @cached_property
    def external_names(self) -> tuple[str, ...]:
        """Names of the networks that lead outside by themselves."""
        return tuple(network.name for network in self.networks if network.external)

    def resolve(self, names: Sequence[str]) -> tuple[str, ...]:
        """The ids of configured networks; without a network service they must be ids already.

        Raises:
            MissingError: there is no such network.
        """
        if not self.usable:
            for name in names:
                if not _ID.fullmatch(name):
                    raise MissingError(
                        f"network {name!r} cannot be looked up, this cloud has no usable network "
                        "service: give its id"
                    )
            return tuple(names)
        return tuple(by_name_or_id("network", name, self.networks).id for name in names)

    def leads_inside(self, network_ids: Sequence[str]) -> bool:
        """Whether servers there need a floating IP to be reached from outside.

        Without configured networks nova takes the project's own, if there is one.
        """
        taken = [n for n in self.networks if n.id in network_ids] if network_ids else self.networks
        own = [network for network in taken if not network.external]
        return bool(own) and (not network_ids or len(own) == len(taken))


async def read_networks(
    network: Network, *, floating_wanted: bool, configured: str | None
) -> NetworkFacts:
    """Read networks, and what floating IPs need where they are wanted.

    Args:
        configured: name or id of the network to take floating IPs from, if given.

    Raises:
        CloudError: as the calls do; MisconfiguredError without a network service.
    """
    networks = await network.networks()
    external = [n for n in networks if n.external]
    facts = NetworkFacts(usable=True, networks=tuple(networks))
    if not floating_wanted or not external:
        return facts
    doubt = ""
    try:
        floating = _floating_network(external, await network.routers(), configured)
    except MissingError as error:
        floating, doubt = None, str(error)
    dead_ends = [s.id for s in await network.subnets() if s.ip_version == 4 and not s.gateway_ip]
    return attrs.evolve(facts, floating=floating, dead_ends=frozenset(dead_ends), doubt=doubt)


def _floating_network(
    external: Sequence[NetworkRow], routers: Sequence[RouterRow], configured: str | None
) -> str:
    """The configured one, else the one behind a router of the project, else the first."""
    if configured is not None:
        return by_name_or_id("external network", configured, external).id
    known = {network.id for network in external}
    behind = (r.external_gateway_info.network_id for r in routers if r.external_gateway_info)
    return next((network_id for network_id in behind if network_id in known), external[0].id)


def port_to_float(ports: Sequence[PortRow], dead_ends: frozenset[str]) -> tuple[str, str] | None:
    """The port and its IPv4 address that a floating IP can lead to; None if there is none."""
    for port in ports:
        for fixed in port.fixed_ips:
            if ":" not in fixed.ip_address and fixed.subnet_id not in dead_ends:
                return port.id, fixed.ip_address
    return None
