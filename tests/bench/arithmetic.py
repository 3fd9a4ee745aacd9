"""From facts to figures: quantiles, and what of a wait was not the cloud's own."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs


@attrs.define(kw_only=True)
class Life:
    """One node's life as its requestor saw it; times in seconds of the bench's clock.

    Attributes:
        filed: just before the request was sent.
        ready: when the requestor had the answer that shows the node.
        released: just before the release was sent.
        moved: providers were tried for it in vain before.
    """

    key: str
    filed: float
    ready: float = math.nan
    released: float = math.nan
    request_id: str = ""
    node_id: str = ""
    server_id: str = ""
    provider: str = ""
    moved: bool = False

    @property
    def wait_s(self) -> float:
        """From filed to ready."""
        return self.ready - self.filed


@attrs.define
class ServerTimes:
    """One server's life as its cloud knows it, in seconds of the bench's clock; nan is never.

    Attributes:
        created: when the call that made it reached the cloud.
        ssh_at: when its guest began to answer.
        deleting: when the first call that deleted it reached the cloud.
    """

    created: float = math.nan
    active: float = math.nan
    ssh_at: float = math.nan
    deleting: float = math.nan
    gone: float = math.nan

    @property
    def boot_s(self) -> float:
        """The cloud's own part of a launch."""
        return self.ssh_at - self.created

    @property
    def delete_s(self) -> float:
        """The cloud's own part of a deletion."""
        return self.gone - self.deleting


def server_times(facts: Iterable[Mapping[str, Any]], offset_s: float) -> dict[str, ServerTimes]:
    """Each server's times, by id.

    Args:
        facts: a cloud's, as its control face tells them.
        offset_s: what must be added to the cloud's times to get the bench's.
    """
    found: dict[str, ServerTimes] = {}
    for fact in facts:
        asked = fact["asked_at"]
        at = (fact["at"] if asked is None else asked) + offset_s
        match fact["what"]:
            case "server-created":
                found[fact["id"]] = ServerTimes(created=at)
            case "server-active" if fact["id"] in found:
                server = found[fact["id"]]
                server.active = at
                server.ssh_at = math.nan if fact["ssh_at"] is None else fact["ssh_at"] + offset_s
            case "server-deleting" if fact["id"] in found:
                server = found[fact["id"]]
                if math.isnan(server.deleting):
                    server.deleting = at
            case "server-deleted" if fact["id"] in found:
                found[fact["id"]].gone = at
    return found


def ready_overhead_s(life: Life, server: ServerTimes) -> float:
    """What Trellis added: from filed to ready as the requestor learns it, without the boot."""
    return life.wait_s - server.boot_s


def gone_overhead_s(life: Life, server: ServerTimes) -> float:
    """What Trellis added: from the release to gone in the cloud, without the cloud's delete."""
    return (server.gone - life.released) - server.delete_s


def known_gone_overhead_s(life: Life, server: ServerTimes, recorded: float) -> float:
    """As `gone_overhead_s`, until Trellis knows it and gives its room to another."""
    return (recorded - life.released) - server.delete_s


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies, by linear interpolation; nan of none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(values: Sequence[float]) -> float:
    """The middle one; nan of none."""
    return quantile(values, 0.5)


def calls_per_node(
    before: Mapping[str, int], after: Mapping[str, int], lives: float
) -> dict[str, float]:
    """Calls by kind in a stretch of time, for each life in it; the most frequent first."""
    made = {kind: after[kind] - before.get(kind, 0) for kind in after}
    return {
        kind: number / lives
        for kind, number in sorted(made.items(), key=lambda item: -item[1])
        if number and lives
    }
