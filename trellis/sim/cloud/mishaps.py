"""What becomes of servers that had come up well, and of builds that a cloud refuses."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from trellis.sim.cloud.network import FloatingIp
from trellis.sim.cloud.server_state import Server
from trellis.sim.cloud.site import STRANGER, Site

if TYPE_CHECKING:
    from trellis.sim.cloud.servers import Servers


class Mishaps:
    """Draws them when a server is made or has come up, and lets them happen at their time."""

    def __init__(self, site: Site, servers: "Servers") -> None:
        self._site = site
        self._servers = servers

    def refusal(self, server: Server) -> str:
        """The fault in which this build will end, of those that are not everybody's; "" is none."""
        site = self._site
        faults = site.faults
        image = server.image.id if server.image is not None else ""
        if site.befalls("image-error", faults.image_error):
            return (
                f"Build of instance {server.id} aborted: Image {image} is unacceptable: Image is "
                "not of the format that it says"
            )
        if site.befalls("flavor-error", faults.flavor_error):
            return (
                f"Build of instance {server.id} aborted: Flavor's disk is too small for requested "
                "image."
            )
        if site.befalls("zone-error", faults.zone_error):
            return "No valid host was found. There are not enough hosts available."
        return ""

    def begin(self, server: Server) -> None:
        """Draw what will befall a server that has just become ACTIVE."""
        site = self._site
        if server.who == STRANGER:
            return
        faults = site.faults
        ends: tuple[tuple[str, float, Callable[[Server], None]], ...] = (
            ("active-error", faults.active_error, self._breaks),
            ("active-stop", faults.active_stop, self._stops),
            ("deleted-by-person", faults.deleted_by_person, self._servers.remove),
            ("renamed-by-person", faults.renamed_by_person, self._renamed),
            ("rebuilt-by-person", faults.rebuilt_by_person, self._servers.rebuild),
            ("port-deleted-by-person", faults.port_deleted_by_person, self._port_goes),
            ("floating-ip-deleted-by-person", faults.floating_ip_deleted_by_person, self._ip_goes),
        )
        for name, probability, happens in ends:
            if site.chance(probability):
                after_s = site.lives.uniform(*faults.mishap_s)
                site.timeline.after(after_s, self._happen, name, happens, server, server.epoch)

    def _happen(
        self, name: str, happens: Callable[[Server], None], server: Server, epoch: int
    ) -> None:
        """Nothing befalls a server that is gone by then, or on its way."""
        if server.gone or epoch != server.epoch or server.now.task_state is not None:
            return
        if name.startswith("floating") and not self._floating(server):
            return
        if name.startswith("port") and not self._servers.network.ports_of.get(server.id):
            return
        self._site.strike(name)
        happens(server)

    def _breaks(self, server: Server) -> None:
        self._servers.fail(server, "Timed out waiting for a reply to message ID of its host")

    def _stops(self, server: Server) -> None:
        self._servers.power(server, on=False)

    def _renamed(self, server: Server) -> None:
        self._servers.rename(server, f"keep-{server.number}")

    def _port_goes(self, server: Server) -> None:
        network = self._servers.network
        network.delete_port(network.ports_of[server.id][0])
        self._servers.addresses_changed(server)

    def _ip_goes(self, server: Server) -> None:
        network, ip = self._servers.network, self._floating(server)[0]
        network.delete_floating_ip(ip, ip.who)

    def _floating(self, server: Server) -> list[FloatingIp]:
        ports = self._servers.network.ports_of.get(server.id, ())
        return [ip for port in ports for ip in port.floating]
