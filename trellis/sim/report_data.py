"""A report as plain data: what ``-o json`` prints. Documented in ``docs/how-to/simulate.md``."""

from typing import Any, Final

import attrs

from trellis.sim.report import CloudUse, Report, Waits

SCHEMA_VERSION: Final = 1
"""Rises when a key goes or means something else; new keys may come under the same number."""
GROUPS: Final = ("label", "priority", "stream", "tenant")


def as_data(report: Report, *, series: bool = True) -> dict[str, Any]:
    """The report with everything that can be told from it; times in seconds.

    Args:
        series: with the counts over time, which are most of it.
    """
    lives = report.lives
    calls = dict[str, int]()
    for cloud in report.clouds:
        for kind, count in cloud.calls.items():
            calls[kind] = calls.get(kind, 0) + count
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": report.scenario,
        "seeds": list(report.seeds),
        "span_s": round(report.span_s, 1),
        "promises": {
            promise: {"held": not count, "violations": count}
            for promise, count in report.broken.items()
        },
        "requests": {
            "filed": len(report.asked),
            "fulfilled": report.ended("fulfilled"),
            "cancelled": report.ended("cancelled"),
            "failed": report.ended("failed"),
            "unserved": report.ended(""),
        },
        "waits_s": {
            "all": _waits(report.waits()),
            **{
                f"by_{kind}": {name: _waits(x) for name, x in report.waits_by(kind).items()}
                for kind in GROUPS
            },
        },
        "clouds": [_cloud(report, cloud) for cloud in report.clouds],
        "calls_per_life": {
            "all": per_life(sum(calls.values()), lives),
            "by_kind": {kind: per_life(count, lives) for kind, count in sorted(calls.items())},
        },
        "cost": _cost(report),
        "series": [
            {"cloud": cloud.cloud, **attrs.asdict(cloud.series, value_serializer=_listed)}
            for cloud in report.clouds
            if series
        ],
    }


def per_life(count: float, lives: int) -> float:
    """So many for each node life; 0 if there was none."""
    return round(count / lives, 3) if lives else 0.0


def _waits(waits: Waits) -> dict[str, float]:
    shown = {name.removesuffix("_s"): x for name, x in attrs.asdict(waits).items()}
    return {name: round(x, 2) for name, x in shown.items()}


def _cloud(report: Report, cloud: CloudUse) -> dict[str, Any]:
    mean = report.used(cloud)
    return {
        "cloud": cloud.cloud,
        "quota": cloud.quota,
        "mean": round(mean, 2),
        "peak": cloud.peak,
        "share": round(mean / cloud.quota, 4) if cloud.quota else None,
        "made": cloud.made,
        "gone": cloud.gone,
        "handed_out": cloud.handed_out,
        "never_used": cloud.made - cloud.handed_out,
        "failed": cloud.errors,
        "quota_refusals": cloud.quota_refusals,
        "rate_refusals": cloud.rate_refusals,
        "hours_by_flavor": {k: round(x / 3600.0, 3) for k, x in cloud.flavor_s.items()},
        "cost": None if cloud.cost is None else round(cloud.cost, 4),
        "unpriced": list(cloud.unpriced),
        "calls": cloud.total_calls,
        "calls_per_life": per_life(cloud.total_calls, cloud.gone),
        "calls_by_kind": dict(cloud.calls),
    }


def _cost(report: Report) -> dict[str, Any] | None:
    if report.cost is None:
        return None
    return {
        "currency": report.currency,
        "total": round(report.cost, 4),
        "per_life": round(report.cost / report.lives, 6) if report.lives else 0.0,
    }


def _listed(_instance: object, _field: object, value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
