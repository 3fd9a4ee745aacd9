"""One incarnation of the daemon that can be killed at any crossing of its seams.

A kill first fences: calls, writes and connections stop taking effect, unsynced writes are lost.
Only then is the incarnation cancelled, which would run its ``finally`` blocks and is no kill.
"""

from collections.abc import Mapping, Sequence

import httpx
import trio

from trellis.http import TransportFactory, TransportSettings
from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.transport import SimTransport
from trellis.store.log import Entry
from trellis.store.simulated import SimulatedLog


class Mortal:
    """The seams of one incarnation, and the end of it.

    Attributes:
        alive: False once it has been killed.
        crashed: it ended by a bug of its own.
        crossings: calls and writes so far, each counted before and after it takes effect.
        die_at: the crossing at which it is killed; None for no such appointment.
    """

    def __init__(self, log: SimulatedLog, scope: trio.CancelScope) -> None:
        self.log = log
        self.alive = True
        self.crashed = False
        self.crossings = 0
        self.die_at: int | None = None
        self._scope = scope
        self._transports: list[SimTransport] = []

    def kill(self) -> None:
        """End it here and now, as ``kill -9`` would."""
        if not self.alive:
            return
        self.alive = False
        for transport in self._transports:
            transport.fence()
        self.log.crash()
        self._scope.cancel()

    def cross(self) -> None:
        """Something passes a seam."""
        self.crossings += 1
        if self.crossings == self.die_at:
            self.kill()

    def transports(self, clouds: Mapping[str, SimCloud]) -> TransportFactory:
        """The transport factory of this incarnation."""

        def make(settings: TransportSettings) -> httpx.AsyncBaseTransport:
            inner = SimTransport(clouds[settings.cloud])
            self._transports.append(inner)
            return _MortalTransport(inner, self)

        return make


class _MortalTransport(httpx.AsyncBaseTransport):
    def __init__(self, inner: SimTransport, owner: Mortal) -> None:
        self._inner, self._owner = inner, owner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._owner.cross()
        response = await self._inner.handle_async_request(request)
        self._owner.cross()
        return response


class MortalLog(SimulatedLog):
    """A simulated log at whose writes a daemon can die, before or after they are durable."""

    owner: Mortal | None = None

    async def append(self, entries: Sequence[Entry]) -> None:
        """See `Log.append`."""
        if self.owner is not None:
            self.owner.cross()
        await super().append(entries)
        if self.owner is not None:
            self.owner.cross()
