"""Pictures of a report, each as SVG and PNG. Needs the extra ``trellis-ci[plots]``."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trellis.errors import RefusedError
from trellis.sim.plot_style import (
    COLOURS,
    SETTINGS,
    STATES,
    colour_of,
    legend_above,
    time_axis,
    titled,
)
from trellis.sim.report import CloudUse, Report, percentile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WINDOWS: Final = 40
"""Into so many stretches of time waits are divided for their percentiles."""
MOST_POINTS: Final = 5000
_MOST_LEVEL: Final = 4
"""More names of clouds than these are written aslant."""
_LEAST_IN_WINDOW: Final = 5
_MOSTLY_IN_WINDOW: Final = 12


def check() -> None:
    """See whether plots can be drawn.

    Raises:
        RefusedError: matplotlib is missing.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise RefusedError(
            "plots are drawn by matplotlib, which is not installed",
            remedy="install it with: pip install 'trellis-ci[plots]'",
        )


def draw_report(report: Report, folder: Path) -> list[Path]:
    """Draw waits, nodes, use and calls over time.

    Args:
        folder: where the files go; made if need be. Files of the same names are replaced.

    Returns:
        The files.

    Raises:
        RefusedError: matplotlib is missing, or a file cannot be written.
    """
    pictures = {"waits": _waits, "nodes": _nodes, "use": _use, "calls": _calls}
    return _written({name: (draw, report) for name, draw in pictures.items()}, folder)


def draw_comparison(reports: Mapping[str, Report], folder: Path) -> list[Path]:
    """Draw the waits of several variants, and what they use of each cloud, beside each other.

    As `draw_report`.
    """
    return _written({"comparison": (_comparison, reports)}, folder)


def _written(pictures: Mapping[str, Any], folder: Path) -> list[Path]:
    check()
    import matplotlib

    files = []
    with matplotlib.rc_context(dict(SETTINGS)):
        for name, (draw, what) in pictures.items():
            figure = draw(what)
            for kind in ("svg", "png"):
                file = folder / f"{name}.{kind}"
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    # The same report gives the same file: no date in it.
                    dateless = {"Date": None} if kind == "svg" else {"Software": None}
                    figure.savefig(file, format=kind, metadata=dateless)
                except OSError as error:
                    raise RefusedError(
                        f"{file}: cannot be written: {error.strerror}",
                        remedy="name another folder with --plots",
                    ) from None
                files.append(file)
    return files


# ------------------------------------------------------------------------------- pictures


def _waits(report: Report) -> "Figure":
    figure, axes = _figure(1, 4.4)
    (ax,) = axes
    served = sorted((x.filed_at, x.wait_s) for x in report.asked if x.wait_s is not None)
    end = max((at for at, _ in served), default=1.0)
    unit = time_axis(ax, end, "time of the request")
    points = served[:: max(1, len(served) // MOST_POINTS)]
    ax.scatter(
        [at / unit for at, _ in points], [wait for _, wait in points],
        s=9, color=COLOURS[0], alpha=0.4, linewidths=0, clip_on=False, label="a request",
        rasterized=True,
    )  # fmt: skip
    for share, colour in ((0.5, "#333333"), (0.95, COLOURS[5])):
        times, values = _windows(served, end, share)
        ax.plot(
            [at / unit for at in times], values, color=colour, linewidth=1.6,
            label=f"p{share * 100:.0f}",
        )  # fmt: skip
    ax.set_ylabel("wait until fulfilled (s)")
    ax.set_ylim(bottom=0)
    titled(ax, "How long requests waited", _subtitle(report))
    legend_above(ax)
    return figure


def _nodes(report: Report) -> "Figure":
    figure, axes = _figure(len(report.clouds), 2.3, extra=0.9)
    for place, (ax, cloud) in enumerate(zip(axes, report.clouds, strict=True)):
        series = cloud.series
        unit = time_axis(ax, _end(cloud), "time" if place == len(axes) - 1 else "")
        times = [series.step_s * i / unit for i in range(len(series.ours))]
        counts = [getattr(series, state) for state, _, _ in STATES]
        ax.stackplot(
            times, *counts, step="post", linewidth=0,
            colors=[colour for _, _, colour in STATES], labels=[label for _, label, _ in STATES],
        )  # fmt: skip
        if cloud.quota is not None:
            ax.axhline(cloud.quota, color="#333333", linewidth=1, linestyle=":", label="quota")
        ax.set_ylim(0, 1.12 * max(cloud.quota or 0, *series.ours, 1))
        ax.set_ylabel("nodes")
        ax.set_title(cloud.cloud, loc="left", fontsize=10, fontweight="bold")
    if axes:
        _head(figure, axes[0], "Nodes by state", report)
    return figure


def _use(report: Report) -> "Figure":
    figure, axes = _figure(1, 4.4)
    (ax,) = axes
    unit = time_axis(ax, max(map(_end, report.clouds), default=1.0), "time")
    shares = [cloud for cloud in report.clouds if cloud.quota]
    for place, cloud in enumerate(shares):
        series = cloud.series
        taken = [ours + others for ours, others in zip(series.ours, series.strangers, strict=True)]
        times = [series.step_s * i / unit for i in range(len(taken))]
        percent = [100 * count / (cloud.quota or 1) for count in taken]
        ax.plot(times, percent, color=colour_of(place), linewidth=1.5, label=cloud.cloud)
    ax.axhline(100, color="#333333", linewidth=1, linestyle=":")
    ax.set_ylim(0, 108)
    ax.set_ylabel("servers, strangers' too (% of the quota)")
    titled(ax, "Use of each cloud against its quota", _subtitle(report))
    legend_above(ax)
    return figure


def _calls(report: Report) -> "Figure":
    figure, axes = _figure(1, 4.4)
    (ax,) = axes
    unit = time_axis(ax, max(map(_end, report.clouds), default=1.0), "time")
    clouds = report.clouds
    step = clouds[0].series.calls_step_s if clouds else 60.0
    times = [step * i / unit for i in range(max((len(c.series.calls) for c in clouds), default=0))]
    rates = [
        [count / (step / 60.0) for count in _padded(cloud.series.calls, len(times))]
        for cloud in clouds
    ]
    ax.stackplot(
        [*times, *(t + step / unit for t in times[-1:])],
        *[[*rate, *rate[-1:]] for rate in rates],
        step="post", linewidth=0, colors=[colour_of(place) for place in range(len(clouds))],
        labels=[cloud.cloud for cloud in clouds],
    )  # fmt: skip
    ax.set_ylabel("API calls a minute")
    ax.set_ylim(bottom=0)
    lives = max(1, report.lives)
    total = sum(cloud.total_calls for cloud in clouds)
    titled(ax, "API calls", f"{_subtitle(report)}; {total / lives:.1f} calls a node life")
    legend_above(ax)
    return figure


def _comparison(reports: Mapping[str, Report]) -> "Figure":
    figure, (left, right) = _figure(2, 5.0, columns=2, extra=0.15 * len(reports))
    clouds = list(dict.fromkeys(c.cloud for r in reports.values() for c in r.clouds))
    width = 0.8 / len(reports)
    most = 1.0
    for place, (name, report) in enumerate(reports.items()):
        colour = colour_of(place)
        waits = sorted(x.wait_s for x in report.asked if x.wait_s is not None)
        shares = [100 * (i + 1) / len(report.asked) for i in range(len(waits))]
        left.step([0, *waits], [0, *shares], where="post", color=colour, linewidth=1.7, label=name)
        most = max(most, percentile(waits, 0.995))
        means = {cloud.cloud: report.used(cloud) for cloud in report.clouds}
        places = [at + place * width - 0.4 for at in range(len(clouds))]
        heights = [means.get(cloud, 0.0) for cloud in clouds]
        right.bar(places, heights, width * 0.92, align="edge", color=colour)
    left.set_xlim(0, 1.03 * most)
    left.set_ylim(0, 103)
    left.set_xlabel("wait until fulfilled (s)")
    left.set_ylabel("requests served by then (%)")
    left.set_title("Waits", loc="left", fontsize=10, fontweight="bold")
    right.set_xticks(range(len(clouds)), clouds)
    if len(clouds) > _MOST_LEVEL:
        right.tick_params(axis="x", rotation=30)
        for text in right.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
    right.set_ylabel("servers, mean over time")
    right.set_title("Use of the clouds", loc="left", fontsize=10, fontweight="bold")
    right.grid(axis="x", visible=False)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2 if len(labels) > 2 else 1)
    return figure


# ---------------------------------------------------------------------------------- parts


def _figure(
    rows: int, height: float, *, columns: int = 1, extra: float = 0.0
) -> "tuple[Figure, list[Axes]]":
    """An empty figure with axes below each other, or in two columns."""
    from matplotlib.figure import Figure

    lines = max(1, -(-rows // columns))
    figure = Figure(figsize=(9.0, height * lines + extra), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    return figure, [ax for line in axes for ax in line][:rows]


def _head(figure: "Figure", first: "Axes", title: str, report: Report) -> None:
    """A title over all axes, and one legend for all."""
    handles, labels = first.get_legend_handles_labels()
    height = figure.get_figheight()
    top = 1.0 - 0.04 / height
    # The empty line below keeps room for what the layout does not know of.
    figure.suptitle(f"{title}\n ", x=0.01, ha="left", fontsize=13, fontweight="bold")
    below = top - 0.25 / height
    figure.text(0.011, below, _subtitle(report), va="top", fontsize=9, color="#666666")
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))


def _subtitle(report: Report) -> str:
    seeds = report.seeds
    told = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds from {seeds[0]} on"
    return f"{report.scenario}, {told}"


def _end(cloud: CloudUse) -> float:
    return cloud.series.step_s * max(1, len(cloud.series.ours) - 1)


def _padded(values: Sequence[int], length: int) -> list[int]:
    return [*values, *[0] * (length - len(values))]


def _windows(
    served: Sequence[tuple[float, float]], end: float, share: float
) -> tuple[list[float], list[float]]:
    """A percentile of the waits in each stretch of time that has enough of them."""
    count = max(2, min(WINDOWS, len(served) // _MOSTLY_IN_WINDOW))
    length = end / count or 1.0
    windows: dict[int, list[float]] = {}
    for at, wait in served:
        windows.setdefault(min(count - 1, int(at / length)), []).append(wait)
    found = [
        ((number + 0.5) * length, percentile(sorted(waits), share))
        for number, waits in sorted(windows.items())
        if len(waits) >= _LEAST_IN_WINDOW
    ]
    return [at for at, _ in found], [value for _, value in found]
