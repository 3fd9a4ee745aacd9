"""Kill points: their names, kills that land where they are meant to, and what was never met."""

import attrs
import pytest
import trio

from trellis.sim.cloud.spec import CloudSpec, Faults, Outage, OutageKind
from trellis.sim.coverage import OFTEN, Coverage, contained
from trellis.sim.demand import DemandSpec
from trellis.sim.mortal import Mortal, MortalLog, living
from trellis.sim.points import AT_A_MOMENT, UNDER_WAY, Passes, call_point
from trellis.sim.scenario import Scenario
from trellis.sim.simulate import Outcome
from trellis.store.simulated import SimulatedLog

ID = "0fc6ebf8-c8f7-45fa-a11d-4510114d7f07"


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/RegionOne/compute/v2.1/servers", "POST compute /servers"),
        ("GET", "/RegionOne/compute/v2.1/servers/detail", "GET compute /servers/detail"),
        ("DELETE", f"/RegionOne/compute/v2.1/servers/{ID}", "DELETE compute /servers/*"),
        ("POST", "/identity/v3/auth/tokens", "POST identity /auth/tokens"),
        ("PUT", f"/RegionOne/network/v2.0/floatingips/{ID}", "PUT network /floatingips/*"),
        ("GET", f"/R/volume/v3/4510114d7f07/volumes/{ID}", "GET volume /volumes/*"),
        ("POST", f"/R/compute/v2/{ID.replace('-', '')}/servers", "POST compute /servers"),
        ("PUT", "/R/object-store/v1/AUTH_x/images/a.vhd", "PUT object-store /*/*"),
        ("PUT", f"/R/image/v2/images/{ID}/file", "PUT image /images/*/file"),
        ("GET", "/", "GET ? /"),
    ],
)
def test_a_call_is_named_by_what_it_is(method, path, name):
    """Neither ids nor regions nor versions are in the name."""
    assert call_point(method, path) == name


@attrs.define
class Played:
    """One incarnation without a daemon: a log, a scope, and what was counted."""

    mortal: Mortal
    scope: trio.CancelScope
    passed: Passes
    killed: Passes


@pytest.fixture
def played(rng) -> Played:
    """A living incarnation."""
    scope, passed, killed = trio.CancelScope(), Passes(), Passes()
    log = MortalLog(rng)
    mortal = Mortal(log, scope, passed=passed, killed=killed)
    log.owner = mortal
    return Played(mortal, scope, passed, killed)


@pytest.fixture
def rng():
    """A source of chance."""
    from random import Random

    return Random(1)


async def test_a_kill_lands_at_the_seam_it_was_meant_for(played):
    """Other seams are passed; the second passing of this one is the end."""
    played.mortal.die_at_seam("b", 2)

    for seam in ("a", "b", "a", "b", "b"):
        played.mortal.pass_seam(seam)

    assert not played.mortal.alive
    assert played.killed == {"b": 1}
    assert played.passed == {"a": 2, "b": 2}
    assert played.mortal.died_at == "at 'b'"


async def test_a_kill_of_what_has_ended_by_itself_is_none(played):
    """Else a point would seem to have had its kill, and had none."""
    played.mortal.ended.set()

    played.mortal.kill()

    assert played.mortal.alive
    assert played.killed == {}


async def test_a_kill_amid_a_write_is_counted_as_such(played):
    """The write is cut off: of its commits the first few are durable, or none."""
    await played.mortal.log.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_append, played.mortal.log)
        await trio.testing.wait_all_tasks_blocked()
        played.mortal.kill()

    assert played.killed == {AT_A_MOMENT: 1, UNDER_WAY: 1}
    assert played.passed["store append, before"] == 1
    assert played.passed["store append, after"] == 0


async def _append(log: SimulatedLog) -> None:
    from trellis.errors import FencedError
    from trellis.store.log import Entry

    with pytest.raises(FencedError):
        await log.append([Entry(revision=1, puts=(), removals=(), events=(), archived=())])


async def test_a_kill_can_fall_at_any_await_of_the_daemon_and_of_nobody_else(played):
    """Steps of its tasks are counted, from the one at which it is armed on; others are not."""
    from trellis.control.nudge import Nudge

    nudge = Nudge()

    async def daemon() -> None:
        living.set(played.mortal)
        with played.scope:
            while True:
                await nudge.wait(at_most=1.0)

    async def somebody_else() -> None:
        for _ in range(50):
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(daemon)
        await trio.testing.wait_all_tasks_blocked()
        played.mortal.die_at_await(None, 3)
        await somebody_else()
        assert played.mortal.alive
        for _ in range(3):
            nudge()
            await trio.testing.wait_all_tasks_blocked()

    assert played.killed == {"await nudge.Nudge.wait": 1}
    assert played.passed["await nudge.Nudge.wait"] == 3
    assert played.scope.cancelled_caught


def story(**changes: object) -> Scenario:
    """One cloud and one request."""
    base = Scenario(
        name="one",
        clouds=(CloudSpec(name="only"),),
        configuration="",
        demand=DemandSpec(requests=1, every_s=1.0),
        kills=3,
        faults_end=60.0,
    )
    return attrs.evolve(base, **changes)


def test_a_scenario_contains_the_faults_that_are_set_in_it():
    """By the names of settings, and of the kinds of outages."""
    cloud = CloudSpec(
        name="only",
        faults=Faults(boot_error=0.1),
        outages=(Outage(start=0.0, end=1.0, kind=OutageKind.HANG),),
    )

    found = contained(story(clouds=(cloud,)))

    assert "boot-error" in found
    assert "lose-answer" not in found
    assert "boot-error" not in contained(story())


def outcome(**given: object) -> Outcome:
    """What came of one seed."""
    return Outcome(
        seed=1, scenario="one", trace="", violations=(), lives=1, figures={}, version="", **given
    )


def test_what_no_seed_met_with_is_named():
    """A fault that never struck, and a point that many seeds passed and none died at."""
    cloud = CloudSpec(name="only", faults=Faults(boot_error=0.1, no_ssh=0.1))
    coverage = Coverage(story(clouds=(cloud,)))
    for _ in range(OFTEN):
        coverage.add(
            outcome(
                struck=Passes({"boot-error": 2, "kills": 1}),
                passed=Passes({"a": 5, "b": 1}),
                kill_points=Passes({"a": 1}),
            )
        )

    assert [("boot-error", 2 * OFTEN), ("kills", OFTEN), ("no-ssh", 0)] == coverage.faults()
    assert [("a", OFTEN, OFTEN), ("b", OFTEN, 0)] == coverage.points()
    assert coverage.missed() == [
        "the fault no-ssh never struck",
        f"no kill landed at 'b', which {OFTEN} seeds passed",
    ]


def test_a_point_that_few_seeds_passed_may_have_had_no_kill():
    """It may be too rare for so few seeds."""
    coverage = Coverage(story())
    struck, passed, killed = Passes({"kills": 1}), Passes({"rare": 3}), Passes({"a": 1})
    coverage.add(outcome(struck=struck, passed=passed, kill_points=killed))

    assert coverage.missed() == []
