"""Floating IPs of nodes: made on a port by one POST, found again by their description."""

import attrs

from trellis.errors import (
    CloudBrokenError,
    CloudError,
    ConflictingStateError,
    NotFoundError,
    RejectedError,
)
from trellis.model.node import ResourceKind
from trellis.openstack.network import Network
from trellis.providers.networks import NetworkFacts, port_to_float
from trellis.providers.rows import floating_tag, tag_from_description
from trellis.spi.provider import Gone, Leftover, Tag


@attrs.define(eq=False)
class FloatingIps:
    """The floating IPs of one provider's nodes.

    Args:
        network: carries the calls.
        cloud: name of the account, for messages.
        delete_may_lie: a delete counts only once the cloud answers it with 404.
    """

    network: Network
    cloud: str
    delete_may_lie: bool = False
    # Servers made by this process for which none was asked for yet: for all others an earlier
    # try is looked for first.
    _untried: dict[str, None] = attrs.field(factory=dict, init=False)
    _address_of: dict[str, str] = attrs.field(factory=dict, init=False)
    _server_of: dict[str, str] = attrs.field(factory=dict, init=False)

    def server_made(self, server_id: str) -> None:
        """Note that a server was made just now, which hence has none."""
        self._untried[server_id] = None

    def server_gone(self, server_id: str) -> None:
        """Forget what is known about a server."""
        self._untried.pop(server_id, None)
        self._address_of.pop(server_id, None)

    def address_of(self, server_id: str) -> str | None:
        """The floating address this process gave a server; None if it gave none."""
        return self._address_of.get(server_id)

    async def attach(self, tag: Tag, server_id: str, facts: NetworkFacts) -> str:
        """Give a server a floating IP and return its id; may be repeated.

        Looks first for one of an earlier try, unless this process made the server and has not
        tried. Neutron itself refuses a second one for the same address.

        Raises:
            CloudBrokenError: it has no port yet.
            RejectedError: there is nothing to take one from, or to lead one to.
        """
        if facts.floating is None:
            raise RejectedError(
                f"no network to take a floating IP from: {facts.doubt or 'none is external'}",
                cloud=self.cloud,
            )
        if server_id in self._untried:
            del self._untried[server_id]
        elif earlier := await self._find(tag, server_id):
            return earlier
        port_id, fixed = await self._port(server_id, facts)
        try:
            row = await self.network.create_floating_ip(
                network_id=facts.floating,
                port_id=port_id,
                fixed_address=fixed,
                description=floating_tag(tag),
            )
        except ConflictingStateError as refused:
            conflict = refused
        else:
            self._note(row.id, row.floating_ip_address, server_id)
            return row.id
        if earlier := await self._find(tag, server_id):
            return earlier
        raise conflict

    async def delete(self, floating_id: str) -> Gone:
        """Delete one, attached or not."""
        try:
            await self.network.delete_floating_ip(floating_id)
        except NotFoundError:
            pass
        else:
            if self.delete_may_lie:
                return Gone.AGAIN
        self._address_of.pop(self._server_of.pop(floating_id, ""), None)
        return Gone.DONE

    async def delete_of(self, tag: Tag) -> Gone:
        """Delete those of a tag; DONE means that there is none now."""
        rows = await self.network.floating_ips(description=floating_tag(tag))
        for row in rows:
            await self.delete(row.id)
        return Gone.AGAIN if rows else Gone.DONE

    async def leftovers(self) -> tuple[Leftover, ...]:
        """All that carry a tag of Trellis, attached or not."""
        return tuple(
            Leftover(
                kind=ResourceKind.FLOATING_IP,
                external_id=row.id,
                tag=tag,
                description=row.floating_ip_address,
            )
            for row in await self.network.floating_ips()
            if (tag := tag_from_description(row.description)) is not None
        )

    async def _find(self, tag: Tag, server_id: str) -> str | None:
        for row in await self.network.floating_ips(description=floating_tag(tag)):
            if row.port_id is not None:
                self._note(row.id, row.floating_ip_address, server_id)
                return row.id
        return None

    async def _port(self, server_id: str, facts: NetworkFacts) -> tuple[str, str]:
        ports = await self.network.ports(device_id=server_id)
        chosen = port_to_float(ports, facts.dead_ends)
        if chosen is not None:
            return chosen
        error: CloudError
        if ports:
            error = RejectedError(
                f"server {server_id} has no IPv4 address on a subnet with a gateway: name such a "
                "network in the pool's networks, or set auto-floating-ip: false",
                cloud=self.cloud,
            )
        else:
            error = CloudBrokenError(
                f"server {server_id} is active and neutron shows no port of it", cloud=self.cloud
            )
        raise error

    def _note(self, floating_id: str, address: str, server_id: str) -> None:
        if address:
            self._address_of[server_id] = address
            self._server_of[floating_id] = server_id


async def ports_left_behind(network: Network) -> tuple[Leftover, ...]:
    """Ports of servers that are DOWN: nova deletes those it made, but not always.

    Each names its server, which alone says whose it is; also ports of living servers that are
    down or still being wired are among them.
    """
    return tuple(
        Leftover(
            kind=ResourceKind.PORT,
            external_id=port.id,
            tag=None,
            server_id=port.device_id,
            description=", ".join(fixed.ip_address for fixed in port.fixed_ips),
        )
        for port in await network.ports(status="DOWN")
        if port.device_id and port.device_owner.startswith("compute:")
    )
