"""What a simulation came to, as tables for people."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import attrs
import click

from trellis.cli.tables import Column, print_table

if TYPE_CHECKING:
    from trellis.sim.report import CloudUse, Report, Waits

MOST_KINDS: Final = 8
"""Kinds of API call that are shown; the JSON has all."""
_DEAR: Final = 10.0
"""From here on cents are enough."""
_TIMES: Final = 3.0
"""From here on a change is told as so many times, and not in per cent."""


@attrs.frozen
class _WaitRow:
    of: str
    waits: "Waits"


def _wait(field: str) -> Column:
    title = field.removesuffix("_s").upper()
    return Column(title, lambda row: f"{getattr(row.waits, field):.1f}")


_WAITS: Final = (
    Column("WAITS (S)", lambda row: row.of),
    Column("REQUESTS", lambda row: row.waits.count),
    *map(_wait, ("p50_s", "p90_s", "p95_s", "p99_s", "max_s")),
)


def show_report(report: "Report") -> None:
    """Print the waits, the clouds, and the calls."""
    click.echo()
    click.echo(_requests(report))
    print_table(_wait_rows(report), _WAITS)
    click.echo()
    print_table(report.clouds, _cloud_columns(report))
    for cloud in report.clouds:
        if cloud.unpriced:
            flavors = ", ".join(cloud.unpriced)
            click.echo(f"not in the cost: {cloud.cloud} {flavors}: no price given", err=True)
    click.echo()
    click.echo(_calls(report))


def show_comparison(variants: "Mapping[str, Report]") -> None:
    """Print variants side by side, the first being what they are compared with."""
    reports = list(variants.values())
    rows = [row for row in _compared(reports) if any(cell != "" for cell in row[1:])]

    def cell(place: int) -> Column:
        name = list(variants)[place]
        return Column(name.upper(), lambda row: row[place + 1], wraps=True)

    click.echo()
    print_table(rows, [Column("", lambda row: row[0]), *map(cell, range(len(reports)))])


def _requests(report: "Report") -> str:
    ended = {
        "fulfilled": report.ended("fulfilled"),
        "cancelled": report.ended("cancelled"),
        "failed": report.ended("failed"),
        "never served": report.ended(""),
    }
    told = ", ".join(f"{count} {how}" for how, count in ended.items() if count)
    broken = [f"{promise} ({n})" for promise, n in report.broken.items() if n]
    held = [promise for promise, n in report.broken.items() if not n and promise != "bug"]
    promises = f"held: {' '.join(held)}" + (f"; broken: {', '.join(broken)}" if broken else "")
    return f"{len(report.asked)} requests: {told}; promises {promises}"


def _wait_rows(report: "Report") -> list[_WaitRow]:
    rows = [_WaitRow("all", report.waits())]
    for kind in ("label", "priority", "stream", "tenant"):
        groups = report.waits_by(kind)
        if len(groups) > 1:
            rows += [_WaitRow(f"{kind} {name or '–'}", waits) for name, waits in groups.items()]
    return rows


def _cloud_columns(report: "Report") -> list[Column]:
    def used(cloud: "CloudUse") -> str:
        mean = report.used(cloud)
        if not cloud.quota:
            return f"{mean:.1f}"
        return f"{mean:.1f}/{cloud.quota} ({mean / cloud.quota:.0%})"

    columns = [
        Column("CLOUD", lambda cloud: cloud.cloud),
        Column("LIVES", lambda cloud: cloud.gone),
        Column("USED/QUOTA", used),
        Column("PEAK", lambda cloud: cloud.peak),
        Column("FAILED", lambda cloud: cloud.errors),
        Column("REFUSED QUOTA", lambda cloud: cloud.quota_refusals),
        Column("RATE", lambda cloud: cloud.rate_refusals),
        Column("CALLS A LIFE", lambda cloud: f"{cloud.total_calls / max(1, cloud.gone):.1f}"),
    ]
    if report.cost is not None:
        title = f"COST ({report.currency})"
        digits = 2 if report.cost >= _DEAR else 4
        columns.append(Column(title, lambda cloud: f"{cloud.cost or 0.0:.{digits}f}"))
    return columns


def _calls(report: "Report") -> str:
    calls = dict[str, int]()
    for cloud in report.clouds:
        for kind, count in cloud.calls.items():
            calls[kind] = calls.get(kind, 0) + count
    lives = max(1, report.lives)
    most = sorted(calls.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{kind} {count / lives:.2f}" for kind, count in most[:MOST_KINDS])
    rest = sum(count for _, count in most[MOST_KINDS:])
    others = f", others {rest / lives:.2f}" if rest else ""
    return f"API calls a life {sum(calls.values()) / lives:.2f}: {shown}{others}"


def _compared(reports: "Sequence[Report]") -> list[tuple[str, ...]]:
    """The rows: a name, then a cell for each variant with its change against the first."""

    def row(
        name: str, values: Sequence[float | None], form: str, unit: str = ""
    ) -> tuple[str, ...]:
        first = values[0]
        return (name, *(_cell(value, first, form, unit, place > 0) for place, value in
                        enumerate(values)))  # fmt: skip

    waits = [report.waits() for report in reports]
    rows = [
        row("requests fulfilled", [r.ended("fulfilled") for r in reports], ".0f"),
        row("failed or never served", [r.ended("failed") + r.ended("") for r in reports], ".0f"),
        row("wait p50", [w.p50_s for w in waits], ".1f", " s"),
        row("wait p90", [w.p90_s for w in waits], ".1f", " s"),
        row("wait p95", [w.p95_s for w in waits], ".1f", " s"),
        row("wait p99", [w.p99_s for w in waits], ".1f", " s"),
        row("wait max", [w.max_s for w in waits], ".1f", " s"),
    ]
    for name in dict.fromkeys(cloud.cloud for r in reports for cloud in r.clouds):
        rows.append(row(f"servers at {name}, mean", [_mean(r, name) for r in reports], ".1f"))
    lives = [r.lives for r in reports]
    calls = [sum(c.total_calls for c in r.clouds) / max(1, r.lives) for r in reports]
    rows += [
        row("node lives", lives, ".0f"),
        row("API calls a life", calls, ".2f"),
        row("refused for quota", [sum(c.quota_refusals for c in r.clouds) for r in reports], ".0f"),
    ]
    if any(r.cost is not None for r in reports):
        unit = f" {reports[0].currency}"
        rows.append(row("cost", [r.cost for r in reports], ".2f", unit))
        per = [None if r.cost is None else 1000 * r.cost / max(1, r.lives) for r in reports]
        rows.append(row("cost of 1000 lives", per, ".2f", unit))
    return rows


def _mean(report: "Report", name: str) -> float | None:
    return next((report.used(cloud) for cloud in report.clouds if cloud.cloud == name), None)


def _cell(value: float | None, first: float | None, form: str, unit: str, tells: bool) -> str:
    if value is None:
        return "–"
    text = f"{value:{form}}{unit}"
    if not tells or first is None or f"{first:{form}}" == f"{value:{form}}":
        return text
    if not first:
        return f"{text} (+{value - first:{form}})"
    ratio = value / first
    return f"{text} (×{ratio:.1f})" if ratio >= _TIMES else f"{text} ({ratio - 1:+.0%})"
