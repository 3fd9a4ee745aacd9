"""What the rows of the last server list were read as: most of them the next list shows again."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from trellis.openstack.compute import ServerRow
from trellis.providers.networks import NetworkFacts
from trellis.spi.provider import Instance


class _Shown(NamedTuple):
    row: ServerRow
    facts: NetworkFacts
    floating: str | None
    instance: Instance


class ShownRows:
    """Reads the rows of lists, each row once for as long as lists show it the same.

    Args:
        interpret: reads a row; what it gives follows from its arguments and the floating IP.
        address_of: the floating address that was given to a server; None if none was.
    """

    def __init__(
        self,
        interpret: Callable[[ServerRow, NetworkFacts], Instance],
        address_of: Callable[[str], str | None],
    ) -> None:
        self._interpret, self._address_of = interpret, address_of
        self._last: dict[str, _Shown] = {}

    def read(self, rows: Sequence[ServerRow], facts: NetworkFacts) -> tuple[Instance, ...]:
        """Read a list, each of whose rows is another server's; it replaces the last one."""
        before, shown = self._last, dict[str, _Shown]()
        for row in rows:
            floating = self._address_of(row.id)
            last = before.get(row.id)
            # One in ERROR is read anew: its fault is an exception, and may be raised.
            if (
                last is None
                or last.floating != floating
                or last.facts is not facts
                or last.instance.fault is not None
                or last.row != row
            ):
                last = _Shown(row, facts, floating, self._interpret(row, facts))
            shown[row.id] = last
        self._last = shown
        return tuple([one.instance for one in shown.values()])
