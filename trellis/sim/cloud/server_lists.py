"""Nova's lists of servers: filters, pages, ``changes-since``."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlencode

import msgspec

from trellis.sim.cloud.nova import invalid, microversion, refuse
from trellis.sim.cloud.routes import Call
from trellis.sim.cloud.rows import BASE, brief, detail, rendered, unknown
from trellis.sim.cloud.server_state import Revision, Server
from trellis.sim.cloud.servers import Servers
from trellis.sim.cloud.site import Site
from trellis.sim.cloud.wire import Response, raw_answer

Row = tuple[Server, Revision]
_FILTERS = ("changes-since", "name", "status", "marker", "limit")


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
        down = site.faults.down_cell_unknown
        shown = []
        for server, look in rows:
            if down and server.second_cell:
                shown.append(msgspec.json.encode(unknown(site, server)))
            elif version == BASE:
                shown.append(rendered(site, server, look))
            else:
                shown.append(msgspec.json.encode(detail(site, server, look, version)))
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
        site = self._site
        faults, servers = site.faults, self._servers
        lag = faults.list_lag_s
        since, status = call.asked("changes-since"), call.asked("status")
        if since is not None and faults.changes_since_refused:
            site.strike("changes-since-refused")
            raise invalid("changes-since", since, "it is not supported by this cloud")
        if since is not None and faults.changes_since_ignored:
            site.strike("changes-since-ignored")
            since = None
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
        if lag > 0.0 and any(look is not server.now for server, look in rows):
            site.strike("list-lag-s")
        return self._shown(call, rows)

    def _shown(self, call: Call, rows: list[Row]) -> list[Row]:
        """What is left of a list where servers are out of sight or a cell is down.

        Of that cell only a whole list without filters and pages can say that there is something.
        """
        site = self._site
        faults, now = site.faults, site.now
        rows = [row for row in rows if row[0].hidden_until is None or row[0].hidden_until <= now]
        skipped = faults.down_cell_skipped
        if not (skipped or faults.down_cell_unknown):
            return rows
        away = sum(server.second_cell for server, _ in rows)
        if not skipped and not any(call.asked(name) for name in _FILTERS):
            site.ledger.struck["down-cell-unknown"] += away
            return rows
        name = "down-cell-skipped" if skipped else "down-cell-unknown"
        site.ledger.struck[name] += away
        return [row for row in rows if not row[0].second_cell]

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
