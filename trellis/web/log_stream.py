"""The log of a build as a stream of server-sent events, one a line."""

from collections.abc import AsyncIterator, Awaitable, Callable

from trellis.model.image_status import BuildStatus
from trellis.web.closing import Closing
from trellis.web.image_answers import LogEndAnswer, LogLineAnswer
from trellis.web.stream import ServerSent, server_sent


class LogStream(ServerSent[str]):
    """The response that follows a build's log; its last event says how the build ended.

    Args:
        lines: of the log; they end when the build has.
        outcome: asks what has become of the build.
    """

    def __init__(
        self,
        lines: AsyncIterator[str],
        outcome: Callable[[], Awaitable[BuildStatus]],
        closing: Closing,
    ) -> None:
        super().__init__(lines, closing)
        self._outcome = outcome

    def _opening(self) -> bytes:
        # Shows the client that it is followed, though nothing may be written for a while.
        return b": follows\n\n"

    def _written(self, item: str) -> bytes:
        return server_sent("line", LogLineAnswer(text=item))

    async def _ending(self) -> bytes:
        status = await self._outcome()
        ended = LogEndAnswer(state=status.build.state.value, words=status.words)
        return server_sent("end", ended)
