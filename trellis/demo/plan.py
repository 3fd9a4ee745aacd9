"""What is to be shown, and who wants it to end."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import trio

from trellis.config.addresses import ListenAddress
from trellis.errors import TrellisError


class DemoBrokenError(TrellisError):
    """The demo could not go on; says why, and where the logs are."""


class DemoAbandonedError(TrellisError):
    """Somebody ended the demo before it could end in good order; nothing was judged."""


@attrs.frozen(kw_only=True)
class Demo:
    """What is to be shown.

    Attributes:
        listen: of the daemon; port 0 takes any free one.
        for_s: seconds for which there is demand, from when the daemon answers; None is until a
            signal.
        folder: where files go and stay; None is one of its own, which goes at the end.
        seed: of the demand, and of what befalls calls and servers.
        rate: requests filed in a second, on average.
        calm: nothing goes wrong on purpose.
        command: starts a tied command of trellis when more words follow.
    """

    listen: ListenAddress
    for_s: float | None
    folder: Path | None
    seed: int
    rate: float
    calm: bool
    command: tuple[str, ...]


@attrs.define(eq=False)
class Ending:
    """Who wants the demo to end, and how.

    Attributes:
        asked: set by the first signal once there is something that can end in good order.
        gentle: whether there is.
        abandoned: it is to end at once.
    """

    asked: trio.Event = attrs.field(factory=trio.Event)
    gentle: bool = False
    abandoned: bool = False

    async def listen(self, signals: AsyncIterator[int], everything: trio.CancelScope) -> None:
        """Act on signals until cancelled.

        Args:
            signals: as they come.
            everything: cancelled to end at once.
        """
        async for number in signals:
            # Where the terminal is gone, nobody would see a good end.
            if self.gentle and not self.asked.is_set() and number != signal.SIGHUP:
                self.asked.set()
            else:
                self.abandoned = True
                everything.cancel()
