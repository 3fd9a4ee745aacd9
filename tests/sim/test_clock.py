"""The clock of a simulation: it stands still while anybody works, and jumps when all wait."""

import math
import time

import trio

from trellis.sim.clock import VirtualClock, light_sleep, sleep


def test_a_day_takes_no_time():
    """Sleeps pass at once, and exactly."""
    began = time.monotonic()

    async def main() -> float:
        await trio.sleep(86_400.0)
        return trio.current_time()

    assert trio.run(main, clock=VirtualClock()) == 86_400.0
    assert time.monotonic() - began < 60


def test_deadlines_come_in_order():
    """Whatever order they were set in, the nearest comes first, and a timeout fires in time."""
    woken: list[tuple[float, str]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await trio.sleep(seconds)
        woken.append((trio.current_time(), name))

    async def main() -> None:
        with trio.move_on_after(2.5):
            async with trio.open_nursery() as nursery:
                for name, seconds in (("late", 3.0), ("first", 1.0), ("second", 2.0)):
                    nursery.start_soon(sleeper, name, seconds)
        woken.append((trio.current_time(), "timeout"))

    trio.run(main, clock=VirtualClock())

    assert woken == [(1.0, "first"), (2.0, "second"), (2.5, "timeout")]


def test_time_stands_still_while_a_task_can_run():
    """A task that only yields never sees time pass, though another one sleeps."""
    seen: list[float] = []

    async def busy() -> None:
        for _ in range(100):
            await trio.lowlevel.checkpoint()
            seen.append(trio.current_time())

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(busy)
            nursery.start_soon(trio.sleep, 5.0)

    trio.run(main, clock=VirtualClock())

    assert seen == [0.0] * 100


def test_without_any_deadline_it_waits():
    """Nothing to jump to: only something from outside could go on."""
    assert VirtualClock().deadline_to_sleep_time(math.inf) == math.inf


def test_the_sleep_of_a_simulation_comes_in_order_with_all_others():
    """Its wakings and Trio's own deadlines come by their times, and exactly."""
    woken: list[tuple[float, str]] = []

    async def main() -> None:
        async def sleeper(name: str, seconds: float) -> None:
            pause = sleep if name.startswith("ours") else trio.sleep
            await pause(seconds)
            woken.append((trio.current_time(), name))

        async with trio.open_nursery() as nursery:
            for name, seconds in (("ours-2", 3.0), ("trio-1", 2.0), ("ours-1", 1.0), ("trio", 4.0)):
                nursery.start_soon(sleeper, name, seconds)

    trio.run(main, clock=VirtualClock())

    assert woken == [(1.0, "ours-1"), (2.0, "trio-1"), (3.0, "ours-2"), (4.0, "trio")]


def test_a_sleep_that_was_cancelled_moves_no_clock():
    """Its moment is nobody's any more: time goes to the next one that is somebody's."""

    async def main() -> tuple[float, float]:
        with trio.move_on_after(1.0):
            await sleep(50.0)
        cancelled_at = trio.current_time()
        await trio.sleep(99.0)
        return cancelled_at, trio.current_time()

    assert trio.run(main, clock=VirtualClock()) == (1.0, 100.0)


def test_a_shielded_sleep_is_over_before_it_is_cancelled():
    """As one that a disk has to answer: the cancellation comes, but only then."""

    async def main() -> tuple[bool, float]:
        with trio.move_on_after(1.0) as scope:
            await sleep(5.0, shield=True)
            await trio.lowlevel.checkpoint()
        return scope.cancelled_caught, trio.current_time()

    assert trio.run(main, clock=VirtualClock()) == (True, 5.0)


def test_all_that_sleeps_by_trio_sleeps_lightly_while_it_is_wanted():
    """At the same moments as before, with no cancel scope of its own; and Trio's is put back."""
    plain = trio.sleep

    async def main() -> tuple[list[float], bool]:
        moments = []
        for seconds in (2.0, 0.0, 1.5):
            await trio.sleep(seconds)
            moments.append(trio.current_time())
        with trio.move_on_after(1.0) as scope:
            await trio.sleep(50.0)
        return [*moments, trio.current_time()], scope.cancelled_caught

    with light_sleep():
        assert trio.sleep is sleep
        found = trio.run(main, clock=VirtualClock())

    assert found == ([2.0, 2.0, 3.5, 4.5], True)
    assert trio.sleep is plain


async def test_under_any_other_clock_it_is_a_plain_sleep(autojump_clock):
    """The simulated clouds serve over real HTTP too."""
    await sleep(10.0)
    with trio.move_on_after(1.0):
        await sleep(3.0, shield=True)

    assert trio.current_time() == 13.0
