"""The oracle sees to Zuul: a source with a bug, put in on purpose, is caught within a few seeds."""

import contextlib
import json
from collections.abc import Callable
from functools import cache

import attrs
import pytest

pytest.importorskip("trellis_zuul", reason="needs plugins/zuul: pip install -e plugins/zuul")

from trellis_zuul import node_life, node_steps
from trellis_zuul.handing_over import HandingOver
from trellis_zuul.node_life import NodeLife
from trellis_zuul.node_steps import Act, Step
from trellis_zuul.raw_object import RawObject
from trellis_zuul.request_life import RequestLife
from trellis_zuul.request_wire import ZuulState

from tests.sim.teeth import seed_that_shows
from trellis.control.port import Port
from trellis.sim.scenario import Scenario, zuul
from trellis.sim.simulate import simulate
from trellis.sim.zuul.spec import ZooKeeperFaults, ZuulSpec
from trellis.zookeeper.errors import NoSuchZnodeError, OtherVersionError
from trellis.zookeeper.lock import Lock

pytestmark = pytest.mark.slow

MOST_SEEDS = 5


def story(**changes: object) -> Scenario:
    """A small one without kills, in which jobs are dequeued, held and given back unstarted."""
    whole = zuul()
    assert whole.zuul is not None
    spec: ZuulSpec = attrs.evolve(
        whole.zuul,
        demand=attrs.evolve(whole.zuul.demand, requests=60),
        cancel_at_write=0.4,
        slow=0.3,
        hold=0.2,
        unstarted=0.1,
        executor_deaths=2,
        zookeeper=ZooKeeperFaults(answer_lost=0.01),
    )
    return attrs.evolve(
        whole,
        name="zuul-teeth",
        zuul=attrs.evolve(spec, **changes),
        demand=attrs.evolve(whole.demand, requests=2),
        kills=0,
        faults_end=120.0,
        patience_s=300.0,
        settle_s=1500.0,
        clouds=tuple(attrs.evolve(cloud, fault_windows=()) for cloud in whole.clouds),
    )


# ------------------------------------------------------------------------------------ the bugs


def gives_back_what_was_locked(patch: pytest.MonkeyPatch) -> None:
    """What an executor let go of unused is given to the next one, as Nodepool does it."""
    true = node_life.decide

    def decide(look):
        step = true(look)
        if step.act is Act.NOTE_IN_USE:
            return Step(Act.WAIT, "somebody has locked it, and may let go of it again")
        unused = "let go of unused: nobody else" in step.why
        return Step(Act.TAKE_BACK, step.why) if step.act is Act.END and unused else step

    async def proved(self, document, stat):
        return True

    patch.setattr(node_life, "decide", decide)
    patch.setattr(NodeLife, "_is_proved", proved)


def takes_over_without_the_lock(patch: pytest.MonkeyPatch) -> None:
    """A request is marked as pending first, and locked after that."""
    true = RequestLife._take_over

    async def take_over(self, mine):
        session = self._ground.session
        with contextlib.suppress(NoSuchZnodeError, OtherVersionError):
            data, stat = await session.get(self._path)
            document = self._read(data)
            if document is not None and document.state is ZuulState.REQUESTED:
                pending = document.pending(self._ground.wall())
                await session.write(self._path, pending, version=stat.version)
        await true(self, mine)

    patch.setattr(RequestLife, "_take_over", take_over)


def names_nodes_backwards(patch: pytest.MonkeyPatch) -> None:
    """The nodes of a set are named in the order in which they were not asked for."""
    true = HandingOver.znodes_for

    async def znodes_for(self, *args, **kwargs):
        return tuple(reversed(await true(self, *args, **kwargs)))

    patch.setattr(HandingOver, "znodes_for", znodes_for)


def rounds_large_numbers(patch: pytest.MonkeyPatch) -> None:
    """Documents go through a library that has no integers beyond 64 bits."""
    true = RawObject.encoded

    def encoded(self, changes):
        whole = json.loads(true(self, changes), parse_int=lambda text: _rounded(int(text)))
        return json.dumps(whole).encode()

    patch.setattr(RawObject, "encoded", encoded)


def _rounded(number: int) -> int | float:
    return number if abs(number) < 2**63 else float(number)


def forgets_keys_of_later_zuuls(patch: pytest.MonkeyPatch) -> None:
    """Only the keys that are known are written back."""
    true = RawObject.encoded

    def encoded(self, changes):
        whole = json.loads(true(self, changes))
        whole.pop("of_a_later_zuul", None)
        return json.dumps(whole).encode()

    patch.setattr(RawObject, "encoded", encoded)


def forgets_to_release(patch: pytest.MonkeyPatch) -> None:
    """The znode goes when its job is over, and the server stays."""

    async def release_nodes(self, node_ids, *, why):
        """Nothing is released."""

    async def wait_ended(self):
        """Nobody waits for its end."""

    patch.setattr(Port, "release_nodes", release_nodes)
    patch.setattr(NodeLife, "_wait_ended", wait_ended)


def deletes_held_nodes(patch: pytest.MonkeyPatch) -> None:
    """A hold is taken for an end."""
    true = node_life.decide

    def decide(look):
        held = look.document.state.value == "hold"
        if held and look.lock is not node_steps.Lock.OTHERS:
            act = Act.LOCK if look.lock is node_steps.Lock.FREE else Act.END
            return Step(act, "it is used")
        return true(look)

    patch.setattr(node_life, "decide", decide)


def never_declines(patch: pytest.MonkeyPatch) -> None:
    """A request for labels that nobody has waits for ever."""

    async def refused(self, document, why):
        await self._wait()

    patch.setattr(RequestLife, "_refused", refused)


def writes_before_it_has_the_lock(patch: pytest.MonkeyPatch) -> None:
    """A node is marked as deleting as soon as it is used, and locked after that."""

    async def try_acquire(self, **how):
        if "/nodes/" not in self.folder:
            return await true(self, **how)
        data, _ = await self._session.get(self.folder.removesuffix("/lock"))
        await self._session.write(self.folder.removesuffix("/lock"), data)
        return await true(self, **how)

    true = Lock.try_acquire
    patch.setattr(Lock, "try_acquire", try_acquire)


Bug = Callable[[pytest.MonkeyPatch], None]
CASES: list[tuple[Bug, str]] = [
    (gives_back_what_was_locked, "P1"),
    (takes_over_without_the_lock, "zuul"),
    (names_nodes_backwards, "P9"),
    (rounds_large_numbers, "zuul"),
    (forgets_keys_of_later_zuuls, "zuul"),
    (forgets_to_release, "P2"),
    (deletes_held_nodes, "P10"),
    (never_declines, "progress"),
    (writes_before_it_has_the_lock, "zuul"),
]


@cache
def honest(seed: int) -> frozenset[str]:
    """What the oracle says of the source as it is."""
    return frozenset(violation.promise for violation in simulate(story(), seed).violations)


@pytest.mark.parametrize(("bug", "promise"), CASES, ids=[bug.__name__ for bug, _ in CASES])
def test_a_source_with_a_bug_is_caught(bug, promise, monkeypatch):
    """The oracle names the promise, and finds nothing in the same story without the bug."""
    bug(monkeypatch)

    seed = seed_that_shows(promise, story(), range(MOST_SEEDS))

    monkeypatch.undo()
    assert promise not in honest(seed)
