"""The whole daemon while its own host is in trouble: by a script, and by the seed."""

from random import Random

import attrs
import pytest
import trio

from trellis.sim.alarms import called_for
from trellis.sim.catalogue import CATALOGUE, HOST, Struck
from trellis.sim.cloud.spec import CloudSpec, Lognormal, Quota, direct_networks
from trellis.sim.demand import DemandSpec
from trellis.sim.host import Host, HostFault, HostFaults, HostTrouble, kinds
from trellis.sim.scenario import Scenario, rough
from trellis.sim.scenario_dump import dumped
from trellis.sim.scenario_file import load_scenario
from trellis.sim.simulate import simulate
from trellis.store.simulated import SimulatedDisk

pytestmark = pytest.mark.slow

DAY = 86_400.0
_POOLS = """
      - name: main
        max-servers: 30
        networks: [public]
        labels: [{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]
"""


def story(*script: HostTrouble, sweep: str = "delete", **faults: float) -> Scenario:
    """Two clouds that do as they should, sixty requests, and a host that does not."""
    clouds = tuple(
        CloudSpec(
            name=name,
            number=number,
            networks=direct_networks(),
            quota=Quota(instances=30),
            boot=Lognormal(10.0, 20.0),
        )
        for number, name in enumerate(("one", "two"))
    )
    configuration = (
        "deployment: sim\nlabels: [{name: small, min-ready: 2}]\nproviders:\n"
        f"  - name: one\n    type: openstack\n    cloud: one\n    sweep: {sweep}\n"
        f"    pools: &pools{_POOLS}"
        f"  - {{name: two, type: openstack, cloud: two, sweep: {sweep}, pools: *pools}}\n"
    )
    return Scenario(
        name="host",
        clouds=clouds,
        configuration=configuration,
        demand=DemandSpec(
            requests=60, every_s=4.0, expire=0.0, use=Lognormal(30.0, 60.0), labels=("small",)
        ),
        kills=0,
        faults_end=300.0,
        patience_s=900.0,
        settle_s=1800.0,
        host=HostFaults(script=script, **faults),
    )


AT = 120.0
SCRIPTED = [
    HostTrouble(fault=HostFault.CLOCK_JUMP, at=AT, by_s=DAY),
    HostTrouble(fault=HostFault.CLOCK_JUMP, at=AT, by_s=-DAY),
    HostTrouble(fault=HostFault.CLOCK_SET_WHILE_DOWN, at=AT, by_s=600.0),
    HostTrouble(fault=HostFault.CLOCK_SET_WHILE_DOWN, at=AT, by_s=-DAY),
    HostTrouble(fault=HostFault.DISK_FULL, at=AT, lasts_s=40.0),
    HostTrouble(fault=HostFault.DISK_READ_ONLY, at=AT, lasts_s=40.0),
    HostTrouble(fault=HostFault.DISK_SLOW, at=AT, lasts_s=60.0),
    HostTrouble(fault=HostFault.STORE_BUSY, at=AT, lasts_s=25.0),
    HostTrouble(fault=HostFault.STORE_BUSY, at=AT, lasts_s=50.0),
    HostTrouble(fault=HostFault.PASSWORD_ROTATED, at=AT, lasts_s=60.0, cloud="one"),
]


@pytest.mark.parametrize(
    "trouble", SCRIPTED, ids=lambda x: f"{x.fault.value}-{x.by_s or x.lasts_s:g}"
)
def test_every_promise_is_kept(trouble):
    """No node is used twice or lost, nobody waits for ever, nothing is left."""
    outcome = simulate(story(trouble), 1)

    assert outcome.violations == ()
    assert outcome.struck[trouble.fault.value] >= 1
    assert outcome.lives >= 60


def test_a_clock_that_drifts_breaks_no_promise():
    """One second in fifty, which no NTP corrects."""
    outcome = simulate(story(clock_drift=0.02), 1)

    assert outcome.violations == ()
    assert outcome.struck["clock-drift"] == 1


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("fault", [HostFault.STORE_SET_BACK, HostFault.STORE_MOVED])
def test_a_store_set_back_costs_what_it_forgot_and_no_more(fault, seed):
    """A minute is forgotten: those leases are unknown, and what it holds is for a person.

    Nobody is given another's node, nobody's node is deleted, and everybody else is served.
    """
    outcome = simulate(story(HostTrouble(fault=fault, at=90.0, lasts_s=60.0)), seed)

    forgotten = [v for v in outcome.violations if "was told: there is no" in v.story]
    left = [v for v in outcome.violations if v.promise == "P2" and "still has" in v.story]
    assert forgotten, "it did forget"
    theirs = {v.about for v in forgotten}
    others = [v for v in outcome.violations if v.about not in theirs and v not in left]
    assert others == []


@pytest.mark.parametrize("seed", [1, 2])
def test_all_of_it_at_once(seed):
    """By the seed, with kills among them."""
    counts = dict.fromkeys(
        ("clock_jump", "clock_set_while_down", "disk_full", "disk_read_only", "disk_slow"), 1
    )
    scenario = story(store_busy=1, password_rotated=2, clock_drift=-0.01, **counts)
    outcome = simulate(attrs.evolve(scenario, kills=5, changes=2), seed)

    assert outcome.violations == ()


def test_the_same_seed_is_the_same_trouble():
    """And what is left out of a story leaves the moments of the rest alone."""
    scenario = story(clock_jump=2, disk_full=1)

    assert simulate(scenario, 4).trace == simulate(scenario, 4).trace


def test_a_scenario_file_can_say_all_of_it(tmp_path):
    """By numbers and by a script; what is dumped is read back."""
    scenario = story(*SCRIPTED[:5], clock_jump=2, clock_drift=0.01, password_rotated=1)
    path = tmp_path / "host.yaml"
    path.write_text(dumped(scenario))

    assert scenario.host == load_scenario(path).host


def test_each_trouble_is_in_the_catalogue_and_in_the_rough_story():
    """But for what costs what was acknowledged, which has stories of its own."""
    assert {*kinds()} <= CATALOGUE.keys()
    assert {fault.name for fault in HOST} == {*kinds(), "kills", "changes"}
    drawn = {trouble.fault for trouble in rough().host.drawn(Random(1), 400.0)}
    assert {*HostFault} - drawn == {HostFault.STORE_SET_BACK, HostFault.STORE_MOVED}


@pytest.mark.parametrize(
    ("fault", "lasts_s", "ends"),
    [
        (HostFault.DISK_FULL, 20.0, True),
        (HostFault.DISK_SLOW, 20.0, False),
        (HostFault.STORE_BUSY, 20.0, False),
        (HostFault.STORE_BUSY, 50.0, True),
    ],
)
async def test_only_what_cannot_be_waited_for_excuses_an_end(fault, lasts_s, ends, autojump_clock):
    """A daemon that gives up on a slow disk has a bug."""
    trouble = HostTrouble(fault=fault, at=1.0, lasts_s=lasts_s)
    host = Host(
        HostFaults(script=(trouble,)),
        until=60.0,
        true_time=trio.current_time,
        clouds={},
        rotates=(),
        kill=lambda: None,
        struck=Struck(),
        chance=Random(1),
    )
    host.before_start(SimulatedDisk())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.run)
        await trio.sleep(10.0)
        during = host.excuses_end
        await trio.sleep(60.0)

    assert during == ends
    assert not host.excuses_end


def test_an_alarm_is_excused_where_the_story_calls_for_it():
    """A sweep that stops, or a store taken for an old one, is a bug everywhere else."""
    set_back = story(HostTrouble(fault=HostFault.STORE_SET_BACK, at=90.0))

    assert called_for(rough()) == {"deletion_stuck"}
    assert called_for(set_back) >= {"sweep_stopped", "store_is_an_older_copy"}
