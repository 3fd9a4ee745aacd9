"""An account with its wires: two transports, two roads that share turns and counts."""

import random as random_
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import attrs

from trellis.http.buckets import RatePlan
from trellis.http.rates import Buckets
from trellis.http.road import Road
from trellis.http.transport import TransportFactory, TransportSettings
from trellis.openstack.auth import Account
from trellis.openstack.clouds import CloudConfig
from trellis.openstack.faults import Row
from trellis.openstack.session import Session

LANES: Final = 20
_IDENTITY_LANES: Final = 2


@attrs.frozen(kw_only=True)
class WiredAccount:
    """An account and the road its sessions take.

    Attributes:
        account: its `Account.run` is the caller's to start.
        logins: the road its logins take.
    """

    account: Account
    road: Road
    logins: Road

    def session(self, region: str | None = None, *, missing_region: str = "") -> Session:
        """A session in a region; None for the configuration's. See `Session` for the rest."""
        config = self.account.config
        return Session(
            self.account,
            self.road,
            config.region_name if region is None else region,
            config.interface,
            config.overrides,
            missing_region,
        )


@asynccontextmanager
async def wired_account(
    config: CloudConfig,
    transports: TransportFactory,
    *,
    random: random_.Random,
    wall: Callable[[], float],
    plan: RatePlan | None = None,
    lanes: int = LANES,
    buckets: tuple[Buckets, Buckets] | None = None,
    reload: Callable[[], CloudConfig | None] | None = None,
    refusals: tuple[Row, ...] = (),
) -> AsyncIterator[WiredAccount]:
    """Lay the wires of an account, and close them at the end of the block.

    Logins have two connections of their own. What `reload` brings changes credentials, not
    wires: other TLS settings need another block.

    Args:
        lanes: connections for all calls but logins.
        buckets: of calls and of logins, in place of *plan*: those that accounts share.
        refusals: the cloud's own words for refusals.

    Raises:
        ConfigError: a file of the TLS settings cannot be used.
    """
    settings = TransportSettings(
        cloud=config.name,
        verify=config.verify,
        cacert=config.cacert,
        cert=config.cert,
        key=config.key,
        lanes=lanes,
    )
    async with AsyncExitStack() as stack:
        calls = transports(settings)
        stack.push_async_callback(calls.aclose)
        logins = transports(attrs.evolve(settings, lanes=_IDENTITY_LANES))
        stack.push_async_callback(logins.aclose)
        of_calls, of_logins = buckets or (None, None)
        road = Road(
            config.name,
            calls,
            plan=plan,
            at_once=lanes,
            random=random,
            wall=wall,
            buckets=of_calls,
        )
        beside = road.beside(logins, buckets=of_logins)
        account = Account(config, beside, reload=reload, refusals=refusals)
        yield WiredAccount(account=account, road=road, logins=beside)
