"""Which servers changed when, and how they looked: what incremental and late lists are made of."""

import bisect
from itertools import count
from typing import Final

from trellis.sim.cloud.server_state import Revision, Server

_PURGE_AT: Final = 4096

_Entry = tuple[int, int, float, Server]
"""That a server changed: what second it was stamped with, which change it was, when, whose."""


class ChangeLog:
    """The changes of a region's servers, by the UTC seconds that they were stamped with."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._changes = count()

    def __len__(self) -> int:
        """How many changes are kept."""
        return len(self._entries)

    def add(self, server: Server, *, at: float, second: int) -> None:
        """Note that a server changed at this moment, and was stamped with this second."""
        server.stamps.append((at, second))
        bisect.insort(self._entries, (second, next(self._changes), at, server))

    def since(self, second: int, *, now: float, lag_s: float) -> list[tuple[Server, Revision]]:
        """What changed at or after this second, as it looked *lag_s* ago, newest server first.

        Its cost is in proportion to what changed, not to what there is.
        """
        horizon = now - lag_s
        first = bisect.bisect_left(self._entries, (second,))
        found: list[tuple[Server, Revision]] = []
        for server in {entry[-1].number: entry[-1] for entry in self._entries[first:]}.values():
            lags = lag_s > 0.0
            look = look_at(server, horizon) if lags else server.now
            stamped = server.stamped(horizon) if lags else server.stamps[-1][1]
            # A later change may have been stamped with an earlier second than this one.
            shows = stamped >= second and not (server.gone and server.rowless)
            if look is not None and shows:
                found.append((server, look))
        return sorted(found, key=lambda row: -row[0].number)

    def purge(self, horizon: float) -> None:
        """Forget changes of before, a good many at a time; of those alive the last one stays."""
        entries = self._entries
        if len(entries) > _PURGE_AT and entries[len(entries) // 2][2] < horizon:
            self._entries = [
                (second, number, at, server)
                for second, number, at, server in entries
                if at >= horizon or (server.now.updated == at and not server.gone)
            ]


def look_at(server: Server, horizon: float) -> Revision | None:
    """How a server looked at a moment, of which its history knows; None if it was not there."""
    for look in reversed(server.history):
        if look.at <= horizon:
            return look
    return None
