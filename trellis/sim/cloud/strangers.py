"""Somebody else in the same project: his servers come, stay and go, and count."""

from random import Random
from typing import Final

from trellis.sim.cloud.server_state import Flavor, Server
from trellis.sim.cloud.servers import Servers
from trellis.sim.cloud.site import STRANGER, Site
from trellis.sim.cloud.spec import Strangers

_DEPLOYMENT: Final = "trellis_deployment"
_NODE: Final = "trellis_node_id"
_FAR: Final = 900_000_000
"""A node id that no simulation comes to."""


class Stranger:
    """The stranger of one region."""

    def __init__(self, site: Site, servers: Servers, random: Random) -> None:
        self._site = site
        self._servers = servers
        self._random = random
        self._count = 0

    @property
    def _habits(self) -> Strangers:
        return self._site.spec.strangers

    def begin(self) -> None:
        """Put his first things there, and his next ones on the agenda."""
        for _ in range(self._habits.servers_at_start):
            self._create()
        network = self._servers.network
        external = [net for net in network.nets.values() if net.spec.external]
        for _ in range(self._habits.floating_ips_at_start if external else 0):
            network.create_floating_ip(external[0], None, who=STRANGER, description="not yours")
        images = list(self._servers.images.values())
        for _ in range(self._habits.volumes_at_start if images else 0):
            self._servers.volumes.create(
                10,
                who=STRANGER,
                status="available",
                image_id=images[0].id,
                image_name=images[0].spec.name,
            )
        self._plan_next()

    def _plan_next(self) -> None:
        if self._habits.every_s > 0.0:
            wait = self._random.expovariate(1.0 / self._habits.every_s)
            self._site.timeline.after(wait, self._come)

    def _come(self) -> None:
        server = self._create()
        if server is not None:
            stay = self._random.expovariate(1.0 / self._habits.stay_s)
            self._site.timeline.after(stay, self._servers.delete, server, STRANGER)
        self._plan_next()

    def _create(self) -> Server | None:
        flavor = self._flavor()
        left = self._servers.network.ports_left()
        if self._servers.short_of(flavor.spec) or (left is not None and left < 1):
            return None
        self._count += 1
        images = list(self._servers.images.values())
        name, metadata = self._dressed()
        return self._servers.create(
            name=name,
            flavor=flavor,
            image=images[0] if images else None,
            nets=self._servers.network.attachable()[:1],
            metadata=metadata,
            who=STRANGER,
        )

    def _dressed(self) -> tuple[str, dict[str, str]]:
        """His next server's name and metadata, which may be like those of one of the account's."""
        habits, random, site = self._habits, self._random, self._site
        name, metadata = f"batch-{self._count}", dict[str, str]()
        if self._count > habits.servers_at_start:
            site.strike("strangers")
        if not (habits.same_name or habits.other_deployment or habits.never_issued):
            return name, metadata
        marked = [one for one in self._servers.live.values() if _NODE in one.metadata]
        ours = [server for server in marked if server.who != STRANGER]
        if not ours:
            return name, metadata
        one = random.choice(ours)
        if random.random() < habits.same_name:
            site.strike("same-name")
            name = one.name
        draw = random.random()
        if draw < habits.other_deployment:
            site.strike("other-deployment")
            metadata = {**one.metadata, _DEPLOYMENT: "another"}
        elif draw < habits.other_deployment + habits.never_issued:
            site.strike("never-issued")
            metadata = {**one.metadata, _NODE: f"{_FAR + self._count:010d}"}
        return name, metadata

    def _flavor(self) -> Flavor:
        flavors = list(self._servers.flavors.values())
        named = [flavor for flavor in flavors if flavor.spec.name == self._habits.flavor]
        return (named or flavors)[0]
