"""Several daemons in one story: which providers are whose, and what each is configured with."""

from collections.abc import Iterable
from typing import Any, Final

import attrs
import yaml

from trellis.sim.demand import between

MOST_DAEMONS: Final = 8
_DAY_S: Final = 86_400.0


def _name(_instance: object, _field: object, value: str) -> None:
    if not value.strip():
        raise ValueError("must not be empty")


def _some(_instance: object, _field: object, value: tuple[str, ...]) -> None:
    if not value:
        raise ValueError("must name one provider at least")


@attrs.frozen(kw_only=True)
class DaemonSpec:
    """One of several daemons, with a store, a host and kills of its own.

    Attributes:
        deployment: the name of its deployment, which no other daemon has.
        providers: those of the configuration that it works with. Each is one daemon's.
        killed_at: when it is killed for long; 0 is never.
        down_for: so many seconds it is not started again then.
    """

    deployment: str = attrs.field(validator=_name)
    providers: tuple[str, ...] = attrs.field(validator=_some)
    killed_at: float = attrs.field(default=0.0, validator=between(0.0, _DAY_S))
    down_for: float = attrs.field(default=0.0, validator=between(0.0, _DAY_S))

    def __attrs_post_init__(self) -> None:
        if bool(self.killed_at) != bool(self.down_for):
            raise ValueError("killed-at and down-for go together")


def configuration_of(text: str, daemon: DaemonSpec) -> str:
    """What one daemon is configured with: its providers, and the labels that they offer.

    Args:
        text: the ``trellis.yaml`` of all daemons together.
    """
    settings = yaml.safe_load(text)
    settings["deployment"] = daemon.deployment
    settings["providers"] = [x for x in settings["providers"] if x["name"] in daemon.providers]
    offered = {label for _, labels in _pools(settings["providers"]) for label in labels}
    settings["labels"] = [x for x in settings["labels"] if x["name"] in offered]
    return yaml.safe_dump(settings, sort_keys=False)


def offers_of(text: str, daemons: Iterable[DaemonSpec]) -> dict[str, tuple[frozenset[str], ...]]:
    """The labels of each pool that a deployment has, by deployment."""
    settings = yaml.safe_load(text)
    return {
        daemon.deployment: tuple(
            frozenset(labels)
            for provider, labels in _pools(settings["providers"])
            if provider in daemon.providers
        )
        for daemon in daemons
    }


def _pools(providers: Iterable[dict[str, Any]]) -> Iterable[tuple[str, list[str]]]:
    for provider in providers:
        for pool in provider["pools"]:
            yield provider["name"], [label["name"] for label in pool.get("labels") or ()]
