"""How launches ended lately: what counts, for how long, and what it costs."""

from random import Random

import pytest

from trellis.control.tracks import FEWEST, LATELY_S, MOST, Tracks
from trellis.model.node import NodeState
from trellis.model.records import Change
from trellis.scheduler.snapshot import Track
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Store
from trellis.testing.builders import NOW, a_node
from trellis.world import World


def building(number=1, **parts):
    return a_node(number, state=NodeState.BUILDING, created_at=NOW - 30, **parts)


def ended(tracks, state=NodeState.READY, at=NOW, **parts):
    """One launch ends."""
    before = building(**parts)
    more = {"ready_at": at} if state is NodeState.READY else {}
    if state in (NodeState.FAILED, NodeState.ABORTED):
        more = {"launch_by": at + 1}
    tracks.see(Change(before, before.became(state, at, **more)))


def test_each_ending_is_counted_by_provider_and_label():
    tracks = Tracks()
    ended(tracks)
    ended(tracks, provider="beta")
    ended(tracks, NodeState.FAILED)
    ended(tracks, NodeState.ABORTED, label="large")

    assert tracks.at(NOW) == {
        ("alpha", "small"): Track(ready=1, failed=1),
        ("beta", "small"): Track(ready=1),
        ("alpha", "large"): Track(failed=1),
    }


def test_the_time_is_told_from_the_third_launch_on():
    """In the middle of all cases: one that took for ever says little."""
    tracks = Tracks()
    for number, took_s in enumerate((20.0, 21.0, 900.0), 1):
        assert tracks.at(NOW).get(("alpha", "small"), Track()).took_s is None
        before = a_node(number, state=NodeState.BUILDING, created_at=NOW - took_s)
        tracks.see(Change(before, before.became(NodeState.READY, NOW, ready_at=NOW)))

    assert FEWEST == 3
    assert tracks.at(NOW)["alpha", "small"].took_s == 21.0


def test_an_ending_counts_for_a_while_and_no_longer():
    tracks = Tracks()
    ended(tracks, NodeState.FAILED, at=NOW)
    ended(tracks, at=NOW + 60)

    assert tracks.at(NOW + LATELY_S - 1)["alpha", "small"] == Track(ready=1, failed=1)
    assert tracks.at(NOW + LATELY_S)["alpha", "small"] == Track(ready=1)
    assert tracks.at(NOW + LATELY_S + 60) == {}


@pytest.mark.parametrize("state", [NodeState.FAILED, NodeState.ABORTED])
def test_what_was_never_sent_to_the_cloud_says_nothing_of_it(state):
    """A launch that was taken back before its create, for one."""
    tracks, before = Tracks(), building()

    tracks.see(Change(before, before.became(state, NOW)))

    assert tracks.at(NOW) == {}


def test_one_that_was_cancelled_says_nothing():
    tracks, before = Tracks(), building()

    tracks.see(Change(before, before.became(NodeState.DELETING, NOW)))

    assert tracks.at(NOW) == {}


def test_what_is_kept_is_bounded():
    """The latest count, however many there are."""
    tracks = Tracks()
    for _ in range(MOST):
        ended(tracks, NodeState.FAILED)
    for _ in range(MOST - 10):
        ended(tracks)

    assert tracks.at(NOW)["alpha", "small"] == Track(ready=MOST - 10, failed=10, took_s=30.0)


def test_nothing_is_made_anew_while_nothing_ends():
    """A pass costs the same with a thousand endings as with none."""
    tracks = Tracks()
    for number in range(50):
        ended(tracks, provider=f"p{number}")
    first = tracks.at(NOW)["p7", "small"]

    ended(tracks, provider="p8")

    assert tracks.at(NOW + 1)["p7", "small"] is first


def test_a_provider_is_told_of_in_words():
    """By label, as `provider show` has it."""
    tracks = Tracks()
    for _ in range(3):
        ended(tracks)
    ended(tracks, NodeState.FAILED)
    ended(tracks, NodeState.FAILED, label="large")
    ended(tracks, provider="beta")

    assert tracks.words("alpha", NOW) == {
        "large": "0 of 1 launches became ready in the last 15 min",
        "small": "3 of 4 launches became ready in the last 15 min, in 30 s",
    }
    assert tracks.words("alpha", NOW + LATELY_S) == {}


# ------------------------------------------------------------------------ over a restart


async def lived(store, number, *steps, **parts):
    """A launch of which the create was sent goes through these states, and is archived if gone."""
    node = building(number, launch_by=NOW + 600, **parts)
    await store.commit([Change(None, node)])
    for state in steps:
        ready = {"ready_at": NOW} if state is NodeState.READY else {"fault": "for some reason"}
        after = node.became(state, NOW, **ready)
        await store.commit([Change(node, after, archive=state is NodeState.GONE)])
        node = after


async def tracks_after_restart(store):
    tracks = Tracks()
    world = World(wall=lambda: NOW + 60, random=Random(1), connect=None, transport=None)
    await tracks.load(store, world)
    return tracks.at(NOW + 60)


@pytest.fixture
async def store():
    async with Store.open(SimulatedLog(Random(1)), deployment="test", wall=lambda: NOW) as opened:
        yield opened


async def test_what_was_cancelled_says_nothing_after_a_restart_either(store, autojump_clock):
    """It bears a reason as a failure does: its request was cancelled, or a person deleted it."""
    await lived(store, 1, NodeState.DELETING)
    await lived(store, 2, NodeState.DELETING, NodeState.GONE)

    assert await tracks_after_restart(store) == {}


async def test_failures_are_known_after_a_restart(store, autojump_clock):
    """Those whose nodes are being deleted, or are gone, too."""
    await lived(store, 1, NodeState.FAILED)
    await lived(store, 2, NodeState.ABORTED, NodeState.DELETING)
    await lived(store, 3, NodeState.FAILED, NodeState.DELETING, NodeState.GONE)
    await lived(store, 4, NodeState.READY)

    assert await tracks_after_restart(store) == {("alpha", "small"): Track(ready=1, failed=3)}


async def test_what_was_seen_before_the_records_were_read_counts_once(store, autojump_clock):
    tracks = Tracks()
    store.subscribe(lambda batch: [tracks.see(change) for change in batch.changes])
    await lived(store, 1, NodeState.FAILED)
    world = World(wall=lambda: NOW + 60, random=Random(1), connect=None, transport=None)

    await tracks.load(store, world)

    assert tracks.at(NOW + 60) == {("alpha", "small"): Track(failed=1)}
