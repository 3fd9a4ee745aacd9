"""What a session watches, and how news reaches a slow reader."""

from typing import Final

import trio

from trellis.zookeeper.session import Happened, News

MOST_UNREAD: Final = 1000
"""So much news waits for a reader; what comes then is replaced by one `MISSED`."""


class Watch:
    """One reader of what happens to ``path`` and below."""

    def __init__(self, path: str, most_unread: int = MOST_UNREAD) -> None:
        self.path = path
        # One place more is kept for the news that some is missing.
        self._send, self.news = trio.open_memory_channel[News](most_unread + 1)
        self._most = most_unread
        self._missing = False

    def tell(self, news: News) -> None:
        """Put it into the channel, or note that it is missing."""
        unread = self._send.statistics().current_buffer_used
        if self._missing and unread:
            return  # MISSED is still to be read, and everything after it
        self._missing = unread >= self._most
        if self._missing:
            news = News(Happened.MISSED, self.path)
        try:
            self._send.send_nowait(news)
        except trio.BrokenResourceError:
            return  # the reader is leaving

    def miss(self) -> None:
        """Say that anything may have happened."""
        unread = self._send.statistics().current_buffer_used
        if not (self._missing and unread):
            self.tell(News(Happened.MISSED, self.path))
            self._missing = True

    def end(self) -> None:
        """There will be no more news."""
        self._send.close()


class Watches:
    """All that one session watches."""

    def __init__(self) -> None:
        self._by_path: dict[str, dict[Watch, None]] = {}

    def add(self, watch: Watch) -> None:
        """Tell it from now on."""
        self._by_path.setdefault(watch.path, {})[watch] = None

    def remove(self, watch: Watch) -> bool:
        """Tell it no more; whether it was the last of its path."""
        same = self._by_path.get(watch.path, {})
        same.pop(watch, None)
        if not same:
            self._by_path.pop(watch.path, None)
        return not same

    @property
    def paths(self) -> tuple[str, ...]:
        """What is watched."""
        return tuple(self._by_path)

    def tell(self, news: News) -> None:
        """Tell all that watch the znode or one above it; costs a step a part of the path."""
        path = news.path
        while True:
            for watch in self._by_path.get(path, ()):
                watch.tell(news)
            if path == "/":
                return
            path = path.rpartition("/")[0] or "/"

    def miss(self) -> None:
        """Tell each that it may have missed something."""
        for same in self._by_path.values():
            for watch in same:
                watch.miss()

    def end(self) -> None:
        """The session is over."""
        for same in self._by_path.values():
            for watch in same:
                watch.end()
        self._by_path.clear()
