"""For whom nodes were asked: counts by tenant, pipeline and job, of which there is no end."""

from collections.abc import Iterator
from typing import Final

import attrs

from trellis.control.board import Measure, Sample
from trellis.model.asked import job_of, pipeline_of, tenant_of
from trellis.model.records import Change
from trellis.model.request import ENDED, NodeRequest, RequestState

MOST_NAMES: Final = 200
"""So many tenants, pipelines and jobs each are counted by name; those that come later together."""
MOST_ROWS: Final = 1000
"""So many combinations of them are counted apart."""
OTHER: Final = "other"

_Row = tuple[str, str, str]


@attrs.define
class _Count:
    """What is counted of one tenant, pipeline and job."""

    fulfilled: int = 0
    failed: int = 0
    cancelled: int = 0
    waited_s: float = 0.0


class JobMeasures:
    """Counts what became of requests, with a bound on the names that are told apart.

    The names that come first are kept: a figure that changed its name under way could not be
    followed. Requests that name neither tenant nor pipeline nor job are not counted here.
    """

    def __init__(self) -> None:
        self._counts: dict[_Row, _Count] = {}
        self._names: tuple[set[str], set[str], set[str]] = (set(), set(), set())

    def see(self, change: Change) -> None:
        """Count one durable change."""
        before, after = change.before, change.after
        if not isinstance(after, NodeRequest):
            return
        was = before.state if isinstance(before, NodeRequest) else None
        if after.state is was:
            return
        if after.state is RequestState.FULFILLED:
            if (count := self._of(after)) is not None:
                count.fulfilled += 1
                count.waited_s += after.state_at - after.created_at
        elif after.state in ENDED and was is not RequestState.FULFILLED:
            if (count := self._of(after)) is None:
                return
            if after.state is RequestState.FAILED:
                count.failed += 1
            else:
                count.cancelled += 1

    def _of(self, request: NodeRequest) -> _Count | None:
        ask = request.ask
        named = tenant_of(ask), pipeline_of(ask), job_of(ask)
        if not any(named):
            return None
        tenant, pipeline, job = (
            self._bounded(known, name) for known, name in zip(self._names, named, strict=True)
        )
        row = tenant, pipeline, job
        if row not in self._counts and len(self._counts) >= MOST_ROWS:
            row = OTHER, OTHER, OTHER
        return self._counts.setdefault(row, _Count())

    def _bounded(self, known: set[str], name: str) -> str:
        if name in known or not name:
            return name
        if len(known) >= MOST_NAMES:
            return OTHER
        known.add(name)
        return name

    def read(self) -> Iterator[Measure]:
        """The figures as they are now."""
        rows = [
            ({"tenant": tenant, "pipeline": pipeline, "job": job}, count)
            for (tenant, pipeline, job), count in sorted(self._counts.items())
        ]
        yield Measure(
            name="trellis_job_requests",
            kind="counter",
            help="Requests by tenant, pipeline and job, by how they ended.",
            samples=tuple(
                Sample(value=number, labels={**labels, "end": end})
                for labels, count in rows
                for end, number in (
                    ("fulfilled", count.fulfilled),
                    ("failed", count.failed),
                    ("cancelled", count.cancelled),
                )
                if number
            ),
        )
        yield Measure(
            name="trellis_job_wait_seconds",
            kind="counter",
            help="Time that fulfilled requests have waited, by tenant, pipeline and job.",
            samples=tuple(
                Sample(value=count.waited_s, labels=labels)
                for labels, count in rows
                if count.fulfilled
            ),
        )
