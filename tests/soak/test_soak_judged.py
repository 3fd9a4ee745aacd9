"""A soak that met nothing, or in which something grew, is no success."""

import attrs

from tests.soak.ending import forgotten
from tests.soak.kills import Kills, _too_little
from tests.soak.load import Loaded, Sample

FLEET = {"building": 18, "ready": 10, "in-use": 60, "hold": 2, "deleting": 10}
IDLE = Sample(at_s=0.0, mib=70.0, files=20, tasks=40, nodes=0, cpu_s=1.0)


def loaded(*mib, after=IDLE):
    samples = [
        attrs.evolve(IDLE, at_s=10.0 * number, mib=one, nodes=900) for number, one in enumerate(mib)
    ]
    return Loaded(warm_s=20.0, before=IDLE, after=after, samples=samples)


def test_kills_in_the_middle_of_a_whole_fleet_count():
    assert _too_little(Kills(fleets=[{}, FLEET, {}]), 100) == []


def test_kills_that_met_a_small_fleet_show_nothing():
    assert "more than 100 nodes" in _too_little(Kills(fleets=[FLEET]), 1000)[0]


def test_a_state_that_no_kill_met_is_named():
    without = {state: count for state, count in FLEET.items() if state != "hold"}

    assert _too_little(Kills(fleets=[without]), 100) == ["no kill met a node in state hold"]


def test_a_daemon_that_never_told_of_its_nodes_shows_nothing():
    assert len(_too_little(Kills(fleets=[{}, {}]), 100)) == 1


def test_memory_may_grow_while_it_warms_up_and_not_after():
    assert loaded(50, 70, 100, 102, 98, 100).grown() == []
    assert "98.0 to 106.0 MiB" in loaded(50, 70, 100, 106, 98, 100).grown()[0]
    assert "94.0 to 100.0 MiB" in loaded(50, 70, 100, 94, 98, 100).grown()[0]


def test_a_load_that_never_came_about_shows_nothing():
    """Requests are not filed while too many wait, so a slow daemon would have an easy hour."""
    assert attrs.evolve(loaded(1, 1, 100, 100), rate=20.0, nodes=540).too_little() == []
    assert (
        "only 5.0 nodes a second"
        in (attrs.evolve(loaded(1, 1, 100, 100), rate=20.0, nodes=150).too_little()[0])
    )


def test_what_is_left_open_is_named():
    after = attrs.evolve(IDLE, files=26, tasks=46)

    assert loaded(1, 1, 100, 100, after=after).grown() == [
        "26 files are open, 20 were at first",
        "46 tasks live, 40 did at first",
    ]


def test_a_full_history_excuses_only_what_is_older_than_all_it_holds():
    """Two hours at 20 nodes a second make more records than are kept."""
    made = {f"{number:010d}" for number in range(1, 11)}
    recorded = {f"{number:010d}" for number in (4, 5, 7, 8, 9, 10)}
    assert forgotten(made, recorded) == {"0000000001", "0000000002", "0000000003"}
