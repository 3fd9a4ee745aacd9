"""How plots look: light, with room for the data, and colours that the colour-blind tell apart."""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Final = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6BB1", "#999933",
    "#4D4D4D", "#B5CF6B", "#E7969C", "#17BECF", "#8C564B", "#F0C75E", "#AEC7E8", "#6B6ECF",
)  # fmt: skip
"""Okabe and Ito's palette, and more for up to sixteen clouds; the first is used first."""
STATES: Final = (
    ("in_use", "in use", "#0072B2"),
    ("ready", "ready", "#009E73"),
    ("building", "building", "#F0C75E"),
    ("deleting", "deleting", "#BBBBBB"),
)
"""States of nodes from the bottom up: the field of a series, its name, its colour."""
SETTINGS: Final[dict[Any, Any]] = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": "#888888",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "axes.labelcolor": "#333333",
    "axes.labelsize": 9.5,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "font.family": "DejaVu Sans",
    "savefig.dpi": 130,
    "svg.hashsalt": "trellis",
}
_MOST_LETTERS: Final = 40
"""Of all names in a legend, for one line of it beside a title."""
_UNITS: Final = ((150.0, 1.0, "s"), (3 * 3600.0, 60.0, "min"), (3 * 86_400.0, 3600.0, "h"))


def colour_of(place: int) -> str:
    """The colour of the so many-th thing."""
    return COLOURS[place % len(COLOURS)]


def time_axis(ax: "Axes", end_s: float, name: str) -> float:
    """Make the x axis one of time up to *end_s*; returns the seconds of its unit."""
    unit, shown = next(((u, s) for most, u, s in _UNITS if end_s <= most), (86_400.0, "days"))
    ax.set_xlim(0, max(end_s, 1.0) / unit)
    ax.set_xlabel(f"{name} ({shown})" if name else "")
    return unit


def titled(ax: "Axes", title: str, subtitle: str) -> None:
    """A title and what is below it, both at the left."""
    ax.set_title(f"{title}\n", loc="left", fontsize=13, fontweight="bold")
    ax.text(0.0, 1.03, subtitle, transform=ax.transAxes, fontsize=9, color="#666666")


def legend_above(ax: "Axes") -> None:
    """A legend where no data are: in one line above the axes, or beside them if it is long."""
    handles, labels = ax.get_legend_handles_labels()
    if sum(map(len, labels)) > _MOST_LETTERS:
        ax.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=1.4)
    elif len(labels) > 1:
        ax.legend(
            handles, labels, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(labels),
            borderaxespad=0.3, handlelength=1.4, columnspacing=1.2,
        )  # fmt: skip
