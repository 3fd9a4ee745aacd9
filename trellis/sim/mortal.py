"""One incarnation of the daemon that can be killed at any crossing of its seams, and any await.

A kill first fences: calls, writes and connections stop taking effect, unsynced writes are lost.
Only then is the incarnation cancelled, which would run its ``finally`` blocks and is no kill.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import trio

from trellis.http import Call, TransportFactory, TransportSettings
from trellis.http.wire import Progress, WireAnswer
from trellis.sim.clock import sleep
from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.transport import SimWire, path_of
from trellis.sim.points import AT_A_MOMENT, UNDER_WAY, Passes, await_point, call_point
from trellis.store.log import Entry
from trellis.store.simulated import SimulatedLog

LOOKED_AT: Final = 300
"""So many steps before the one at which it is killed are told by name."""

living: Final = ContextVar["Mortal | None"]("living", default=None)
"""The incarnation whose task this is."""


class Mortal:
    """The seams of one incarnation, and the end of it.

    Args:
        log: its log.
        scope: what all of it runs in.
        passed: counts the points it passes; those of awaits while they are looked at only.
        killed: counts the point at which it is killed.

    Attributes:
        alive: False once it has been killed.
        crashed: it ended by a bug of its own.
        died: set once it has been killed.
        ended: set once nothing of it runs any more.
        died_at: the point at which it was; "" while it was not.
    """

    def __init__(
        self, log: "MortalLog", scope: trio.CancelScope, *, passed: Passes, killed: Passes
    ) -> None:
        self.log = log
        self.alive = True
        self.crashed = False
        self.died, self.ended = trio.Event(), trio.Event()
        self.died_at = ""
        self._passed, self._killed = passed, killed
        self._scope = scope
        self._wires: list[SimWire] = []
        self._fences: dict[Callable[[], None], None] = {}
        self._seam: str | None = None
        self._crossings_left = 0
        self._steps: _Steps | None = None

    def kill(self, point: str = AT_A_MOMENT) -> None:
        """End it here and now, as ``kill -9`` would; *point* is where it is, for the count."""
        if not self.alive or self.ended.is_set():
            return  # one that has ended by itself is no kill that landed
        self.alive = False
        self.died_at = point if point == AT_A_MOMENT else f"at '{point}'"
        self._killed[point] += 1
        if self.log.busy:
            self._killed[UNDER_WAY] += 1
        for wire in self._wires:
            wire.fence()
        for fence in list(self._fences):
            fence()
        self.log.crash()
        self.stop_counting()
        self._scope.cancel()
        self.died.set()

    # ------------------------------------------------------------------------ appointments

    def die_at_seam(self, point: str | None, passes: int) -> None:
        """Have it killed at the so many-th passing of this seam from now on, None is any."""
        self._seam, self._crossings_left = point, passes

    def die_at_await(self, point: str | None, steps: int) -> None:
        """Have it killed before the so many-th step of its tasks, or the first one at *point*."""
        self._steps = _Steps(self, point, steps)
        trio.lowlevel.add_instrument(self._steps)

    def stop_counting(self) -> None:
        """Give up all appointments."""
        self._crossings_left = 0
        if self._steps is not None:
            trio.lowlevel.remove_instrument(self._steps)
            self._steps = None

    def pass_seam(self, point: str) -> None:
        """Something passes a seam."""
        if not self.alive:
            return
        self._passed[point] += 1
        if self._crossings_left and self._seam in (None, point):
            self._crossings_left -= 1
            if not self._crossings_left:
                self.kill(point)

    def pass_await(self, point: str) -> None:
        """One of its tasks is about to go on behind this await, which is looked at."""
        self._passed[point] += 1

    # ------------------------------------------------------------------------------ seams

    @contextmanager
    def fenced(self, fence: Callable[[], None]) -> Iterator[None]:
        """Have something fenced off by a kill that comes while the block lasts."""
        self._fences[fence] = None
        try:
            yield
        finally:
            del self._fences[fence]

    def transports(self, clouds: Mapping[str, SimCloud]) -> TransportFactory:
        """The transport factory of this incarnation."""

        def make(settings: TransportSettings) -> _MortalWire:
            inner = SimWire(clouds[settings.cloud])
            self._wires.append(inner)
            return _MortalWire(inner, self)

        return make


class _Steps(trio.abc.Instrument):
    """Counts the steps of the daemon's tasks, and kills it before one of them."""

    def __init__(self, mortal: Mortal, point: str | None, steps: int) -> None:
        self._mortal, self._point, self._left = mortal, point, steps

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        if task.context.get(living) is not self._mortal:
            return
        self._left -= 1
        if self._point is None and self._left > LOOKED_AT:
            return
        point = await_point(task.coro)
        if not point:
            return
        self._mortal.pass_await(point)
        if point == self._point or (self._point is None and self._left <= 0):
            self._mortal.kill(point)


class _MortalWire:
    def __init__(self, inner: SimWire, owner: Mortal) -> None:
        self._inner, self._owner = inner, owner

    async def send(self, call: Call, progress: Progress) -> WireAnswer:
        """See `Wire.send`."""
        point = call_point(call.method, path_of(call.url))
        self._owner.pass_seam(f"{point}, before")
        answer = await self._inner.send(call, progress)
        self._owner.pass_seam(f"{point}, after")
        return answer

    async def aclose(self) -> None:
        """See `Wire.aclose`."""


class MortalLog(SimulatedLog):
    """A simulated log at whose writes a daemon can die: before, amid and after them.

    Of a write cut off amid its commits the first few are durable. One that begins at the instant
    at which the last one ended had been waiting in a queue.
    """

    owner: Mortal | None = None
    _ended_at = -1.0

    @property
    def busy(self) -> bool:
        """Whether a write is under way."""
        return bool(self._unsynced)

    async def append(self, entries: Sequence[Entry]) -> None:
        """See `Log.append`."""
        queued = trio.current_time() == self._ended_at
        self._pass("between two of a queue" if queued else "before")
        self._unsynced = tuple(entries)
        self._pass("amid its commits")
        await super().append(entries)
        self._ended_at = trio.current_time()
        self._pass("after")

    async def _sync(self, seconds: float) -> None:
        """As a process is killed that waits for a disk: it is gone when the disk has answered."""
        await sleep(seconds, shield=True)

    def _pass(self, where: str) -> None:
        if self.owner is not None:
            self.owner.pass_seam(f"store append, {where}")
