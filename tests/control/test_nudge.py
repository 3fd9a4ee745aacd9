"""A nudge: asked any number of times, answered at least once."""

import trio
import trio.testing

from trellis.control.nudge import Nudge


async def test_a_nudge_given_before_is_answered_at_once(autojump_clock):
    """What was asked while nobody waited is not lost, and costs one pass however often."""
    nudge = Nudge()
    nudge()
    nudge()
    began = trio.current_time()

    await nudge.wait(at_most=10.0)
    first = trio.current_time() - began
    await nudge.wait(at_most=10.0)

    assert (first, trio.current_time() - began) == (0.0, 10.0)


async def test_a_nudge_wakes_who_waits(autojump_clock, nursery):
    """Long before the bound."""
    nudge, woken = Nudge(), list[float]()

    async def waiter() -> None:
        await nudge.wait(at_most=100.0)
        woken.append(trio.current_time())

    nursery.start_soon(waiter)
    await trio.sleep(3.0)
    nudge()
    await trio.testing.wait_all_tasks_blocked()

    assert woken == [trio.current_time()]


async def test_a_cancelled_wait_leaves_what_was_asked(autojump_clock):
    """A loop that is started again looks at it."""
    nudge = Nudge()
    with trio.CancelScope() as scope:
        scope.cancel()
        nudge()
        await nudge.wait(at_most=10.0)
    began = trio.current_time()

    await nudge.wait(at_most=10.0)

    assert trio.current_time() == began


async def test_what_comes_while_several_are_woken_is_for_the_next_pass(autojump_clock, nursery):
    """The second one to wake must not take what was asked after the first had looked."""
    nudge, woken = Nudge(), list[str]()

    async def waiter(name: str) -> None:
        await nudge.wait(at_most=10.0)
        if not woken:
            nudge()
        woken.append(name)

    nursery.start_soon(waiter, "one")
    nursery.start_soon(waiter, "other")
    await trio.testing.wait_all_tasks_blocked()
    nudge()
    await trio.testing.wait_all_tasks_blocked()
    began = trio.current_time()

    await nudge.wait(at_most=10.0)

    assert len(woken) == 2
    assert trio.current_time() == began
