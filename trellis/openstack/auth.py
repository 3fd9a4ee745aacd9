"""An account: one credential at one cloud, its token, and the one task that logs in."""

import contextlib
import copy
import enum
import math
from collections.abc import AsyncIterator, Callable
from typing import Final

import attrs
import trio

from trellis.errors import AuthError, CloudError, ConfigError, MisconfiguredError, RetryLaterError
from trellis.http.road import Road
from trellis.openstack.clouds import CloudConfig
from trellis.openstack.faults import Row
from trellis.openstack.login import Access, Login

FIRST_BACKOFF_S: Final = 5.0
LONGEST_BACKOFF_S: Final = 300.0
_RENEW_BEFORE_S: Final = 300.0
_YOUNG_S: Final = 60.0
"""A token refused at this age did not expire."""

__all__ = ["Access", "Account", "AccountState", "Standing", "running_account"]


class Standing(enum.Enum):
    """How an account stands with its cloud."""

    UNUSED = "unused"
    """Nobody asked for a token yet."""
    LOGGING_IN = "logging-in"
    """No token yet, a login is under way."""
    AVAILABLE = "available"
    FAILING = "failing"
    """The last login failed and there is no token that still works."""


@attrs.frozen(kw_only=True)
class AccountState:
    """How an account stands, for people.

    Attributes:
        reason: why it fails, or why the renewal of a token that still works does; "" if all
            is well.
        since: when this standing began, on Trio's clock.
        logins: how many times it has logged in or tried to.
        retry_at: before this moment no new login is made; None if nothing failed.
    """

    standing: Standing
    reason: str
    since: float
    logins: int
    retry_at: float | None


@attrs.frozen
class _Failure:
    error: CloudError
    until: float


class Account:
    """One credential at one cloud; shared by the providers of all its regions.

    One login is under way at a time, in the account's own task (`run`). All who wait share its
    result and its failure, and a failure is kept for a back-off that grows from 5 s to 5 min: a
    wrong password makes one login in that time however many wait, as Keystone locks accounts.

    Args:
        config: the cloud's entry.
        identity: the road to its identity service, on two connections of its own, so that
            calls which wait for a token cannot keep the login from its connection.
        reload: reads the configuration anew; called once after each login that was refused.
            A configuration that differs from the last is used at once, None and an equal one
            are not; nor is one that cannot be read (ConfigError).
        refusals: the cloud's own words for refusals (`CloudProfile.refusals`).
    """

    def __init__(
        self,
        config: CloudConfig,
        identity: Road,
        *,
        reload: Callable[[], CloudConfig | None] | None = None,
        refusals: tuple[Row, ...] = (),
    ) -> None:
        self.refusals = refusals
        self._config = config
        self._identity = identity
        self._reload = reload
        self._login: Login | None = None
        self._access: Access | None = None
        self._renew_at = math.inf
        self._failure: _Failure | None = None
        self._backoff = FIRST_BACKOFF_S
        self._wanted = trio.Event()
        self._settled = trio.Event()
        self._eased = trio.Event()
        self._attempts = 0
        self._young_refusals = 0
        self._issued_at = -math.inf
        self._doubt_after_s = _YOUNG_S
        self._standing = Standing.UNUSED
        self._since = trio.current_time()

    @property
    def name(self) -> str:
        """The cloud's name in clouds.yaml."""
        return self._config.name

    @property
    def config(self) -> CloudConfig:
        """The configuration in use: the one given, or what `reload` has brought since."""
        return self._config

    @property
    def state(self) -> AccountState:
        """How the account stands now."""
        standing, since = self._standing, self._since
        # A renewal that fails becomes a trouble when the token ends, and no task runs then.
        ended = self._access is not None and self._access.good_until <= trio.current_time()
        if self._access is not None and ended and self._failure is not None:
            standing, since = Standing.FAILING, self._access.good_until
        return AccountState(
            standing=standing,
            reason="" if self._failure is None else str(self._failure.error),
            since=since,
            logins=self._attempts,
            retry_at=None if self._failure is None else self._failure.until,
        )

    async def run(self) -> None:
        """Log in when somebody asks, and again before the token ends; until cancelled.

        Failures of a login are kept for those who wait and end nothing.
        """
        while True:
            await self._until_needed()
            try:
                access = await self._attempt()
            except CloudError as error:
                self._failed(error)
            else:
                self._succeeded(access)
            # All who wait have their answer; who comes later asks anew.
            self._wanted = trio.Event()
            settled, self._settled = self._settled, trio.Event()
            settled.set()

    async def token(self, stale: Access | None = None) -> Access:
        """A token that works as far as is known, logging in if there is none.

        Cancelling it does not cancel the login, which others may wait for.

        Args:
            stale: an access that the cloud has just refused with 401; another one is wanted.

        Raises:
            CloudError: the last login's failure, as `Login` raises it, during its back-off.
        """
        if stale is not None:
            self._refused(stale)
        while True:
            access = self._access
            now = trio.current_time()
            if access is not None and now < access.good_until:
                return access
            if self._failure is not None and now < self._failure.until:
                # Each waiter raises its own: tracebacks would pile up on a shared one.
                raise copy.copy(self._failure.error) from self._failure.error
            if self._standing is not Standing.LOGGING_IN:
                self._stand(Standing.LOGGING_IN)
            self._wanted.set()
            await self._settled.wait()

    def doubt(self, access: Access | None = None) -> None:
        """Have another token fetched soon, as the catalog that came with this one seems wrong.

        It stays in use until then. Services are activated, regions added and endpoints moved;
        without this it would be seen only when the token ends. A minute at least goes by between
        two logins that come of it, and twice as long after each that brought the same catalog.

        Args:
            access: the one that is doubted; None is the present one.
        """
        now = trio.current_time()
        if self._access is None or access not in (None, self._access):
            return
        if now - self._issued_at > self._doubt_after_s:
            self._renew_at = -math.inf
            self._wanted.set()

    def reconsider(self, *, anyway: bool = False) -> bool:
        """Log in at once with what is configured by now, if the last login failed by another.

        To be called when a file of the configuration has changed: whoever has corrected a
        password does not wait for the back-off of the wrong one. The same configuration again
        is no reason to log in again.

        Args:
            anyway: log in at once with the same as well: a person says that it is right.

        Returns:
            Whether a login is made at once.
        """
        if self._failure is None:
            return False  # what works goes on; another password is read once this one is refused
        config = self._reloaded()
        if not anyway and (config is None or config == self._config):
            return False
        self._config = config or self._config
        self._login = None
        self._failure = None
        self._backoff = FIRST_BACKOFF_S
        self._young_refusals = 0
        if self._access is None:
            self._stand(Standing.LOGGING_IN)
        self._wanted.set()
        self._eased.set()
        return True

    def _refused(self, stale: Access) -> None:
        """Drop a token that the cloud refused, if it is still the present one."""
        if self._access is None or self._access.generation > stale.generation:
            return
        self._access = None
        now = trio.current_time()
        if now - self._issued_at > _YOUNG_S:
            self._young_refusals = 0
            return
        self._young_refusals += 1
        if self._young_refusals > 1:
            # Another login would be refused as well: without this, each call would make one.
            self._failed(
                AuthError(
                    "the cloud's services refuse tokens that its identity service has just "
                    "given. Its operator must look; the next login waits",
                    cloud=self.name,
                    status=401,
                )
            )

    async def _until_needed(self) -> None:
        """Wait until somebody wants a token or the present one should be renewed."""
        while True:
            if self._access is not None:
                self._wanted = trio.Event()
                with trio.move_on_at(max(self._renew_at, self._resume_at)) as due:
                    await self._wanted.wait()
                if due.cancelled_caught:
                    return
            else:
                await self._wanted.wait()
                if trio.current_time() >= self._resume_at:
                    return
                self._eased = trio.Event()
                with trio.move_on_at(self._resume_at):
                    await self._eased.wait()

    @property
    def _resume_at(self) -> float:
        """Before this no login is made again."""
        return -math.inf if self._failure is None else self._failure.until

    async def _attempt(self) -> Access:
        """Log in; if the credentials are refused and others have been configured, with those."""
        used = self._config
        try:
            return await self._log_in()
        except (AuthError, MisconfiguredError):
            config = self._reloaded() or self._config
            if config == used:
                raise
            self._config = config
            self._login = None
            return await self._log_in()

    def _reloaded(self) -> CloudConfig | None:
        # A file that cannot be read now is the business of whoever watches it: what ran goes on.
        with contextlib.suppress(ConfigError):
            return None if self._reload is None else self._reload()
        return None

    async def _log_in(self) -> Access:
        self._attempts += 1
        if self._login is None:
            self._login = Login(self._config, self._identity, self.refusals)
        return await self._login(self._attempts)

    def _succeeded(self, access: Access) -> None:
        now = trio.current_time()
        life = access.good_until - now
        same = self._access is not None and self._access.catalog == access.catalog
        doubted = self._renew_at == -math.inf
        self._doubt_after_s = (
            min(LONGEST_BACKOFF_S, self._doubt_after_s * 2) if same and doubted else _YOUNG_S
        )
        self._access = access
        self._renew_at = now + max(life - _RENEW_BEFORE_S, life / 2)
        self._issued_at = now
        self._failure = None
        self._backoff = FIRST_BACKOFF_S
        self._stand(Standing.AVAILABLE)

    def _failed(self, error: CloudError) -> None:
        now = trio.current_time()
        asked = error.after_s or 0.0 if isinstance(error, RetryLaterError) else 0.0
        self._failure = _Failure(error, now + max(self._backoff, asked))
        self._backoff = min(self._backoff * 2, LONGEST_BACKOFF_S)
        # What it discovered may be what is wrong.
        self._login = None
        if self._access is None or now >= self._access.good_until:
            self._access = None
            self._stand(Standing.FAILING)

    def _stand(self, standing: Standing) -> None:
        if standing is not self._standing:
            self._standing = standing
            self._since = trio.current_time()


@contextlib.asynccontextmanager
async def running_account(
    config: CloudConfig,
    identity: Road,
    *,
    reload: Callable[[], CloudConfig | None] | None = None,
    refusals: tuple[Row, ...] = (),
) -> AsyncIterator[Account]:
    """An account whose task runs as long as the block does."""
    account = Account(config, identity, reload=reload, refusals=refusals)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(account.run)
        yield account
        nursery.cancel_scope.cancel()
