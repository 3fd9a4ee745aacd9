"""The composition root: wires concrete classes together, owns the root nursery and the signals."""

import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import structlog
import trio

from trellis.config import Configuration, disabled_plugins, load
from trellis.control.core import Core, run_core
from trellis.control.supervise import supervise
from trellis.errors import ConfigError, TrellisError
from trellis.http import lane_transports
from trellis.http.buckets import Limit, RatePlan
from trellis.http.message import Verb
from trellis.openstack.clouds import CloudConfig, read_clouds
from trellis.openstack.session import Session
from trellis.openstack.wiring import WiredAccount, wired_account
from trellis.plugin_host import load_plugins
from trellis.spi.config import ApiLimits, ProviderConfig
from trellis.spi.provider import Provider
from trellis.spi.registry import ProviderContext, ProviderRegistry
from trellis.store.sqlite import SqliteLog
from trellis.web.app import make_app
from trellis.web.server import serve
from trellis.world import World

log = structlog.get_logger()

GRACE_S: Final = 5.0
_SECRETS: Final = ("password", "secret", "token", "passcode")

ReadCloud = Callable[[str, str | None], CloudConfig]
"""Gives the configuration of a cloud in a region; reads it anew each time."""


def read_cloud(name: str, region: str | None) -> CloudConfig:
    """Read a cloud from clouds.yaml, secure.yaml and the environment as they are now."""
    return read_clouds().get(name, region)


@attrs.define(eq=False, kw_only=True)
class _SharedAccount:
    """An account with its wires, and the providers that call through it."""

    wired: WiredAccount
    scope: trio.CancelScope
    users: dict[str, None] = attrs.field(factory=dict)
    counted: dict[str, None] = attrs.field(factory=dict)
    """Providers whose creates of earlier are in the buckets already."""


@attrs.frozen(kw_only=True)
class Connection:
    """A provider made, on the account it calls through (`trellis.control.provider.Connected`)."""

    provider: Provider
    name: str
    _account: _SharedAccount
    _is_outdated: Callable[[], bool]

    def api_calls(self) -> Mapping[str, int]:
        """Calls of the account so far, by service and verb."""
        counts: dict[str, int] = {}
        for key, count in self._account.wired.road.counts.items():
            name = f"{key.service} {key.method} {key.path_label}"
            counts[name] = counts.get(name, 0) + count.calls
        return counts

    def creates_left(self) -> int | None:
        """How many servers the cloud's limit of a day still lets this account create."""
        return self._account.wired.road.left_today("compute", Verb.CREATE)

    def note_past(self, times: Iterable[float]) -> None:
        """Count the provider's earlier creates against that limit; once for each account."""
        if self.name not in self._account.counted:
            self._account.counted[self.name] = None
            self._account.wired.road.note_past("compute", Verb.CREATE, times)

    def outdated(self) -> bool:
        """Whether the way to the cloud is configured otherwise now: its URL, TLS, endpoints."""
        return self._is_outdated()


class Accounts:
    """One account for each credential, shared by the providers of its regions.

    Args:
        read: gives a cloud's configuration.
        registry: the types of provider.
        deployment: goes on the tag of everything that is made.
        world: the seams.
        configs: all providers: those of one cloud share its limits, of which the strictest holds.
    """

    def __init__(
        self,
        *,
        read: ReadCloud,
        registry: ProviderRegistry,
        deployment: str,
        world: World,
        configs: Iterable[ProviderConfig] = (),
    ) -> None:
        self._read, self._registry, self._deployment = read, registry, deployment
        self._world = world
        self._configs = tuple(configs)
        self._accounts: dict[tuple[object, ...], _SharedAccount] = {}
        self._nursery: trio.Nursery | None = None
        self._running = trio.Event()
        self._turn = trio.Lock()

    async def run(self) -> None:
        """Run each account's own task until cancelled; closes their wires at the end."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._running.set()
            await trio.sleep_forever()

    async def connect(self, config: ProviderConfig) -> Connection:
        """Make a provider on the account of its cloud. Waits for `run`, for no cloud.

        A provider that connects again leaves the account it was on, which ends with its last.

        Raises:
            ConfigError: there is no such cloud or region, no credentials, no such type, or a
                file of the TLS settings cannot be used.
        """
        cloud = self._read(config.cloud, config.region_name)
        registration = self._registry.get(config.type)
        if registration is None:
            raise ConfigError([f"provider {config.name}: no plugin offers type {config.type!r}"])
        account = await self._account(cloud, config)
        way = _way(cloud)

        def outdated() -> bool:
            try:
                return _way(self._read(config.cloud, config.region_name)) != way
            except ConfigError:
                return False  # what cannot be read now replaces nothing

        session = Session(
            account.wired.account,
            account.wired.road,
            region=config.region_name or cloud.region_name,
            interface=cloud.interface,
            overrides=cloud.overrides,
        )
        context = ProviderContext(deployment=self._deployment, session=session)
        return Connection(
            provider=registration.factory(config, context),
            name=config.name,
            account=account,
            is_outdated=outdated,
        )

    async def _account(self, cloud: CloudConfig, config: ProviderConfig) -> _SharedAccount:
        key = _identity(cloud)
        await self._running.wait()
        assert self._nursery is not None
        async with self._turn:
            for other, account in list(self._accounts.items()):
                if other != key and account.users.pop(config.name, True) is None:
                    self._leave(other, account)
            if key not in self._accounts:
                self._accounts[key] = await self._nursery.start(self._keep, cloud, config)
            self._accounts[key].users[config.name] = None
            return self._accounts[key]

    def _leave(self, key: tuple[object, ...], account: _SharedAccount) -> None:
        if not account.users:
            del self._accounts[key]
            account.scope.cancel()

    async def _keep(  # noqa: ASYNC114 - it is started by `_account` alone
        self,
        cloud: CloudConfig,
        config: ProviderConfig,
        *,
        task_status: trio.TaskStatus[_SharedAccount] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Hold the wires of one account and run it, until nobody uses it any more."""
        limits = [x.limits for x in (*self._configs, config) if x.cloud == config.cloud]
        with trio.CancelScope() as scope:
            async with wired_account(
                cloud,
                self._world.transport,
                random=self._world.random,
                wall=self._world.wall,
                plan=rate_plan(limits),
                reload=partial(self._read, config.cloud, config.region_name),
            ) as wired:
                task_status.started(_SharedAccount(wired=wired, scope=scope))
                # Its providers see a crash as a login that lasts.
                await supervise(
                    f"account {cloud.name}", wired.account.run, on_crash=lambda _name, _crash: None
                )


def rate_plan(limits: Iterable[ApiLimits]) -> RatePlan:
    """The buckets of an account: of all that its providers say, the strictest."""
    given = list(limits)
    rates = [x.calls_per_second for x in given if x.calls_per_second is not None]
    bursts = [x.burst for x in given if x.burst is not None]
    days = [x.creates_per_day for x in given if x.creates_per_day is not None]
    every = Limit()
    if rates:
        # A limit of so many in a second means as many at once, unless it is said otherwise.
        every = Limit(per_s=min(rates), burst=max(1.0, min(rates)))
    if bursts:
        every = attrs.evolve(every, burst=float(min(bursts)))
    verbs = {("compute", Verb.CREATE): Limit(per_day=min(days))} if days else {}
    return RatePlan(every=every, verbs=verbs)


def _identity(cloud: CloudConfig) -> tuple[object, ...]:
    """What makes an account: who logs in, where, over which wires; secrets may change."""
    # Identity differs by region at some clouds (quirks.md part 1 §1.2), so its URL is in here.
    who = sorted(
        (key, str(value)) for key, value in cloud.auth.items() if not key.endswith(_SECRETS)
    )
    return (cloud.name, cloud.auth_type, *who, *_wires(cloud))


def _wires(cloud: CloudConfig) -> tuple[object, ...]:
    return (cloud.verify, cloud.cacert, cloud.cert, cloud.key, *map(_version, cloud.files))


def _way(cloud: CloudConfig) -> tuple[object, ...]:
    """All that lies between us and the cloud's services, but for the credentials."""
    overrides = tuple(sorted(cloud.overrides.items()))
    url = cloud.auth.get("auth_url", "")
    return (url, cloud.region_name, cloud.interface, overrides, *_wires(cloud))


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size)


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
        ConfigError: the file cannot be used, or the web face cannot listen at its address.
        StoreInUseError, StoreMismatchError: as `Store.open`.
        StoreFailedError: the store cannot be used, or failed later: a full disk, for one. What
            was acknowledged is in it.
    """
    try:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
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
        configs=configuration.providers,
    )
    async with run_core(
        configuration,
        world=world,
        record_log=SqliteLog(configuration.store.path),
        accounts=accounts,
    ) as core:
        await _serve(configuration, core, signals, started)


async def _serve(
    configuration: Configuration,
    core: Core,
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
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            break
        stopping.set()
        nursery.cancel_scope.deadline = trio.current_time() + GRACE_S
