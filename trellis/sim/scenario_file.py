"""A scenario of one's own, from a YAML file; all times in it are seconds.

The clouds are written as `CloudSpec` has them, with dashes for underscores; the configuration
is a ``trellis.yaml`` written inline, or the path of one.
"""

from pathlib import Path
from typing import Any, Final

import attrs
import yaml

from trellis.config.document import Entry, Fault, Mapping, Scalar, Sequence, Tree
from trellis.config.document import Path as KeyPath
from trellis.config.loading import faults_within, in_order, load, read_tree
from trellis.config.structure import INVALID, Structurer, near, plain
from trellis.errors import ConfigError
from trellis.plugin_host import PluginHost, built_in_plugins
from trellis.sim.cloud.spec import CloudSpec
from trellis.sim.scenario import DEFAULT_LABELS, DemandSpec, Scenario, between
from trellis.spi.registry import ProviderRegistry

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


@attrs.frozen(kw_only=True)
class _File:
    clouds: tuple[CloudSpec, ...] = attrs.field(validator=_clouds)
    configuration: Any
    demand: DemandSpec
    kills: int = attrs.field(default=0, validator=between(0, 1000))
    changes: int = attrs.field(default=0, validator=between(0, 1000))
    faults_end: float = attrs.field(default=0.0, validator=between(0.0, _YEAR_S))
    patience_s: float = attrs.field(default=1800.0, validator=between(1.0, _YEAR_S))
    settle_s: float = attrs.field(default=4500.0, validator=between(1.0, _YEAR_S))

    def __attrs_post_init__(self) -> None:
        if (self.kills or self.changes) and not self.faults_end:
            raise ValueError("kills and changes come until faults-end, which must be above 0")


@attrs.frozen(kw_only=True)
class _CloudsFile:
    clouds: tuple[CloudSpec, ...] = attrs.field(validator=_clouds)
    configuration: Any = None
    demand: Any = None
    kills: Any = None
    changes: Any = None
    faults_end: Any = None
    patience_s: Any = None
    settle_s: Any = None


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
    tree, faults = read_tree(path)
    _number_clouds(tree)
    structurer = Structurer(folder=path.parent)
    found = structurer.instance(tree, _CloudsFile, ())
    faults += structurer.faults
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
    tree, faults = read_tree(path)
    _number_clouds(tree)
    structurer = Structurer(folder=path.parent)
    found = structurer.instance(tree, _File, ())
    faults += structurer.faults
    text = _configuration(tree, path, faults) or ""
    if faults or found is INVALID:
        raise ConfigError(in_order(faults, str(path)))
    return Scenario(
        name=path.stem,
        clouds=found.clouds,
        configuration=text,
        demand=found.demand,
        kills=found.kills,
        changes=found.changes,
        faults_end=found.faults_end,
        patience_s=found.patience_s,
        settle_s=found.settle_s,
    )


def _configuration(tree: Mapping, path: Path, faults: list[Fault]) -> str | None:
    """The text of the configuration that stands in a file or is named there; adds its faults."""
    settings = tree.get("configuration")
    if isinstance(settings, Mapping):
        where: KeyPath = ("configuration",)
        faults += faults_within(settings, _builtin_types(), folder=path.parent, path=where)
        faults += _reference_faults(tree, settings, where)
        return yaml.safe_dump(plain(settings), sort_keys=False)
    if isinstance(settings, Scalar) and isinstance(settings.value, str):
        named = path.parent / settings.value
        try:
            load(named, _builtin_types())
        except ConfigError as error:
            raise ConfigError([*in_order(faults, str(path)), *error.faults]) from None
        other, _ = read_tree(named)
        faults += [attrs.evolve(x, mark=settings.mark) for x in _reference_faults(tree, other, ())]
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
    """Names that stand for nothing: a provider's cloud or region, a label in demand."""
    faults = []
    clouds = {_text(x, "name"): x for x in _mappings(tree.get("clouds"))}
    for index, provider in enumerate(_mappings(settings.get("providers"))):
        path = (*where, "providers", index)
        cloud = provider.get("cloud")
        name = _text(provider, "cloud")
        if isinstance(cloud, Scalar) and name is not None and name not in clouds:
            message = f"the scenario has no cloud {name!r}{near(name, map(str, clouds))}"
            faults.append(Fault(cloud.mark, (*path, "cloud"), message))
        elif name in clouds:
            faults += _region_faults(provider, clouds[name], path)
    labels = [text for x in _mappings(settings.get("labels")) if (text := _text(x, "name"))]
    demand = tree.get("demand")
    wanted = demand.get("labels") if isinstance(demand, Mapping) else None
    if not isinstance(wanted, Sequence):
        missing = [x for x in DEFAULT_LABELS if x not in labels]
        if isinstance(demand, Mapping) and missing:
            message = f"asks for the label {missing[0]!r}, which the configuration does not have"
            faults.append(Fault(demand.mark, ("demand",), message))
        return faults
    for index, item in enumerate(wanted.items):
        if isinstance(item, Scalar) and isinstance(item.value, str) and item.value not in labels:
            message = f"the configuration has no label {item.value!r}{near(item.value, labels)}"
            faults.append(Fault(item.mark, ("demand", "labels", index), message))
    return faults


def _region_faults(provider: Mapping, cloud: Mapping, path: KeyPath) -> list[Fault]:
    region, known = provider.get("region-name"), cloud.get("regions")
    names = plain(known) if isinstance(known, Sequence) else ["RegionOne"]
    if isinstance(region, Scalar) and isinstance(region.value, str) and region.value not in names:
        message = f"its cloud has no region {region.value!r}, but {', '.join(map(str, names))}"
        return [Fault(region.mark, (*path, "region-name"), message)]
    return []


def _mappings(tree: Tree | None) -> list[Mapping]:
    items = tree.items if isinstance(tree, Sequence) else []
    return [item for item in items if isinstance(item, Mapping)]


def _text(tree: Mapping, key: str) -> str | None:
    value = tree.get(key)
    return value.value if isinstance(value, Scalar) and isinstance(value.value, str) else None


def _builtin_types() -> ProviderRegistry:
    """The provider types that come with Trellis; a scenario knows no others."""
    return PluginHost(built_in_plugins()).providers
