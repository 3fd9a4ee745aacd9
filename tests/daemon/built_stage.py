"""A daemon between two clouds that builds its image itself, on a simulated disk."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import structlog.testing
import trio

from tests.daemon.stage import MINUTE, Stage
from trellis.accounts import Accounts
from trellis.config import Configuration, parse
from trellis.control.core import Core, run_core
from trellis.errors import FencedError
from trellis.model.image import Build, Upload, UploadState, upload_order
from trellis.model.node import Node
from trellis.sim.cloud.cloud import connector
from trellis.sim.image_story import SimulatedDisk, SimulatedGround, simulated_builders
from trellis.world import World

IMAGE = "debian"
HOUR = 60 * MINUTE
CONFIGURATION = """
deployment: stage
lease-ttl: 10h
labels: [{name: small}]
images:
  - {name: debian, type: simulated, takes: 2m, size: 200000, rebuild-age: 1h, keep-uploads: 1,
     keep-builds: 1, canary-share: 0, username: ci}
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    pools: &pools
      - name: main
        max-servers: 10
        labels: [{name: small, image: debian, flavor-name: ci-1c-1g}]
  - {name: beta, type: openstack, cloud: beta, pools: *pools}
"""


class BuiltStage(Stage):
    """The clouds, the records and the disk outlive the daemon.

    Attributes:
        disk: of the daemon's host.
    """

    def __init__(self, folder: Path, configuration: str = CONFIGURATION) -> None:
        super().__init__(folder, configuration=configuration)
        self.disk = SimulatedDisk()
        self._folder = folder

    @asynccontextmanager
    async def running(self, transports: object = None) -> AsyncIterator[Core]:
        builders = simulated_builders(self.disk, Random(5))
        configuration = self._parsed()
        world = World(
            wall=self.wall,
            random=Random(self.seed),
            connect=connector(self.clouds.values()),
            transport=self.wires,
            image_source=self.disk.source,
        )
        accounts = Accounts(
            read=self.read,
            registry=self.types,
            deployment="stage",
            world=world,
            configs=configuration.providers,
        )
        with structlog.testing.capture_logs() as self.events:
            async with run_core(
                configuration,
                world=world,
                record_log=self.log,
                accounts=accounts,
                builders=builders,
                build_ground=SimulatedGround(self.disk),
            ) as core:
                self.core = core
                yield core
        self.log = self.log.reopen()

    async def ran_for(self, seconds: float, *, killed: bool) -> None:
        """Run the daemon for so long; killed, nothing of what it still does is recorded."""
        try:
            async with self.running():
                await trio.sleep(seconds)
                if killed:
                    self.log.crash()
        except* FencedError:
            self.log = self.log.reopen()  # it was writing at that moment

    def _parsed(self) -> Configuration:
        builders = simulated_builders(self.disk, Random(5))
        return parse(
            self.configuration, self.types, builders, file="stage", folder=self._folder
        ).configuration

    # ------------------------------------------------------------------------ what is seen

    @property
    def builds(self) -> tuple[Build, ...]:
        """The live builds, the newest first."""
        assert self.core is not None
        return self.core.book.of_image(IMAGE).builds

    def at(self, provider: str = "alpha") -> tuple[Upload, ...]:
        """The live uploads at a provider, the newest first."""
        assert self.core is not None
        return self.core.book.at(provider, IMAGE)

    def ready(self, provider: str = "alpha") -> list[int]:
        """Numbers of the builds that servers could be made from at a provider."""
        there = self.at(provider)
        return [upload_order(one)[0] for one in there if one.state is UploadState.READY]

    def in_cloud(self, name: str = "alpha") -> list[str]:
        """Names of our images that a cloud has, whatever is on record, sorted."""
        found = (one.name for one in self.clouds[name].images())
        return sorted(name for name in found if name.startswith(f"{IMAGE}-"))

    def node_of(self, node_id: str) -> Node:
        assert self.core is not None
        return self.core.fleet.nodes[node_id]

    async def until(self, fits: Callable[[], object], what: str, within_s: float = HOUR) -> None:
        """Wait until something is so."""
        ends_at = trio.current_time() + within_s
        while not fits():
            shown = [(one.id, one.state.value, one.fault) for one in self.at()]
            builds = [(one.id, one.state.value, one.fault) for one in self.builds]
            assert trio.current_time() < ends_at, f"not {what}: {builds}, {shown}"
            await trio.sleep(5.0)
