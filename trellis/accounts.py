"""One account for each credential at a cloud, shared by the providers of its regions."""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import attrs
import trio

from trellis.config import recall
from trellis.control.supervise import supervise
from trellis.errors import ConfigError
from trellis.http.buckets import Limit, RatePlan
from trellis.http.message import Verb
from trellis.http.rates import Buckets
from trellis.model.status import QuirkStatus
from trellis.openstack.clouds import CloudConfig
from trellis.openstack.faults import Row
from trellis.openstack.profile import CloudProfile, Quirk
from trellis.openstack.session import Session
from trellis.openstack.wiring import WiredAccount, wired_account
from trellis.spi.config import ApiLimits, ProviderConfig
from trellis.spi.provider import Provider
from trellis.spi.registry import ProviderContext, ProviderRegistry
from trellis.world import World

_LATE_S: Final = 0.1
"""So much later than the one before it a call may arrive at the cloud than it was sent."""

_SCOPES: Final = ("project_", "tenant_", "domain_", "system_", "default_domain", "trust_id")
_SECRETS: Final = ("password", "secret", "token", "passcode", "api_key", "apikey", "secret_key")
_OF_IMAGES: Final = ("image_format", "image_api_use_tasks", "disable_vendor_agent")


class ReadCloud(Protocol):
    """Gives the configuration of a cloud in a region; reads it anew each time."""

    def __call__(
        self, name: str, region: str | None, /, *, profile: str | None = None
    ) -> CloudConfig:
        """Read it; *profile* is that of an entry that names none, and no ``auth_url``.

        Raises:
            ConfigError: there is no such cloud or region, or its entry has a fault.
        """
        ...


@attrs.define(eq=False)
class _Counted:
    """What a cloud counts together: the logins of one user, or his calls to one project.

    Several entries of ``clouds.yaml`` may be about one user or project. It is kept when the last
    of them goes: the cloud does not forget either. The calls of two users to one project are
    counted apart here, whatever the cloud does: each by what its own providers are configured to.
    """

    buckets: Buckets
    noted: dict[str, None] = attrs.field(factory=dict)
    """Providers whose creates of earlier are in the buckets already."""


@attrs.define(eq=False, kw_only=True)
class _SharedAccount:
    """An account with its wires, and the providers that call through it."""

    wired: WiredAccount
    scope: trio.CancelScope
    calls: _Counted
    logins: _Counted
    users: dict[str, ProviderConfig] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Connection:
    """A provider made, on the account it calls through (`trellis.control.connected.Connected`)."""

    provider: Provider
    name: str
    _account: _SharedAccount
    _is_outdated: Callable[[], bool]
    _profile: CloudProfile | None = None

    @property
    def account(self) -> Hashable:
        """What tells its account from others."""
        return self._account

    def api_calls(self) -> Mapping[str, int]:
        """Calls of the account so far, by service and verb."""
        counts: dict[str, int] = {}
        for key, count in self._account.wired.road.counts.items():
            name = f"{key.service} {key.method} {key.path_label}"
            counts[name] = counts.get(name, 0) + count.calls
        return counts

    def calls_per_s(self) -> float:
        """How many calls of the class that is limited most the cloud takes in a second."""
        return self._account.wired.road.slowest("compute")

    def quirks(self) -> tuple[QuirkStatus, ...]:
        """In what its cloud is not stock, as its type's profile says."""
        profile = self._profile
        return () if profile is None else tuple(quirk_status(quirk) for quirk in profile.quirks)

    def creates_left(self) -> int | None:
        """How many servers the cloud's limit of a day still lets this account create."""
        return self._account.wired.road.left_today("compute", Verb.CREATE)

    def create_delay_s(self) -> float:
        """Seconds until the rate limits let one more create of this account through."""
        return self._account.wired.road.delay("compute", Verb.CREATE)

    def creates_within(self, span_s: float) -> float:
        """About how many creates they let through in so many seconds; inf if nothing limits it."""
        return self._account.wired.road.within("compute", Verb.CREATE, span_s)

    def creates_in_line(self) -> int:
        """How many creates of this account wait for their turn, those of other providers too."""
        return self._account.wired.road.in_line("compute", Verb.CREATE)

    def note_past(self, times: Iterable[float]) -> None:
        """Count the provider's earlier creates against that limit; once for each project."""
        noted = self._account.calls.noted
        if self.name not in noted:
            noted[self.name] = None
            self._account.wired.road.note_past("compute", Verb.CREATE, times)

    def outdated(self) -> bool:
        """Whether the cloud is configured otherwise now: its URL, user, project, TLS, endpoints."""
        return self._is_outdated()

    def reconsider(self, *, anyway: bool = False) -> None:
        """Have a login that was refused tried again at once if its secret has been changed.

        Args:
            anyway: also if it has not been: a person says so.
        """
        self._account.wired.account.reconsider(anyway=anyway)

    def doubt(self) -> None:
        """Have the catalog fetched anew soon: it leads where nobody expects."""
        self._account.wired.account.doubt()


class Accounts:
    """The accounts of all clouds (`trellis.control.core.Accounts`).

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
        self._counted: dict[tuple[object, ...], _Counted] = {}
        self._nursery: trio.Nursery | None = None
        self._running = trio.Event()
        self._turn = trio.Lock()

    def configure(self, configs: Iterable[ProviderConfig]) -> None:
        """Keep to the limits that these providers are configured with, from now on."""
        self._configs = tuple(configs)
        for account in self._accounts.values():
            self._replan(account)

    def recall(self, text: str) -> ProviderConfig:
        """Read the last configuration of a provider that has left the file.

        Raises:
            ConfigError: no plugin offers its type any more, or reads it otherwise by now.
        """
        return recall(text, self._registry)

    def leave(self, name: str) -> None:
        """A provider has ended; its account ends with its last one."""
        for key, account in list(self._accounts.items()):
            if account.users.pop(name, None) is not None:
                self._leave(key, account)

    def _plan_of(self, users: Sequence[ProviderConfig]) -> RatePlan:
        """The limits of all that is configured at their clouds, and of dropped ones that call."""
        clouds = {user.cloud for user in users}
        configs = {x.name: x for x in users} | {x.name: x for x in self._configs}
        there = [x for x in configs.values() if x.cloud in clouds]
        found = [self._registry.get(kind) for kind in dict.fromkeys(x.type for x in there)]
        profiles = [one.profile for one in found if one is not None and one.profile is not None]
        return rate_plan([x.limits for x in there], [profile.rates for profile in profiles])

    def _replan(self, account: _SharedAccount) -> None:
        """Keep to the limits of who shares an account's by now: an entry may be another's."""
        calls = [one for one in self._accounts.values() if one.calls is account.calls]
        plan = self._plan_of(_users(calls))
        for one in calls:
            one.wired.road.replan(plan)
        logins = [one for one in self._accounts.values() if one.logins is account.logins]
        plan = self._plan_of(_users(logins))
        for one in logins:
            one.wired.logins.replan(plan)

    def _counted_as(self, *who: object) -> _Counted:
        if who not in self._counted:
            self._counted[who] = _Counted(Buckets(RatePlan()))
        return self._counted[who]

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
        registration = self._registry.get(config.type)
        if registration is None:
            raise ConfigError([f"provider {config.name}: no plugin offers type {config.type!r}"])
        read = self._reading(config)
        cloud = read()
        account = await self._account(cloud, config)
        profile = registration.profile
        way = (_identity(cloud), _way(cloud))

        def outdated() -> bool:
            try:
                now = read()
                return (_identity(now), _way(now)) != way
            except ConfigError:
                return False  # what cannot be read now replaces nothing

        session = Session(
            account.wired.account,
            account.wired.road,
            region=config.region_name or cloud.region_name,
            interface=cloud.interface,
            overrides=cloud.overrides,
            missing_region="" if profile is None else profile.settings.missing_region,
        )
        context = ProviderContext(
            deployment=self._deployment,
            session=session,
            profile=registration.profile,
            settings=cloud.settings,
        )
        return Connection(
            provider=registration.factory(config, context),
            name=config.name,
            account=account,
            is_outdated=outdated,
            profile=registration.profile,
        )

    def _reading(self, config: ProviderConfig) -> Callable[[], CloudConfig]:
        """What reads the provider's cloud, on the ground of its type's profile."""
        profile = self._registry.profile_name(config.type)
        return partial(self._read, config.cloud, config.region_name, profile=profile)

    def _refusals(self, config: ProviderConfig) -> tuple[Row, ...]:
        """In which words its cloud refuses, as its type's profile says."""
        registration = self._registry.get(config.type)
        profile = None if registration is None else registration.profile
        return () if profile is None else profile.refusals

    async def _account(self, cloud: CloudConfig, config: ProviderConfig) -> _SharedAccount:
        # A provider that changes its type may stay at its cloud, whose words are others then.
        key = (*_identity(cloud), self._refusals(config))
        await self._running.wait()
        assert self._nursery is not None
        async with self._turn:
            for other, account in list(self._accounts.items()):
                if other != key and account.users.pop(config.name, None) is not None:
                    self._leave(other, account)
            if key not in self._accounts:
                self._accounts[key] = await self._nursery.start(self._keep, cloud, config)
            account = self._accounts[key]
            account.users[config.name] = config
            self._replan(account)
            return account

    def _leave(self, key: tuple[object, ...], account: _SharedAccount) -> None:
        if not account.users:
            del self._accounts[key]
            account.scope.cancel()
        self._replan(account)

    async def _keep(  # noqa: ASYNC114 - it is started by `_account` alone
        self,
        cloud: CloudConfig,
        config: ProviderConfig,
        *,
        task_status: trio.TaskStatus[_SharedAccount] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Hold the wires of one account and run it, until nobody uses it any more."""
        calls = self._counted_as("calls", *_who(cloud))
        logins = self._counted_as("logins", *_user(cloud))
        with trio.CancelScope() as scope:
            async with wired_account(
                cloud,
                self._world.transport,
                random=self._world.random,
                wall=self._world.wall,
                buckets=(calls.buckets, logins.buckets),
                reload=self._reading(config),
                refusals=self._refusals(config),
            ) as wired:
                task_status.started(
                    _SharedAccount(wired=wired, scope=scope, calls=calls, logins=logins)
                )
                # Its providers see a crash as a login that lasts.
                await supervise(
                    f"account {cloud.name}", wired.account.run, on_crash=lambda _name, _crash: None
                )


def rate_plan(limits: Iterable[ApiLimits], known: Iterable[RatePlan] = ()) -> RatePlan:
    """The buckets of an account: of all that its providers say, the strictest.

    Args:
        known: the limits that all customers of the cloud have. What the configuration says goes
            before them, as limits are raised for who asks; but not for logins.
    """
    given, known = list(limits), list(known)
    rates = [x.calls_per_second for x in given if x.calls_per_second is not None]
    bursts = [x.burst for x in given if x.burst is not None]
    days = [x.creates_per_day for x in given if x.creates_per_day is not None]
    every = Limit()
    if bursts:
        every = attrs.evolve(every, burst=float(min(bursts)))
    if rates:
        # A limit of so many in a second means as many at once, unless it is said otherwise.
        every = _with_room(min(rates), every.burst if bursts else max(1.0, min(rates)))
    services = {name: _kept(limit) for plan in known for name, limit in plan.services.items()}
    verbs = {about: _kept(limit) for plan in known for about, limit in plan.verbs.items()}
    if rates or bursts:
        services = {name: limit for name, limit in services.items() if name == "identity"}
    if days:
        creates = ("compute", Verb.CREATE)
        verbs[creates] = attrs.evolve(verbs.get(creates, Limit()), per_day=min(days))
    return RatePlan(every=every, services=services, verbs=verbs)


def _kept(limit: Limit) -> Limit:
    if limit.per_s == math.inf:
        return limit
    return attrs.evolve(_with_room(limit.per_s, limit.burst), per_day=limit.per_day)


def _with_room(per_s: float, burst: float) -> Limit:
    """The limit to keep so that the cloud, which counts calls as they arrive, sees no more.

    Those that arrive late come together with the next ones. The room for them is taken off the
    burst; where that has none, each call waits a little longer.
    """
    room = _LATE_S * per_s
    kept = max(1.0, burst - room)
    lacking = min(_LATE_S, max(0.0, kept + room - burst))
    return Limit(per_s=per_s / (1.0 + lacking), burst=kept)


def _users(accounts: Iterable[_SharedAccount]) -> list[ProviderConfig]:
    return [user for account in accounts for user in account.users.values()]


def _identity(cloud: CloudConfig) -> tuple[object, ...]:
    """What makes an account: who logs in, where, over which wires; secrets may change."""
    return (cloud.name, cloud.auth_type, *_who(cloud), *_wires(cloud))


def _who(cloud: CloudConfig) -> tuple[tuple[str, str], ...]:
    """Who logs in, where, and to which project, without the secrets."""
    # Identity differs by region at some clouds (quirks.md part 1 §1.2), so its URL is in here.
    who = ((key, str(value)) for key, value in cloud.auth.items() if not key.endswith(_SECRETS))
    return tuple(sorted(who))


def _user(cloud: CloudConfig) -> tuple[tuple[str, str], ...]:
    """Who logs in and where, whatever the project: whose logins a cloud counts together."""
    return tuple((key, value) for key, value in _who(cloud) if not key.startswith(_SCOPES))


def _wires(cloud: CloudConfig) -> tuple[object, ...]:
    return (cloud.verify, cloud.cacert, cloud.cert, cloud.key, *map(_version, cloud.files))


def _way(cloud: CloudConfig) -> tuple[object, ...]:
    """All that a provider is made of, but for the credentials: the way to the cloud's services."""
    overrides = tuple(sorted(cloud.overrides.items()))
    url = cloud.auth.get("auth_url", "")
    images = tuple(str(cloud.settings.get(key)) for key in _OF_IMAGES)
    return (url, cloud.region_name, cloud.interface, overrides, *images, *_wires(cloud))


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size)


def quirk_status(quirk: Quirk) -> QuirkStatus:
    """A quirk as people are shown it."""
    several = isinstance(quirk.value, tuple)
    value = ", ".join(map(str, quirk.value)) if several else str(quirk.value)
    return QuirkStatus(
        name=quirk.name,
        value="" if quirk.value is None else value,
        does=quirk.does,
        stock=quirk.stock,
        evidence=quirk.evidence,
        era=quirk.era,
        check=quirk.check,
        sure=quirk.mark.value,
    )
