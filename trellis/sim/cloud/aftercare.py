"""What a vendor's automation does to a server that is ACTIVE, told in the server's metadata.

RackConnect first, which may give the server another public address, then the managed service
level; words and order as the project's survey of clouds has them (part 1 §7).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trellis.sim.cloud.server_state import Server
from trellis.sim.cloud.site import STRANGER, Site

if TYPE_CHECKING:
    from trellis.sim.cloud.servers import Servers

RACKCONNECT: Final = "rackconnect_automation_status"
MANAGED: Final = "rax_service_level_automation"
_MANAGED_SHOWS_S: Final = 5.0
"""So long after the server is there, or RackConnect is done, nothing is told of the second."""


class Aftercare:
    """The automation of one region."""

    def __init__(self, site: Site, servers: "Servers") -> None:
        self._site = site
        self._servers = servers

    def begin(self, server: Server) -> None:
        """Begin with a server that has just become ACTIVE."""
        behaviour = self._site.spec.behaviour
        if behaviour.gives_access_address:
            server.access_ipv4 = self._public_ipv4(server)
        if server.who == STRANGER:
            return
        if behaviour.rackconnect:
            self._tell(server, RACKCONNECT, "DEPLOYING")
            self._later(behaviour.rackconnect_s, server, self._rackconnected)
        else:
            self._then_managed(server)

    def _rackconnected(self, server: Server) -> None:
        outcome = self._site.spec.behaviour.rackconnect
        if outcome == "DEPLOYED":
            self._readdress(server)
        self._tell(server, RACKCONNECT, outcome)
        if outcome != "FAILED":
            self._then_managed(server)

    def _then_managed(self, server: Server) -> None:
        if self._site.spec.behaviour.managed:
            self._later(_MANAGED_SHOWS_S, server, self._manages)

    def _manages(self, server: Server) -> None:
        behaviour = self._site.spec.behaviour
        self._tell(server, MANAGED, "In Progress")
        self._later(
            behaviour.managed_s,
            server,
            lambda server: self._tell(server, MANAGED, behaviour.managed),
        )

    def _readdress(self, server: Server) -> None:
        """Give it another public address; nobody answers at the old one any more."""
        network = self._servers.network
        for port in network.ports_of.get(server.id, ()):
            address = port.net.pool.take() if port.net.spec.external else None
            if address is not None:
                network.device_at.pop(port.ipv4, None)
                port.net.pool.give_back(port.ipv4)
                port.ipv4 = address
                network.device_at[address] = server.id
        server.access_ipv4 = self._public_ipv4(server)

    def _public_ipv4(self, server: Server) -> str:
        ports = self._servers.network.ports_of.get(server.id, ())
        return next((port.ipv4 for port in ports if port.net.spec.external), "")

    def _tell(self, server: Server, key: str, value: str) -> None:
        self._servers.set_metadata(server, {**server.metadata, key: value})

    def _later(self, seconds: float, server: Server, act: Callable[[Server], None]) -> None:
        self._site.timeline.after(seconds, self._act, server, server.epoch, act)

    def _act(self, server: Server, epoch: int, act: Callable[[Server], None]) -> None:
        if epoch == server.epoch and not server.gone:
            act(server)
