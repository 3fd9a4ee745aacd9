"""Counts of requests by tenant, pipeline and job: few rows, however many names there are."""

import attrs

from trellis.control.job_measures import MOST_NAMES, MOST_ROWS, JobMeasures
from trellis.model.names import RequestId
from trellis.model.records import Change
from trellis.model.request import Ask, NodeRequest, RequestState


def a_request(**metadata) -> NodeRequest:
    return NodeRequest(
        id=RequestId("r"),
        ask=Ask(labels=("small",), requestor="zuul", tenant="acme", metadata=metadata),
        state=RequestState.PENDING,
        state_at=1000.0,
        created_at=1000.0,
    )


def ended(measures, request, state, at=1000.0):
    after = attrs.evolve(request, state=state, state_at=at)
    measures.see(Change(request, after))
    return after


def told(measures):
    """Name, labels in order, and figure of each sample."""
    return [
        (measure.name, tuple(sample.labels.values()), sample.value)
        for measure in measures.read()
        for sample in measure.samples
    ]


def test_what_became_of_requests_is_counted_by_their_words():
    measures = JobMeasures()
    tox = a_request(zuul_pipeline="check", zuul_job="tox")

    ended(measures, tox, RequestState.FULFILLED, at=1007.5)
    ended(measures, tox, RequestState.FULFILLED, at=1002.5)
    ended(measures, tox, RequestState.FAILED)
    ended(measures, a_request(pipeline="gate", job="docs"), RequestState.CANCELLED)

    assert told(measures) == [
        ("trellis_job_requests", ("acme", "check", "tox", "fulfilled"), 2),
        ("trellis_job_requests", ("acme", "check", "tox", "failed"), 1),
        ("trellis_job_requests", ("acme", "gate", "docs", "cancelled"), 1),
        ("trellis_job_wait_seconds", ("acme", "check", "tox"), 10.0),
    ]


def test_the_end_of_a_lease_counts_nothing():
    measures = JobMeasures()
    fulfilled = ended(measures, a_request(job="tox"), RequestState.FULFILLED)

    ended(measures, fulfilled, RequestState.CLOSED)

    assert [value for name, _, value in told(measures) if name == "trellis_job_requests"] == [1]


def test_one_that_says_nothing_of_itself_is_not_counted():
    measures = JobMeasures()
    request = a_request()

    ended(measures, attrs.evolve(request, ask=attrs.evolve(request.ask, tenant=None)),
          RequestState.FULFILLED)  # fmt: skip

    assert told(measures) == []


def test_jobs_that_come_too_late_are_counted_together():
    measures = JobMeasures()
    for number in range(MOST_NAMES + 50):
        ended(measures, a_request(job=f"job-{number}"), RequestState.FULFILLED)
    ended(measures, a_request(job="job-0"), RequestState.FULFILLED)

    counts = {row[2]: n for name, row, n in told(measures) if name == "trellis_job_requests"}
    assert len(counts) == MOST_NAMES + 1
    assert counts["other"] == 50
    assert counts["job-0"] == 2


def test_combinations_are_bounded_as_well():
    measures = JobMeasures()
    for number in range(MOST_ROWS * 2):
        request = a_request(job=f"job-{number % 150}", pipeline=f"pipeline-{number % 151}")
        ended(measures, request, RequestState.FULFILLED)

    rows = {row[:3]: n for name, row, n in told(measures) if name == "trellis_job_requests"}
    assert len(rows) == MOST_ROWS + 1
    assert rows["other", "other", "other"] == MOST_ROWS
    assert sum(rows.values()) == MOST_ROWS * 2
