"""The door between requestors and a daemon that may die under their hands."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from trellis.control.core import Core
from trellis.errors import StoreFailedError
from trellis.sim.clock import sleep
from trellis.spi.demand import DemandPort

T = TypeVar("T")


class Door:
    """Lets calls through to the daemon of the moment; a kill loses their answers."""

    def __init__(self) -> None:
        self._core: Core | None = None
        self._opened = trio.Event()
        self._callers: dict[trio.CancelScope, None] = {}

    @property
    def core(self) -> Core | None:
        """The running daemon's core; None while there is none."""
        return self._core

    def open(self, core: Core) -> None:
        """A daemon has started."""
        self._core = core
        self._opened.set()

    def shut(self) -> None:
        """It has died: whoever waits for an answer never gets it."""
        self._core = None
        # One that was never opened has callers before it already.
        if self._opened.is_set():
            self._opened = trio.Event()
        for scope in self._callers:
            scope.cancel()

    async def call(self, ask: Callable[[DemandPort], Awaitable[T]]) -> T:
        """Ask until an answer comes, from this daemon or a later one."""
        while True:
            await self._opened.wait()
            core = self._core
            if core is None:
                continue
            try:
                with trio.CancelScope() as scope:
                    self._callers[scope] = None
                    try:
                        return await ask(core.port)
                    finally:
                        del self._callers[scope]
            except StoreFailedError:
                # This daemon is about to end; whom a kill cut off waits for the door instead.
                await sleep(0.1)
