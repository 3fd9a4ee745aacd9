"""The command line's way to the daemon: a small synchronous client of the REST face."""

import json
import ssl
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final
from urllib.parse import quote, urlsplit

import attrs
import httpx

from trellis.errors import TrellisError

_CONNECT_S: Final = 5.0
_READ_S: Final = 90.0
"""Longer than the longest long poll, 60 s, and than the beat of the event stream, 15 s."""

Params = Mapping[str, str | int | float | bool | None]


class FaceError(TrellisError):
    """A call to the daemon did not do what it should.

    Args:
        message: what is wrong.
        remedy: what to do now.
    """

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class FaceUnreachableError(FaceError):
    """No daemon answers there, or the connection broke.

    Args:
        before_sending: True: the call was certainly not carried out; else it may have been.
    """

    def __init__(self, message: str, *, remedy: str, before_sending: bool) -> None:
        super().__init__(message, remedy=remedy)
        self.before_sending = before_sending


class FaceRefusedError(FaceError):
    """The daemon refuses the call.

    Args:
        status: the HTTP status.
    """

    def __init__(self, message: str, *, remedy: str, status: int) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status


@attrs.frozen(kw_only=True)
class StreamEvent:
    """One server-sent event; *id* resumes the stream after it."""

    id: str
    type: str
    data: Any


class FaceClient:
    """A connection to one daemon; a context manager, closed at its end.

    Args:
        url: where the daemon listens, as ``http://127.0.0.1:8480``.
        token: sent as bearer token, if any; never shown.
        patience_s: the longest wait for a connection and for each part of an answer; default
            5 s for a connection and more than the longest poll for an answer.

    Every method raises FaceError. Paths are given without ``/api/v1``.
    """

    def __init__(
        self, url: str, token: str | None = None, *, patience_s: float | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FaceError(
                f"TRELLIS_URL is no address of a daemon: {shown_url(url)!r}",
                remedy="Set it like http://127.0.0.1:8480, or unset it for that address.",
            )
        self._shown = shown_url(url)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        loopback = parts.hostname in ("127.0.0.1", "localhost", "::1")
        self._client = httpx.Client(
            base_url=url.rstrip("/"),
            headers=headers,
            timeout=httpx.Timeout(
                _READ_S if patience_s is None else patience_s,
                connect=_CONNECT_S if patience_s is None else patience_s,
            ),
            # Making a TLS context takes longer than a whole command over plain HTTP.
            verify=parts.scheme == "https",
            # A proxy from the environment does not reach this machine's loopback.
            trust_env=not loopback,
        )

    def __enter__(self) -> "FaceClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def get(self, *path: str, **params: str | int | float | bool | None) -> Any:
        """Read one thing: ``get("nodes", node_id, "explain")``."""
        return self._call("GET", path, params=params)

    def page(self, *path: str, **params: str | int | float | bool | None) -> list[Any]:
        """Read the first page of a list."""
        return self._page(path, params)[0]

    def items(self, *path: str, **params: str | int | float | bool | None) -> list[Any]:
        """Read a whole list, page after page."""
        found: list[Any] = []
        after: str | None = None
        while True:
            page, after = self._page(path, {**params, "after": after})
            found += page
            if after is None:
                return found

    def post(self, *path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Act on a thing, or make one."""
        return self._call("POST", path, body=body or {})

    def delete(self, *path: str, **params: str) -> Any:
        """Have a thing deleted, cancelled or released."""
        return self._call("DELETE", path, params=params)

    def text(self, *path: str, **params: str | int | float | bool | None) -> str:
        """Read something that is no JSON: a log."""
        return self._answer("GET", path, params=params).text

    def events(self, after: str | None) -> Iterator[StreamEvent]:
        """Follow the events after *after*, or from now on, until the daemon ends the stream.

        The first thing yielded, of type "", tells only the id that the stream begins after.
        """
        return self._stream(("events",), {}, {"last-event-id": after} if after else {})

    def stream(
        self, *path: str, **params: str | int | float | bool | None
    ) -> Iterator[StreamEvent]:
        """Follow any other stream of server-sent events until the daemon ends it."""
        return self._stream(path, params, {})

    def _stream(
        self, path: tuple[str, ...], params: Params, headers: Mapping[str, str]
    ) -> Iterator[StreamEvent]:
        given, url = _given(params), _url(path)
        try:
            with self._client.stream("GET", url, params=given, headers=headers) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise self._refused(answer)
                yield from _events(answer.iter_lines())
        except httpx.TransportError as broken:
            raise self._unreachable(broken) from broken

    def _page(self, path: tuple[str, ...], params: Params) -> tuple[list[Any], str | None]:
        page = self._call("GET", path, params=params)
        if page is None or not isinstance(page.get("items"), list):
            raise self._no_daemon("its answer is no list")
        return page["items"], page.get("next")

    def _call(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        params: Params | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        answer = self._answer(method, path, params=params, body=body)
        try:
            told = answer.json() if answer.content else None
        except ValueError as wrong:
            raise self._no_daemon("its answer is not JSON") from wrong
        if not isinstance(told, dict | None):
            raise self._no_daemon("its answer is JSON of another kind")
        return told

    def _answer(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        params: Params | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        given = _given(params or {})
        try:
            answer = self._client.request(method, _url(path), params=given, json=body)
        except httpx.TransportError as broken:
            raise self._unreachable(broken) from broken
        if answer.status_code >= 300:
            raise self._refused(answer)
        return answer

    def _unreachable(self, broken: httpx.TransportError) -> FaceUnreachableError:
        if isinstance(broken, httpx.ConnectError) and isinstance(_root(broken), ssl.SSLError):
            return FaceUnreachableError(
                f"No TLS is spoken at {self._shown}, or its certificate is not trusted: {broken}",
                remedy="The daemon itself speaks plain HTTP: write http:// into TRELLIS_URL, "
                "unless a proxy in front of it speaks TLS; then see to its certificate.",
                before_sending=True,
            )
        if isinstance(broken, (httpx.ConnectError, httpx.ConnectTimeout)):
            return FaceUnreachableError(
                f"No daemon answers at {self._shown}: {broken}",
                remedy="Start it with `trellis serve -c trellis.yaml`, or set TRELLIS_URL to "
                "where it listens.",
                before_sending=True,
            )
        return FaceUnreachableError(
            f"The connection to {self._shown} broke: {broken or type(broken).__name__}",
            remedy="See whether the daemon runs and what it logs; the call may have been "
            "carried out, so look before repeating it.",
            before_sending=False,
        )

    def _refused(self, answer: httpx.Response) -> FaceError:
        try:
            problem = answer.json()
            return FaceRefusedError(
                str(problem["detail"]), remedy=str(problem["remedy"]), status=answer.status_code
            )
        except (ValueError, KeyError, TypeError):
            return self._no_daemon(f"it answers {answer.status_code} without saying why")

    def _no_daemon(self, why: str) -> FaceError:
        return FaceError(
            f"What listens at {self._shown} is no Trellis daemon: {why}",
            remedy="Set TRELLIS_URL to where the daemon listens.",
        )


def shown_url(url: str) -> str:
    """The address without a password that may stand in it."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


def _root(error: BaseException) -> BaseException:
    """What an error began with."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _url(path: tuple[str, ...]) -> str:
    return "/api/v1/" + "/".join(quote(part, safe="") for part in path)


def _given(params: Params) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in params.items() if value is not None}


def _events(lines: Iterator[str]) -> Iterator[StreamEvent]:
    seen, kind, data = "", "", ""
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            seen = value
        elif name == "event":
            kind = value
        elif name == "data":
            data += value
        elif not line and (data or seen):
            yield StreamEvent(id=seen, type=kind, data=json.loads(data) if data else None)
            kind, data = "", ""
