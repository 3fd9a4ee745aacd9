"""Names in a scenario that must stand for something: labels, providers, clouds, flavors."""

from collections.abc import Iterable

import attrs

from trellis.config.document import Entry, Fault, Mapping, Scalar, Sequence, Tree
from trellis.config.document import Path as KeyPath
from trellis.config.structure import near
from trellis.sim.demand import DEFAULT_LABELS
from trellis.sim.prices import OTHERS
from trellis.sim.twin_file import stock_of


def demand_faults(tree: Mapping, settings: Mapping) -> list[Fault]:
    """Labels and providers that demand asks for and a configuration does not have."""
    demand = tree.get("demand")
    if isinstance(demand, Mapping):
        return _stream_faults(demand, ("demand",), settings)
    faults = []
    for index, stream in enumerate(demand.items if isinstance(demand, Sequence) else ()):
        if isinstance(stream, Mapping):
            faults += _stream_faults(stream, ("demand", index), settings)
    return faults


def _stream_faults(stream: Mapping, path: KeyPath, settings: Mapping) -> list[Fault]:
    labels = labels_of(settings)
    providers = [text for x in mappings(settings.get("providers")) if (text := text_of(x, "name"))]
    faults = _unknown(stream, "provider", path, "provider", providers)
    arrivals = stream.get("arrivals")
    if isinstance(arrivals, Sequence):
        for index, arrival in enumerate(mappings(arrivals)):
            place = (*path, "arrivals", index)
            faults += _unknown(arrival, "labels", place, "label", labels)
            faults += _unknown(arrival, "provider", place, "provider", providers)
    if "labels" in stream.entries:
        return faults + _unknown(stream, "labels", path, "label", labels)
    missing = [x for x in DEFAULT_LABELS if x not in labels]
    if missing and arrivals is None:
        message = f"asks for the label {missing[0]!r}, which the configuration does not have"
        faults.append(Fault(stream.mark, path, message))
    return faults


def _unknown(
    tree: Mapping, key: str, path: KeyPath, what: str, known: Iterable[str]
) -> list[Fault]:
    """What is wrong with the name, or the names, under a key."""
    value, names = tree.get(key), list(known)
    named: list[tuple[Tree, KeyPath]] = []
    if isinstance(value, Sequence):
        named = [(item, (*path, key, index)) for index, item in enumerate(value.items)]
    elif value is not None:
        named = [(value, (*path, key))]
    return [
        Fault(
            item.mark,
            place,
            f"the configuration has no {what} {item.value[:60]!r}{near(item.value, names)}",
        )
        for item, place in named
        if isinstance(item, Scalar) and isinstance(item.value, str) and item.value not in names
    ]


def daemons_faults(tree: Mapping, settings: Mapping) -> list[Fault]:
    """Providers of no daemon or of two, deployments of one name, demand that the first has not."""
    daemons = mappings(tree.get("daemons"))
    providers = [name for x in mappings(settings.get("providers")) if (name := text_of(x, "name"))]
    faults, whose, names = list[Fault](), dict[str, int](), set[str]()
    for number, daemon in enumerate(daemons):
        path: KeyPath = ("daemons", number)
        name = text_of(daemon, "deployment")
        if name in names:
            message = f"two daemons have the deployment {name!r}: give each its own"
            faults.append(Fault(daemon.mark, path, message))
        names.add(name or "")
        faults += _unknown(daemon, "providers", path, "provider", providers)
        of_this = daemon.get("providers")
        for index, item in enumerate(of_this.items if isinstance(of_this, Sequence) else ()):
            if not isinstance(item, Scalar) or not isinstance(item.value, str):
                continue
            if item.value in whose:
                message = f"the provider {item.value[:60]!r} is that of another daemon already"
                faults.append(Fault(item.mark, (*path, "providers", index), message))
            whose.setdefault(item.value, number)
    if not daemons:
        return []
    for name in providers:
        if name not in whose:
            message = f"no daemon has the provider {name[:60]!r} of the configuration"
            faults.append(Fault(daemons[0].mark, ("daemons",), message))
    if faults or 0 not in whose.values():
        return faults
    return _of_the_first(tree, settings, whose)


def _of_the_first(tree: Mapping, settings: Mapping, whose: dict[str, int]) -> list[Fault]:
    """Labels that demand asks for, and the first daemon, who is asked, does not offer."""
    offered = {
        text_of(label, "name")
        for provider in mappings(settings.get("providers"))
        if whose.get(text_of(provider, "name") or "") == 0
        for pool in mappings(provider.get("pools"))
        for label in mappings(pool.get("labels"))
    }
    labels = [x for x in mappings(settings.get("labels")) if text_of(x, "name") in offered]
    mine = Mapping(settings.mark, {**settings.entries})
    mine.entries["labels"] = Entry(settings.mark, Sequence(settings.mark, list(labels)))
    return [
        attrs.evolve(fault, message=f"of the first daemon: {fault.message}")
        for fault in demand_faults(tree, mine)
    ]


def prices_faults(tree: Mapping, clouds: Iterable[str | None]) -> list[Fault]:
    """Clouds and flavors that have a price and are not there.

    Args:
        tree: the scenario.
        clouds: the names there are; none takes every name.
    """
    prices = tree.get("prices")
    priced = prices.get("clouds") if isinstance(prices, Mapping) else None
    known = [name for name in clouds if name is not None]
    faults = []
    for cloud, entry in priced.entries.items() if isinstance(priced, Mapping) else ():
        where = ("prices", "clouds", cloud)
        if known and cloud not in known:
            message = f"the scenario has no cloud {cloud[:60]!r}{near(cloud, known)}"
            faults.append(Fault(entry.mark, where, message))
            continue
        spec = next((x for x in mappings(tree.get("clouds")) if text_of(x, "name") == cloud), None)
        if spec is None or not isinstance(entry.value, Mapping):
            continue
        flavors = [text_of(x, "name") or "" for x in mappings(spec.get("flavors"))]
        flavors = flavors or [flavor.name for flavor in stock_of(spec).flavors]
        for flavor, price in entry.value.entries.items():
            if flavor not in (*flavors, OTHERS):
                message = f"the cloud has no flavor {flavor[:60]!r}{near(flavor, flavors)}"
                faults.append(Fault(price.mark, (*where, flavor), message))
    return faults


def labels_of(settings: Mapping) -> list[str]:
    """The labels that a configuration has."""
    return [text for x in mappings(settings.get("labels")) if (text := text_of(x, "name"))]


def mappings(tree: Tree | None) -> list[Mapping]:
    """The mappings in a list."""
    items = tree.items if isinstance(tree, Sequence) else []
    return [item for item in items if isinstance(item, Mapping)]


def text_of(tree: Mapping, key: str) -> str | None:
    """The text under a key, if there is one."""
    value = tree.get(key)
    return value.value if isinstance(value, Scalar) and isinstance(value.value, str) else None
