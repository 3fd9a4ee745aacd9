"""Floating IPs of nodes: made on a port by one POST, found again by their description.

What a list brings is looked at again: an old neutron passes over a filter that it does not know,
and shows everybody's.
"""

from collections.abc import Collection, Mapping

import attrs

from trellis.errors import (
    CloudBrokenError,
    CloudError,
    ConflictingStateError,
    NotFoundError,
    RejectedError,
)
from trellis.model.node import ResourceKind
from trellis.openstack.network import FloatingIpRow, Network
from trellis.providers.networks import NetworkFacts, port_to_float
from trellis.providers.rows import floating_tag, tag_from_description
from trellis.spi.provider import Gone, Leftover, PublicAddress, Tag


@attrs.define(eq=False)
class FloatingIps:
    """The floating IPs of one provider's nodes.

    Args:
        network: carries the calls.
        cloud: name of the account, for messages.
        delete_may_lie: a delete counts only once the cloud answers it with 404.
        described: they carry a description; else a server's is found by its ports.
    """

    network: Network
    cloud: str
    delete_may_lie: bool = False
    described: bool = True
    # Servers made by this process for which none was asked for yet: for all others an earlier
    # try is looked for first.
    _untried: dict[str, None] = attrs.field(factory=dict, init=False)
    _address_of: dict[str, str] = attrs.field(factory=dict, init=False)
    _server_of: dict[str, str] = attrs.field(factory=dict, init=False)
    _tags: dict[str, Tag] = attrs.field(factory=dict, init=False)
    """By id, what those without descriptions were made for."""
    _asked: dict[Tag, str] = attrs.field(factory=dict, init=False)
    """For what, and for which server, one without a description was asked for."""

    def server_made(self, server_id: str) -> None:
        """Note that a server was made just now, which hence has none."""
        self._untried[server_id] = None

    def server_gone(self, server_id: str) -> None:
        """Forget what is known about a server."""
        self._untried.pop(server_id, None)
        self._address_of.pop(server_id, None)
        for tag in [tag for tag, asked in self._asked.items() if asked == server_id]:
            del self._asked[tag]

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
        if not self.described:
            self._asked[tag] = server_id
        try:
            row = await self.network.create_floating_ip(
                network_id=facts.floating,
                port_id=port_id,
                fixed_address=fixed,
                description=floating_tag(tag) if self.described else None,
            )
        except ConflictingStateError as refused:
            conflict = refused
        else:
            self._note(row.id, row.floating_ip_address, server_id)
            if not self.described:
                self._tags[row.id] = tag
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

    async def delete_of(self, tag: Tag, server_ids: Collection[str] = ()) -> Gone:
        """Delete those of a tag; DONE means that there is none now.

        Args:
            server_ids: the servers of the tag, by whose ports they are found without descriptions.
        """
        if self.described:
            rows = await self._described(tag)
        else:
            asked = [self._asked[tag]] if tag in self._asked else []
            ids = dict.fromkeys((*asked, *server_ids))
            rows = [row for id in ids for row in await self._of_server(id)]
        for row in rows:
            await self.delete(row.id)
        return Gone.AGAIN if rows else Gone.DONE

    async def leftovers(self, owners: Mapping[str, Tag]) -> tuple[Leftover, ...]:
        """All that carry a tag of Trellis, attached or not.

        Where they carry none it is all there are: with the tag of the server that they lead to,
        or led to when this process saw them last. Of the others the records know whose they were.

        Args:
            owners: tags of servers by their ids, where floating IPs carry none.
        """
        before = set(self._tags)
        rows = await self.network.floating_ips()
        tags: dict[str, Tag | None]
        if self.described:
            tags = {row.id: tag_from_description(row.description) for row in rows}
        else:
            servers = {port.id: port.device_id for port in await self.network.ports()}
            tags = {
                row.id: owners.get(servers.get(row.port_id or "", "")) or self._tags.get(row.id)
                for row in rows
            }
            # One that was made meanwhile may not be among the rows.
            meanwhile = {id: tag for id, tag in self._tags.items() if id not in before}
            self._tags = meanwhile | {id: tag for id, tag in tags.items() if tag is not None}
        return tuple(
            Leftover(
                kind=ResourceKind.FLOATING_IP,
                external_id=row.id,
                tag=tags[row.id],
                description=row.floating_ip_address,
            )
            for row in rows
            if tags[row.id] is not None or not self.described
        )

    async def foreign_of(self, server_id: str) -> tuple[PublicAddress, ...]:
        """Those that lead to a server and carry no tag of Trellis."""
        return tuple(
            PublicAddress(external_id=row.id, address=row.floating_ip_address)
            for row in await self._of_server(server_id)
            if row.id not in self._tags and tag_from_description(row.description) is None
        )

    async def _described(self, tag: Tag) -> list[FloatingIpRow]:
        wanted = floating_tag(tag)
        rows = await self.network.floating_ips(description=wanted)
        return [row for row in rows if row.description == wanted]

    async def _of_server(self, server_id: str) -> list[FloatingIpRow]:
        return [
            row
            for port in await self.network.ports(device_id=server_id)
            if port.device_id == server_id
            for row in await self.network.floating_ips(port_id=port.id)
            if row.port_id == port.id
        ]

    async def _find(self, tag: Tag, server_id: str) -> str | None:
        rows = await (self._described(tag) if self.described else self._of_server(server_id))
        for row in rows:
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
