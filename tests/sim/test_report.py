"""Reports: what is counted from the clouds' ledgers and the requestors' transcripts."""

import json
import re
from pathlib import Path

import attrs
import pytest

from trellis.model.names import NodeId
from trellis.sim.cloud.ledger import Fact, Ledger, What
from trellis.sim.cloud.site import STRANGER
from trellis.sim.cloud.spec import CloudSpec, Quota
from trellis.sim.plots import draw_comparison, draw_report
from trellis.sim.prices import Prices
from trellis.sim.report import make_report, merged
from trellis.sim.report_data import SCHEMA_VERSION, as_data
from trellis.sim.requestors import HandedOut, Transcript

PRICES = Prices(currency="EUR", billed_by_s=60.0, clouds={"one": {"big": 3.6}})


@attrs.define
class Known:
    """A cloud with a made-up ledger."""

    spec: CloudSpec
    ledger: Ledger = attrs.field(factory=Ledger)

    def server(self, id, made, *, up=None, going=None, gone=None, flavor="big", who="ci"):
        """Write down a server's life."""
        facts = self.ledger.facts
        facts.append(Fact(at=made, what=What.SERVER_CREATED, id=id, who=who, detail=flavor))
        if up is not None:
            facts.append(Fact(at=up - 1, what=What.SERVER_ACTIVE, id=id, who=who, ssh_at=up))
        if going is not None:
            facts.append(Fact(at=going, what=What.SERVER_DELETING, id=id, who=who))
        if gone is not None:
            facts.append(Fact(at=gone, what=What.SERVER_DELETED, id=id, who=who))


def asked(name, filed, served=None, *, server="", until=None, **more):
    """What a requestor wrote down."""
    nodes = ()
    if server:
        nodes = (
            HandedOut(node_id=NodeId(name), external_id=server, provider="one", az=None,
                      label="small", host_keys=()),
        )  # fmt: skip
    return Transcript(
        requestor=name, labels=more.pop("labels", ("small",)), filed_at=filed,
        fulfilled_at=served, nodes=nodes, kept_until=until,
        ended=more.pop("ended", "fulfilled" if served is not None else ""), **more,
    )  # fmt: skip


@pytest.fixture
def report():
    """One cloud, three servers of ours and a stranger's, four requests."""
    cloud = Known(CloudSpec(name="one", quota=Quota(instances=4)))
    cloud.server("a", 0.0, up=20.0, going=80.0, gone=90.0)
    cloud.server("b", 10.0, up=30.0, going=40.0, gone=50.0)
    cloud.server("c", 60.0, gone=100.0, flavor="odd")
    cloud.server("s", 0.0, who=STRANGER)
    cloud.ledger.facts.append(Fact(at=70.0, what=What.SERVER_ERROR, id="c", who="ci"))
    cloud.ledger.facts.append(Fact(at=5.0, what=What.QUOTA_REFUSED, who="ci"))
    for at in (0.0, 59.0, 61.0, 500.0):
        cloud.ledger.counted("GET compute /servers/detail", 200, at)
    return make_report(
        scenario="made-up",
        seed=3,
        clouds={"one": cloud},
        transcripts=[
            asked("x", 2.0, 22.0, server="a", until=78.0, stream="checks", priority=100),
            asked("y", 5.0, 35.0, server="b", until=38.0, stream="gate", labels=("small", "big")),
            asked("z", 5.0, stream="gate", ended="cancelled"),
            asked("w", 9.0, stream="gate"),
        ],
        broken=["P2", "P2", "P13"],
        prices=PRICES,
    )


def test_waits_are_of_those_who_were_served(report):
    """By nearest rank, as a whole and by label, priority and stream."""
    assert report.waits().count == 2
    assert (report.waits().p50_s, report.waits().max_s) == (30.0, 30.0)
    assert report.waits_by("stream")["checks"].p50_s == 20.0
    assert report.waits_by("label")["small"].count == 2
    assert report.waits_by("label")["big"].count == 1
    assert list(report.waits_by("priority")) == ["100", "200"]


def test_a_cloud_is_told_by_what_was_ours(report):
    """A stranger's servers are not in its figures."""
    (cloud,) = report.clouds

    assert (cloud.made, cloud.gone, cloud.errors, cloud.handed_out) == (3, 3, 1, 2)
    assert (cloud.peak, cloud.quota, cloud.quota_refusals) == (2, 4, 1)
    assert cloud.flavor_s == {"big": 130.0, "odd": 40.0}
    assert report.span_s == 100.0
    assert report.used(cloud) == pytest.approx(1.7)


def test_the_cost_is_of_minutes_begun(report):
    """Two servers of 90 s and 40 s are two minutes and one; what has no price is named."""
    (cloud,) = report.clouds

    assert report.cost == pytest.approx(0.06 * 3)
    assert cloud.unpriced == ("odd",)


def test_states_follow_each_other_over_time(report):
    """Building until SSH answers, ready until handed out, in use until given back."""
    series = report.clouds[0].series

    at = {second: second for second in (0, 15, 21, 25, 32, 36, 39, 55, 79, 95)}
    states = {
        second: tuple(
            getattr(series, state)[second]
            for state in ("building", "ready", "in_use", "deleting", "strangers")
        )
        for second in at
    }
    assert series.step_s == 1.0
    assert states == {
        0: (1, 0, 0, 0, 1),
        15: (2, 0, 0, 0, 1),
        21: (1, 1, 0, 0, 1),
        25: (1, 0, 1, 0, 1),
        32: (0, 1, 1, 0, 1),
        36: (0, 0, 2, 0, 1),
        39: (0, 0, 1, 1, 1),
        55: (0, 0, 1, 0, 1),
        79: (1, 0, 0, 1, 1),
        95: (1, 0, 0, 0, 1),
    }
    assert (series.calls_step_s, series.calls) == (60.0, (2, 1))


def test_a_node_whose_requestor_died_is_in_use_until_its_delete():
    """His lease runs out by itself."""
    cloud = Known(CloudSpec(name="one"))
    cloud.server("a", 0.0, up=5.0, going=600.0, gone=610.0)

    found = make_report(scenario="x", seed=1, clouds={"one": cloud}, broken=(),
                        transcripts=[asked("x", 0.0, 10.0, server="a", until=10.0)])  # fmt: skip

    series = found.clouds[0].series
    assert series.in_use[int(500 / series.step_s)] == 1
    assert sum(series.deleting) <= 4


def test_the_data_of_a_report_have_a_version_and_can_be_written(report):
    """Every promise is there, held or broken."""
    data = json.loads(json.dumps(as_data(report)))

    assert data["schema_version"] == SCHEMA_VERSION
    assert data["promises"]["P1"] == {"held": True, "violations": 0}
    assert data["promises"]["P2"] == {"held": False, "violations": 2}
    assert data["promises"]["P13"]["violations"] == 1
    assert data["requests"] == {
        "filed": 4, "fulfilled": 2, "cancelled": 1, "failed": 0, "unserved": 1,
    }  # fmt: skip
    assert data["waits_s"]["by_stream"]["gate"]["p50"] == 30.0
    assert data["clouds"][0]["share"] == pytest.approx(0.425)
    assert data["clouds"][0]["never_used"] == 1
    assert data["calls_per_life"]["by_kind"] == {"GET compute /servers/detail": 1.333}
    assert data["cost"]["currency"] == "EUR"


def test_every_key_of_a_report_is_documented(report):
    """The page has each key of the first two levels, and no other."""
    page = (Path(__file__).parents[2] / "docs/how-to/simulate.md").read_text(encoding="utf-8")
    table = page.partition("| key | meaning |")[2].partition("\n\n")[0]
    data = as_data(report)
    keys = set(data) | set(data["requests"]) | set(data["waits_s"]) | set(data["waits_s"]["all"])
    keys |= set(data["clouds"][0]) | set(data["series"][0]) | set(data["cost"])
    keys |= set(data["calls_per_life"]) | set(data["promises"]["P1"])

    assert set(re.findall(r"`(\w+)`", table)) == keys - {"cloud"}


def test_several_seeds_are_told_as_one(report):
    """Sums of counts, and the greatest of peaks."""
    both = merged([report, attrs.evolve(report, seeds=(4,))])

    assert both.seeds == (3, 4)
    assert (both.waits().count, both.lives, both.broken["P2"]) == (4, 6, 4)
    assert both.clouds[0].peak == 2
    assert both.used(both.clouds[0]) == pytest.approx(1.7)
    assert both.cost == pytest.approx(0.36)


def test_nothing_at_all_is_told_without_an_error():
    """No request, no server."""
    empty = make_report(scenario="x", seed=1, clouds={"one": Known(CloudSpec(name="one"))},
                        transcripts=[], broken=())  # fmt: skip

    assert empty.waits().max_s == 0.0
    assert as_data(empty)["cost"] is None


@pytest.mark.slow
def test_plots_are_written_as_svg_and_png(report, tmp_path):
    """The same report gives the same SVG, byte for byte."""
    first, second = tmp_path / "a", tmp_path / "b"

    files = draw_report(report, first)
    draw_report(report, second)
    files += draw_comparison({"as it is": report, "otherwise": report}, first)

    assert sorted(path.name for path in files) == sorted(
        f"{name}.{kind}"
        for name in ("waits", "nodes", "use", "calls", "comparison")
        for kind in ("svg", "png")
    )
    assert (first / "waits.png").read_bytes().startswith(b"\x89PNG")
    assert (first / "nodes.svg").read_bytes() == (second / "nodes.svg").read_bytes()


@pytest.mark.slow
def test_plots_of_nothing_are_drawn_all_the_same(tmp_path):
    """Empty axes, and no warning."""
    empty = make_report(scenario="x", seed=1, clouds={"one": Known(CloudSpec(name="one"))},
                        transcripts=[], broken=())  # fmt: skip

    assert len(draw_report(empty, tmp_path)) == 8
