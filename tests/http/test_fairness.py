"""Shares of a scarce rate: deletions, the server list, launches, each against all others."""

import itertools
import math
from collections import Counter

import pytest
import trio
import trio.testing

from trellis.http.buckets import Limit, RatePlan
from trellis.http.message import Verb
from trellis.http.rates import Buckets, Gate

STORM = 2000


def one_a_second() -> Gate:
    return Gate("compute", Buckets(RatePlan(every=Limit(per_s=1.0, burst=1))), 1000)


class Line:
    """Tasks that each make one call, and when they made it."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.sent: list[tuple[float, Verb]] = []

    async def call(self, verb: Verb, *, ahead: bool = False) -> None:
        await self.gate.enter(verb, ahead=ahead)
        self.sent.append((trio.current_time(), verb))
        self.gate.leave()

    async def keep_calling(self, verb: Verb) -> None:
        while True:
            await self.call(verb)

    def counts(self) -> Counter[Verb]:
        return Counter(verb for _, verb in self.sent)

    def longest_wait(self, verb: Verb) -> float:
        at = [0.0, *(time for time, sent in self.sent if sent is verb), trio.current_time()]
        return max(later - earlier for earlier, later in itertools.pairwise(at))


async def test_a_deletion_waits_for_one_turn_behind_thousands_of_launches(autojump_clock):
    """They were there first; it goes next."""
    line = Line(one_a_second())
    async with trio.open_nursery() as nursery:
        for _ in range(STORM):
            nursery.start_soon(line.call, Verb.CREATE)
        await trio.sleep(100.5)
        asked_at = trio.current_time()
        await line.call(Verb.DELETE)
        assert trio.current_time() - asked_at <= 2.0
        nursery.cancel_scope.cancel()


async def test_deletions_have_four_turns_of_five_beside_launches(autojump_clock):
    """Thousands of both: room is made faster than it is asked for, and launches go on."""
    line = Line(one_a_second())
    async with trio.open_nursery() as nursery:
        for verb in (Verb.CREATE, Verb.DELETE):
            for _ in range(STORM):
                nursery.start_soon(line.call, verb)
        await trio.sleep(1000.5)
        nursery.cancel_scope.cancel()

    counts = line.counts()
    assert 795 <= counts[Verb.DELETE] <= 805
    assert 195 <= counts[Verb.CREATE] <= 205
    assert line.longest_wait(Verb.CREATE) <= 6.0


@pytest.mark.parametrize("verb", list(Verb))
async def test_every_class_has_its_share_whatever_else_waits(verb, autojump_clock):
    """Of ten turns four, three, two and one; no class waits longer than its share means."""
    weight = {Verb.DELETE: 4, Verb.READ: 3, Verb.CHANGE: 2, Verb.CREATE: 1}[verb]
    line = Line(one_a_second())
    async with trio.open_nursery() as nursery:
        for other in Verb:
            for _ in range(STORM if other is not verb else 3):
                nursery.start_soon(line.keep_calling, other)
        await trio.sleep(1000.5)
        nursery.cancel_scope.cancel()

    assert line.counts()[verb] == pytest.approx(100 * weight, abs=5)
    assert line.longest_wait(verb) <= math.ceil(10 / weight) + 2.0


async def test_the_list_goes_before_thousands_of_other_reads(autojump_clock):
    """Each launch in doubt looks for its server; the one list answers all of them."""
    line = Line(one_a_second())
    waits = []
    async with trio.open_nursery() as nursery:
        for verb in Verb:
            for _ in range(STORM):
                nursery.start_soon(line.keep_calling, verb)
        for _ in range(20):
            await trio.sleep(30.0)
            asked_at = trio.current_time()
            await line.call(Verb.READ, ahead=True)
            waits.append(trio.current_time() - asked_at)
        nursery.cancel_scope.cancel()

    assert max(waits) <= 5.0


async def test_a_list_that_is_given_up_leaves_the_line_as_it_was(autojump_clock):
    """Cancelled while it waits, it takes no turn and holds up nobody."""
    line = Line(one_a_second())
    await line.gate.enter(Verb.READ)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.call, Verb.READ)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.5):
            await line.call(Verb.READ, ahead=True)

    assert [verb for _, verb in line.sent] == [Verb.READ]
    assert line.gate.waiting == 0
