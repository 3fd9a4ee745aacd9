"""A plugin's provider on its account's wires, as the daemon makes it, for one look or one story."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

import attrs
import trio
import yaml

from trellis.accounts import rate_plan
from trellis.config import parse
from trellis.errors import PluginError, TrellisError
from trellis.http.httpx_wire import wire_of
from trellis.http.message import Call
from trellis.http.transport import TransportFactory, TransportSettings
from trellis.http.wire import Progress, Wire, WireAnswer
from trellis.openstack.auth import Account
from trellis.openstack.clouds import CloudConfig, read_clouds
from trellis.openstack.quirks import STOCK, Quirks
from trellis.openstack.session import Session
from trellis.openstack.wiring import wired_account
from trellis.providers.openstack import OpenStackProvider
from trellis.spi.config import ProviderConfig
from trellis.spi.provider import Provider
from trellis.spi.registry import ProviderContext, ProviderFactory, ProviderRegistry, Registration

T = TypeVar("T")

_QUESTIONS: Final = ("GET", "HEAD")


@attrs.frozen(kw_only=True)
class Opened:
    """A provider that can be asked, and what it stands on.

    Attributes:
        session: the one that the provider was made with.
    """

    registration: Registration[ProviderFactory]
    cloud: CloudConfig
    config: ProviderConfig
    account: Account
    session: Session
    provider: Provider

    @property
    def quirks(self) -> Quirks:
        """How its cloud deviates from stock, as far as a quirk says."""
        if isinstance(self.provider, OpenStackProvider):
            return self.provider.quirks
        profile = self.registration.profile
        return STOCK if profile is None else profile.settings

    async def asked(self, what: str, question: Callable[[], Awaitable[T]]) -> T:
        """Ask the plugin's own code a question.

        Raises:
            CloudError: what the provider may raise.
            PluginError: it raised something else, which is a fault of the plugin.
        """
        try:
            return await question()
        except TrellisError:
            raise
        except Exception as error:
            raise PluginError(
                f"{what} of type {self.registration.type!r} raises what is no CloudError: "
                f"{type(error).__name__}: {error}"
            ) from error


def read_cloud(
    name: str,
    region: str | None,
    registry: ProviderRegistry,
    type_: str,
    environ: Mapping[str, str] | None = None,
) -> CloudConfig:
    """Read an entry of ``clouds.yaml`` as a provider of this type does.

    Raises:
        ConfigError: there is no such entry or region, or it has a fault.
    """
    profiles = {found: profile.entry for found, profile in registry.profiles().items()}
    clouds = read_clouds(environ, profiles=profiles)
    return clouds.get(name, region, profile=registry.profile_name(type_))


def provider_config(
    registry: ProviderRegistry,
    type_: str,
    cloud: str,
    region: str | None = None,
    *,
    pool: Mapping[str, Any] | None = None,
    patience_s: float | None = None,
) -> ProviderConfig:
    """The configuration of a provider of this type, as a file with no more in it gives it.

    Args:
        pool: one pool, as the file has it; the label ``check`` is known.
        patience_s: longest time of one call.

    Raises:
        ConfigError: the type needs more than that.
    """
    provider: dict[str, Any] = {"name": "check", "type": type_, "cloud": cloud}
    if region:
        provider["region-name"] = region
    if patience_s is not None:
        provider["api-timeout"] = patience_s
    provider["pools"] = [] if pool is None else [dict(pool)]
    document = {"deployment": "check", "labels": [{"name": "check"}], "providers": [provider]}
    text = yaml.safe_dump(document, sort_keys=False)
    loaded = parse(text, registry, file="provider", folder=Path())
    return loaded.configuration.providers[0]


@asynccontextmanager
async def opened(
    registration: Registration[ProviderFactory],
    cloud: CloudConfig,
    config: ProviderConfig,
    transports: TransportFactory,
    *,
    deployment: str,
    random: Random,
    wall: Callable[[], float],
) -> AsyncIterator[Opened]:
    """Make a provider of a type on an account of its own, as long as the block runs.

    Nothing is sent until something is asked. The profile's rates are kept to.

    Raises:
        ConfigError: a file of the TLS settings cannot be used.
        PluginError: the plugin cannot make its provider.
    """
    profile = registration.profile
    plan = rate_plan([config.limits], [] if profile is None else [profile.rates])
    async with (
        wired_account(
            cloud,
            transports,
            random=random,
            wall=wall,
            plan=plan,
            refusals=() if profile is None else profile.refusals,
        ) as wired,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(wired.account.run)
        session = wired.session(
            config.region_name or cloud.region_name,
            missing_region="" if profile is None else profile.settings.missing_region,
        )
        context = ProviderContext(
            deployment=deployment, session=session, profile=profile, settings=cloud.settings
        )
        try:
            provider = registration.factory(config, context)
        except TrellisError:
            raise
        except Exception as error:
            raise PluginError(
                f"the factory of type {registration.type!r} fails: {type(error).__name__}: {error}"
            ) from error
        yield Opened(
            registration=registration,
            cloud=cloud,
            config=config,
            account=wired.account,
            session=session,
            provider=provider,
        )
        nursery.cancel_scope.cancel()


def read_only(transports: TransportFactory) -> TransportFactory:
    """The same wires, which carry logins and questions and nothing else."""

    def make(settings: TransportSettings) -> "ReadOnlyWire":
        return ReadOnlyWire(wire_of(transports(settings)))

    return make


class ReadOnlyWire:
    """Carries logins and questions.

    A plugin that would change something while it is only asked is stopped before anything is
    sent.
    """

    def __init__(self, inner: Wire) -> None:
        self._inner = inner

    async def send(self, call: Call, progress: Progress) -> WireAnswer:
        """See `Wire.send`.

        Raises:
            PluginError: the call is neither a question nor a login.
        """
        if call.method not in _QUESTIONS and not _is_login(call):
            progress.certainly_not_sent = True
            raise PluginError(
                f"it would send {call.name}, and was only asked what there is: not sent. A "
                "question that acts is a fault of the plugin"
            )
        return await self._inner.send(call, progress)

    async def aclose(self) -> None:
        """See `Wire.aclose`."""
        await self._inner.aclose()


def _is_login(call: Call) -> bool:
    return call.service == "identity" and call.method == "POST" and "/tokens" in call.path_label
