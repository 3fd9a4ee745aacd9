"""A persistent recursive watch: news into a bounded channel, one `MISSED` where some is lost."""

from typing import Final

import trio

from trellis.zookeeper.session import Happened, News

MOST_UNREAD: Final = 1000
"""So much news waits for a slow reader; what comes then is missed, and that is said."""


class Watch:
    """One watch of one session.

    Args:
        path: that is watched, whole.
        chroot: what the session's paths are below; news is told without it.
    """

    def __init__(self, path: str, chroot: str, most_unread: int = MOST_UNREAD) -> None:
        self.path = path
        self._chroot = chroot
        # One place more is kept for the news that some is missing.
        self._send, self.news = trio.open_memory_channel[News](most_unread + 1)
        self._most = most_unread
        self._missing = False
        self.ended = False

    def sees(self, path: str) -> bool:
        """Whether this is the watched znode, or below it."""
        return path == self.path or path.startswith(f"{self.path.rstrip('/')}/")

    def tell(self, happened: Happened, path: str) -> None:
        """Put one piece of news into the channel, or note that it is missing."""
        if self.ended:
            return
        unread = self._send.statistics().current_buffer_used
        if self._missing and unread:
            return  # MISSED is still to be read, and after it everything
        self._missing = unread >= self._most
        if self._missing:
            happened, path = Happened.MISSED, self.path
        news = News(happened, path[len(self._chroot) :] or "/")
        try:
            self._send.send_nowait(news)
        except trio.BrokenResourceError:
            return  # nobody reads it any more

    def miss(self) -> None:
        """Say that anything may have happened."""
        self.tell(Happened.MISSED, self.path)

    def end(self) -> None:
        """End the channel: there will be no more news."""
        self.ended = True
        self._send.close()
