"""A scenario of one's own, from a YAML file; all times in it are seconds.

The clouds are written as `CloudSpec` has them, with dashes for underscores; the configuration
is a ``trellis.yaml`` written inline, or the path of one. Demand is one stream or a list of them.
"""

from pathlib import Path
from typing import Any, Final

import attrs
import yaml

from trellis.config.document import Entry, Fault, Mapping, Scalar, Sequence
from trellis.config.document import Path as KeyPath
from trellis.config.loading import faults_within, in_order, load, read_tree
from trellis.config.structure import INVALID, Structurer, near, plain
from trellis.errors import ConfigError
from trellis.sim.cloud.spec import CloudSpec
from trellis.sim.daemons import MOST_DAEMONS, DaemonSpec
from trellis.sim.demand import DemandSpec, between
from trellis.sim.demand_file import load_arrivals
from trellis.sim.entries import plugins_of
from trellis.sim.host import HostFaults
from trellis.sim.only import Only
from trellis.sim.prices import Prices
from trellis.sim.scenario import Scenario
from trellis.sim.scenario_names import (
    daemons_faults,
    demand_faults,
    labels_of,
    mappings,
    prices_faults,
    text_of,
)
from trellis.sim.twin_file import name_twins, stock_of, with_twins
from trellis.sim.zuul.spec import ZuulSpec

_MOST_CLOUDS: Final = 16
_YEAR_S: Final = 365 * 86_400.0


def _clouds(_instance: object, _field: object, value: tuple[CloudSpec, ...]) -> None:
    if not 1 <= len(value) <= _MOST_CLOUDS:
        raise ValueError(f"there must be 1 to {_MOST_CLOUDS} clouds, not {len(value)}")
    for kind in ("name", "number"):
        given = [str(getattr(cloud, kind)) for cloud in value]
        twice = next((x for x in given if given.count(x) > 1), None)
        if twice is not None:
            raise ValueError(f"two clouds have the {kind} {twice}")


def _some_clouds(instance: object, field: object, value: tuple[CloudSpec, ...]) -> None:
    if value:
        _clouds(instance, field, value)


def _some_daemons(_instance: object, _field: object, value: tuple[DaemonSpec, ...]) -> None:
    if len(value) > MOST_DAEMONS:
        raise ValueError(f"there must be at most {MOST_DAEMONS} daemons, not {len(value)}")


Demand = DemandSpec | tuple[DemandSpec, ...]


def _streams(_instance: object, _field: object, value: Any) -> None:
    names = [stream.name for stream in value] if isinstance(value, tuple) else ["one"]
    if not names:
        raise ValueError("there must be one stream of demand at least")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two streams of demand have the name {twice!r}: give each its own")


@attrs.frozen(kw_only=True)
class _Story:
    """What goes on around clouds, configuration and demand.

    Attributes:
        prices: what servers cost, for the report.
        kills: how many times the daemon is killed; of several, each of them.
        changes: how many times the configuration is changed under way.
        host: what goes wrong on the daemon's own host, until `faults_end` and by a script.
        zuul: Zuul systems that ask through ZooKeeper; the configuration has a demand source of
            the type ``zuul`` then.
        faults_end: age of the clouds, in seconds, at which the last kill and the last change
            have come and the clouds' faults should be over.
        patience_s: every request must be fulfilled within so many seconds after that.
        settle_s: so many seconds after the demand has ended, the clouds must hold nothing of
            Trellis's.
    """

    prices: Prices | None = None
    kills: int = attrs.field(default=0, validator=between(0, 1000))
    changes: int = attrs.field(default=0, validator=between(0, 1000))
    host: HostFaults = attrs.field(factory=HostFaults)
    zuul: ZuulSpec | None = None
    faults_end: float = attrs.field(default=0.0, validator=between(0.0, _YEAR_S))
    patience_s: float = attrs.field(default=1800.0, validator=between(1.0, _YEAR_S))
    settle_s: float = attrs.field(default=4500.0, validator=between(1.0, _YEAR_S))

    def __attrs_post_init__(self) -> None:
        if (self.kills or self.changes) and not self.faults_end:
            raise ValueError("kills and changes come until faults-end, which must be above 0")


@attrs.frozen(kw_only=True)
class ScenarioFile(_Story):
    """A story: clouds, a configuration, who asks for what, and what goes wrong.

    Attributes:
        clouds: the simulated clouds, 1 to 16.
        configuration: a ``trellis.yaml``, written here or named as a path. Its providers name
            the clouds above.
        demand: one stream of requests, or a list of them.
        daemons: several daemons, each with its part of the configuration, a store and kills of
            its own; left out, one has it all. Zuul's requests are there for all of them, `demand`
            asks the first one.
        only: what is left of a story that was shrunk; written by Trellis.
    """

    clouds: tuple[CloudSpec, ...] = attrs.field(validator=_clouds)
    configuration: Any
    demand: Demand = attrs.field(validator=_streams)
    daemons: tuple[DaemonSpec, ...] = attrs.field(default=(), validator=_some_daemons)
    only: Only | None = None

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if any(daemon.killed_at > self.faults_end for daemon in self.daemons):
            raise ValueError("a daemon's killed-at must not be after faults-end")


@attrs.frozen(kw_only=True)
class Assumptions(_Story):
    """What a file says of the world around a configuration that is given elsewhere.

    Attributes:
        clouds: those that are known; the others are made up.
        demand: None if the file has none.
    """

    clouds: tuple[CloudSpec, ...] = attrs.field(default=(), validator=_some_clouds)
    configuration: Any = None
    demand: Demand | None = attrs.field(default=None, validator=_streams)

    @property
    def streams(self) -> tuple[DemandSpec, ...]:
        """All streams of demand; empty if the file has none."""
        return as_streams(self.demand) if self.demand is not None else ()


@attrs.frozen(kw_only=True)
class _CloudsFile:
    clouds: tuple[CloudSpec, ...] = attrs.field(validator=_clouds)
    configuration: Any = None
    demand: Any = None
    prices: Any = None
    kills: Any = None
    changes: Any = None
    faults_end: Any = None
    patience_s: Any = None
    settle_s: Any = None
    daemons: Any = None
    only: Any = None


@attrs.frozen(kw_only=True)
class ServedScenario:
    """Clouds to be served over HTTP.

    Attributes:
        configuration: text of a ``trellis.yaml`` for them; None if the file has none.
    """

    name: str
    clouds: tuple[CloudSpec, ...]
    configuration: str | None


def load_clouds(path: Path) -> ServedScenario:
    """Read the clouds of a scenario, and its configuration if it has one.

    What only a simulation needs (demand, kills) may stand there and is not looked at.

    Args:
        path: the file; its name becomes the scenario's.

    Raises:
        ConfigError: with every fault that can be seen at once, in the order of the file.
    """
    found, tree, faults = _read(path, _CloudsFile)
    tree.entries.pop("demand", None)
    text = _configuration(tree, path, faults)
    if faults or found is INVALID:
        raise ConfigError(in_order(faults, str(path)))
    return ServedScenario(name=path.stem, clouds=found.clouds, configuration=text)


def load_scenario(path: Path) -> Scenario:
    """Read a scenario.

    Args:
        path: the file; its name becomes the scenario's.

    Raises:
        ConfigError: with every fault that can be seen at once, in the order of the file.
    """
    found, tree, faults = _read(path, ScenarioFile)
    text = _configuration(tree, path, faults) or ""
    demand = _with_arrivals(found, tree, path, faults)
    if faults or found is INVALID:
        raise ConfigError(in_order(faults, str(path)))
    return Scenario(
        name=path.stem,
        clouds=found.clouds,
        configuration=text,
        demand=demand[0],
        more_demand=demand[1:],
        prices=found.prices,
        kills=found.kills,
        changes=found.changes,
        host=found.host,
        zuul=found.zuul,
        daemons=found.daemons,
        faults_end=found.faults_end,
        patience_s=found.patience_s,
        settle_s=found.settle_s,
        only=found.only,
    )


def load_assumptions(path: Path, configuration: Path) -> Assumptions:
    """Read what a file says of clouds, demand and prices, for a configuration that is elsewhere.

    Args:
        path: the file. Each of its keys may be left out, and its ``configuration`` is not used.
        configuration: the configuration file, which names labels and providers.

    Raises:
        ConfigError: with every fault that can be seen at once, in the order of the file.
    """
    found, tree, faults = _read(path, Assumptions)
    settings, _ = read_tree(configuration)
    faults += [*demand_faults(tree, settings), *prices_faults(tree, ())]
    tree.entries["configuration"] = Entry(tree.mark, settings)
    demand = _with_arrivals(found, tree, path, faults)
    if faults or found is INVALID:
        raise ConfigError(in_order(faults, str(path)))
    assumptions: Assumptions = attrs.evolve(found, demand=demand or None)
    return assumptions


def as_streams(demand: Demand) -> tuple[DemandSpec, ...]:
    """The streams of demand, be it one or several."""
    return (demand,) if isinstance(demand, DemandSpec) else demand


def _read(path: Path, kind: type) -> tuple[Any, Mapping, list[Fault]]:
    tree, faults = read_tree(path)
    _number_clouds(tree)
    name_twins(tree, faults)
    if any(fault.path[-1:] == ("twin",) for fault in faults):
        # Each name that is missing would be one more fault, and the same one.
        raise ConfigError(in_order(faults, str(path)))
    structurer = Structurer(folder=path.parent)
    found = structurer.instance(tree, kind, ())
    faults += structurer.faults
    if found is not INVALID:
        found = attrs.evolve(found, clouds=with_twins(found.clouds, tree, faults))
    return found, tree, faults


def _with_arrivals(
    found: Any, tree: Mapping, path: Path, faults: list[Fault]
) -> tuple[DemandSpec, ...]:
    """The streams, with the files of recorded arrivals read; faults of these end it at once."""
    if found is INVALID or found.demand is None:
        return ()
    settings = tree.get("configuration")
    if isinstance(settings, Scalar) and isinstance(settings.value, str):
        named = path.parent / settings.value
        settings = read_tree(named)[0] if named.is_file() else None
    names = labels_of(settings) if isinstance(settings, Mapping) else None
    streams = []
    for number, stream in enumerate(as_streams(found.demand)):
        if isinstance(stream.arrivals, Path):
            if not stream.arrivals.is_file():
                faults.append(_no_arrivals(tree, number))
                continue
            try:
                arrivals = load_arrivals(stream.arrivals, names)
            except ConfigError as error:
                raise ConfigError([*in_order(faults, str(path)), *error.faults]) from None
            stream = attrs.evolve(stream, arrivals=arrivals)
        streams.append(stream)
    return tuple(streams)


def _no_arrivals(tree: Mapping, number: int) -> Fault:
    """The fault of a stream whose recorded arrivals are in no file."""
    demand = tree.get("demand")
    path: KeyPath = ("demand", "arrivals")
    if isinstance(demand, Sequence):
        demand, path = demand.items[number], ("demand", number, "arrivals")
    assert isinstance(demand, Mapping)
    named = demand.get("arrivals")
    assert isinstance(named, Scalar)
    message = f"there is no file {str(named.value)[:200]!r} to read arrivals from"
    return Fault(named.mark, path, message)


def _configuration(tree: Mapping, path: Path, faults: list[Fault]) -> str | None:
    """The text of the configuration that stands in a file or is named there; adds its faults."""
    settings = tree.get("configuration")
    if isinstance(settings, Mapping):
        where: KeyPath = ("configuration",)
        text = yaml.safe_dump(plain(settings), sort_keys=False)
        plugins = plugins_of(text)
        faults += faults_within(
            settings,
            plugins.providers,
            plugins.image_builders,
            plugins.demand_sources,
            folder=path.parent,
            path=where,
        )
        faults += _reference_faults(tree, settings, where)
        return text
    if isinstance(settings, Scalar) and isinstance(settings.value, str):
        named = path.parent / settings.value
        if not named.is_file():
            message = f"there is no file {settings.value[:200]!r} to take the configuration from"
            faults.append(Fault(settings.mark, ("configuration",), message))
            return None
        try:
            plugins = plugins_of(named.read_text(encoding="utf-8-sig", errors="replace"))
            load(named, plugins.providers, plugins.image_builders, plugins.demand_sources)
        except ConfigError as error:
            raise ConfigError([*in_order(faults, str(path)), *error.faults]) from None
        other, _ = read_tree(named)
        for fault in _reference_faults(tree, other, ()):
            here = fault.path[0] in tree.entries
            faults.append(fault if here else attrs.evolve(fault, mark=settings.mark))
        return named.read_text(encoding="utf-8-sig")
    if settings is not None:
        message = "expected a configuration, or the path of one"
        faults.append(Fault(settings.mark, ("configuration",), message))
    return None


def _number_clouds(tree: Mapping) -> None:
    """Give each cloud addresses of its own where the file does not say."""
    clouds = tree.get("clouds")
    for number, cloud in enumerate(clouds.items if isinstance(clouds, Sequence) else ()):
        if isinstance(cloud, Mapping) and "number" not in cloud.entries:
            mark = cloud.mark
            cloud.entries["number"] = Entry(mark, Scalar(mark, number, str(number)))


def _reference_faults(tree: Mapping, settings: Mapping, where: KeyPath) -> list[Fault]:
    """Names that stand for nothing: a cloud or region, a label in demand, a flavor in prices."""
    faults = []
    clouds = {text_of(x, "name"): x for x in mappings(tree.get("clouds"))}
    for index, provider in enumerate(mappings(settings.get("providers"))):
        path = (*where, "providers", index)
        cloud = provider.get("cloud")
        name = text_of(provider, "cloud")
        if isinstance(cloud, Scalar) and name is not None and name not in clouds:
            message = f"the scenario has no cloud {name!r}{near(name, map(str, clouds))}"
            faults.append(Fault(cloud.mark, (*path, "cloud"), message))
        elif name in clouds:
            faults += _region_faults(provider, clouds[name], path)
    faults += [*demand_faults(tree, settings), *prices_faults(tree, clouds)]
    return faults + daemons_faults(tree, settings)


def _region_faults(provider: Mapping, cloud: Mapping, path: KeyPath) -> list[Fault]:
    region, known = provider.get("region-name"), cloud.get("regions")
    names = plain(known) if isinstance(known, Sequence) else stock_of(cloud).regions
    if isinstance(region, Scalar) and isinstance(region.value, str) and region.value not in names:
        message = f"its cloud has no region {region.value!r}, but {', '.join(map(str, names))}"
        return [Fault(region.mark, (*path, "region-name"), message)]
    return []
