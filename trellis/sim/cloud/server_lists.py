"""Nova's lists of servers: filters, pages, ``changes-since``."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlencode

import msgspec

from trellis.sim.cloud.nova import invalid, microversion, refuse
from trellis.sim.cloud.routes import Call
from trellis.sim.cloud.rows import BASE, brief, detail, rendered
from trellis.sim.cloud.server_state import Revision, Server
from trellis.sim.cloud.servers import Servers
from trellis.sim.cloud.site import Site
from trellis.sim.cloud.wire import Response, raw_answer

Row = tuple[Server, Revision]


class ServerLists:
    """``GET /servers`` and ``GET /servers/detail``."""

    def __init__(self, site: Site, servers: Servers) -> None:
        self._site = site
        self._servers = servers

    def brief(self, call: Call) -> Response:
        """``GET /servers``."""
        rows, more = self._page(call)
        encoded = [msgspec.json.encode(brief(self._site, server)) for server, _ in rows]
        return _joined(encoded, more)

    def detail(self, call: Call) -> Response:
        """``GET /servers/detail``; at microversion 2.1 of rows that are encoded already."""
        rows, more = self._page(call)
        site, version = self._site, microversion(call)
        if version == BASE:
            return _joined([rendered(site, server, look) for server, look in rows], more)
        shown = [msgspec.json.encode(detail(site, *row, version)) for row in rows]
        return _joined(shown, more)

    def _page(self, call: Call) -> tuple[list[Row], str | None]:
        rows = self._matching(call)
        site = self._site
        marker = call.asked("marker")
        if marker is not None:
            places = [place for place, (server, _) in enumerate(rows) if server.id == marker]
            if not places:
                raise refuse(400, f"marker [{marker}] not found")
            rows = rows[places[0] + 1 :]
        limit = min(_whole(call.asked("limit"), site.spec.page), site.spec.page)
        if len(rows) <= limit:
            return rows, None
        rows = rows[:limit]
        asked = {name: values for name, values in call.query.items() if name != "marker"}
        query = urlencode({**asked, "marker": rows[-1][0].id}, doseq=True)
        path = f"/v2.1/{'/'.join(call.segments)}?{query}"
        return rows, site.url("compute", path)

    def _matching(self, call: Call) -> list[Row]:
        servers, lag = self._servers, self._site.faults.list_lag_s
        since, status = call.asked("changes-since"), call.asked("status")
        named = self._named(call.asked("name"))
        if since is not None:
            rows = servers.changed_since(_seconds(since), lag)
        elif isinstance(named, list) and lag <= 0.0:
            rows = [(server, server.now) for server in named]
        else:
            rows = list(servers.visible(lag))
        if isinstance(named, list):
            wanted = {server.id for server in named}
            rows = [row for row in rows if row[0].id in wanted]
        elif named is not None:
            rows = [row for row in rows if named(row[0])]
        if status is not None:
            rows = [row for row in rows if row[1].status == status.upper()]
        return rows

    def _named(self, pattern: str | None) -> Callable[[Server], bool] | list[Server] | None:
        if pattern is None:
            return None
        try:
            return self._servers.named(pattern)
        except re.error:
            raise invalid("name", pattern, f"{pattern!r} is not a 'regex'") from None


def _joined(rows: list[bytes], more: str | None) -> Response:
    end = b"]}"
    if more is not None:
        links = [{"rel": "next", "href": more}]
        end = b'],"servers_links":' + msgspec.json.encode(links) + b"}"
    return raw_answer(200, b'{"servers":[' + b",".join(rows) + end)


def _whole(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.isdecimal():
        raise invalid("limit", text, f"{text!r} does not match '^[0-9]*$'")
    return int(text) or default


def _seconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise invalid("changes-since", text, f"{text!r} is not a 'date-time'") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())
