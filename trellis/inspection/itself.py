"""A plugin by itself, without a cloud: is it active, does it fit the SPI, is its profile whole?"""

import inspect
from collections.abc import Sequence
from random import Random
from typing import Final

import trio

from trellis.errors import ConfigError, TrellisError
from trellis.http.message import Call
from trellis.http.transport import TransportSettings
from trellis.http.wire import NotSentError, Progress, WireAnswer
from trellis.inspection.findings import Finding, failure, listed, warning
from trellis.inspection.opening import opened, provider_config
from trellis.openstack.clouds import CloudConfig
from trellis.openstack.profile import CloudProfile, Mark
from trellis.plugin_host import PluginHost, PluginInfo, PluginState
from trellis.spi.provider import Provider
from trellis.spi.registry import ProviderFactory, ProviderRegistry, Registration

_METHODS: Final = tuple(
    name for name, found in vars(Provider).items() if inspect.isfunction(found) and name[0] != "_"
)
_PLAIN: Final = ("open",)
"""Methods of the SPI that are no coroutines: a context manager."""


def plugins(host: PluginHost, names: Sequence[str] = ()) -> list[Finding]:
    """Whether plugins are active, and what they registered.

    Args:
        names: of those to look at; all if empty.
    """
    return [_plugin(info) for info in host.plugins() if not names or info.name in names]


def _plugin(info: PluginInfo) -> Finding:
    data = {
        "version": info.version, "origin": info.origin, "hooks": list(info.hooks),
        "registered": list(info.registered), "spi_version": info.spi_version,
    }  # fmt: skip
    if info.state is PluginState.BROKEN:
        remedy = "Correct the plugin, or upgrade what the text names; until then it is not used"
        return failure("plugin", info.problem, remedy, subject=info.name, data=data)
    if info.state is PluginState.BLOCKED:
        remedy = "Take it off that list if it is to be used"
        return warning("plugin", info.problem, remedy, subject=info.name, data=data)
    found = f"{info.version or 'no version'} of {info.origin or 'no distribution'}, SPI"
    found += f" {info.spi_version}; registers {_things(info.registered)}"
    if not info.registered:
        remedy = "Its hooks add nothing: call register.add in them"
        return warning("plugin", found, remedy, subject=info.name, data=data)
    return Finding(what="plugin", subject=info.name, found=found, data=data)


def _things(registered: Sequence[str]) -> str:
    """What was registered, each kind once: ``provider type 'a', 'b'``."""
    kinds: dict[str, list[str]] = {}
    for one in registered:
        kind, _, name = one.rpartition(" ")
        kinds.setdefault(kind, []).append(name)
    return "; ".join(f"{kind} {listed(names, 20)}" for kind, names in kinds.items()) or "nothing"


async def type_of_provider(
    registration: Registration[ProviderFactory], registry: ProviderRegistry
) -> list[Finding]:
    """Whether a type's configuration, factory and provider are what the SPI asks for.

    Makes a provider on wires that carry nothing.
    """
    kind = registration.type
    findings = [] if registration.profile is None else _profile(kind, registration.profile)
    try:
        config = provider_config(registry, kind, "check")
    except ConfigError as error:
        remedy = "Give the keys of its configuration class defaults, or `check` cannot make one"
        found = f"it needs more than name, type and cloud: {'; '.join(error.faults)}"
        return [*findings, warning("type", found, remedy, subject=kind)]
    cloud = CloudConfig(name="check", auth_type="password", auth={})
    try:
        async with opened(
            registration, cloud, config, _no_wires, deployment="check", random=Random(1),
            wall=trio.current_time,
        ) as there:  # fmt: skip
            findings.append(_provider(kind, there.provider))
    except* TrellisError as group:
        remedy = "A factory makes a provider of its two arguments, and asks nobody anything"
        told = "; ".join(str(error) for error in group.exceptions)
        findings.append(failure("type", told, remedy, subject=kind))
    return findings


def _profile(kind: str, profile: CloudProfile) -> list[Finding]:
    unsure = [quirk.name for quirk in profile.quirks if quirk.mark is Mark.UNVERIFIED]
    data = {
        "name": profile.name, "title": profile.title, "status": profile.status,
        "regions": list(profile.regions), "needed": list(profile.needed),
        "quirks": [quirk.name for quirk in profile.quirks], "unverified": unsure,
    }  # fmt: skip
    found = f"{profile.title}, {profile.status}; {len(profile.quirks)} quirks"
    if unsure:
        found += f", unverified: {listed(unsure)}"
    return [Finding(what="profile", subject=kind, found=found, data=data)]


def _provider(kind: str, provider: object) -> Finding:
    name = type(provider).__name__
    lacking = [method for method in _METHODS if not callable(getattr(provider, method, None))]
    plain = [
        method
        for method in _METHODS
        if method not in (*_PLAIN, *lacking)
        and not inspect.iscoroutinefunction(getattr(provider, method))
    ]
    data = {"class": name, "lacking": lacking, "not_async": plain}
    remedy = "Derive it from OpenStackProvider, or write what trellis.spi.provider.Provider has"
    if lacking or not hasattr(provider, "capabilities"):
        missing = listed(lacking or ["capabilities"])
        return failure("type", f"{name} lacks {missing}", remedy, subject=kind, data=data)
    if plain:
        found = f"{name}: {listed(plain)} must be async"
        return failure("type", found, remedy, subject=kind, data=data)
    capabilities = sorted(one.value for one in getattr(provider, "capabilities", ()))
    found = f"{name} has all {len(_METHODS)} methods of the SPI; can {listed(capabilities)}"
    return Finding(what="type", subject=kind, found=found, data=data)


class _NoWire:
    """Carries nothing: a factory that calls somebody is found out."""

    async def send(self, call: Call, progress: Progress) -> WireAnswer:
        progress.certainly_not_sent = True
        await trio.lowlevel.checkpoint()
        raise NotSentError(f"nothing is to be asked while a provider is made: {call.name}")

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def _no_wires(_settings: TransportSettings) -> _NoWire:
    return _NoWire()
