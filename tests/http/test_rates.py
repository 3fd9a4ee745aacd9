"""Whose turn it is."""

import math

import pytest
import trio
import trio.testing

from trellis.http.buckets import Limit, RatePlan
from trellis.http.message import Verb
from trellis.http.rates import Buckets, Gate, Rates


def a_gate(at_once: int = 1000, **limit: float) -> Gate:
    return Gate("compute", Buckets(RatePlan(every=Limit(**limit))), at_once)


async def served(gate: Gate, verb: Verb, order: list[object], name: object = None) -> None:
    await gate.enter(verb)
    order.append(name if name is not None else verb)
    gate.leave()


async def test_turns_of_a_class_come_in_order(autojump_clock):
    """First come, first served, at the rate."""
    gate = a_gate(per_s=2.0, burst=1)
    order: list[object] = []

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(served, gate, Verb.CREATE, order, number)
            await trio.testing.wait_all_tasks_blocked()

    assert order == [0, 1, 2, 3, 4]
    assert pytest.approx(trio.current_time()) == 2.0


async def test_deletes_and_reads_overtake_queued_creates(autojump_clock):
    """Behind 100 creates a deletion waits for one token, not for a hundred."""
    gate = a_gate(per_s=1.0, burst=1)
    await gate.enter(Verb.CREATE)
    order: list[object] = []

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(served, gate, Verb.CREATE, order)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(served, gate, Verb.DELETE, order)
        nursery.start_soon(served, gate, Verb.READ, order)
        await trio.sleep(3.5)
        nursery.cancel_scope.cancel()

    assert Verb.DELETE is order[0]
    assert Verb.READ in order[:3]


async def test_creates_do_not_starve_behind_deletes(autojump_clock):
    """Deletions come first and leave others a share."""
    gate = a_gate(per_s=10.0, burst=1)
    order: list[object] = []

    async with trio.open_nursery() as nursery:
        for verb in (Verb.CREATE, Verb.READ, Verb.DELETE):
            for _ in range(100):
                nursery.start_soon(served, gate, verb, order)
        await trio.sleep(9.95)
        nursery.cancel_scope.cancel()

    early = order[:80]
    assert early.count(Verb.DELETE) > early.count(Verb.READ) > early.count(Verb.CREATE) >= 8


async def test_cancelled_waiter_takes_no_token(autojump_clock):
    """Its turn goes to the next one at the time it would have come."""
    gate = a_gate(per_s=1.0, burst=1)
    await gate.enter(Verb.CREATE)
    order: list[object] = []

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.5):
            await gate.enter(Verb.CREATE)
        nursery.start_soon(served, gate, Verb.CREATE, order, "next")

    assert order == ["next"]
    assert pytest.approx(trio.current_time()) == 1.0
    assert gate.waiting == 0


async def test_turn_dealt_to_a_task_that_is_being_cancelled_is_returned(autojump_clock):
    """Cancelled in the very step in which its turn is dealt, it leaves turn and place."""
    gate = a_gate(at_once=1)
    await gate.enter(Verb.READ)
    order: list[object] = []

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def doomed() -> None:
            with scope:
                await gate.enter(Verb.READ)

        nursery.start_soon(doomed)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(served, gate, Verb.READ, order, "next")
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        gate.leave()

    assert order == ["next"]
    assert gate.waiting == 0


async def test_keeper_that_leaves_appoints_another(autojump_clock):
    """Whoever sleeps for the others may be cancelled; the others still get their turns."""
    gate = a_gate(per_s=1.0, burst=1)
    await gate.enter(Verb.READ)
    order: list[object] = []

    async with trio.open_nursery() as nursery:
        keeper, heir = trio.CancelScope(), trio.CancelScope()

        async def doomed(scope: trio.CancelScope) -> None:
            with scope:
                await gate.enter(Verb.READ)

        for scope in (keeper, heir):
            nursery.start_soon(doomed, scope)
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(served, gate, Verb.READ, order, "third")
        await trio.testing.wait_all_tasks_blocked()
        keeper.cancel()
        heir.cancel()

    assert order == ["third"]
    assert pytest.approx(trio.current_time()) == 1.0


async def test_no_more_in_flight_than_connections(autojump_clock):
    """The turn waits, not the call: a deletion can still come first."""
    gate = a_gate(at_once=2)
    order: list[object] = []
    await gate.enter(Verb.CREATE)
    await gate.enter(Verb.CREATE)

    async with trio.open_nursery() as nursery:
        for verb in (Verb.CREATE, Verb.CREATE, Verb.DELETE):
            nursery.start_soon(served, gate, verb, order)
        await trio.testing.wait_all_tasks_blocked()
        assert gate.waiting == 3
        gate.leave()

    assert Verb.DELETE is order[0]
    assert len(order) == 3


async def test_turn_taken_and_never_used_blocks_for_seconds_only(autojump_clock):
    """A task that dies between its turn and its call costs a connection for 5 s."""
    gate = a_gate(at_once=1)
    await gate.turn(Verb.CREATE)

    await gate.enter(Verb.READ)

    assert pytest.approx(trio.current_time()) == 5.0


async def test_promised_call_enters_at_once(autojump_clock):
    """Its turn was waited for before."""
    gate = a_gate(at_once=1)
    await gate.turn(Verb.CREATE)

    gate.enter_promised(Verb.CREATE)
    gate.leave()
    await gate.enter(Verb.READ)

    assert trio.current_time() == 0.0


async def test_turn_of_the_day_that_was_not_used_is_given_back(autojump_clock):
    """What the cloud was not sent it has not counted: another call has the turn."""
    verbs = {("compute", Verb.CREATE): Limit(per_day=1)}
    gate = Gate("compute", Buckets(RatePlan(verbs=verbs)), 10)
    await gate.turn(Verb.CREATE)
    left_before = gate.left_today(Verb.CREATE)

    await gate.turn(Verb.CREATE)
    had_it_at = trio.current_time()
    gate.enter_promised(Verb.CREATE)
    gate.leave()
    await trio.sleep(60.0)

    assert left_before == 0
    assert pytest.approx(had_it_at) == 5.0
    assert gate.left_today(Verb.CREATE) == 0


async def test_turn_of_the_day_that_was_used_late_counts(autojump_clock):
    """The call is made, however late it comes: the cloud counts it."""
    verbs = {("compute", Verb.CREATE): Limit(per_day=2)}
    gate = Gate("compute", Buckets(RatePlan(verbs=verbs)), 10)
    await gate.turn(Verb.CREATE)
    await trio.sleep(10.0)
    lapsed = gate.left_today(Verb.CREATE)

    gate.enter_promised(Verb.CREATE)

    assert lapsed == 2
    assert gate.left_today(Verb.CREATE) == 1


async def test_room_made_while_tokens_are_missing_is_used_when_they_come(autojump_clock):
    """Neither the connection nor the token alone lets a call through, both do."""
    gate = a_gate(at_once=1, per_s=0.1, burst=1)
    await gate.enter(Verb.READ)
    order: list[object] = []

    async with trio.open_nursery() as nursery:
        nursery.start_soon(served, gate, Verb.READ, order)
        await trio.sleep(2.0)
        gate.leave()

    assert pytest.approx(trio.current_time()) == 10.0


async def test_refused_class_waits_and_others_go_on(autojump_clock):
    """A limit of creates does not hold up deletions."""
    gate = a_gate()
    gate.refused(Verb.CREATE, sent_at=trio.current_time(), pause_s=30.0)

    await gate.enter(Verb.DELETE)
    deleted_at = trio.current_time()
    await gate.enter(Verb.CREATE)

    assert deleted_at == 0.0
    assert pytest.approx(trio.current_time()) == 30.0


async def test_two_refused_classes_show_a_shared_limit(autojump_clock):
    """Then all classes wait: the limit is the service's."""
    gate = a_gate()
    gate.refused(Verb.CREATE, sent_at=trio.current_time(), pause_s=30.0)
    gate.refused(Verb.READ, sent_at=trio.current_time(), pause_s=30.0)

    await gate.enter(Verb.DELETE)

    assert pytest.approx(trio.current_time()) == 30.0
    assert not math.isinf(gate.rate(Verb.DELETE))


async def test_few_calls_of_a_class_do_not_make_its_limit(autojump_clock):
    """One read among 40 creates is refused: reads are not limited to one in a second for it."""
    gate = a_gate()
    for _ in range(40):
        assert gate.enter_at_once(Verb.CREATE)
    assert gate.enter_at_once(Verb.READ)
    gate.refused(Verb.READ, sent_at=trio.current_time(), pause_s=1.0)
    alone = gate.rate(Verb.READ)

    gate.refused(Verb.CREATE, sent_at=0.0, pause_s=1.0)

    assert 15.0 < alone < 25.0
    assert gate.rate(Verb.READ) == gate.rate(Verb.CREATE) == gate.slowest
    assert gate.slowest > 10.0


async def test_thousand_waiters_cost_no_thousand_wakeups(autojump_clock):
    """One sleeps for all: dealing a turn wakes who gets it and no one else."""
    gate = a_gate(per_s=100.0, burst=1)
    order: list[object] = []
    woken = _Wakeups()

    trio.lowlevel.add_instrument(woken)
    async with trio.open_nursery() as nursery:
        for number in range(1000):
            nursery.start_soon(served, gate, Verb.READ, order, number)
    trio.lowlevel.remove_instrument(woken)

    assert len(order) == 1000
    assert woken.steps < 10_000


class _Wakeups(trio.abc.Instrument):
    steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1


async def test_a_raised_limit_frees_those_who_wait(autojump_clock):
    """A limit that is configured otherwise holds at once, also for calls in the queue."""
    rates = Rates(RatePlan(every=Limit(per_s=0.01, burst=1)), 1000)
    gate = rates.gate("compute")
    order: list[object] = []

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(served, gate, Verb.READ, order, number)
            await trio.testing.wait_all_tasks_blocked()
        rates.replan(RatePlan(every=Limit(per_s=1.0, burst=1)))

    assert order == [0, 1, 2]
    assert trio.current_time() == pytest.approx(2.0, abs=0.1)


async def test_a_lowered_limit_holds_at_once(autojump_clock):
    rates = Rates(RatePlan(every=Limit(per_s=100.0, burst=50)), 1000)
    gate = rates.gate("compute")
    rates.replan(RatePlan(every=Limit(per_s=1.0, burst=1)))
    order: list[object] = []

    for number in range(4):
        await served(gate, Verb.READ, order, number)

    assert trio.current_time() == pytest.approx(3.0)


async def test_turn_that_is_there_is_taken_at_once(autojump_clock):
    """While there are tokens nobody has to wait, not even for a turn of Trio's loop."""
    gate = a_gate(per_s=1.0, burst=2)

    assert [gate.enter_at_once(Verb.READ) for _ in range(3)] == [True, True, False]


async def test_nobody_enters_at_once_past_those_who_wait(autojump_clock):
    """The token that comes is theirs who have waited for it."""
    gate = a_gate(per_s=1.0, burst=1)
    order: list[object] = []
    assert gate.enter_at_once(Verb.CREATE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(served, gate, Verb.CREATE, order, "waited")
        await trio.testing.wait_all_tasks_blocked()
        at_once = gate.enter_at_once(Verb.DELETE)

    assert not at_once
    assert order == ["waited"]


async def test_nobody_enters_at_once_without_a_connection(autojump_clock):
    """As many as there are connections are in flight, whatever the rate would allow."""
    gate = a_gate(at_once=1)
    assert gate.enter_at_once(Verb.READ)

    full = gate.enter_at_once(Verb.READ)
    gate.leave()

    assert not full
    assert gate.enter_at_once(Verb.READ)


class TestSharedBuckets:
    """Two accounts whose calls a cloud counts together."""

    async def test_both_keep_to_one_rate(self, autojump_clock):
        """Each has a queue of its own, and neither waits for ever."""
        buckets = Buckets(RatePlan(every=Limit(per_s=1.0, burst=1)))
        gates = [Gate("compute", buckets, 20) for _ in range(2)]
        times: list[float] = []

        async def call(gate):
            await gate.enter(Verb.READ)
            times.append(trio.current_time())
            gate.leave()

        async with trio.open_nursery() as nursery:
            for gate in gates * 10:
                nursery.start_soon(call, gate)

        assert times == pytest.approx(list(range(20)), abs=0.01)

    async def test_calls_that_hang_hold_up_their_own_account_only(self, autojump_clock):
        """All its connections are taken, and a hundred calls wait for one."""
        buckets = Buckets(RatePlan(every=Limit(per_s=100.0, burst=50)))
        hung, sound = (Gate("compute", buckets, 20) for _ in range(2))
        order: list[object] = []

        async def hang():
            await hung.enter(Verb.CREATE)
            await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            for _ in range(120):
                nursery.start_soon(hang)
            await trio.sleep(10.0)
            with trio.fail_after(0.1):
                await served(sound, Verb.CREATE, order)
            nursery.cancel_scope.cancel()

        assert order == [Verb.CREATE]

    async def test_a_refusal_of_one_slows_the_other(self, autojump_clock):
        """The cloud's patience is theirs together."""
        buckets = Buckets(RatePlan())
        first, second = (Gate("compute", buckets, 20) for _ in range(2))
        first.refused(Verb.READ, sent_at=trio.current_time(), pause_s=5.0)
        order: list[object] = []

        await served(second, Verb.READ, order)

        assert trio.current_time() >= 5.0
