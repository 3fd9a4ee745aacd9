"""What an identity service tells of an account that its entry of ``clouds.yaml`` need not say.

An application credential names neither user nor project, and the answer to its login names both;
some logins list all projects of a user. All of that is the account's own.
"""

import json
from collections.abc import Iterator
from typing import Any

import attrs
import httpx


@attrs.define(kw_only=True)
class Heard:
    """Names of one account.

    Attributes:
        users: of the user, and of his application credential.
        projects: names by id: the one that was logged in to, and those that were listed.
        domains: names by id.
    """

    users: set[str] = attrs.field(factory=set)
    projects: dict[str, str] = attrs.field(factory=dict)
    domains: dict[str, str] = attrs.field(factory=dict)

    def note(self, body: bytes) -> None:
        """Take what an answer tells; one of another kind tells nothing."""
        try:
            answer = _object(json.loads(body))
        except ValueError:
            return
        token, access = _object(answer.get("token")), _object(answer.get("access"))
        for user in (token.get("user"), token.get("application_credential"), access.get("user")):
            self._user(_object(user))
        projects = [token.get("project"), _object(access.get("token")).get("tenant")]
        for key in ("projects", "tenants"):
            listed = answer.get(key)
            projects += listed if isinstance(listed, list) else []
        for project in projects:
            self._project(_object(project))

    def _user(self, row: dict[str, Any]) -> None:
        self.users |= {str(row[key]) for key in ("name", "username") if row.get(key)}
        self._domain(_object(row.get("domain")))

    def _project(self, row: dict[str, Any]) -> None:
        if row.get("id") and row.get("name"):
            self.projects[str(row["id"])] = str(row["name"])
        self._domain(_object(row.get("domain")))
        if row.get("domain_id"):
            self.domains.setdefault(str(row["domain_id"]), "")

    def _domain(self, row: dict[str, Any]) -> None:
        if row.get("id"):
            self.domains[str(row["id"])] = str(row.get("name") or "")


class Listening(httpx.AsyncBaseTransport):
    """Carries calls, and notes what their answers tell of the account."""

    def __init__(self, inner: httpx.AsyncBaseTransport, heard: Heard) -> None:
        self._inner = inner
        self._heard = heard

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one call; its answer is read to its end."""
        request.headers["accept-encoding"] = "identity"  # what is noted must be readable
        response = await self._inner.handle_async_request(request)
        try:
            body = await response.aread()
        finally:
            await response.aclose()
        self._heard.note(body)
        return httpx.Response(
            response.status_code,
            headers=list(_as_read(response)),
            content=body,
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close the transport below."""
        await self._inner.aclose()


def _as_read(response: httpx.Response) -> Iterator[tuple[str, str]]:
    """The headers that still hold once the body is read and decoded."""
    for name, value in response.headers.multi_items():
        if name.lower() not in ("content-encoding", "content-length", "transfer-encoding"):
            yield name, value


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
