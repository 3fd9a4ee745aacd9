"""Figures that are kept as things happen: what records show is not repeated here."""

import bisect
from collections import Counter

from trellis.control.board import Measure, Sample
from trellis.control.overview import Recent
from trellis.model.node import Node, NodeState
from trellis.model.records import Change
from trellis.model.request import NodeRequest, RequestState

BOUNDS_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


class _Histogram:
    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.sum = 0.0

    def see(self, value: float) -> None:
        self.buckets[bisect.bisect_left(BOUNDS_S, value)] += 1
        self.sum += value

    def samples(self, labels: dict[str, str]) -> list[Sample]:
        out, total = [], 0
        for bound, count in zip((*BOUNDS_S, None), self.buckets, strict=True):
            total += count
            le = "+Inf" if bound is None else f"{bound:g}"
            out.append(Sample(value=total, labels={**labels, "le": le}, suffix="_bucket"))
        out.append(Sample(value=self.sum, labels=labels, suffix="_sum"))
        out.append(Sample(value=total, labels=labels, suffix="_count"))
        return out


class Measures:
    """Counts what commits say: launches by their ending, and how long things took.

    Attributes:
        recent: the last of these, one by one.
    """

    def __init__(self) -> None:
        self._launches: Counter[tuple[str, str, str]] = Counter()
        self._boots: dict[tuple[str, str], _Histogram] = {}
        self._waits = _Histogram()
        self.recent = Recent()

    def see(self, change: Change) -> None:
        """Count one durable change."""
        self.recent.see(change)
        before, after = change.before, change.after
        match after:
            case Node() if isinstance(before, Node) and before.state is NodeState.BUILDING:
                if after.state is not NodeState.BUILDING:
                    self._launches[after.provider, after.label, after.state.value] += 1
                if after.state is NodeState.READY and after.ready_at is not None:
                    key = after.provider, after.label
                    took_s = after.ready_at - after.created_at
                    self._boots.setdefault(key, _Histogram()).see(took_s)
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
        )
