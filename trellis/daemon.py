"""The composition root: wires concrete classes together, owns the root nursery and the signals."""

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio

from trellis.accounts import Accounts, ReadCloud
from trellis.config import Configuration, disabled_plugins, load
from trellis.control.core import Core, run_core
from trellis.errors import TrellisError
from trellis.http import lane_transports
from trellis.openstack.clouds import CloudConfig, read_clouds
from trellis.plugin_host import load_plugins
from trellis.reload import Reloading
from trellis.spi.registry import ProviderRegistry
from trellis.store.sqlite import SqliteLog
from trellis.web.app import make_app
from trellis.web.server import serve
from trellis.world import World

log = structlog.get_logger()

GRACE_S: Final = 5.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def cloud_reader(registry: ProviderRegistry) -> ReadCloud:
    """What reads a cloud from clouds.yaml, secure.yaml and the environment as they are then.

    Args:
        registry: whose types bring profiles of their own.
    """
    profiles = {name: profile.entry for name, profile in registry.profiles().items()}

    def read(name: str, region: str | None, /, *, profile: str | None = None) -> CloudConfig:
        return read_clouds(profiles=profiles).get(name, region, profile=profile)

    return read


async def run(
    path: Path,
    *,
    started: Callable[[str], None] = lambda _url: None,
) -> None:
    """Serve until SIGTERM or SIGINT; launches under way go on at the next start.

    A changed configuration is taken up when its file changes, and on SIGHUP.

    Args:
        path: the configuration file.
        started: told the URL of the web face once it answers.

    Raises:
        ConfigError: the file cannot be used, or the web face cannot listen at its address.
        StoreInUseError, StoreMismatchError: as `Store.open`.
        StoreFailedError: the store cannot be used, or failed later: a full disk, for one. What
            was acknowledged is in it.
    """
    try:
        with trio.open_signal_receiver(*_SIGNALS) as signals:
            await _run(path, signals, started)
    except BaseExceptionGroup as group:
        if (error := plain(group)) is not None:
            raise error from None
        raise


def plain(group: BaseExceptionGroup[BaseException]) -> TrellisError | None:
    """The one error of ours that nurseries have wrapped, for people; None if it is not just one.

    A store that fails is told to each task that commits: the same words count once.
    """
    found: dict[str, TrellisError] = {}
    for leaf in _leaves(group):
        if not isinstance(leaf, TrellisError):
            return None
        found.setdefault(str(leaf), leaf)
    return next(iter(found.values())) if len(found) == 1 else None


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _run(path: Path, signals: AsyncIterator[int], started: Callable[[str], None]) -> None:
    host = load_plugins(disabled_plugins(path))
    for plugin in host.broken():
        log.error("plugin_disabled", plugin=plugin.name, origin=plugin.origin, why=plugin.problem)
    loaded = load(path, host.providers, host.image_builders, host.demand_sources)
    for warning in (*host.warnings, *loaded.warnings):
        log.warning("configuration", warning=warning)
    configuration = loaded.configuration
    world = World(transport=lane_transports())
    read_cloud = cloud_reader(host.providers)
    accounts = Accounts(
        read=read_cloud,
        registry=host.providers,
        deployment=configuration.deployment,
        world=world,
        configs=configuration.providers,
    )
    async with run_core(
        configuration,
        world=world,
        record_log=SqliteLog(configuration.store.path),
        accounts=accounts,
        builders=host.image_builders,
        sources=host.demand_sources,
    ) as core:
        reloading = Reloading(
            path,
            host.providers,
            configuration,
            core,
            read_cloud,
            builders=host.image_builders,
            demand_sources=host.demand_sources,
        )
        await _serve(configuration, core, reloading, signals, started)


async def _serve(
    configuration: Configuration,
    core: Core,
    reloading: Reloading,
    signals: AsyncIterator[int],
    started: Callable[[str], None],
) -> None:
    """Run the web face until a signal comes, then let answers under way end."""
    async with trio.open_nursery() as nursery:
        stopping = trio.Event()
        face = make_app(core.port, core.operator)
        listen = str(configuration.web.listen)
        url = await nursery.start(partial(serve, face, listen, stop=stopping))
        log.info("serving", url=url, deployment=configuration.deployment)
        started(url)
        async with trio.open_nursery() as watching:
            watching.start_soon(reloading.run)
            await _until_stopped(signals, reloading)
            watching.cancel_scope.cancel()
        stopping.set()
        nursery.cancel_scope.deadline = trio.current_time() + GRACE_S


async def _until_stopped(signals: AsyncIterator[int], reloading: Reloading) -> None:
    async for number in signals:
        if number != signal.SIGHUP:
            log.info("stopping", signal=signal.Signals(number).name)
            return
        reloading.ask()
