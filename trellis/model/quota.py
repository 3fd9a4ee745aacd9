"""Resources and the arithmetic of quota: what is allowed, what is used, what is left.

Unlimited and unknown are values of their own, never numbers: nothing is subtracted from them
(quirks.md part 1 §5, clouds that answer -1).
"""

import math
from collections.abc import Iterable
from functools import lru_cache
from operator import attrgetter
from typing import Final

import attrs

UNLIMITED: Final = math.inf
"""A limit that never binds. It is a limit only: use is always a whole number."""

UNKNOWN: Final = None
"""A limit the cloud did not tell. It never refuses: the cloud will say no if it must."""

Limit = float | int | None


@attrs.frozen(kw_only=True)
class Resources:
    """How much of each thing that clouds count: the size of a node, or a sum of sizes."""

    instances: int = 0
    cores: int = 0
    ram_mib: int = 0
    floating_ips: int = 0
    ports: int = 0
    volumes: int = 0
    volume_gib: int = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(
            instances=self.instances + other.instances,
            cores=self.cores + other.cores,
            ram_mib=self.ram_mib + other.ram_mib,
            floating_ips=self.floating_ips + other.floating_ips,
            ports=self.ports + other.ports,
            volumes=self.volumes + other.volumes,
            volume_gib=self.volume_gib + other.volume_gib,
        )

    def __sub__(self, other: "Resources") -> "Resources":
        return Resources(
            instances=self.instances - other.instances,
            cores=self.cores - other.cores,
            ram_mib=self.ram_mib - other.ram_mib,
            floating_ips=self.floating_ips - other.floating_ips,
            ports=self.ports - other.ports,
            volumes=self.volumes - other.volumes,
            volume_gib=self.volume_gib - other.volume_gib,
        )

    def at_least_zero(self) -> "Resources":
        """The same with nothing below zero: what others use can never be negative."""
        return Resources(
            instances=max(0, self.instances),
            cores=max(0, self.cores),
            ram_mib=max(0, self.ram_mib),
            floating_ips=max(0, self.floating_ips),
            ports=max(0, self.ports),
            volumes=max(0, self.volumes),
            volume_gib=max(0, self.volume_gib),
        )


_NOTHING: Final = Resources()


@lru_cache(maxsize=64)
def instances(count: int) -> Resources:
    """So many instances, and nothing else that is counted."""
    return Resources(instances=count)


def total(sizes: Iterable[Resources]) -> Resources:
    """What these come to together."""
    found: Resources | None = None
    for size in sizes:
        found = size if found is None else found + size
    return _NOTHING if found is None else found


RESOURCE_NAMES: Final = tuple(field.name for field in attrs.fields(Resources))
_FIGURES: Final = attrgetter(*RESOURCE_NAMES)
_NO_LIMITS: Final = (UNKNOWN,) * len(RESOURCE_NAMES)


@attrs.frozen(kw_only=True)
class Limits:
    """The most that may be used of each thing; `UNLIMITED` and `UNKNOWN` bind nothing."""

    instances: Limit = UNKNOWN
    cores: Limit = UNKNOWN
    ram_mib: Limit = UNKNOWN
    floating_ips: Limit = UNKNOWN
    ports: Limit = UNKNOWN
    volumes: Limit = UNKNOWN
    volume_gib: Limit = UNKNOWN

    def short_of(self, used: Resources, wanted: Resources) -> tuple[str, ...]:
        """Name each thing of which *wanted* on top of *used* would be too much."""
        limits = _FIGURES(self)
        if limits == _NO_LIMITS:
            return ()
        short = []
        for name, limit in zip(RESOURCE_NAMES, limits, strict=True):
            if limit is None:
                continue
            more = getattr(wanted, name)
            if more > 0 and getattr(used, name) + more > limit:
                short.append(name)
        return tuple(short)


@attrs.frozen(kw_only=True)
class QuotaReading:
    """What a cloud said of its quota at one moment: the limits, and all that is used by anyone."""

    limits: Limits
    used: Resources
    read_at: float
