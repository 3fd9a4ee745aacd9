"""Ask a loop to look again soon."""

import contextlib

import trio


class Nudge:
    """A wake-up call that may be given any number of times and is answered at least once.

    Any burst of calls costs at most two passes. Level-triggered loops wait for it with a
    bound, so that a call that is lost costs a delay and nothing else.
    """

    def __init__(self) -> None:
        self._ask, self._asked = trio.open_memory_channel[None](1)

    def __call__(self) -> None:
        """Ask; never blocks."""
        with contextlib.suppress(trio.WouldBlock):
            self._ask.send_nowait(None)

    async def wait(self, *, at_most: float) -> None:
        """Return when asked, or after *at_most* seconds."""
        with trio.move_on_after(at_most):
            await self._asked.receive()
