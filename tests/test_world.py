"""The steady clock: UTC that no jump of the wall clock moves."""

import pytest
import trio

from trellis.world import CATCH_UP, SteadyClock

NOON = 1_767_225_600.0
DAY = 86_400.0


class Host:
    """A wall clock that can be set."""

    def __init__(self):
        self.set_by = 0.0

    def __call__(self):
        return NOON + self.set_by + trio.current_time()


async def test_it_is_the_wall_clock_while_that_runs_evenly(autojump_clock):
    """To the last bit: no sum of small differences."""
    host = Host()
    clock = SteadyClock(host)
    for _ in range(1000):
        assert host() == clock()
        await trio.sleep(0.1)


@pytest.mark.parametrize("by_s", [60.0, -60.0, 600.0, -600.0, DAY, -DAY, 30 * DAY])
async def test_a_jump_does_not_move_it(by_s, autojump_clock):
    """What was 100 s away before the jump is 100 s away after it, to a twentieth."""
    host = Host()
    clock = SteadyClock(host)
    before = clock()
    host.set_by = by_s

    assert before == clock()
    assert by_s == clock.off_s
    await trio.sleep(100.0)
    assert abs(clock() - before - 100.0) <= 100.0 * CATCH_UP


@pytest.mark.parametrize("by_s", [60.0, -60.0, 600.0, -600.0])
async def test_it_catches_up_with_a_jump(by_s, autojump_clock):
    """After twenty times the jump it is the wall clock again."""
    host = Host()
    clock = SteadyClock(host)
    clock()
    host.set_by = by_s
    last = clock()
    for _ in range(30):
        await trio.sleep(abs(by_s) * 0.7)
        assert last < clock(), "it never goes back"
        last = clock()

    assert host() == clock()


async def test_a_clock_that_drifts_is_followed(autojump_clock):
    """One second in a hundred, as no NTP is there."""
    clock = SteadyClock(lambda: NOON + trio.current_time() * 1.01)
    for _ in range(100):
        clock()
        await trio.sleep(10.0)

    assert NOON + 1010.0 == pytest.approx(clock(), abs=0.001)


async def test_it_begins_no_earlier_than_what_is_on_record(autojump_clock):
    """The clock was set back while the daemon was down: recorded waits are not made longer."""
    host = Host()
    clock = SteadyClock(host)
    host.set_by = -DAY
    clock.begin(NOON + 5.0)

    assert NOON + 5.0 == clock() == clock.began_at
    await trio.sleep(100.0)
    assert 95.0 <= clock() - NOON - 5.0 <= 105.0


async def test_it_begins_now_when_what_is_on_record_is_past(autojump_clock):
    """The usual start."""
    clock = SteadyClock(Host())
    clock.begin(NOON - DAY)

    assert NOON == clock() == clock.began_at
