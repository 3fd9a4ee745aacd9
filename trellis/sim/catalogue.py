"""Every fault the simulation knows, by name: what it does, and where such a thing was met.

A scenario asks for a fault by its name; when it really strikes, it is counted under that name
(`Struck`), so that a hunt can tell which faults no seed has met.
"""

from collections import Counter
from typing import Final

import attrs

Struck = Counter[str]
"""How many times each fault took effect, by its name."""


@attrs.frozen
class KnownFault:
    """One kind of trouble.

    Attributes:
        name: as in scenario files, with dashes.
        does: what happens, in one sentence.
        source: where it was met: a section of the documents, an interface's reference, a bug.
    """

    name: str
    does: str
    source: str


ROAD: Final = (
    KnownFault(
        "lose-answer",
        "A call that changes something is carried out, and its answer never comes.",
        "nodepool.md §4",
    ),
)
"""On the way of a call: connections, gateways, rate limits, the identity service."""

CLOUD: Final = (
    KnownFault("boot-error", "A server ends in ERROR instead of ACTIVE.", "quirks.md §5"),
)
"""In the cloud itself: servers, lists, quota, networks, volumes, images."""

HOST: Final[tuple[KnownFault, ...]] = ()
"""On our side: clock, disk, store, configuration, credentials, kills."""

CATALOGUE: Final = {fault.name: fault for fault in (*ROAD, *CLOUD, *HOST)}
