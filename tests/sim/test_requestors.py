"""Requestors: they file what is wanted, use it, and write down what they saw."""

from random import Random

import attrs
import pytest

from trellis.sim.cloud.spec import CloudSpec, Quota, fixed
from trellis.sim.demand import Burst, DemandSpec, wanted
from trellis.sim.prices import Prices
from trellis.sim.scenario import Scenario
from trellis.sim.simulate import demand_chance, simulate

pytestmark = pytest.mark.slow

PROVIDER = """
  - name: {name}
    type: openstack
    cloud: {name}
    sweep: delete
    pools:
      - name: main
        networks: [public]
        labels:
          - {{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}}
          - {{name: large, cloud-image: tiny, flavor-name: ci-2c-4g}}"""


def story(*streams, quota=10, **more):
    """Two calm clouds and these streams."""
    clouds = tuple(
        CloudSpec(name=name, number=number, quota=Quota(instances=quota), boot=fixed(10.0))
        for number, name in enumerate(("east", "west"))
    )
    providers = "".join(PROVIDER.format(name=cloud.name) for cloud in clouds)
    return Scenario(
        name="calm",
        clouds=clouds,
        configuration="deployment: sim\nlabels: [{name: small}, {name: large}]\n"
        f"providers:{providers}\n",
        demand=streams[0],
        more_demand=streams[1:],
        kills=0,
        faults_end=0.0,
        **more,
    )


def quiet(**changes):
    """Ten requests of one node each, none cancelled."""
    spec = DemandSpec(
        requests=10, every_s=20.0, sizes=(1.0,), use=fixed(60.0), cancel=0.0, expire=0.0
    )
    return attrs.evolve(spec, **changes)


def test_a_gate_that_is_reset_breaks_no_promise():
    """All of a burst end at the reset, waiting or in use, and are filed anew; nothing is left."""
    burst = Burst(size=20, resets=2, reset_after=fixed(25.0))
    gate = quiet(requests=20, every_s=1.0, burst=burst, use=fixed(120.0))

    outcome = simulate(story(gate, quota=5), 1)

    assert outcome.violations == ()
    report = outcome.report
    assert report is not None
    assert len(report.asked) == 60
    assert report.ended("cancelled") > 0
    assert report.ended("fulfilled") + report.ended("cancelled") == 60
    assert len({one.filed_at for one in report.asked}) == 3


def test_a_stream_that_insists_on_a_provider_gets_its_nodes_there():
    """And the other streams go where there is room."""
    outcome = simulate(story(quiet(name="a", provider="west"), quiet(name="b")), 2)

    assert outcome.violations == ()
    assert outcome.report is not None
    west = next(cloud for cloud in outcome.report.clouds if cloud.cloud == "west")
    assert west.handed_out >= 10
    assert list(outcome.report.waits_by("stream")) == ["a", "b"]


def test_what_was_asked_is_what_was_wanted():
    """The transcripts have the moments, labels, priorities and tenants of the demand."""
    spec = quiet(tenants=("red", "blue"), priorities=(100, 300))
    outcome = simulate(story(spec), 3)

    assert outcome.report is not None
    told = [(x.labels, x.priority, x.tenant) for x in outcome.report.asked]
    meant = [(x.labels, x.priority, x.tenant) for x in wanted([spec], demand_chance(3))]
    assert told == meant


def test_requests_that_never_fit_hold_up_nothing():
    """They fail, or are given up and cancelled; the others are served, and nothing is left."""
    large = quiet(name="too-large", requests=3, sizes=(0.0,) * 29 + (1.0,))

    outcome = simulate(story(quiet(), large, quota=5, patience_s=300.0), 4)

    assert outcome.report is not None
    assert outcome.report.ended("fulfilled") == 10
    assert outcome.report.ended("failed") + outcome.report.ended("") == 3
    assert {violation.promise for violation in outcome.violations} <= {"progress"}


def test_a_long_use_is_kept_by_renewing_the_lease():
    """Two hours, with a lease of one."""
    outcome = simulate(story(quiet(requests=1, use=fixed(7200.0))), 5)

    assert outcome.violations == ()
    assert outcome.report is not None
    assert outcome.report.span_s > 7200.0


def test_servers_have_their_price():
    """Each by its flavor, for as long as it was there."""
    prices = Prices(currency="EUR", clouds={"east": {"other": 3600.0}, "west": {"other": 3600.0}})

    outcome = simulate(story(quiet(), prices=prices), 6)

    assert outcome.report is not None
    seconds = sum(cloud.server_s for cloud in outcome.report.clouds)
    assert outcome.report.cost == pytest.approx(seconds, rel=0.01)
    assert [cloud.unpriced for cloud in outcome.report.clouds] == [(), ()]


def test_demand_of_a_seed_does_not_depend_on_the_clouds():
    """The same requests at the same moments, with half the room."""
    roomy, tight = simulate(story(quiet()), 7), simulate(story(quiet(), quota=2), 7)

    assert roomy.report is not None
    assert tight.report is not None
    assert [x.filed_at for x in roomy.report.asked] == [x.filed_at for x in tight.report.asked]
    assert roomy.trace != tight.trace


def test_two_sources_of_chance_differ():
    """The check above can fail."""
    assert list(wanted([quiet()], Random(1))) != list(wanted([quiet()], Random(2)))
