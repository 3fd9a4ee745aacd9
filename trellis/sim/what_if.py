"""What if: changes to a scenario, such as another cloud, one that is lost, or more demand."""

import copy
import math
from collections.abc import Sequence
from typing import Any, Final

import attrs
import yaml

from trellis.config.structure import near
from trellis.errors import RefusedError
from trellis.sim.cloud.spec import UNLIMITED, CloudSpec, Outage, OutageKind
from trellis.sim.demand import DemandSpec
from trellis.sim.scenario import Scenario

MOST_CLOUDS: Final = 16
_BACK_AFTER_S: Final = 900.0
"""A cloud that is lost for good comes back so long after the demand has ended, to be counted."""


@attrs.frozen(kw_only=True)
class Loss:
    """A provider's cloud is out of reach.

    Attributes:
        provider: name of the provider.
        start: when it is lost, in seconds.
        end: when it is back; None is when all demand is over.
    """

    provider: str
    start: float = 0.0
    end: float | None = None


@attrs.frozen(kw_only=True)
class Addition:
    """One cloud more, with a provider on it.

    Attributes:
        name: what both are called.
        like: the provider that they are like; None is the first.
        instances: its quota; None is that of the cloud it is like.
    """

    name: str
    like: str | None = None
    instances: int | None = None


def with_quota(scenario: Scenario, name: str, instances: int) -> Scenario:
    """Another quota of servers, -1 is none, at the cloud or the provider of this name.

    Raises:
        RefusedError: there is none.
    """
    cloud = _cloud_of(scenario, name)
    quota = attrs.evolve(cloud.quota, instances=instances)
    # A pool's own limit would hide what the larger quota gives.
    settings = _settings(scenario)
    pools = [
        pool
        for provider in settings["providers"]
        if provider.get("cloud") == cloud.name
        for pool in provider.get("pools") or ()
    ]
    for pool in pools:
        if len(pools) == 1 and pool.get("max-servers") is not None and instances != UNLIMITED:
            pool["max-servers"] = instances
    changed = _with_cloud(scenario, attrs.evolve(cloud, quota=quota))
    return attrs.evolve(changed, configuration=_written(settings))


def with_demand(scenario: Scenario, factor: float) -> Scenario:
    """So many times the demand, over the same time."""
    streams = [attrs.evolve(x, factor=x.factor * factor) for x in scenario.streams]
    return attrs.evolve(scenario, demand=streams[0], more_demand=tuple(streams[1:]))


def with_loss(scenario: Scenario, loss: Loss) -> Scenario:
    """A cloud lost: no connection to it comes about, and what is there runs on.

    Raises:
        RefusedError: there is no such provider, or the demand is over before it is lost.
    """
    cloud = _cloud_of(scenario, loss.provider)
    over = lasts(scenario.streams)
    if loss.start >= over:
        raise RefusedError(
            f"{loss.provider} would be lost at {_said(loss.start)}, when all demand is over: it "
            f"comes until about {_said(over)}",
            remedy="lose it earlier, or have the demand last longer",
        )
    end = loss.end if loss.end is not None else over + _BACK_AFTER_S
    if end <= loss.start:
        raise RefusedError(
            f"{loss.provider} would be back at {_said(end)}, before it is lost",
            remedy="write the time of the loss first, as NAME@2h-3h",
        )
    outage = Outage(start=loss.start, end=end, kind=OutageKind.REFUSE)
    lost = attrs.evolve(cloud, outages=(*cloud.outages, outage))
    changed = _with_cloud(scenario, lost)
    return attrs.evolve(changed, faults_end=max(scenario.faults_end, end))


def lost_with(scenario: Scenario, provider: str) -> list[str]:
    """The other providers on the cloud of this one, which are lost with it.

    Raises:
        RefusedError: there is no such provider.
    """
    cloud = _cloud_of(scenario, provider).name
    providers = _settings(scenario)["providers"]
    return [x["name"] for x in providers if x.get("cloud") == cloud and x["name"] != provider]


def with_cloud(scenario: Scenario, addition: Addition) -> Scenario:
    """One cloud more, and a provider on it that offers what another one offers.

    Raises:
        RefusedError: the name is taken, there is no provider to be like, or there are 16 clouds.
    """
    settings = _settings(scenario)
    providers = settings["providers"]
    names = [provider["name"] for provider in providers]
    taken = {*names, *(cloud.name for cloud in scenario.clouds)}
    if addition.name in taken:
        raise RefusedError(
            f"there is a provider or cloud {addition.name!r} already",
            remedy="give the new one a name of its own",
        )
    if len(scenario.clouds) >= MOST_CLOUDS:
        raise RefusedError(f"a simulation has {MOST_CLOUDS} clouds at most", remedy="leave one out")
    like = addition.like or names[0]
    if like not in names:
        raise RefusedError(
            f"there is no provider {like!r} for the new cloud to be like{near(like, names)}",
            remedy=f"providers are: {', '.join(names)}",
        )
    model = providers[names.index(like)]
    other = _cloud_of(scenario, like)
    provider = {**copy.deepcopy(model), "name": addition.name, "cloud": addition.name}
    free = min(set(range(MOST_CLOUDS)) - {cloud.number for cloud in scenario.clouds})
    try:
        spec = attrs.evolve(other, name=addition.name, number=free, outside=(), outages=())
    except ValueError as error:
        raise RefusedError(f"the new cloud's name {error.args[0]}") from None
    if addition.instances is not None:
        spec = attrs.evolve(spec, quota=attrs.evolve(spec.quota, instances=addition.instances))
        for pool in provider.get("pools") or ():
            pool["max-servers"] = addition.instances
    providers.append(provider)
    prices = scenario.prices
    if prices is not None and other.name in prices.clouds:
        its = {addition.name: prices.clouds[other.name]}
        prices = attrs.evolve(prices, clouds={**prices.clouds, **its})
    return attrs.evolve(
        scenario,
        clouds=(*scenario.clouds, spec),
        configuration=_written(settings),
        prices=prices,
    )


def lasts(streams: Sequence[DemandSpec]) -> float:
    """When the last request is filed, in seconds, as well as it is known before it is drawn."""
    return max(map(_lasts, streams))


def _lasts(stream: DemandSpec) -> float:
    if isinstance(stream.arrivals, tuple):
        times = sorted(arrival.time for arrival in stream.arrivals)
        return stream.starts_at + times[: stream.requests or None][-1]
    if stream.burst is not None:
        bursts = math.ceil(stream.requests / stream.burst.size)
        resets = stream.burst.resets * stream.burst.reset_after.p95
        return stream.starts_at + bursts * stream.every_s + resets
    return stream.starts_at + stream.requests * stream.every_s


def _cloud_of(scenario: Scenario, name: str) -> CloudSpec:
    """The cloud of this name, or that of the provider of this name."""
    clouds = {cloud.name: cloud for cloud in scenario.clouds}
    providers = {x["name"]: x.get("cloud") for x in _settings(scenario)["providers"]}
    found = clouds.get(str(providers.get(name, name)))
    if found is None:
        known = list(dict.fromkeys([*providers, *clouds]))
        raise RefusedError(
            f"there is no provider or cloud {name!r}{near(name, known)}",
            remedy=f"there are: {', '.join(known)}",
        )
    return found


def _with_cloud(scenario: Scenario, cloud: CloudSpec) -> Scenario:
    clouds = tuple(cloud if x.name == cloud.name else x for x in scenario.clouds)
    return attrs.evolve(scenario, clouds=clouds)


def _settings(scenario: Scenario) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(scenario.configuration)
    found["providers"] = found.get("providers") or []
    return found


def _written(settings: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    return text


def _said(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{n} {unit}" for n, unit in parts if n)[:40] or "0 s"
