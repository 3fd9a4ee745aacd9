"""The logs of builds: written as they come, masked, and read while they are written."""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
import trio

from trellis.control.images.build_ground import BuildGround
from trellis.control.images.masking import Mask
from trellis.model.names import BuildId

LAST_LINES: Final = 8
"""Of a failed build, in its fault."""
MOST_WAITING: Final = 16 * 1024 * 1024
"""Characters that wait for the disk; what comes beyond them is left out."""
MOST_KEPT: Final = 256 * 1024 * 1024
"""Characters of what a builder says that are kept: one that talks for ever fills no disk."""
_WRITE_AT_END_S: Final = 30.0
_PIECE: Final = 256 * 1024
_NOT_BEGUN_S: Final = 0.25

log = structlog.get_logger()


class LiveLog:
    """The log of a build that is under way.

    Attributes:
        last: its last lines.
        lines: how many there are.
        written: set when there is more in the file, or its end; then there is another one.
    """

    def __init__(self, path: Path, ground: BuildGround, mask: Mask) -> None:
        self._path, self._ground, self.mask = path, ground, mask
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self.lines = 0
        self.written = trio.Event()
        self._waiting: list[str] = []
        self._size = self._left_out = self._said = 0
        self._more = trio.Event()
        self._ended = False
        self._scope = trio.CancelScope(shield=True)

    def say(self, text: str) -> None:
        """Take in a line of the builder's, as `line`; not in the file once there is too much."""
        self._said += len(text)
        self.line(text, kept=self._said <= MOST_KEPT)

    def line(self, text: str, *, kept: bool = True) -> None:
        """Take in a line; what of it is secret goes no further."""
        shown = self.mask(text)
        self.lines += 1
        if shown.strip():
            self.last.append(shown[:300])
        if self._size > MOST_WAITING or not kept:
            self._left_out += 1
            return
        self._tell_left_out()
        self._waiting.append(shown)
        self._size += len(shown)
        self._more.set()

    def end(self) -> None:
        """There is no more to come; what there is gets its time to be written."""
        self._ended = True
        self._more.set()
        self._scope.deadline = trio.current_time() + _WRITE_AT_END_S

    async def write(self) -> None:
        """Write what comes until the end, also while the daemon is being ended."""
        with self._scope:
            while not self._ended or self._waiting:
                await self._more.wait()
                self._more = trio.Event()
                await self._write_waiting()

    async def _write_waiting(self) -> None:
        self._tell_left_out()
        lines, self._waiting, self._size = self._waiting, [], 0
        if not lines:
            return
        try:
            await self._ground.append(self._path, "\n".join(lines) + "\n")
        except OSError as error:
            # The build may do well all the same; a disk that is full it will meet itself.
            log.warning("build_log_not_written", log=str(self._path), why=error.strerror)
        self.tell()

    def _tell_left_out(self) -> None:
        if self._left_out:
            self._waiting.append(f"({self._left_out} lines are left out: there are too many)")
            self._left_out = 0

    def tell(self) -> None:
        """Have its readers look again."""
        self.written.set()
        self.written = trio.Event()


class BuildLogs:
    """All logs of builds, those of builds under way too.

    Args:
        ground: where they are.
        building: whether a build is under way, or is about to be.
    """

    def __init__(self, ground: BuildGround, building: Callable[[BuildId], bool]) -> None:
        self._ground, self._building = ground, building
        self._live: dict[BuildId, LiveLog] = {}

    @asynccontextmanager
    async def writing(self, build: BuildId, path: Path, mask: Mask) -> AsyncIterator[LiveLog]:
        """Have a log written as long as the block lasts, and to its end.

        What the block raises comes in a group.
        """
        live = self._live[build] = LiveLog(path, self._ground, mask)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(live.write)
                try:
                    yield live
                finally:
                    live.end()
        finally:
            del self._live[build]
            live.tell()  # whoever has just looked saw it as live

    async def tail(self, path: Path, lines: int | None) -> str:
        """The last *lines* of a log as it is now, or all of it; "" where there is none.

        Raises:
            OSError: it cannot be read.
        """
        position = 0 if lines is None else await self._ground.last_lines(path, lines)
        pieces = []
        while piece := await self._ground.read(path, position, _PIECE):
            position += len(piece)
            pieces.append(piece)
        return b"".join(pieces).decode("utf-8", "replace")

    async def follow(
        self, build: BuildId, path: Path, lines: int | None = None
    ) -> AsyncIterator[str]:
        """The lines of a log, from its last *lines* on, until the build has ended.

        Args:
            build: the build.
            path: of its log.
            lines: None begins at the beginning.

        Raises:
            OSError: it cannot be read.
        """
        position = 0 if lines is None else await self._ground.last_lines(path, lines)
        rest = b""
        while True:
            live = self._live.get(build)
            waiting = self._building(build)
            # What is written after this look is told by this event.
            written = None if live is None else live.written
            piece = await self._ground.read(path, position, _PIECE)
            position += len(piece)
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "replace")
            if piece:
                continue
            if written is not None:
                await written.wait()
            elif waiting:
                await trio.sleep(_NOT_BEGUN_S)
            else:
                break
        if rest:
            yield rest.decode("utf-8", "replace")
