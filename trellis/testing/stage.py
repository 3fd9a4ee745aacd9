"""The core of the daemon in front of one simulated cloud, for a plugin's tests.

On virtual time: the test names a clock among its arguments, and all waits are jumped over.

    async def test_a_node_is_ready(tmp_path, autojump_clock):
        stage = Stage(tmp_path, twin=TWIN, type="mycloud", plugin=plugin)
        async with stage.running():
            (node,) = await stage.nodes()
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, Final

import trio
import yaml

from trellis.accounts import Accounts
from trellis.config import parse
from trellis.control.core import Core, run_core
from trellis.model.node import Node
from trellis.model.request import Ask, NodeRequest, RequestState
from trellis.model.status import Health, ProviderStatus
from trellis.openstack.clouds import CloudConfig
from trellis.sim.cloud import CloudSpec, SimCloud
from trellis.spi.registry import ProviderRegistry
from trellis.store.simulated import SimulatedLog
from trellis.testing.trial import LABEL, settings_for
from trellis.testing.types import types_of
from trellis.testing.ways import a_twin, twin_entry, twin_label, twin_way
from trellis.world import World

PROVIDER: Final = "trial"
_PATIENCE_S: Final = 7200.0


class Stage:
    """One twin, a clouds.yaml that leads there, and the core of the daemon.

    Args:
        folder: takes the clouds.yaml.
        twin: what the cloud is like.
        type: the provider type.
        plugin: the module that registers it; None finds it among the installed plugins.
        types: where it is registered, in place of both.
        entry: of clouds.yaml, in place of the one that a customer of the twin writes.
        label, pool, provider: keys of the configuration, as in `ProviderConformance`.

    Attributes:
        cloud: the simulated cloud, to be looked at and meddled with.
        entry: what stands in clouds.yaml from the next `running` or `cloud_config` on.
    """

    def __init__(
        self,
        folder: Path,
        *,
        twin: CloudSpec,
        type: str,
        plugin: ModuleType | None = None,
        types: ProviderRegistry | None = None,
        entry: Mapping[str, Any] | None = None,
        label: Mapping[str, Any] | None = None,
        pool: Mapping[str, Any] | None = None,
        provider: Mapping[str, Any] | None = None,
    ) -> None:
        self.cloud: SimCloud = a_twin(twin)
        self.type, self._folder = type, folder
        self.types = types_of(plugin) if types is None else types
        registration = self.types.get(type)
        profile = None if registration is None else registration.profile
        self.entry = dict(twin_entry(self.cloud, profile) if entry is None else entry)
        self._label = {**twin_label(twin), **(label or {})}
        self._pool, self._provider = pool or {}, provider or {}
        self._log = SimulatedLog(Random(3))
        self._core: Core | None = None

    @property
    def core(self) -> Core:
        """The core that runs."""
        assert self._core is not None, "nothing runs: use it inside of `async with stage.running()`"
        return self._core

    def cloud_config(self, region: str | None = None) -> CloudConfig:
        """What Trellis makes of the entry of clouds.yaml.

        Raises:
            ConfigError: it has a fault.
        """
        registration = self.types.get(self.type)
        profile = None if registration is None else registration.profile
        way = twin_way(self.type, self.types, self.cloud, self.entry, self._folder)
        return way.read(
            self.cloud.spec.name, region, profile=None if profile is None else profile.name
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Core]:
        """Run the core; run again, it is a restart on the same store."""
        way = twin_way(self.type, self.types, self.cloud, self.entry, self._folder)
        settings = settings_for(
            way,
            cloud=self.cloud.spec.name,
            label=self._label,
            pool=self._pool,
            provider=self._provider,
        )
        labels = [{"name": label["name"]} for label in settings["pools"][0]["labels"]]
        document = {"deployment": "stage", "labels": labels, "providers": [settings]}
        configuration = parse(
            yaml.safe_dump(document), self.types, file="stage", folder=self._folder
        ).configuration
        world = World(
            wall=way.wall, random=Random(4), connect=way.connect, transport=way.transports
        )
        accounts = Accounts(
            read=way.read,
            registry=self.types,
            deployment=configuration.deployment,
            world=world,
            configs=configuration.providers,
        )
        async with run_core(
            configuration, world=world, record_log=self._log, accounts=accounts
        ) as core:
            self._core = core
            yield core
        self._core = None
        self._log = self._log.reopen()

    def status(self) -> ProviderStatus:
        """The provider, as ``trellis provider show`` shows it."""
        return self.core.operator.provider(PROVIDER)

    async def becomes(self, health: Health, within_s: float = _PATIENCE_S) -> ProviderStatus:
        """Wait until the provider's health is this.

        Raises:
            AssertionError: it is not in time.
        """
        ends_at = trio.current_time() + within_s
        while (status := self.status()).health is not health:
            late = trio.current_time() > ends_at
            assert not late, f"the provider is {status.health.value}: {status.reason}"
            await trio.sleep(1.0)
        return status

    async def served(self, within_s: float = _PATIENCE_S) -> NodeRequest:
        """Ask for one node, and wait until the request is fulfilled.

        Raises:
            AssertionError: it is not in time; the reason is the request's own explanation.
        """
        request = await self.core.port.submit(Ask(labels=(LABEL,), requestor="test"))
        with trio.move_on_after(within_s):
            request = await self.core.port.wait(request.id)
        explained = await self.core.port.explain_request(request.id)
        assert request.state is RequestState.FULFILLED, explained.words
        return request

    async def nodes(self, within_s: float = _PATIENCE_S) -> list[Node]:
        """Ask for one node, wait, and return the nodes of the request: one.

        Raises:
            AssertionError: as for `served`.
        """
        return list(await self.core.port.nodes_of(await self.served(within_s)))

    async def release(self, request: NodeRequest) -> None:
        """Give the nodes of a request back."""
        assert request.lease_id is not None, "the request has no lease"
        await self.core.port.release(request.lease_id)
