"""Ask a loop to look again soon."""

import trio


class Nudge:
    """A wake-up call that may be given any number of times and is answered at least once.

    Any burst of calls costs at most two passes. Level-triggered loops wait for it with a
    bound, so that a call that is lost costs a delay and nothing else.
    """

    def __init__(self) -> None:
        self._asked = trio.Event()

    def __call__(self) -> None:
        """Ask; never blocks."""
        self._asked.set()

    async def wait(self, *, at_most: float) -> None:
        """Return when asked, or after *at_most* seconds. Cancellation leaves what was asked."""
        asked = self._asked
        if asked.is_set():
            await trio.lowlevel.checkpoint()
        else:
            with trio.move_on_after(at_most):
                await asked.wait()
        # Of several that wait only the first may take it: what comes after is for the next pass.
        if asked.is_set() and asked is self._asked:
            self._asked = trio.Event()
