"""Who asks for what, and when: streams of demand, drawn from the seed alone."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random

import attrs
import pytest

from trellis.errors import ConfigError
from trellis.sim.cloud.spec import Lognormal, fixed
from trellis.sim.demand import Arrival, Burst, DemandSpec, Rhythm, wanted
from trellis.sim.demand_file import load_arrivals

HOUR = 3600.0


def drawn(*streams, seed=1):
    """All that these streams want."""
    return list(wanted(streams, Random(seed)))


def steady(**changes):
    """A thousand requests, one in ten seconds."""
    return attrs.evolve(DemandSpec(requests=1000, every_s=10.0), **changes)


def test_the_same_seed_asks_for_the_same():
    """Another seed does not."""
    assert drawn(steady(), seed=7) == drawn(steady(), seed=7)
    assert drawn(steady(), seed=7) != drawn(steady(), seed=8)


def test_requests_come_at_their_mean_distance():
    """A Poisson stream: the mean is what is asked, and distances vary as much."""
    times = [one.at for one in drawn(steady())]
    gaps = [b - a for a, b in pairwise(times)]

    assert len(times) == 1000
    assert 9.0 < sum(gaps) / len(gaps) < 11.0
    assert sum(gap < 1.0 for gap in gaps) > 50


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("priorities", (5,), {5}),
        ("tenants", ("red", "blue"), {"red", "blue"}),
        ("provider", "east", {"east"}),
        ("labels", ("tiny",), {("tiny",)}),
    ],
)
def test_a_stream_says_what_its_requests_are(field, value, shown):
    """Labels, priorities, tenants and the provider insisted on."""
    one_of = {"priorities": "priority", "tenants": "tenant"}.get(field, field)

    found = drawn(steady(**{field: value, "sizes": (1.0,)}))

    assert {getattr(one, one_of) for one in found} == shown


def test_sizes_and_ends_follow_their_chances():
    """So many nodes a request; cancelled or dead so often."""
    found = drawn(steady(sizes=(0.0, 1.0), cancel=0.5, expire=0.25))

    assert {len(one.labels) for one in found} == {2}
    assert 400 < sum(one.cancel_after_s is not None for one in found) < 600
    assert 190 < sum(one.expires for one in found) < 310


def test_nodes_of_one_request_may_be_of_one_label():
    """Where ``mixed`` is off no request asks for two labels."""
    found = drawn(steady(sizes=(0.0, 0.0, 1.0), mixed=False))

    assert {len(set(one.labels)) for one in found} == {1}
    assert {one.labels[0] for one in found} == {"small", "large"}


def test_the_rhythm_of_a_day_is_kept():
    """Three in four come in the busy half, and the mean rate is what was asked."""
    rhythm = Rhythm(hours=(1.0,) * 8 + (3.0,) * 12 + (1.0,) * 4, begins_on="monday")
    found = drawn(steady(requests=20_000, every_s=30.0, rhythm=rhythm))

    busy = sum(8 <= one.at / HOUR % 24 < 20 for one in found)
    assert 0.73 < busy / len(found) < 0.77
    assert 0.95 < found[-1].at / (20_000 * 30.0) < 1.05


def test_a_weekend_can_be_quiet():
    """A week that begins on Friday noon has half a day before it, and then none for two days."""
    rhythm = Rhythm(weekdays=(1, 1, 1, 1, 1, 0, 0), begins_on="friday", begins_at=12.0)
    found = drawn(steady(every_s=60.0, rhythm=rhythm))

    assert not [one for one in found if 12 <= one.at / HOUR < 60]
    assert [one for one in found if one.at / HOUR < 12]
    assert [one for one in found if one.at / HOUR >= 60]


def test_a_gate_that_is_reset_files_all_anew():
    """Each burst comes at one moment; at the reset all end, and the same are filed again."""
    burst = Burst(size=20, resets=2, reset_after=fixed(100.0))
    found = drawn(steady(requests=60, every_s=5000.0, burst=burst))

    at_once = Counter(one.at for one in found)
    first = [one for one in found if one.requestor.startswith("job-0")]
    assert set(at_once.values()) == {20}
    assert len(at_once) == 9
    assert [one.at for one in found] == sorted(one.at for one in found)
    assert [one.requestor for one in first] == ["job-0", "job-0-again-1", "job-0-again-2"]
    assert len({one.labels for one in first}) == 1
    begins = first[0].at
    assert [one.ends_at for one in first] == pytest.approx([begins + 100, begins + 200, None])


def test_bursts_that_overlap_stay_in_the_order_of_time():
    """A reset of one may come after the next one's filing."""
    burst = Burst(size=5, resets=3, reset_after=Lognormal(500.0, 3000.0))
    found = drawn(steady(requests=200, every_s=100.0, burst=burst))

    assert [one.at for one in found] == sorted(one.at for one in found)
    assert len({one.requestor for one in found}) == len(found) == 800


def test_streams_come_together_in_the_order_of_time():
    """Each keeps its name; requestors of different streams have different names."""
    found = drawn(steady(name="checks"), steady(name="gate", starts_at=500.0))

    assert Counter(one.stream for one in found) == {"checks": 1000, "gate": 1000}
    assert [one.at for one in found] == sorted(one.at for one in found)
    assert len({one.requestor for one in found}) == 2000
    assert min(one.at for one in found if one.stream == "gate") > 500.0


def test_one_more_stream_leaves_the_others_as_they_are():
    """What is compared with and without it differs by it only."""
    alone = [(one.at, one.labels) for one in drawn(steady(name="a"))]
    both = drawn(steady(name="a"), steady(name="b"))

    assert [(one.at, one.labels) for one in both if one.stream == "a"] == alone


def test_more_demand_is_more_of_it_in_the_same_time():
    """Half as much again, of even demand, of bursts and of recorded arrivals."""
    arrivals = tuple(Arrival(time=10.0 * i, labels=("small",)) for i in range(1000))
    burst = Burst(size=20)

    for spec in (
        steady(),
        steady(requests=0, every_s=0.0, arrivals=arrivals),
        steady(burst=burst, every_s=200.0),
    ):
        once, more = drawn(spec), drawn(attrs.evolve(spec, factor=1.5))
        assert 1400 < len(more) < 1600
        assert 0.8 < more[-1].at / once[-1].at < 1.2


def test_recorded_arrivals_are_as_they_were_recorded():
    """What a row does not say is drawn as the stream says."""
    arrivals = (
        Arrival(time=30.0, labels=("b",)),
        Arrival(time=5.0, labels=("a", "a"), use_s=7.5, priority=1, tenant="t", provider="p"),
    )
    found = drawn(DemandSpec(arrivals=arrivals, use=fixed(60.0), priorities=(9,), cancel=0.0))

    assert [(one.at, one.labels) for one in found] == [(5.0, ("a", "a")), (30.0, ("b",))]
    assert (found[0].use_s, found[0].priority) == (7.5, 1)
    assert (found[0].tenant, found[0].provider) == ("t", "p")
    assert (found[1].use_s, found[1].priority, found[1].tenant) == (60.0, 9, None)


# ---------------------------------------------------------------------- files of arrivals


def written(tmp_path: Path, text: str, name: str = "jobs.csv") -> Path:
    """A file of this text."""
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_csv_is_read(tmp_path):
    """Columns in any order, cells that are empty left to the stream."""
    text = "labels,time,use-s,priority,tenant\nsmall,0,300,100,web\nsmall large, 12.5,,,\n"

    first, second = load_arrivals(written(tmp_path, text), ["small", "large"])

    assert first == Arrival(time=0.0, labels=("small",), use_s=300.0, priority=100, tenant="web")
    assert second == Arrival(time=12.5, labels=("small", "large"))


def test_json_lines_are_read(tmp_path):
    """Moments count from the earliest, whatever their zone."""
    text = (
        '{"time": "2026-03-01T10:00:30+02:00", "labels": ["small"], "use-s": 60}\n\n'
        '{"time": "2026-03-01T08:00:00Z", "labels": "small small"}\n'
    )

    found = load_arrivals(written(tmp_path, text, "jobs.jsonl"))

    assert [one.time for one in found] == [30.0, 0.0]
    assert [one.labels for one in found] == [("small",), ("small", "small")]
    assert found[0].use_s == 60.0


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("time,label\n0,small\n", "1:6: unknown column 'label', did you mean 'labels'?"),
        ("time\n0\n", "1:1: the column 'labels' is missing"),
        ("", "1:1: the column 'time' is missing"),
        ("time,labels\n", "1:1: no arrivals in it"),
        ("time,labels\n0,smal\n", "2:3: labels: the configuration has no label 'smal', did you"),
        ("time,labels\nsoon,small\n", "2:1: time: expected seconds, or a moment as 2026-01-31"),
        ("time,labels\n-4,small\n", "2:1: time: must be from 0 to"),
        ("time,labels\nnan,small\n", "2:1: time: must be from 0 to"),
        ("time,labels,use-s\n0,small,long\n", "2:9: use-s: expected a number of seconds, got"),
        ("time,labels,priority\n0,small,1.5\n", "2:9: priority: expected a whole number"),
        ("time,labels,priority\n0,small,1000\n", "2:9: priority: must be from 0 to 999"),
        ("time,labels\n0,small,extra\n", "2:1: 3 cells under 2 names"),
        ("time,labels\n0,\n", "2:3: labels: expected one label or more"),
        ('time,labels\n0,"small\n', "not CSV"),
        ("time,labels\n2026-01-01,small\n5,small\n", "3:1: time: is a number of seconds, where"),
    ],
)
def test_what_is_wrong_in_a_csv_is_told_with_its_place(tmp_path, text, fault):
    """File, line and column, with near matches."""
    path = written(tmp_path, text)

    with pytest.raises(ConfigError) as found:
        load_arrivals(path, ["small", "large"])

    assert any(f"{path}:{fault}" in line or fault in line for line in found.value.faults)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "1:2: not JSON"),
        ("[1]", "1:1: expected an object"),
        ('{"time": 0, "lables": "small"}', "1:13: unknown key 'lables', did you mean 'labels'?"),
        ('{"time": true, "labels": "small"}', "1:2: time: expected seconds"),
        ('{"time": 0, "labels": [1]}', "1:13: labels: expected one label or more"),
        ('{"time": 0, "labels": "small", "tenant": 5}', "1:32: tenant: expected text, got 5"),
        ("[" * 100_000, "1:1: nested too deep"),
    ],
)
def test_what_is_wrong_in_json_lines_is_told_with_its_place(tmp_path, line, fault):
    """File, line and column."""
    path = written(tmp_path, line + "\n", "jobs.jsonl")

    with pytest.raises(ConfigError) as found:
        load_arrivals(path, ["small"])

    assert found.value.faults[0].startswith(f"{path}:{fault}")


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    """Missing, a folder, not UTF-8."""
    bad = tmp_path / "bad.csv"
    bad.write_bytes(b"time,labels\n0,\xff\n")

    for path, why in ((tmp_path / "none.csv", "cannot be read"), (tmp_path, "is no file"),
                      (bad, "not UTF-8")):  # fmt: skip
        with pytest.raises(ConfigError, match=why):
            load_arrivals(path)


def test_faults_have_an_end(tmp_path):
    """A file of another kind does not fill the screen."""
    text = "time,labels\n" + "x,small\n" * 5000

    with pytest.raises(ConfigError) as found:
        load_arrivals(written(tmp_path, text))

    assert len(found.value.faults) == 100
