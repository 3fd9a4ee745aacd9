"""Simulated clouds for a configuration of one's own, from assumptions that are said plainly."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs
import yaml

from trellis.config import Configuration, as_plain
from trellis.config.durations import write_duration
from trellis.config.kinds import key_of
from trellis.errors import RefusedError
from trellis.providers.config import (
    OpenStackLabelConfig,
    OpenStackPoolConfig,
    OpenStackProviderConfig,
)
from trellis.sim.cloud.spec import (
    UNLIMITED,
    CloudSpec,
    FlavorSpec,
    ImageSpec,
    Lognormal,
    NetworkSpec,
    Quota,
    direct_networks,
)
from trellis.sim.demand import DemandSpec
from trellis.sim.scenario import Scenario
from trellis.sim.scenario_file import Assumptions
from trellis.sim.what_if import MOST_CLOUDS
from trellis.spi.config import ProviderConfig
from trellis.spi.registry import ProviderRegistry

STOCK: Final = "openstack"
UNKNOWN_ROOM: Final = 100
"""Servers of a pool that names no max-servers."""
LOAD: Final = 0.7
"""Share of the room that demand fills, where nothing is said of it."""
USE: Final = Lognormal(600.0, 1800.0)
HOURS: Final = 2.0
PATIENCE_S: Final = 6 * 3600.0
_OVERHEAD_S: Final = 40.0
"""A boot, a guest's start and a delete, on the average."""
_STANDARD: Final = "standard"
_NOT_SIMULATED: Final = frozenset({"store", "web", "images", "disabled-plugins", "demand-sources"})
_OF_THE_REAL_CLOUD: Final = frozenset(
    {"userdata", "key-name", "connection-port", "config-drive", "image", "max-cores", "max-ram"}
    | {"security-groups"}
)
"""Keys whose values stand for things that a made-up cloud does not have."""
_Z95: Final = 1.6448536269514722
"""The standard normal's 95th percentile."""
_NAMELESS: Final = re.compile(r"[^A-Za-z0-9.-]+")


@attrs.frozen(kw_only=True)
class Supposed:
    """A scenario made of a configuration.

    Attributes:
        notes: what was assumed, a line each.
    """

    scenario: Scenario
    notes: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Wish:
    """Demand as somebody says it on a command line.

    Attributes:
        per_hour: requests in an hour; None fills 70 % of the room.
        use_s: median time a node is used; one in twenty is used three times as long.
        hours: how long the demand lasts.
    """

    per_hour: float | None = None
    use_s: float | None = None
    hours: float | None = None

    def __bool__(self) -> bool:
        return (self.per_hour, self.use_s, self.hours) != (None, None, None)


def suppose(
    configuration: Configuration,
    *,
    name: str,
    types: ProviderRegistry,
    assumptions: Assumptions | None = None,
    wish: Wish = Wish(),
) -> Supposed:
    """Make a scenario of a configuration.

    Args:
        configuration: what an operator has.
        name: what the scenario is called.
        types: the types of provider that a simulation knows; others are taken for stock ones.
        assumptions: what is known of clouds, demand and prices. A cloud in it stands for all
            providers whose ``cloud`` has its name, or for the one provider of its name.
        wish: the demand, where the assumptions have none.

    Raises:
        RefusedError: there is nothing to simulate, or it is too much.
    """
    if not configuration.providers or not configuration.labels:
        raise RefusedError(
            "the configuration has no providers, or no labels: there is nothing to simulate",
            remedy="add a provider with a pool, and labels",
        )
    known = assumptions or Assumptions()
    maker = _Maker(known, types)
    providers = [maker.provider(provider) for provider in configuration.providers]
    if len(maker.clouds) > MOST_CLOUDS:
        raise RefusedError(
            f"these are {len(maker.clouds)} clouds, and a simulation has {MOST_CLOUDS} at most",
            remedy="leave some providers out of a copy of the file, and simulate that",
        )
    settings = {k: v for k, v in as_plain(configuration).items() if k not in _NOT_SIMULATED}
    settings["providers"] = providers
    streams = known.streams
    if not streams:
        streams = (_demand(configuration, maker.room, wish),)
        maker.notes.append(_said_of(streams[0]))
    clouds = [attrs.evolve(spec, number=i) for i, spec in enumerate(maker.clouds.values())]
    if len({spec.number for spec in maker.clouds.values()}) == len(clouds):
        clouds = list(maker.clouds.values())
    return Supposed(
        scenario=Scenario(
            name=name,
            clouds=tuple(clouds),
            configuration=yaml.safe_dump(settings, sort_keys=False, allow_unicode=True),
            demand=streams[0],
            more_demand=streams[1:],
            prices=known.prices,
            kills=known.kills,
            changes=known.changes,
            faults_end=known.faults_end,
            patience_s=max(known.patience_s, PATIENCE_S),
            settle_s=known.settle_s,
        ),
        notes=tuple(maker.notes),
    )


class _Maker:
    """Finds or makes the cloud of each provider.

    Attributes:
        clouds: by name, in the order of the providers.
        notes: what was assumed.
        room: servers that all of them hold together.
    """

    def __init__(self, known: Assumptions, types: ProviderRegistry) -> None:
        self._known = {cloud.name: cloud for cloud in known.clouds}
        self._types = types
        self._numbers = {cloud.number for cloud in known.clouds}
        self._made: dict[tuple[str, str | None], str] = {}
        self.clouds: dict[str, CloudSpec] = {}
        self.notes: list[str] = []
        self.room = 0

    def provider(self, provider: ProviderConfig) -> dict[str, Any]:
        """The provider as the simulation has it, on a cloud of `clouds`."""
        written = _stock(as_plain(provider))
        if self._types.get(provider.type) is None:
            written["type"] = STOCK
            self.notes.append(
                f"{provider.name}: a stock OpenStack cloud stands for its type {provider.type}"
            )
        room = _room(provider)
        for name in (provider.name, provider.cloud):
            if name in self._known:
                spec = self._known[name]
                self._take(spec)
                written["cloud"] = name
                if provider.region_name not in spec.regions:
                    written["region-name"] = spec.regions[0]
                most = spec.quota.instances
                self.room += min(room, most) if most != UNLIMITED else room
                return written
        written["cloud"] = self._made_for(provider, written, room)
        written["region-name"] = None
        self.room += room
        return written

    def _take(self, spec: CloudSpec) -> None:
        self.clouds.setdefault(spec.name, spec)

    def _made_for(self, provider: ProviderConfig, written: dict[str, Any], room: int) -> str:
        """The name of the cloud made for a provider, or for another one of its region."""
        key = provider.cloud, provider.region_name
        name = self._made.get(key)
        if name is None:
            name = self._made[key] = self._name(provider)
            number = min(set(range(2 * MOST_CLOUDS)) - self._numbers)
            self._numbers.add(number)
            # One too many is refused by its count, with a better message than a number's.
            self.clouds[name] = CloudSpec(name=name, number=number % MOST_CLOUDS, flavors=(),
                                          images=(), networks=(), quota=_only(0))  # fmt: skip
        spec = self.clouds[name]
        spec = attrs.evolve(
            spec,
            quota=_only(spec.quota.instances + room),
            flavors=_joined(spec.flavors, _flavors(written)),
            images=_joined(spec.images, _images(written)),
            networks=_joined(spec.networks, _networks(written)),
            zones=tuple(dict.fromkeys([*_zones(written), *_more(spec.zones)])) or ("nova",),
        )
        self.clouds[name] = spec
        how = "its pools' max-servers" if _says(provider) else f"assumed: {UNKNOWN_ROOM} a pool"
        self.notes.append(
            f"{provider.name}: room for {room} servers ({how}); boot "
            f"{_range(spec.boot)}, SSH {_range(spec.guest)} later, delete {_range(spec.delete)}"
        )
        return name

    def _name(self, provider: ProviderConfig) -> str:
        plain = _NAMELESS.sub("-", provider.name).strip("-.") or "cloud"
        name, number = plain, 2
        while name in self.clouds or name in self._known:
            name, number = f"{plain}-{number}", number + 1
        return name


def _stock(provider: dict[str, Any]) -> dict[str, Any]:
    """A provider's keys that the stock provider has, without those of things of the real cloud."""
    kept = _kept(provider, OpenStackProviderConfig)
    kept["pools"] = []
    for pool in provider.get("pools") or ():
        own = _kept(pool, OpenStackPoolConfig)
        own["labels"] = []
        for label in pool.get("labels") or ():
            entry = _kept(label, OpenStackLabelConfig)
            if not entry.get("cloud-image"):
                entry["cloud-image"] = label.get("image") or _STANDARD
            if not entry.get("flavor-name") and not entry.get("min-ram"):
                entry["flavor-name"] = _STANDARD
            own["labels"].append(entry)
        kept["pools"].append(own)
    return kept


def _kept(written: dict[str, Any], cls: type) -> dict[str, Any]:
    keys = {key_of(field) for field in attrs.fields(cls)} - _OF_THE_REAL_CLOUD
    return {key: value for key, value in written.items() if key in keys and value is not None}


def _says(provider: ProviderConfig) -> bool:
    return all(pool.max_servers is not None for pool in provider.pools)


def _room(provider: ProviderConfig) -> int:
    return sum(
        UNKNOWN_ROOM if pool.max_servers is None else pool.max_servers for pool in provider.pools
    )


def _only(instances: int) -> Quota:
    """A quota of servers, and of nothing else."""
    return Quota(
        instances=instances, cores=UNLIMITED, ram_mib=UNLIMITED, floating_ips=UNLIMITED,
        ports=UNLIMITED, keypairs=UNLIMITED, volumes=UNLIMITED, gigabytes=UNLIMITED,
    )  # fmt: skip


def _labels(provider: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for pool in provider["pools"]:
        yield from pool["labels"]


def _flavors(provider: dict[str, Any]) -> list[FlavorSpec]:
    found = []
    for label in _labels(provider):
        ram = label.get("min-ram") or 4096
        name = label.get("flavor-name") or f"ram-{ram}"
        found.append(FlavorSpec(name=name, cores=2, ram_mib=ram, disk_gib=40))
    return found


def _images(provider: dict[str, Any]) -> list[ImageSpec]:
    return [ImageSpec(name=label["cloud-image"]) for label in _labels(provider)]


def _networks(provider: dict[str, Any]) -> list[NetworkSpec]:
    names = [
        name
        for pool in provider["pools"]
        for part in (pool, *pool["labels"])
        for name in part.get("networks") or ()
    ]
    outer = provider.get("floating-network")
    if outer:
        inner = [NetworkSpec(name=name) for name in names or ["private"]]
        return [*inner, NetworkSpec(name=outer, external=True, attachable=False)]
    return [NetworkSpec(name=name, external=True) for name in names] or [*direct_networks()]


def _zones(provider: dict[str, Any]) -> list[str]:
    return [zone for pool in provider["pools"] for zone in pool.get("availability-zones") or ()]


def _more(zones: Sequence[str]) -> Sequence[str]:
    return () if tuple(zones) == ("nova",) else zones


def _joined(old: Sequence[Any], new: Sequence[Any]) -> tuple[Any, ...]:
    """All of both, the first of each name."""
    by_name = {thing.name: thing for thing in reversed([*old, *new])}
    return tuple(dict.fromkeys(by_name[thing.name] for thing in [*old, *new]))


def _demand(configuration: Configuration, room: int, wish: Wish) -> DemandSpec:
    use = USE if wish.use_s is None else Lognormal(wish.use_s, 3 * wish.use_s)
    offered = {x.name for p in configuration.providers for pool in p.pools for x in pool.labels}
    labels = tuple(x.name for x in configuration.labels if x.name in offered)
    if not labels or not room:
        raise RefusedError(
            "no pool offers a label and has room: nobody could be served",
            remedy="give a pool labels, and a max-servers above 0",
        )
    per_hour = wish.per_hour
    if per_hour is None:
        per_hour = LOAD * room / (_mean(use) + _OVERHEAD_S) * 3600.0
    hours = wish.hours or HOURS
    return DemandSpec(
        requests=max(1, round(per_hour * hours)),
        every_s=3600.0 / per_hour,
        labels=labels,
        mixed=False,
        sizes=(1.0,),
        use=use,
        priorities=(200,),
        cancel=0.0,
        expire=0.0,
    )


def _mean(duration: Lognormal) -> float:
    sigma = math.log(duration.p95 / duration.median) / _Z95
    return duration.median * math.exp(sigma * sigma / 2)


def _said_of(stream: DemandSpec) -> str:
    labels = ", ".join(stream.labels)
    return (
        f"demand: {3600 / stream.every_s:.0f} requests an hour by chance, {stream.requests} in "
        f"all, of one node each, used {_range(stream.use)}; labels alike: {labels}"
    )


def _range(duration: Lognormal) -> str:
    median, p95 = (write_duration(round(x)) or 0 for x in (duration.median, duration.p95))
    return f"{median} (p95 {p95})"
