"""The clock of a simulation: it stands still while anybody works, and jumps when all wait."""

import math
import time

import trio

from trellis.sim.clock import VirtualClock


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
