"""Where a daemon can be killed: at its calls, at its writes, at any await, at any moment.

A point has a name that is the same in every seed, so that a hunt can tell at which of them no
kill ever landed.
"""

import re
from collections import Counter
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, Final

AT_A_MOMENT: Final = "at a moment"
"""Whatever the daemon does at that time: all its tasks wait."""
UNDER_WAY: Final = "store append, under way"
"""Counted beside the point at which it was killed, where a write had been begun by then."""

LATE_POINTS: Final = ("DELETE network /ports/*, before", "DELETE network /ports/*, after")
"""Passed minutes after a start only: what cannot carry our tag is deleted after two sightings."""

Passes = Counter[str]
"""How many times each point was passed, or how many kills landed there."""

_VERSION: Final = re.compile(r"v\d+(\.\d+)?\Z")
_PROJECT: Final = re.compile(r"[0-9a-f]{32}\Z")
_DIGIT: Final = re.compile(r"\d")
_WORDS: Final = frozenset({"detail", "tokens"})
"""What stands where an id could stand, and is none."""
_OURS: Final = ("trellis.", "trellis_zuul.")
_PLAYED: Final = ("trellis.sim", "trellis.store.simulated")


@lru_cache(maxsize=4096)
def call_point(method: str, path: str) -> str:
    """The name of a call, as ``POST compute /servers``: ids are ``*``, regions are left out."""
    parts = path.strip("/").split("/")
    if parts[0] == "identity":
        service, rest = parts[0], parts[1:]
    else:
        service, rest = parts[1] if len(parts) > 1 else "?", parts[2:]
    service = service.removesuffix("-moved")  # another endpoint of the same service
    if service == "object-store":
        return f"{method} {service} /{'/'.join('*' for _ in rest[2:4])}"  # no word of it is fixed
    if rest and _VERSION.match(rest[0]):
        rest = rest[1:]
    if service == "volume" or (rest and _PROJECT.match(rest[0])):
        rest = rest[1:]  # cinder's paths name the project first, and those of old novas
    starred = ["*" if place % 2 and part not in _WORDS else part for place, part in enumerate(rest)]
    return f"{method} {service} /{'/'.join(starred)}"


@lru_cache(maxsize=4096)
def znode_point(name: str, path: str) -> str:
    """The name of a call of ZooKeeper, as ``zookeeper write /nodepool/nodes/*``."""
    starred = ["*" if _DIGIT.search(part) else part for part in path.split("/")]
    return f"zookeeper {name} {'/'.join(starred)}"


def await_point(coroutine: Coroutine[Any, Any, Any]) -> str:
    """The name of the place at which a task of the daemon waits, as ``await life.Life._settle``.

    It is the innermost function of the daemon itself in the chain of those who await each other.
    """
    found = ""
    link: Any = coroutine
    while link is not None:
        frame = getattr(link, "cr_frame", None) or getattr(link, "gi_frame", None)
        if frame is not None:
            module = frame.f_globals.get("__name__", "")
            if module.startswith(_OURS) and not module.startswith(_PLAYED):
                found = f"await {module.rpartition('.')[2]}.{frame.f_code.co_qualname}"
        link = getattr(link, "cr_await", None) or getattr(link, "gi_yieldfrom", None)
    return found
