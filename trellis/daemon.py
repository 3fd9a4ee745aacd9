"""The composition root: wires concrete classes together, owns the root nursery and the signals."""

import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from trellis.config import Configuration, disabled_plugins, load
from trellis.control.core import Core, run_core
from trellis.errors import ConfigError
from trellis.http import Road, TransportSettings, lane_transports
from trellis.openstack.auth import Account
from trellis.openstack.clouds import CloudConfig, read_clouds
from trellis.openstack.session import Session
from trellis.plugin_host import load_plugins
from trellis.spi.config import ProviderConfig
from trellis.spi.provider import Provider
from trellis.spi.registry import ProviderContext, ProviderRegistry
from trellis.store.sqlite import SqliteLog
from trellis.web.app import make_app
from trellis.web.server import serve
from trellis.world import World

log = structlog.get_logger()

IDENTITY_LANES = 2
GRACE_S = 5.0

ReadCloud = Callable[[str, str | None], CloudConfig]
"""Gives the configuration of a cloud in a region; reads it anew each time."""


def read_cloud(name: str, region: str | None) -> CloudConfig:
    """Read a cloud from clouds.yaml, secure.yaml and the environment as they are now."""
    return read_clouds().get(name, region)


@attrs.frozen(kw_only=True)
class Connection:
    """A provider made, on the session it calls through."""

    provider: Provider
    road: Road

    def api_calls(self) -> Mapping[str, int]:
        """Calls of the account so far, by service and verb."""
        counts: dict[str, int] = {}
        for key, count in self.road.counts.items():
            name = f"{key.service} {key.method} {key.path_label}"
            counts[name] = counts.get(name, 0) + count.calls
        return counts


class Accounts:
    """One account for each credential, shared by the providers of its regions.

    Args:
        read: gives a cloud's configuration.
        registry: the types of provider.
        deployment: goes on the tag of everything that is made.
        world: the seams.
        api_timeout_s: budget of a call where the provider does not say.
    """

    def __init__(
        self, *, read: ReadCloud, registry: ProviderRegistry, deployment: str, world: World
    ) -> None:
        self._read, self._registry, self._deployment = read, registry, deployment
        self._world = world
        self._accounts: dict[tuple[str, str], tuple[Account, Road]] = {}
        self._new, self._to_run = trio.open_memory_channel[Account](1000)

    async def run(self) -> None:
        """Run each account's own task until cancelled."""
        async with trio.open_nursery() as nursery:
            async for account in self._to_run:
                nursery.start_soon(account.run)

    def connect(self, config: ProviderConfig) -> Connection:
        """Make a provider on the account of its cloud.

        Raises:
            ConfigError: there is no such cloud or region, no credentials, or no such type.
        """
        cloud = self._read(config.cloud, config.region_name)
        account, road = self._account(cloud, config)
        session = Session(
            account,
            road,
            region=config.region_name or cloud.region_name,
            interface=cloud.interface,
            overrides=cloud.overrides,
        )
        registration = self._registry.get(config.type)
        if registration is None:
            raise ConfigError([f"provider {config.name}: no plugin offers type {config.type!r}"])
        context = ProviderContext(deployment=self._deployment, session=session)
        return Connection(provider=registration.factory(config, context), road=road)

    def _account(self, cloud: CloudConfig, config: ProviderConfig) -> tuple[Account, Road]:
        # Identity differs by region at some clouds (quirks.md part 1 §1.2), so it is in the key.
        key = cloud.name, cloud.auth.get("auth_url", "")
        if key not in self._accounts:
            settings = TransportSettings(
                cloud=cloud.name,
                verify=cloud.verify,
                cacert=cloud.cacert,
                cert=cloud.cert,
                key=cloud.key,
            )
            road = Road(
                cloud.name,
                self._world.transport(settings),
                random=self._world.random,
                wall=self._world.wall,
            )
            identity = road.beside(
                self._world.transport(attrs.evolve(settings, lanes=IDENTITY_LANES))
            )
            account = Account(
                cloud, identity, reload=partial(self._read, config.cloud, config.region_name)
            )
            self._accounts[key] = account, road
            self._new.send_nowait(account)
        return self._accounts[key]


async def run(
    path: Path,
    *,
    started: Callable[[str], None] = lambda _url: None,
) -> None:
    """Serve until SIGTERM or SIGINT; launches under way go on at the next start.

    Args:
        path: the configuration file.
        started: told the URL of the web face once it answers.

    Raises:
        ConfigError: the file cannot be used; nothing has been started.
        StoreInUseError, StoreMismatchError, StoreFailedError: as `Store.open`.
        OSError: the web face cannot listen at its address.
    """
    host = load_plugins(disabled_plugins(path))
    for plugin in host.broken():
        log.error("plugin_disabled", plugin=plugin.name, origin=plugin.origin, why=plugin.problem)
    loaded = load(path, host.providers)
    for warning in (*host.warnings, *loaded.warnings):
        log.warning("configuration", warning=warning)
    configuration = loaded.configuration
    world = World(transport=lane_transports())
    accounts = Accounts(
        read=read_cloud,
        registry=host.providers,
        deployment=configuration.deployment,
        world=world,
    )
    async with run_core(
        configuration,
        world=world,
        record_log=SqliteLog(configuration.store.path),
        accounts=accounts,
    ) as core:
        await _serve(configuration, core, started)


async def _serve(configuration: Configuration, core: Core, started: Callable[[str], None]) -> None:
    """Run the web face until a signal comes, then let answers under way end."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            stopping = trio.Event()
            face = make_app(core.port, core.operator)
            listen = str(configuration.web.listen)
            url = await nursery.start(partial(serve, face, listen, stop=stopping))
            log.info("serving", url=url, deployment=configuration.deployment)
            started(url)
            async for number in signals:
                log.info("stopping", signal=signal.Signals(number).name)
                break
            stopping.set()
            nursery.cancel_scope.deadline = trio.current_time() + GRACE_S
