"""Budgets: launches of a minute and creates of a day, over kills, restarts and set clocks."""

import pytest
import trio

from tests.daemon.stage import CONFIGURATION, MINUTE, Stage, wall
from tests.daemon.test_quota import telling
from trellis.model.request import RequestState
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import Quota

pytestmark = pytest.mark.slow

HOUR = 60 * MINUTE
DAY = 24 * HOUR
FEW = CONFIGURATION + "launch-budget: 3\n"
THREE_A_DAY = CONFIGURATION.replace(
    "    cloud: alpha\n", "    cloud: alpha\n    limits: {creates-per-day: 3}\n"
)


class Host:
    """A wall clock that can be set."""

    def __init__(self, stage):
        self.set_by = 0.0
        stage.wall = self

    def __call__(self):
        return wall() + self.set_by


def created_at(stage):
    return [
        fact.at for cloud in stage.clouds.values() for fact in cloud.ledger.of(What.SERVER_CREATED)
    ]


def most_in_a_minute(stage):
    times = sorted(created_at(stage))
    return max(sum(at <= t < at + MINUTE for t in times) for at in times)


class TestLaunchesAMinute:
    async def test_the_rest_waits_and_is_told_so(self, tmp_path, autojump_clock):
        """Three in the first minute, three in the next; the budget is shown."""
        stage = Stage(tmp_path, configuration=FEW)
        async with stage.running() as core:
            asked = [await stage.ask() for _ in range(6)]
            await trio.sleep(30.0)
            early = len(created_at(stage))
            words = (await core.port.explain_request(asked[-1])).words
            budget = core.operator.budget()
            for request_id in asked:
                await stage.served(request_id)

        assert early == 3
        assert "the launch budget of this minute is used up" in words
        assert (budget.limit, budget.used) == (3, 3)

    async def test_a_daemon_that_crashes_again_and_again_has_no_more(
        self, tmp_path, autojump_clock
    ):
        """Each start reads from the records what the last ones spent."""
        stage = Stage(tmp_path, configuration=FEW)
        for start in range(8):
            async with stage.running():
                for _ in range(20 if start == 0 else 0):
                    await stage.ask()
                await trio.sleep(10.0)

        # Sent some seconds after they were decided upon: the last of one minute and the first of
        # the next may be sent together.
        assert 3 < len(created_at(stage)) <= 6
        assert most_in_a_minute(stage) < 2 * 3

    async def test_nodes_that_are_gone_by_then_count_too(self, tmp_path, autojump_clock):
        """Launched, deleted and archived within the minute."""
        stage = Stage(tmp_path, configuration=FEW)
        stage.alpha.change(boot=stage.alpha.spec.delete)
        async with stage.running() as core:
            for _ in range(3):
                request_id = await stage.ask("alpha")
                while not core.fleet.nodes:  # noqa: ASYNC110
                    await trio.sleep(0.1)
                await trio.sleep(1.0)
                await core.port.cancel(request_id)
            with trio.move_on_after(20.0):  # noqa: ASYNC912
                while core.fleet.nodes:  # noqa: ASYNC110
                    await trio.sleep(0.5)
            left = len(core.fleet.nodes)
        before = len(created_at(stage))

        async with stage.running() as core:
            await stage.ask("alpha")
            await trio.sleep(10.0)
            used = core.operator.budget().used

        assert left < 3
        assert used >= 3
        assert len(created_at(stage)) <= max(before, 3)

    @pytest.mark.parametrize("by_s", [-DAY, DAY])
    async def test_a_clock_that_is_set_neither_fills_nor_empties_it(
        self, by_s, tmp_path, autojump_clock
    ):
        """It would launch nothing for a day, or as much again at once."""
        stage = Stage(tmp_path, configuration=FEW)
        host = Host(stage)
        async with stage.running():
            asked = [await stage.ask() for _ in range(6)]
            await trio.sleep(20.0)
            host.set_by = by_s
            await trio.sleep(20.0)
            early = len(created_at(stage))
            for request_id in asked:
                await stage.served(request_id, within_s=5 * MINUTE)

        assert early == 3


class TestCreatesADay:
    @pytest.mark.parametrize("by_s", [-DAY, 2 * DAY])
    async def test_a_clock_that_is_set_does_not_refill_it(self, by_s, tmp_path, autojump_clock):
        """A day is a day, also where its calls are counted anew on a new connection."""
        stage = Stage(tmp_path, configuration=THREE_A_DAY)
        host = Host(stage)
        async with stage.running() as core:
            for _ in range(3):
                await stage.release(await stage.served(await stage.ask("alpha")))
            host.set_by = by_s
            fourth = await stage.ask("alpha")
            await trio.sleep(HOUR)
            stage.write()
            await core.reread()
            await stage.take_up(THREE_A_DAY.replace("max-servers: 10", "max-servers: 9"))
            await trio.sleep(HOUR)

            assert stage.created() == 3
            assert (await core.port.request(fourth)).state is RequestState.REQUESTED
            await stage.served(fourth, within_s=DAY)

    async def test_a_clock_set_back_while_it_was_down_does_not_refill_it(
        self, tmp_path, autojump_clock
    ):
        """Nor does it keep it empty for longer than a day."""
        stage = Stage(tmp_path, configuration=THREE_A_DAY)
        host = Host(stage)
        async with stage.running():
            for _ in range(3):
                await stage.release(await stage.served(await stage.ask("alpha")))
        host.set_by = -DAY

        async with stage.running() as core:
            fourth = await stage.ask("alpha")
            await trio.sleep(HOUR)
            assert stage.created() == 3
            assert (await core.port.request(fourth)).state is RequestState.REQUESTED
            await stage.served(fourth, within_s=1.1 * DAY)

    async def test_creates_that_were_refused_count_over_a_restart(self, tmp_path, autojump_clock):
        """The cloud counts calls, whatever it answered; so do we, before and after."""
        stage = Stage(tmp_path, configuration=THREE_A_DAY)
        stage.alpha.change(quota=Quota(instances=0))
        stage.meddle = telling(maxTotalInstances=10)
        async with stage.running() as core:
            await stage.ask("alpha")
            await trio.sleep(2 * HOUR)
            left = core._roster.running["alpha"]._works.connected.creates_left()
            await trio.sleep(1.0)
        tried = sum(
            cloud == "alpha" and method == "POST" and path.endswith("/servers")
            for cloud, method, path in stage.calls
        )

        async with stage.running() as core:
            await trio.sleep(10.0)
            again = core._roster.running["alpha"]._works.connected.creates_left()

        assert tried > 0
        assert left == 3 - tried
        assert again <= left
