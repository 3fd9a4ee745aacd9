"""Finding the handler of a call by its path, as tables."""

from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, unquote

import attrs

from trellis.sim.cloud.wire import Request, Response


@attrs.frozen
class Call:
    """A call that has been taken apart.

    Attributes:
        segments: its path below the version.
    """

    request: Request
    segments: tuple[str, ...]
    query: Mapping[str, list[str]]

    def asked(self, name: str) -> str | None:
        """A query parameter; its last value if there are many."""
        values = self.query.get(name)
        return values[-1] if values else None


Handler = Callable[[Call], Response]
Table = Mapping[tuple[str, str], Handler]
"""Method and pattern, as ``("GET", "servers/*/action")``, to handler."""


def find(table: Table, method: str, segments: tuple[str, ...]) -> tuple[str, Handler | None]:
    """The pattern and the handler of a path; ``?`` and None if there is none.

    A literal wins over ``*``, and stars stand at the odd places, as OpenStack's paths are built.
    """
    literal = "/".join(segments)
    handler = table.get((method, literal))
    if handler is not None:
        return literal, handler
    for places in ((1,), (1, 3)):
        if places[-1] < len(segments):
            starred = ["*" if place in places else part for place, part in enumerate(segments)]
            pattern = "/".join(starred)
            handler = table.get((method, pattern))
            if handler is not None:
                return pattern, handler
    return "?", None


def taken_apart(request: Request, segments: tuple[str, ...]) -> Call:
    """The call of a request."""
    query = parse_qs(request.query, keep_blank_values=True) if request.query else {}
    if "%" in request.path:
        segments = tuple(unquote(part) for part in segments)
    return Call(request, segments, query)
