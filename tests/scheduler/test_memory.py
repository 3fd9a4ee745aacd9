"""What a pass costs: what has changed since the last, not all there is. Calls are counted."""

import gc
import sys

import attrs
import pytest

from trellis.model.quota import Limits, Resources
from trellis.scheduler.memory import Memory, Situations
from trellis.scheduler.plan import plan
from trellis.scheduler.snapshot import Held, PoolView, ProviderView, QuotaView
from trellis.testing.builders import a_node, a_pool, a_provider, a_request, a_snapshot

NAMES = ["alpha", "beta", "gamma", "delta"]
FULL = QuotaView(limits=Limits(instances=1), used=Resources(instances=1))


def full_world(waiting, **quotas):
    """Four providers without room, and what waits."""
    return a_snapshot(
        waiting=waiting,
        providers=[a_provider(name) for name in NAMES],
        quotas={**dict.fromkeys(NAMES, FULL), **quotas},
    )


def calls_of(snapshot, memory):
    """How many calls of any function a pass makes."""
    calls = 0

    def count(_frame, event, _what):
        nonlocal calls
        calls += event in ("call", "c_call")

    plan(snapshot)  # whatever is done once in a process is done
    gc.disable()
    sys.setprofile(count)
    try:
        plan(snapshot, memory)
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls


def test_a_backlog_of_equal_requests_costs_what_a_short_one_does():
    """5,000 that wait make as many calls as 50, in the first pass and in the next."""
    short, long = (full_world([a_request(n) for n in range(many)]) for many in (50, 5000))
    few, many = Memory(), Memory()

    assert calls_of(long, many) == calls_of(short, few)
    assert calls_of(long, many) == calls_of(short, few)


def test_a_mixed_backlog_costs_its_kinds():
    """Of sets, tenants and priorities mixed: a hundred times as many cost no more."""

    def mixed(many):
        return [
            a_request(n, labels=("small",) * (1 + n % 3), tenant=f"t{n % 5}") for n in range(many)
        ]

    full = dict.fromkeys(NAMES, QuotaView(limits=Limits(instances=3), used=Resources(instances=3)))
    short, long = full_world(mixed(50), **full), full_world(mixed(5000), **full)

    assert calls_of(long, Memory()) <= 1.02 * calls_of(short, Memory())


class TestWhatStandsAsItStood:
    def looks(self, monkeypatch):
        """The providers whose pools are looked into, from now on."""
        import trellis.scheduler.room as module

        seen, real = [], module.Room.choose_pools

        def choose_pools(room, provider, *rest, **more):
            seen.append(provider.name)
            return real(room, provider, *rest, **more)

        monkeypatch.setattr(module.Room, "choose_pools", choose_pools)
        return seen

    def test_is_not_looked_into_again(self, monkeypatch):
        """The same world a second time: every answer is known, and the plan is the same."""
        memory, world = Memory(), full_world([a_request(1), a_request(2, labels=("small",) * 2)])
        first = plan(world, memory)
        seen = self.looks(monkeypatch)

        assert plan(world, memory) == first
        assert seen == []

    def test_one_provider_that_changed_is_looked_into_alone(self, monkeypatch):
        """Another figure of its quota makes answers about it void, and only those."""
        memory = Memory()
        plan(full_world([a_request(1)]), memory)
        seen = self.looks(monkeypatch)
        more = QuotaView(limits=Limits(instances=2), used=Resources(instances=2))

        found = plan(full_world([a_request(1)], gamma=more), memory)

        assert set(seen) == {"gamma"}
        ((reasons),) = found.waits.values()
        assert reasons["gamma"] == "quota: 1 instances wanted, 2 of 2 taken"

    def test_what_is_being_deleted_is_no_room_yet(self, monkeypatch):
        """It may clear the way for one that waits; where that one fits has not changed."""
        memory = Memory()
        plan(full_world([a_request(1)]), memory)
        answers = {name: known.answers.fits for name, known in memory._known.items()}
        leaving = attrs.evolve(FULL, freeing=Resources(instances=1))

        plan(full_world([a_request(1)], beta=leaving), memory)

        assert {name: known.answers.fits for name, known in memory._known.items()} == answers
        assert memory._known["beta"].answers.fits is answers["beta"]

    def test_room_that_is_kept_for_one_that_starves_is_known_too(self, monkeypatch):
        """What comes after it is refused as it was, without another look."""
        memory = Memory()
        starving = a_request(1, labels=("small",) * 3, created_at=a_request(1).created_at - 5000)
        room = {
            name: QuotaView(limits=Limits(instances=4), used=Resources(instances=2))
            for name in NAMES
        }
        waiting = [starving, *(a_request(n, labels=("small",) * 3) for n in (2, 3)), a_request(4)]
        world = full_world(waiting, **{**room, **dict.fromkeys(NAMES[1:], FULL)})
        first = plan(world, memory)
        seen = self.looks(monkeypatch)

        assert plan(world, memory) == first
        assert (first.decisions, seen) == ((), [])


def test_room_that_is_kept_is_kept_from_what_was_known_to_fit():
    """A small request that fitted in the last pass waits once a large one starves."""
    memory = Memory()
    quota = QuotaView(limits=Limits(instances=4), used=Resources(instances=2))
    large = a_request(1, labels=("small",) * 3, created_at=a_request(1).created_at - 5000)
    world = a_snapshot(waiting=[large, a_request(2)], quotas={"alpha": quota})
    patient = attrs.evolve(world, starve_after_s=9000.0)
    assert [decision.request.id for decision in plan(patient, memory).decisions] == [
        a_request(2).id
    ]

    assert plan(world, memory).decisions == ()


def test_what_is_remembered_is_bounded(monkeypatch):
    """However many kinds of set are asked for while nothing changes."""
    monkeypatch.setattr("trellis.scheduler.answers.MOST_ANSWERS", 8)
    memory = Memory()
    full = QuotaView(limits=Limits(instances=20), used=Resources(instances=20))

    def known_after(sizes):
        waiting = [a_request(n, labels=("small",) * n) for n in sizes]
        plan(a_snapshot(waiting=waiting, quotas={"alpha": full}), memory)
        return len(memory._known["alpha"].answers.fits)

    assert [known_after(sizes) for sizes in (range(1, 6), range(6, 11), [1])] == [5, 10, 1]


HELD = Held(key="one", reason="it failed")
OTHERWISE = {
    PoolView: {
        "name": "second",
        "limits": Limits(instances=9),
        "used": Resources(instances=9),
        "offers": {},
        "priority": 1,
        "weight": 2.0,
        "freeing": Resources(instances=9),
        "missing": {"large": "no such flavor"},
        "ignores_quota": True,
        "spots_held": {("f1", None): HELD},
        "labels_held": {"small": (HELD,)},
        "label_limits": {"small": 9},
        "label_used": {"small": 9},
        "label_freeing": {"small": 9},
    },
    ProviderView: {
        "name": "omega",
        "launches_left": 9,
        "turns_left": 0,  # of more it makes none: answers are of before the first launch
        "barred": "used up",
        "paused": "paused by ada",
        "zone_nodes": {"a": 9},
        "pools": [],
    },
    QuotaView: {
        "limits": Limits(instances=9),
        "used": Resources(instances=9),
        "told": Limits(instances=9),
        "freeing": Resources(instances=9),
        "refused": "refused",
        "one_more": True,
    },
}
NEVER_IN_AN_ANSWER = {
    PoolView: set(),
    # Looked at for each request, before any answer or after it; or only where a placed one is
    # finished.
    ProviderView: {"closed", "quota", "weight", "draining", "dropped", "launch_retries"},
    QuotaView: set(),
}


@pytest.mark.parametrize("kind", OTHERWISE)
def test_every_part_of_a_view_makes_another_situation(kind):
    """A part that was left out would have answers hold that do not; also one added later."""
    pool, quota = a_pool(), QuotaView(limits=Limits(), used=Resources())
    fields = {field.name for field in attrs.fields(kind)}
    assert fields == {*OTHERWISE[kind], *NEVER_IN_AN_ANSWER[kind]}

    def situations(**parts):
        views = {
            view: attrs.evolve(now, **parts) if kind is view else now
            for view, now in ((PoolView, pool), (QuotaView, quota))
        }
        provider = a_provider(pools=[views[PoolView]])
        if kind is ProviderView:
            provider = attrs.evolve(provider, **parts)
        return Situations.of(views[QuotaView], [provider], ())

    assert situations() == situations()
    alike = [
        name
        for name, value in OTHERWISE[kind].items()
        if situations(**{name: value}) == situations()
    ]
    assert alike == []


def test_idle_nodes_are_part_of_the_situation():
    """Each as it is, and whether it is outdated."""
    quota, provider, node = FULL, a_provider(), a_node(1)

    several = [
        Situations.of(quota, [provider], idle)
        for idle in ((), [(node, False)], [(node, True)], [(a_node(2), False)])
    ]

    assert [one == other for one in several for other in several].count(True) == 4


def test_a_quota_that_is_gone_is_forgotten():
    """A provider that is configured no longer leaves nothing behind."""
    memory = Memory()
    plan(full_world([a_request(1)]), memory)

    plan(a_snapshot(waiting=[a_request(1)]), memory)

    assert list(memory._known) == ["alpha"]
