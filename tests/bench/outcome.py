"""What one run of a workload gives: figures, and what must never be."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from tests.bench.arithmetic import (
    Life,
    ServerTimes,
    calls_per_node,
    gone_overhead_s,
    known_gone_overhead_s,
    median,
    quantile,
    ready_overhead_s,
)
from tests.bench.stand import Snapshot


@attrs.define(kw_only=True)
class Outcome:
    """Of one run.

    Attributes:
        figures: by name; the table and the goals know them by it.
        calls: calls for each node life, by kind.
        statuses: the clouds' answers, by HTTP status.
        refused: how many requests were not served.
        faults: why the run is broken; empty if it is not.
    """

    figures: dict[str, float] = attrs.field(factory=dict)
    calls: dict[str, float] = attrs.field(factory=dict)
    statuses: dict[str, int] = attrs.field(factory=dict)
    refused: int = 0
    faults: list[str] = attrs.field(factory=list)

    def as_json(self) -> dict[str, Any]:
        """For the file."""
        return attrs.asdict(self)


def waits(
    lives: Sequence[Life], servers: Mapping[str, ServerTimes], recorded: Mapping[str, float]
) -> dict[str, float]:
    """What Trellis added to the clouds' own times, over these lives.

    Args:
        lives: whole ones.
        servers: by server id.
        recorded: when Trellis had recorded a node as gone, by node id.
    """
    pairs = [(life, servers[life.server_id]) for life in lives]
    ready = [ready_overhead_s(life, server) for life, server in pairs]
    gone = [gone_overhead_s(life, server) for life, server in pairs]
    known = [known_gone_overhead_s(life, s, recorded[life.node_id]) for life, s in pairs]
    return {
        "lives": float(len(pairs)),
        "ready_p50_s": median(ready),
        "ready_p95_s": quantile(ready, 0.95),
        "gone_p50_s": median(gone),
        "gone_p95_s": quantile(gone, 0.95),
        "known_gone_p50_s": median(known),
        "known_gone_p95_s": quantile(known, 0.95),
        "boot_p50_s": median([server.boot_s for _, server in pairs]),
        "delete_p50_s": median([server.delete_s for _, server in pairs]),
    }


def costs(
    before: Snapshot, after: Snapshot, servers: Mapping[str, ServerTimes]
) -> tuple[dict[str, float], dict[str, float]]:
    """What a node life costs in a stretch of time: (figures, calls by kind).

    A life counts half where its server is created and half where it is gone, so that those cut
    by the ends of the stretch are neither forgotten nor counted twice.
    """
    began = sum(before.at <= server.created < after.at for server in servers.values())
    ended = sum(before.at <= server.gone < after.at for server in servers.values())
    lives, seconds = (began + ended) / 2, after.at - before.at
    calls = calls_per_node(before.calls, after.calls, lives)
    used = {who: after.cpu_s[who] - before.cpu_s[who] for who in after.cpu_s}
    everybody = used.pop("all")
    figures = {
        "seconds": seconds,
        "lives_per_s": lives / seconds,
        "gone_per_s": ended / seconds,
        "calls_per_node": sum(calls.values()),
        **{f"{who}_cpu_ms": 1000 * s / lives if lives else math.nan for who, s in used.items()},
        **{f"{who}_cores": s / seconds for who, s in used.items()},
        "others_cores": max(0.0, everybody - sum(used.values())) / seconds,
    }
    return figures, calls


def refusals(facts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Creates that the clouds refused for quota, and calls refused for their rate."""
    created = sum(fact["what"] == "server-created" for fact in facts)
    refused = sum(
        fact["what"] == "quota-refused" and fact["id"].endswith("/servers") for fact in facts
    )
    return {
        "created": float(created),
        "quota_refused_share": refused / max(1, created + refused),
        "rate_limited": float(sum(fact["what"] == "rate-limited" for fact in facts)),
    }
