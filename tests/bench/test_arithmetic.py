"""From facts to figures, on made-up facts."""

import math

import pytest

from tests.bench.arithmetic import (
    Life,
    ServerTimes,
    calls_per_node,
    gone_overhead_s,
    known_gone_overhead_s,
    quantile,
    ready_overhead_s,
    server_times,
)
from tests.bench.goals import Row, measured
from tests.bench.outcome import costs, refusals, waits
from tests.bench.page import BEGIN, END, PAGE, with_figures
from tests.bench.stand import Snapshot

OFFSET_S = -1000.0
MACHINE = ("cores", "processor", "memory_mib", "kernel", "python")


def fact(what, at, server="s1", **more):
    return {"what": what, "at": at, "id": server, "asked_at": None, "ssh_at": None} | more


FACTS = [
    fact("login", 1000.0, server=""),
    fact("server-created", 1010.2, asked_at=1010.0),
    fact("server-active", 1030.0, ssh_at=1033.0),
    fact("server-deleting", 1040.5, asked_at=1040.0),
    fact("server-deleting", 1041.0, asked_at=1041.0),
    fact("server-deleted", 1042.0),
]
"""On the cloud's clock; on the bench's it is created at 10 and gone at 42."""

LIFE = Life(key="1", filed=9.9, ready=33.5, released=39.75, node_id="n1", server_id="s1")


def test_a_servers_times_are_on_the_benchs_clock_and_begin_when_the_call_came():
    """Calls count from their arrival, not from when they were carried out; the first delete."""
    server = server_times(FACTS, OFFSET_S)["s1"]

    assert (10.0, 30.0, 33.0, 40.0, 42.0) == (
        *(server.created, server.active, server.ssh_at),
        *(server.deleting, server.gone),
    )


def test_a_server_that_never_answers_has_no_boot_time():
    """What did not happen is nan, not nought."""
    server = server_times(FACTS[:2], OFFSET_S)["s1"]

    assert math.isnan(server.boot_s)


def test_overhead_is_the_wait_without_the_clouds_own_part():
    """23.6 s of waiting, 23 s of which it booted; 2.25 s to gone, 2 s of which it was deleted."""
    server = server_times(FACTS, OFFSET_S)["s1"]

    assert ready_overhead_s(LIFE, server) == pytest.approx(0.6)
    assert gone_overhead_s(LIFE, server) == pytest.approx(0.25)
    assert known_gone_overhead_s(LIFE, server, recorded=42.5) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.5, 3.0), (0.95, 4.8), (1.0, 5.0), (0.25, 2.0)]
)
def test_a_quantile_lies_between_its_neighbours(share, expected):
    """By linear interpolation, whatever the order."""
    assert quantile([5.0, 1.0, 4.0, 2.0, 3.0], share) == pytest.approx(expected)


def test_a_quantile_of_nothing_is_nan():
    """And not an error at the end of a long run."""
    assert math.isnan(quantile([], 0.5))


def test_calls_are_counted_between_two_moments():
    """Kinds without calls in between are left out; the most frequent comes first."""
    before = {"GET list": 10, "POST server": 5, "POST login": 1}
    after = {"GET list": 20, "POST server": 25, "POST login": 1, "DELETE server": 15}

    assert [("POST server", 2.0), ("DELETE server", 1.5), ("GET list", 1.0)] == list(
        calls_per_node(before, after, lives=10).items()
    )


def snapshot(at, calls, daemon_s):
    cpu = {"daemon": daemon_s, "clouds": 0.0, "bench": 0.0, "all": 10 * daemon_s}
    return Snapshot(at=at, calls={"GET list": calls}, statuses={}, cpu_s=cpu)


def test_a_life_cut_by_the_end_of_the_stretch_counts_half():
    """Two begin in it, one of which also ends in it; one more ends in it: two lives."""
    servers = {
        "in": ServerTimes(created=11.0, gone=15.0),
        "begun": ServerTimes(created=19.0, gone=25.0),
        "ended": ServerTimes(created=5.0, gone=12.0),
        "neither": ServerTimes(created=5.0, gone=25.0),
    }

    figures, calls = costs(snapshot(10.0, 100, 3.0), snapshot(20.0, 108, 3.05), servers)

    assert {"GET list": 4.0} == calls
    assert 4.0 == figures["calls_per_node"]
    assert figures["lives_per_s"] == pytest.approx(0.2)
    assert figures["daemon_cpu_ms"] == pytest.approx(25.0)
    assert figures["daemon_cores"] == pytest.approx(0.005)
    assert figures["others_cores"] == pytest.approx(0.045)


def test_waits_are_summed_up_over_lives():
    """Each life is set against its own server and its own record."""
    slow = Life(key="2", filed=9.9, ready=34.5, released=39.0, node_id="n2", server_id="s1")

    figures = waits([LIFE, slow], server_times(FACTS, OFFSET_S), {"n1": 42.5, "n2": 43.0})

    assert 2.0 == figures["lives"]
    assert figures["ready_p50_s"] == pytest.approx((0.6 + 1.6) / 2)
    assert figures["gone_p50_s"] == pytest.approx((0.25 + 1.0) / 2)
    assert figures["known_gone_p50_s"] == pytest.approx((0.75 + 2.0) / 2)


def test_refusals_for_quota_are_a_share_of_all_creates():
    """A floating IP refused for quota is no create refused."""
    facts = [
        *(fact("server-created", at, server=f"s{at}") for at in range(9)),
        fact("quota-refused", 10, server="POST compute /servers"),
        fact("quota-refused", 11, server="POST network /floatingips"),
        fact("rate-limited", 12, server="GET compute"),
    ]

    assert {"created": 9.0, "quota_refused_share": 0.1, "rate_limited": 1.0} == refusals(facts)


def test_a_goal_that_is_missed_says_by_how_much():
    """The table compares with the goal, in whichever direction it lies."""
    figures = {
        "in-flight-50": {"ready_p50_s": 0.75, "ready_p95_s": 1.5, "calls_per_node": 3.0},
        "floating-50": {"calls_per_node": 6.5},
        "sustained": {"lives_per_s": 90.0},
        "hung": {"p95_shift_s": 0.12, "p95_shift_allowed_s": 0.15},
    }

    rows = {(m.row.workload, m.row.figure): m for m in measured(figures, judged=True)}

    assert rows["in-flight-50", "ready_p50_s"].short_by == pytest.approx(0.25)
    assert rows["in-flight-50", "ready_p95_s"].met
    assert rows["floating-50", "calls_per_node"].value == pytest.approx(3.5)
    assert rows["floating-50", "calls_per_node"].short_by == pytest.approx(0.5)
    assert rows["sustained", "lives_per_s"].short_by == pytest.approx(10.0)
    assert rows["hung", "p95_shift_s"].met


def test_a_short_run_has_no_goals():
    """It is another workload."""
    (row,) = measured({"sustained": {"lives_per_s": 9.0}}, judged=False)

    assert row.met is None
    assert "" == row.goal


def test_every_row_names_a_workload_that_there_is():
    """A renamed workload would silently lose its rows."""
    from tests.bench.catalogue import SHORT, WHOLE
    from tests.bench.goals import ROWS

    named = {row.workload for row in ROWS} | {row.minus for row in ROWS if row.minus}

    assert named == set(WHOLE)
    assert set(SHORT) <= set(WHOLE)
    assert all(isinstance(row, Row) for row in ROWS)


def test_the_page_shows_the_last_figures_of_each_workload():
    """Goals that are missed stand out; what is around the marks stays."""
    machine = dict.fromkeys(MACHINE, 2)
    first = {"machine": machine, "figures": {"sustained": {"lives_per_s": 10.0}, "quota": {}}}
    last = {
        "machine": machine,
        "figures": {"sustained": {"lives_per_s": 90.0, "others_cores": 0.25}},
    }

    page = with_figures(f"before\n{BEGIN}old\n{END}after\n", [first, last])

    assert "| sustained node lives | 90.0 /s | ≥ 100.0 /s | **10.0 /s** |" in page
    assert "up to 0.2 cores busy" in page
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "old" not in page


def test_the_page_of_figures_has_its_marks():
    """So that a run can be put there."""
    with_figures(PAGE.read_text(), [{"machine": dict.fromkeys(MACHINE, 0), "figures": {}}])
