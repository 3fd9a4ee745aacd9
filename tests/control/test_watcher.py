"""One list for all who wait, no list for nobody, and lists that fail mean nothing."""

import math

import pytest
import trio

from tests.control.scripted_provider import ScriptedProvider, a_row
from trellis.control.health import ProviderHealth
from trellis.control.watcher import FULL_EVERY_S, LOOK_ONCE_S, Watcher, is_gone
from trellis.errors import CloudBrokenError
from trellis.model.status import Health
from trellis.spi.provider import InstanceState, Tag
from trellis.testing.builders import a_home


class Watched:
    def __init__(self):
        self.calls_per_s = math.inf
        self.provider = ScriptedProvider()
        self.unexpected, self.full, self.attached = [], [], []
        self.health = ProviderHealth("alpha", trio.current_time, lambda: None)
        self.health.opened()
        self.watcher = Watcher(
            self.provider,
            deployment="test",
            health=self.health,
            foreign=lambda home: "" if home == a_home() else "project changed: to another",
            on_attached=self.attached.append,
            on_row=self.unexpected.append,
            on_full=self.full.append,
            calls_per_s=lambda: self.calls_per_s,
        )


@pytest.fixture
async def watched(nursery):
    watched = Watched()
    nursery.start_soon(watched.watcher.run)
    return watched


def active(row):
    return row.state is InstanceState.ACTIVE


async def test_many_waiters_share_one_list(watched, autojump_clock):
    """Fifty nodes that become active together cost lists, not fifty calls."""
    found = []

    async def one(number):
        node_id = f"{number:010d}"
        row = await watched.watcher.wait(node_id, f"server-{number}", active)
        found.append(row.external_id)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(one, number)
        await trio.sleep(5)
        watched.provider.rows = [a_row(f"{n:010d}", f"server-{n}") for n in range(50)]

    assert len(found) == 50
    assert len(watched.provider.lists) < 15
    assert watched.provider.gets == []


@pytest.mark.parametrize(("calls_per_s", "most"), [(20.0, 21), (1.0, 5), (0.01, 5)])
async def test_lists_are_a_small_share_of_the_calls_that_a_cloud_takes(
    calls_per_s, most, watched, autojump_clock
):
    """One in twenty, and however few there are, one in five seconds."""
    watched.calls_per_s = calls_per_s
    with trio.move_on_after(20):
        async with trio.open_nursery() as nursery:
            for number in range(300):
                waits = (f"{number:010d}", f"server-{number}", is_gone)
                nursery.start_soon(lambda args: watched.watcher.wait(*args, kind="go"), waits)

    assert 4 <= len(watched.provider.lists) <= most


async def test_nobody_waits_nobody_lists(watched, autojump_clock):
    """Without a waiter there is a full list each five minutes and nothing else."""
    await trio.sleep(FULL_EVERY_S * 3.5)

    assert len(watched.provider.lists) == 4
    assert all(since is None for _, since in watched.provider.lists)


async def test_between_full_lists_only_changes_are_asked_for(watched, autojump_clock):
    """While somebody waits, lists after the first name the newest time seen."""
    with trio.move_on_after(20):
        await watched.watcher.wait("0000000001", "server-1", active)

    assert [since for _, since in watched.provider.lists[:3]] == [None, "now", "now"]


async def test_a_failed_list_means_nothing_but_another_try(watched, autojump_clock):
    """No waiter is told anything by a list that failed (design §9)."""
    watched.provider.errors = [CloudBrokenError("503")]
    watched.provider.rows = [a_row()]

    row = await watched.watcher.wait("0000000001", "server-1", active)

    assert row.external_id == "server-1"
    assert watched.health.state is Health.AVAILABLE


async def test_absence_is_no_proof_of_being_gone(watched, autojump_clock):
    """A server that no list shows is not taken for gone (rule 2)."""
    with trio.move_on_after(50) as scope:
        await watched.watcher.wait("0000000001", "server-1", is_gone)

    assert scope.cancelled_caught


async def test_a_row_in_state_unknown_is_no_information(watched, autojump_clock):
    """A cell that is down shows UNKNOWN rows (rule 3)."""
    watched.provider.rows = [a_row(state=InstanceState.UNKNOWN)]
    with trio.move_on_after(20) as scope:
        await watched.watcher.wait("0000000001", "server-1", lambda row: True)

    assert scope.cancelled_caught
    assert watched.unexpected == []


async def test_a_server_no_list_shows_is_asked_for_by_itself(watched, autojump_clock):
    """After a minute without a row, one GET (rule 3: a filter may skip a cell)."""
    hidden = a_row()
    watched.provider.get = lambda external_id: _answer(hidden)
    began = trio.current_time()

    row = await watched.watcher.wait("0000000001", "server-1", active)

    assert row is hidden
    assert trio.current_time() - began == pytest.approx(LOOK_ONCE_S, abs=1)


async def _answer(row):
    await trio.lowlevel.checkpoint()
    return row


async def test_one_that_knows_its_server_is_not_served_by_a_twin(watched, autojump_clock):
    """A second server with the same tag is somebody else's business: the sweep's."""
    twin = a_row(external_id="twin")
    watched.provider.rows = [twin]
    with trio.move_on_after(20) as scope:
        await watched.watcher.wait("0000000001", "server-1", active)

    assert scope.cancelled_caught
    assert twin in watched.unexpected


async def test_another_deployments_rows_are_nobodys(watched, autojump_clock):
    """Their tag is not ours, whatever their node ids are."""
    watched.provider.rows = [a_row(tag=Tag(deployment="theirs", node_id="0000000001"))]
    with trio.move_on_after(20) as scope:
        await watched.watcher.wait("0000000001", None, active)

    assert scope.cancelled_caught
    assert watched.unexpected == []


async def test_another_project_under_the_same_name_proves_nothing(watched, autojump_clock):
    """When the project changes, its lists are not believed and the provider closes (rule 2)."""
    await trio.sleep(1)
    watched.provider.at_home = a_home(project_id="other")
    watched.provider.rows = [a_row(state=InstanceState.GONE)]
    with trio.move_on_after(20) as scope:
        await watched.watcher.wait("0000000001", "server-1", is_gone)

    assert scope.cancelled_caught
    assert "project changed" in watched.health.reason


async def test_what_the_first_list_showed_is_known_to_who_asks_after_it(nursery, autojump_clock):
    """A launch that goes on after a restart does not wait for what no later list shows again."""
    watched = Watched()
    watched.provider.rows = [a_row("0000000001", "server-1")]
    nursery.start_soon(watched.watcher.run)
    await watched.watcher.listed.wait()
    watched.provider.rows = []

    with trio.fail_after(1):
        row = await watched.watcher.wait("0000000001", "server-1", active)

    assert row.external_id == "server-1"
    assert watched.provider.gets == []


async def test_volumes_are_shown_before_anybody_waits_for_the_row(watched, autojump_clock):
    """A building server's volume may be seen once only; rows without any cost nothing."""
    watched.provider.rows = [
        a_row(state=InstanceState.BUILDING, volumes=("v1",)),
        a_row("0000000002", "server-2"),
    ]
    with trio.move_on_after(30):
        await watched.watcher.wait("0000000001", "server-1", active)

    assert {row.external_id for row in watched.attached} == {"server-1"}


async def looks_in_a_boot(watched, waiters: int) -> int:
    """How many lists twenty seconds of waiting cost, as often as that is known to take."""
    before = len(watched.provider.lists)

    async def wait(number):
        watched.provider.rows = []
        with trio.move_on_after(20):
            await watched.watcher.wait(f"{number:010d}", f"server-{number}", active)

    async with trio.open_nursery() as nursery:
        for number in range(waiters):
            nursery.start_soon(wait, number)
    return len(watched.provider.lists) - before


async def test_one_who_waits_alone_costs_a_few_looks(watched, autojump_clock):
    """He pays for each alone: a look for every second of a boot would be twenty calls a node."""
    assert 5 <= await looks_in_a_boot(watched, 1) <= 10


async def test_a_crowd_is_looked_for_often_and_each_costs_less(watched, autojump_clock):
    looks = await looks_in_a_boot(watched, 50)

    assert looks > 20
    assert looks / 50 < 1
