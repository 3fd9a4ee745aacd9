"""Which of several networks a server goes on, where each carries so many servers only.

The network is written into the server's metadata, so that whoever lists servers knows what is on
each: after a restart, and where several providers share a project.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import attrs

from trellis.errors import NoCapacityError
from trellis.openstack.compute import ServerRow
from trellis.providers.rows import state_of
from trellis.spi.provider import InstanceState

TAG_NETWORK: Final = "trellis_network"
"""Key of a server's metadata: the id of the network it was put on."""


@attrs.define(eq=False)
class NetworkSpread:
    """The networks of a project, by how many servers are on them.

    Servers that others made count too, by the names of the networks that nova shows for them;
    those names come with their addresses, once they are active.

    Args:
        most: so many servers a network carries.
        cloud: name of the account, for messages.

    Attributes:
        known: a full list was seen.
    """

    most: int
    cloud: str
    known: bool = False
    _on: dict[str, tuple[str, ...]] = attrs.field(factory=dict, init=False)
    """By server: the id of its network, or the names of its networks."""
    _unseen: dict[str, None] = attrs.field(factory=dict, init=False)
    """Servers made by this process that no list has shown yet."""
    _sent: Counter[str] = attrs.field(factory=Counter, init=False)
    """Creates under way, by network."""

    @contextmanager
    def one_of(self, networks: Sequence[str], names: Mapping[str, str]) -> Iterator[str]:
        """The network with the fewest servers; it is held for the create made in the block.

        Of a create that fails nothing is held: if it made a server all the same, lists show it.

        Args:
            networks: ids of those to choose from.
            names: of the networks by id.

        Raises:
            NoCapacityError: each of them carries all it can.
        """
        counts = Counter(at for places in self._on.values() for at in places)
        loads = {
            network: counts[network] + counts[names.get(network, "")] + self._sent[network]
            for network in networks
        }
        chosen = min(networks, key=lambda network: loads[network])
        if loads[chosen] >= self.most:
            shown = ", ".join(f"{names.get(id, id)}: {load}" for id, load in loads.items())
            raise NoCapacityError(
                f"the networks carry {self.most} servers each, and have them ({shown}). Add "
                "another network with a router of its own to the pool's networks",
                cloud=self.cloud,
            )
        self._sent[chosen] += 1
        try:
            yield chosen
        finally:
            self._sent[chosen] -= 1

    def made(self, server_id: str, network: str) -> None:
        """Note that a server was made on a network."""
        self._on[server_id] = (network,)
        self._unseen[server_id] = None

    def gone(self, server_id: str) -> None:
        """Forget a server that is gone."""
        self._on.pop(server_id, None)
        self._unseen.pop(server_id, None)

    def saw(self, rows: Collection[ServerRow], *, full: bool) -> None:
        """Take up what a list shows.

        Args:
            full: all servers are in it, but for those made just now.
        """
        if full:
            self.known = True
            self._on = {id: self._on[id] for id in self._unseen if id in self._on}
        for row in rows:
            self._unseen.pop(row.id, None)
            if state_of(row) is InstanceState.GONE:
                self._on.pop(row.id, None)
            elif at := row.metadata.get(TAG_NETWORK):
                self._on[row.id] = (at,)
            elif row.addresses:
                self._on[row.id] = tuple(row.addresses)
