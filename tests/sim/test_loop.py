"""Trio's loop in a simulation: its schedule comes from a seed, and it is as it was afterwards."""

import gc
from random import Random
from typing import Any

import pytest
import trio
from trio._core import _run

from trellis.sim.clock import VirtualClock
from trellis.sim.loop import seeded_loop


def _interleaving(seed: int) -> list[str]:
    """In which order three tasks go on that are ready together, again and again."""
    order: list[str] = []

    async def step(name: str) -> None:
        for _ in range(10):
            await trio.lowlevel.checkpoint()
            order.append(name)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for name in ("one", "two", "three"):
                nursery.start_soon(step, name)

    clock = VirtualClock()
    with seeded_loop(seed, clock):
        trio.run(main, clock=clock)
    return order


def test_a_seed_is_an_interleaving():
    """The same seed tells the same story, another one another."""
    assert _interleaving(1) == _interleaving(1)
    assert _interleaving(1) != _interleaving(2)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 8, 33])
def test_its_shuffle_is_that_of_the_standard_library(size: int):
    """Bit for bit, so that it is no other story; and it has taken as much of the chance."""
    with seeded_loop(7, VirtualClock()):
        ours, chance = list(range(size)), _run._r
        theirs, of_library = list(range(size)), Random(7)
        for _ in range(20):
            chance.shuffle(ours)
            of_library.shuffle(theirs)

    assert theirs == ours
    assert of_library.getstate() == chance.getstate()


def test_the_time_it_is_read_at_once():
    """Inside, everybody's clock is the loop's, and deadlines go by it."""
    clock = VirtualClock()

    async def main() -> tuple[float, float, bool]:
        with trio.move_on_after(5.0) as scope:
            await trio.sleep(60.0)
        await trio.sleep_until(8.0)
        return (
            trio.current_time(),
            trio.lowlevel.current_clock().current_time(),
            scope.cancelled_caught,
        )

    with seeded_loop(1, clock):
        assert trio.run(main, clock=clock) == (8.0, 8.0, True)


def test_all_is_as_before_when_it_is_over():
    """Other loops of the process have their own schedule, events and time, after an error too."""
    names = ("_ALLOW_DETERMINISTIC_SCHEDULING", "_r", "TheIOManager", "current_time")

    def places() -> list[Any]:
        return [*(getattr(_run, name) for name in names), trio.current_time, gc.isenabled()]

    def breaks() -> None:
        with seeded_loop(1, VirtualClock()):
            assert trio.current_time() == 0.0
            raise ValueError("in the block")

    before = places()
    with pytest.raises(ValueError, match="in the block"):
        breaks()

    assert places() == before


def test_it_seldom_asks_the_operating_system(monkeypatch: pytest.MonkeyPatch):
    """Hardly ever while tasks run or have deadlines: here at fewer than one turn in a hundred."""
    asked: list[float] = []
    of_trio = _run.TheIOManager.get_events

    def get_events(self: Any, timeout: float) -> Any:
        asked.append(timeout)
        return of_trio(self, 0.0)

    monkeypatch.setattr(_run.TheIOManager, "get_events", get_events)
    clock = VirtualClock()

    async def main() -> None:
        for _ in range(1000):
            await trio.lowlevel.checkpoint()
            await trio.sleep(1.0)

    with seeded_loop(1, clock):
        trio.run(main, clock=clock)

    assert 2 <= len(asked) <= 20


def test_somebody_from_outside_is_heard():
    """What another thread or a signal brings is seen, though no task waits for long."""
    clock = VirtualClock()

    async def main() -> bool:
        token, came = trio.lowlevel.current_trio_token(), trio.Event()
        # As Trio's handler of Ctrl-C does it.
        token.run_sync_soon(came.set)
        for _ in range(10_000):
            await trio.lowlevel.checkpoint()
            if came.is_set():
                return True
        return False

    with seeded_loop(1, clock):
        assert trio.run(main, clock=clock)
