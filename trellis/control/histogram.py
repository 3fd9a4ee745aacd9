"""Histograms as Prometheus reads them."""

import bisect
from collections.abc import Mapping, Sequence

from trellis.control.board import Sample


class Histogram:
    """Counts values by bounds.

    Args:
        bounds: the upper bounds of its buckets, rising.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._buckets = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def see(self, value: float) -> None:
        """Count one value."""
        self._buckets[bisect.bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self, labels: Mapping[str, str]) -> list[Sample]:
        """Its buckets, its sum and its count, as they are now."""
        out, total = [], 0
        for bound, count in zip((*self._bounds, None), self._buckets, strict=True):
            total += count
            le = "+Inf" if bound is None else f"{bound:g}"
            out.append(Sample(value=total, labels={**labels, "le": le}, suffix="_bucket"))
        out.append(Sample(value=self._sum, labels=labels, suffix="_sum"))
        out.append(Sample(value=total, labels=labels, suffix="_count"))
        return out
