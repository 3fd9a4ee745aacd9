"""The wall in front of the face: any web page in any browser can reach a loopback address.

Rule 12 of the design. A page's script can make a browser send requests here, so `Host` must be
the address that is listened at (which ends DNS rebinding), a foreign `Origin` is refused, and
what changes something must say ``application/json``, which a browser sends to a foreign server
only after asking it. Bodies are bounded before anything looks at them.
"""

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, Final

import msgspec
import trio

from trellis.web.answers import Problem
from trellis.web.bodies import MAX_BODY
from trellis.web.problems import PROBLEM_TYPE, problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_CHANGING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_BODY_TIME_S: Final = 30.0
_LINGER_S: Final = 1.0
_LINGER_BYTES: Final = 4 * 1024 * 1024


class _Refused(Exception):
    """Ends the handling of a call with a problem."""

    def __init__(self, found: Problem) -> None:
        super().__init__(found.detail)
        self.problem = found


class _ClientGone(Exception):
    """The client left while it sent its body."""


class Guard:
    """An ASGI application that lets through to *app* what may pass.

    Args:
        hosts: further names by which the face is called, as ``name`` or ``name:port``; for one
            behind a proxy.
    """

    def __init__(self, app: AsgiApp, *, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = tuple(host.lower() for host in hosts)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection of the ASGI server."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            # No call of the face is a websocket; closing before accepting answers with 403.
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            self._check(scope)
            if scope["method"] in _CHANGING:
                receive = _replay(await _whole_body(receive), receive)
        except _Refused as refused:
            await _refuse(refused.problem, receive, send)
            return
        except _ClientGone:
            return
        if scope["method"] == "HEAD":
            # The server drops the body of an answer to HEAD; the headers are those of GET.
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)

    def _check(self, scope: Message) -> None:
        headers = _headers(scope)
        host = headers.get("host", "").lower()
        if not self._is_ours(host, scope.get("server")):
            raise _Refused(problem(421, f"This server is not {host[:200]!r}."))
        origin = headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host:
            raise _Refused(
                problem(
                    403, f"A web page of {origin[:200]!r} may not call this.", kind="foreign-origin"
                )
            )
        if scope["method"] in _CHANGING:
            _check_media_type(scope["method"], headers)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            raise _Refused(_too_large())

    def _is_ours(self, host: str, server: tuple[str, int | None] | None) -> bool:
        if not host:
            return False
        if host in self._hosts:
            return True
        name, port = _split(host)
        if server is None or port != server[1]:
            return False
        return name == server[0] or (name in _LOOPBACK and _is_loopback(server[0]))


def _split(host: str) -> tuple[str, int | None]:
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        name, port = host, "80"
    return name.removeprefix("[").removesuffix("]"), int(port) if port.isdecimal() else None


def _is_loopback(address: str) -> bool:
    return address in _LOOPBACK or address.startswith("127.")


def _headers(scope: Message) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
    }


def _check_media_type(method: str, headers: dict[str, str]) -> None:
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    # No browser sends a foreign DELETE without asking first, and people type `curl -X DELETE`.
    if given == "application/json" or (method == "DELETE" and not given):
        return
    raise _Refused(problem(415, f"The body is declared as {given[:100] or 'nothing'!r}."))


async def _whole_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    with trio.move_on_after(_BODY_TIME_S):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > MAX_BODY:
                raise _Refused(_too_large())
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
    raise _Refused(problem(408, f"{size} bytes came in {_BODY_TIME_S:.0f} s, and no end."))


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def receive_again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _too_large() -> Problem:
    return problem(413, f"A body may have {MAX_BODY} bytes.")


async def _refuse(found: Problem, receive: Receive, send: Send) -> None:
    body = msgspec.json.encode(found)
    headers = [
        (b"content-type", PROBLEM_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": found.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await _linger(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _linger(receive: Receive) -> None:
    """Take a little more of what the client still sends.

    Closing on unread bytes makes its kernel drop our answer, often before it is read.
    """
    taken = 0
    with trio.move_on_after(_LINGER_S):
        while True:
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > _LINGER_BYTES or not message.get("more_body", False):
                return
