"""The rows of the table: which figure of which workload, and what it is to reach."""

import math
from collections.abc import Mapping
from typing import Any, Final

import attrs

from tests.bench.workloads.plugins import places_of
from trellis.sim.clouds import TWINS


@attrs.frozen(kw_only=True)
class Row:
    """One figure.

    Attributes:
        workload: which gives it.
        figure: its name there.
        what: as the table calls it.
        most: it is to be at most this; the name of another figure takes that one.
        least: it is to be at least this.
        minus: a workload whose figure of the same name is taken off.
    """

    workload: str
    figure: str
    what: str
    unit: str = "s"
    most: float | str | None = None
    least: float | None = None
    minus: str | None = None


@attrs.frozen(kw_only=True)
class Measured:
    """A row with what was measured.

    Attributes:
        goal: in words, empty if there is none.
        short_by: by how much it is missed; 0 if it is reached, nan if there is no goal.
    """

    row: Row
    value: float
    goal: str
    short_by: float

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None if there is none."""
        return None if math.isnan(self.short_by) else self.short_by == 0.0

    def as_json(self) -> dict[str, Any]:
        """For the file."""
        return {
            "workload": self.row.workload,
            "figure": self.row.figure,
            "what": self.row.what,
            "unit": self.row.unit,
            "value": self.value,
            "goal": self.goal,
            "met": self.met,
            "short_by": None if math.isnan(self.short_by) else self.short_by,
        }


def _waits(workload: str, situation: str, **most: float) -> tuple[Row, ...]:
    return tuple(
        Row(
            workload=workload,
            figure=f"{kind}_{share}_s",
            what=f"{text}, {situation}, {share}",
            most=most.get(f"{kind}_{share}"),
        )
        for kind, text in (
            ("ready", "request to ready beyond boot"),
            ("gone", "release to gone beyond delete"),
            ("known_gone", "release to known gone beyond delete"),
        )
        for share in ("p50", "p95")
    )


def _costs(workload: str, situation: str, *, calls: float | None = None) -> tuple[Row, ...]:
    return (
        Row(
            workload=workload,
            figure="calls_per_node",
            what=f"API calls per node life, {situation}",
            unit="calls",
            most=calls,
        ),
        Row(
            workload=workload,
            figure="daemon_cpu_ms",
            what=f"daemon's CPU per node life, {situation}",
            unit="ms",
            most=8.0,
        ),
        Row(
            workload=workload,
            figure="quota_refused_share",
            what=f"creates refused for quota, {situation}",
            unit="%",
            most=0.01,
        ),
    )


def _plugins() -> tuple[Row, ...]:
    """What stock needs by each way to an address, and what each plugin adds to its own."""
    ways = {"direct": "own addresses", "floating": "floating IPs", "volume": "boot from volume"}
    stock = tuple(
        Row(
            workload="plugins",
            figure=f"stock_{way}_calls",
            what=f"API calls per node life, stock, {words}",
            unit="calls",
        )
        for way, words in ways.items()
    )
    added = tuple(
        Row(
            workload="plugins",
            figure=f"{place}_{what}",
            what=f"API calls {words} {place}, on its twin",
            unit="calls",
            most=1.0 if what == "more" else None,
        )
        for kind in TWINS
        for place in places_of(kind)
        for what, words in (("calls", "per node life, plugin"), ("more", "added by plugin"))
    )
    return (*stock, *added)


_TIGHT: Final = {"ready_p50": 0.5, "ready_p95": 1.5, "gone_p50": 0.5, "gone_p95": 1.5}

ROWS: Final = (
    *_waits("in-flight-1", "1 in flight"),
    *_waits("in-flight-50", "50 in flight", **_TIGHT),
    *_costs("in-flight-50", "50 in flight", calls=2.9),
    *_waits("in-flight-500", "500 in flight"),
    *_costs("in-flight-500", "500 in flight", calls=2.3),
    *_waits("guest-50", "50 in flight, sshd 3 s after ACTIVE"),
    *_waits("latency-50", "50 in flight, calls of 0.3 s", ready_p50=1.2),
    *_waits("burst-1000", "1,000 filed at once", ready_p50=5.0),
    *_costs("burst-1000", "1,000 filed at once"),
    Row(
        workload="floating-50",
        figure="calls_per_node",
        what="API calls added by a floating IP, 50 in flight",
        unit="calls",
        most=3.0,
        minus="in-flight-50",
    ),
    *_waits("floating-50", "50 in flight, floating IPs"),
    Row(
        workload="sustained",
        figure="lives_per_s",
        what="sustained node lives",
        unit="/s",
        least=100.0,
    ),
    Row(
        workload="sustained",
        figure="daemon_cpu_ms",
        what="daemon's CPU per node life, sustained",
        unit="ms",
        most=8.0,
    ),
    Row(workload="sustained", figure="daemon_cores", what="daemon, sustained", unit="cores"),
    Row(workload="sustained", figure="clouds_cores", what="clouds, sustained", unit="cores"),
    Row(workload="sustained", figure="bench_cores", what="bench, sustained", unit="cores"),
    Row(
        workload="quota",
        figure="quota_share",
        what="node lives at a full quota, of the ideal",
        unit="%",
        least=0.96,
    ),
    Row(
        workload="quota",
        figure="quota_refused_share",
        what="creates refused for quota, at a full quota",
        unit="%",
        most=0.01,
    ),
    Row(
        workload="quota",
        figure="calls_per_node",
        what="API calls per node life, at a full quota",
        unit="calls",
    ),
    Row(workload="memory", figure="idle_mib", what="memory, idle", unit="MiB", most=95.0),
    Row(workload="memory", figure="at_1000_mib", what="memory, 1,000 nodes", unit="MiB"),
    Row(
        workload="memory",
        figure="at_10000_mib",
        what="memory, 10,000 nodes, 500 of them in flight",
        unit="MiB",
        most=200.0,
    ),
    Row(
        workload="restart",
        figure="serves_again_s",
        what="kill -9 with 1,000 nodes: serving requests",
    ),
    Row(
        workload="restart",
        figure="launches_again_s",
        what="kill -9 with 1,000 nodes: launching again",
        most=5.0,
    ),
    Row(
        workload="limit",
        figure="calls_per_node",
        what="API calls per node life, under 20 calls/s",
        unit="calls",
        most=2.5,
    ),
    Row(
        workload="limit",
        figure="failed_share",
        what="requests failed, under 20 calls/s",
        unit="%",
        most=0.0,
    ),
    Row(
        workload="limit",
        figure="surplus",
        what="surplus servers, under 20 calls/s",
        unit="",
        most=0.0,
    ),
    Row(
        workload="limit",
        figure="rate_limited",
        what="calls refused for their rate, under 20 calls/s",
        unit="",
    ),
    Row(
        workload="hung",
        figure="p95_shift_s",
        what="one of five clouds hung: others' p95 moves by",
        most="p95_shift_allowed_s",
    ),
    Row(
        workload="hung",
        figure="caught",
        what="one of five clouds hung: requests planned there first",
        unit="",
    ),
    *_plugins(),
    Row(
        workload="uploads",
        figure="of_curl",
        what="image upload, 2 GiB to 3 clouds at once, of curl's rate",
        unit="%",
        least=0.9,
    ),
    Row(
        workload="uploads",
        figure="upload_mib_per_s",
        what="image upload, all three together",
        unit="MiB/s",
    ),
    Row(
        workload="uploads",
        figure="grown_mib",
        what="image upload, peak of the daemon's memory above idle",
        unit="MiB",
        most=100.0,
    ),
    Row(
        workload="uploads",
        figure="block_ms",
        what="image upload, longest block of the event loop",
        unit="ms",
        most=50.0,
    ),
    Row(
        workload="uploads",
        figure="block_cpu_ms",
        what="image upload, longest block, the part it computed",
        unit="ms",
    ),
    *_waits("zuul-50", "Zuul, 50 in flight", ready_p50=0.6, ready_p95=1.6),
    Row(
        workload="zuul-50",
        figure="calls_per_node",
        what="API calls per node life, Zuul, 50 in flight",
        unit="calls",
    ),
    Row(
        workload="zuul-50",
        figure="daemon_cpu_ms",
        what="daemon's CPU per node life, Zuul, 50 in flight",
        unit="ms",
    ),
    *(
        Row(
            workload="zuul-50",
            figure=f"writes_{who}",
            what=f"ZooKeeper writes of {whose} per node life",
            unit="",
            most=most,
        )
        for who, whose, most in (("trellis", "Trellis", 12.0), ("zuul", "Zuul", None))
    ),
    *(
        Row(
            workload="zuul-50",
            figure=f"reads_{who}",
            what=f"ZooKeeper reads of {whose} per node life",
            unit="",
        )
        for who, whose in (("trellis", "Trellis"), ("zuul", "Zuul"))
    ),
    Row(
        workload="zuul-sustained",
        figure="lives_per_s",
        what="sustained node lives through ZooKeeper",
        unit="/s",
        least=50.0,
    ),
    *(
        Row(
            workload="zuul-sustained",
            figure=f"{who}_cores",
            what=f"{who}, sustained through ZooKeeper",
            unit="cores",
        )
        for who in ("daemon", "zookeeper", "clouds", "bench", "others")
    ),
    *(
        Row(
            workload="zuul-sustained",
            figure=f"{who}_cpu_ms",
            what=f"CPU per node life through ZooKeeper, {whose}",
            unit="ms",
        )
        for who, whose in (
            ("daemon", "daemon"),
            ("zookeeper", "ZooKeeper"),
            ("clouds", "simulated clouds"),
            ("bench", "bench, as Zuul"),
        )
    ),
)  # fmt: skip


def measured(figures: Mapping[str, Mapping[str, float]], *, judged: bool) -> list[Measured]:
    """The rows whose figures are there, in the order of the table.

    Args:
        figures: by workload and name.
        judged: False leaves the goals out, as in a short run, which is another workload.
    """
    found = []
    for row in ROWS:
        of = figures.get(row.workload, {})
        if row.figure not in of:
            continue
        value = of[row.figure]
        if row.minus is not None:
            if row.figure not in figures.get(row.minus, {}):
                continue
            value -= figures[row.minus][row.figure]
        goal, short_by = _judged(row, value, of) if judged else ("", math.nan)
        found.append(Measured(row=row, value=value, goal=goal, short_by=short_by))
    return found


def shown(value: float, unit: str) -> str:
    """A figure as the table writes it."""
    match unit:
        case "%":
            return f"{100 * value:.1f} %"
        case "":
            return f"{value:.0f}"
        case "MiB" | "MiB/s" | "ms" | "/s":
            return f"{value:.1f} {unit}"
        case _:
            return f"{round(value, 2) + 0.0:.2f} {unit}"


def _judged(row: Row, value: float, of: Mapping[str, float]) -> tuple[str, float]:
    if row.least is not None:
        return f"≥ {shown(row.least, row.unit)}", max(0.0, row.least - value)
    if row.most is None:
        return "", math.nan
    most = of[row.most] if isinstance(row.most, str) else row.most
    return f"≤ {shown(most, row.unit)}", max(0.0, value - most)
