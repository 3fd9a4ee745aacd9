"""The calls to nova, each one method; lists are followed to their end."""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import attrs

from trellis.errors import CloudBrokenError, ConflictingStateError, NotFoundError, RejectedError
from trellis.http.message import Answer
from trellis.openstack.compute.rows import (
    AbsoluteLimits,
    ConsoleAnswer,
    CreatedAnswer,
    FlavorPage,
    FlavorRow,
    KeypairPage,
    LimitsAnswer,
    Link,
    ServerAnswer,
    ServerPage,
    ServerRequest,
    ServerRow,
    ZoneRow,
    ZonesAnswer,
)
from trellis.openstack.paging import marker_in
from trellis.openstack.session import Session

MOST_PAGES: Final = 1000
"""Pages after which a list counts as endless: a million servers at nova's page size."""

Row = TypeVar("Row", ServerRow, FlavorRow)


@attrs.frozen
class Compute:
    """Nova in one region.

    Every method may raise any `CloudError`; one that is cancelled leaves open whether its one
    call was carried out.

    Args:
        session: carries the calls.
        microversion: asked for with every call, as ``2.79``; None asks for none.
        budget_s: seconds for each call with its tries; None leaves it to the session.
        most_pages: pages after which a list counts as endless.
    """

    _session: Session
    _microversion: str | None = None
    _budget_s: float | None = None
    _most_pages: int = MOST_PAGES

    async def create_server(self, request: ServerRequest, *, turn_taken: bool = False) -> str:
        """Create a server with one POST, which is never repeated, and return its id.

        Args:
            turn_taken: the turn for ``POST /servers`` was taken before.
        """
        answer = await self._call(
            "POST",
            "/servers",
            json=request.body(self._microversion),
            turn_taken=turn_taken,
        )
        return answer.decode(CreatedAnswer).server.id

    async def server(self, server_id: str) -> ServerRow:
        """One server in full.

        Raises:
            NotFoundError: this project has none of this id in this region.
        """
        answer = await self._call("GET", f"/servers/{server_id}", "/servers/{id}")
        return answer.decode(ServerAnswer).server

    async def servers(
        self,
        *,
        changes_since: str | None = None,
        name: str | None = None,
        limit: int | None = None,
    ) -> list[ServerRow]:
        """All servers of the project, in full, each once, page by page.

        Args:
            changes_since: only those that changed at or after this time stamp; deleted ones come
                as rows of status DELETED.
            name: only those of exactly this name.
            limit: servers a page; None takes the cloud's own page size.

        Raises:
            CloudBrokenError: the list has no end.
        """
        params = {}
        if changes_since is not None:
            params["changes-since"] = changes_since
        if name is not None:
            # Nova takes a regular expression, and so do the names of strangers.
            params["name"] = f"^{_literal(name)}$"
        if limit is not None:
            params["limit"] = str(limit)

        def read(answer: Answer) -> tuple[list[ServerRow], list[Link]]:
            page = answer.decode(ServerPage)
            return page.servers, page.servers_links

        # A list is for all who wait for a server; looking for one by its name is for that one.
        return await self._pages("/servers/detail", params, read, ahead=name is None)

    async def delete_server(self, server_id: str) -> None:
        """Tell nova to delete a server; it answers before anything has happened.

        Raises:
            NotFoundError: this project has none of this id in this region.
        """
        await self._call("DELETE", f"/servers/{server_id}", "/servers/{id}")

    async def console_log(self, server_id: str, lines: int) -> str:
        """The last *lines* of a server's console; "" where the cloud has none (quirks 2.11)."""
        try:
            answer = await self._call(
                "POST",
                f"/servers/{server_id}/action",
                "/servers/{id}/action",
                json={"os-getConsoleOutput": {"length": lines}},
            )
        except (NotFoundError, RejectedError, ConflictingStateError):
            return ""
        return answer.decode(ConsoleAnswer).output or ""

    async def flavors(self) -> list[FlavorRow]:
        """All flavors the project may use, in the cloud's order."""

        def read(answer: Answer) -> tuple[list[FlavorRow], list[Link]]:
            page = answer.decode(FlavorPage)
            return page.flavors, page.flavors_links

        return await self._pages("/flavors/detail", {}, read)

    async def limits(self) -> AbsoluteLimits:
        """Quota and use of the project, by anyone."""
        return (await self._call("GET", "/limits")).decode(LimitsAnswer).limits.absolute

    async def zones(self) -> list[ZoneRow]:
        """The availability zones, also those that are not available."""
        return (await self._call("GET", "/os-availability-zone")).decode(ZonesAnswer).zones

    async def keypair_names(self) -> list[str]:
        """The names of the user's keypairs in this region."""
        page = (await self._call("GET", "/os-keypairs")).decode(KeypairPage)
        return [item.keypair.name for item in page.keypairs]

    async def _call(
        self,
        method: str,
        path: str,
        label: str | None = None,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
        turn_taken: bool = False,
        ahead: bool = False,
    ) -> Answer:
        return await self._session.request(
            "compute",
            method,
            path,
            label=label or path,
            json=json,
            params=params,
            microversion=self._microversion,
            budget_s=self._budget_s,
            turn_taken=turn_taken,
            ahead=ahead,
        )

    async def _pages(
        self,
        path: str,
        params: dict[str, str],
        read: Callable[[Answer], tuple[list[Row], list[Link]]],
        *,
        ahead: bool = False,
    ) -> list[Row]:
        """Follow a list by the *marker* of its next link, never by its URL.

        Some clouds' links leave out the version, name another scheme or restart at the root
        (quirks 2.9), and some go on for ever: a page without a new row is the last.
        """
        rows: dict[str, Row] = {}
        for _ in range(self._most_pages):
            page, links = read(await self._call("GET", path, params=params, ahead=ahead))
            new = {row.id: row for row in page if row.id not in rows}
            rows.update(new)
            following = next((link.href for link in links if link.rel == "next"), None)
            if following is None or not new:
                return list(rows.values())
            params = {**params, "marker": marker_in(following, page[-1].id)}
        raise CloudBrokenError(
            f"the list has no end: {self._most_pages} pages and {len(rows)} rows",
            cloud=self._session.cloud,
            call=f"GET compute {path}",
        )


def _literal(name: str) -> str:
    """A name as MySQL's and PostgreSQL's regular expressions both take it literally."""
    return "".join(char if char.isalnum() or char in "-_" else f"[{char}]" for char in name)
