"""An asynchronous client of JSON faces on this machine: the daemon's, and the simulator's."""

import json
from types import TracebackType
from typing import Any, Final

import httpx

from trellis.errors import TrellisError

_CONNECT_S: Final = 5.0
_READ_S: Final = 60.0


class LocalCallError(TrellisError):
    """A call to a face on this machine did not do what it should.

    Args:
        message: which call, and what is wrong.
        status: the HTTP status; None if no whole answer came.
    """

    def __init__(self, message: str, *, status: int | None) -> None:
        super().__init__(message)
        self.status = status


class LocalClient:
    """A client with as many connections as calls are made at once; an async context manager.

    A call whose connection breaks is made once more, so calls must be ones that may be repeated.
    Cancelled, a call may have been carried out.

    Args:
        url: what all paths begin with, as ``http://127.0.0.1:8480/api/v1``.

    Every call raises LocalCallError if it is refused, breaks twice or takes over a minute.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            # Making a TLS context takes long, and a proxy does not reach this machine.
            verify=False,
            trust_env=False,
        )

    async def __aenter__(self) -> "LocalClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Sockets of this machine: closing them takes no time.
        await self._client.aclose()

    async def get(self, path: str, **params: str | int) -> Any:
        """Read something."""
        return await self._call("GET", path, params=params)

    async def post(self, path: str, body: object) -> Any:
        """Make something, or act."""
        return await self._call("POST", path, body=body)

    async def delete(self, path: str) -> Any:
        """Have something deleted, cancelled or released."""
        return await self._call("DELETE", path)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str | int] | None = None,
        body: object = None,
    ) -> Any:
        what = f"{method} {self._url}{path}"
        for again in (True, False):
            try:
                answer = await self._client.request(
                    method, self._url + path, params=params or None, json=body
                )
                break
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as broken:
                if not again:
                    raise _failed(what, broken) from broken
            except httpx.TransportError as broken:
                raise _failed(what, broken) from broken
        if answer.status_code >= 300:
            raise LocalCallError(
                f"{what}: {answer.status_code} {answer.text[:500]}", status=answer.status_code
            )
        try:
            return json.loads(answer.content) if answer.content else None
        except ValueError as wrong:
            raise LocalCallError(f"{what}: its answer is no JSON", status=None) from wrong


def _failed(what: str, broken: httpx.TransportError) -> LocalCallError:
    return LocalCallError(f"{what}: {broken or type(broken).__name__}", status=None)
