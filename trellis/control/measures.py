"""Figures that are kept as things happen: what records show is not repeated here."""

from collections import Counter

from trellis.control.board import Measure, Sample
from trellis.control.histogram import Histogram
from trellis.control.images.measures import ImageMeasures
from trellis.control.job_measures import JobMeasures
from trellis.control.overview import Recent
from trellis.model.node import Node, NodeState
from trellis.model.records import Change
from trellis.model.request import NodeRequest, RequestState

BOUNDS_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


class Measures:
    """Counts what commits say: launches by their ending, and how long things took.

    Attributes:
        recent: the last of these, one by one.
    """

    def __init__(self) -> None:
        self._launches: Counter[tuple[str, str, str]] = Counter()
        self._boots: dict[tuple[str, str], Histogram] = {}
        self._waits = Histogram(BOUNDS_S)
        self._images, self._jobs = ImageMeasures(), JobMeasures()
        self.recent = Recent()

    def see(self, change: Change) -> None:
        """Count one durable change."""
        self.recent.see(change)
        self._images.see(change)
        self._jobs.see(change)
        before, after = change.before, change.after
        match after:
            case Node() if isinstance(before, Node) and before.state is NodeState.BUILDING:
                if after.state is not NodeState.BUILDING:
                    self._launches[after.provider, after.label, after.state.value] += 1
                if after.state is NodeState.READY and after.ready_at is not None:
                    key = after.provider, after.label
                    took_s = after.ready_at - after.created_at
                    self._boots.setdefault(key, Histogram(BOUNDS_S)).see(took_s)
            case NodeRequest() if after.state is RequestState.FULFILLED:
                if before is None or (isinstance(before, NodeRequest) and before != after):
                    self._waits.see(after.state_at - after.created_at)
            case _:
                pass

    def read(self) -> tuple[Measure, ...]:
        """The figures as they are now."""
        return (
            Measure(
                name="trellis_launches",
                kind="counter",
                help="Launches that ended, by how: ready, failed, aborted or deleting.",
                samples=tuple(
                    Sample(value=count, labels={"provider": provider, "label": label, "end": end})
                    for (provider, label, end), count in sorted(self._launches.items())
                ),
            ),
            Measure(
                name="trellis_launch_seconds",
                kind="histogram",
                help="Time from the decision to launch a node until it is ready.",
                samples=tuple(
                    sample
                    for (provider, label), histogram in sorted(self._boots.items())
                    for sample in histogram.samples({"provider": provider, "label": label})
                ),
            ),
            Measure(
                name="trellis_request_wait_seconds",
                kind="histogram",
                help="Time from a request until it is fulfilled.",
                samples=tuple(self._waits.samples({})),
            ),
            *self._jobs.read(),
            *self._images.read(),
        )
