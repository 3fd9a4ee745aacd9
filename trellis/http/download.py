"""Fetching one large file from a web server: streamed, followed where it has moved to."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

import trio

from trellis.http.httpx_wire import wire_of
from trellis.http.message import Call, Headers
from trellis.http.transport import TransportFactory, TransportSettings
from trellis.http.wire import Progress, Wire, WireAnswer, WireError

MOST_MOVES: Final = 5
PATIENCE_S: Final = 60.0
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class DownloadError(Exception):
    """The file cannot be fetched; the text says why, and shows no credentials."""


async def download(
    url: str,
    transport: TransportFactory,
    take: Callable[[bytes], Awaitable[None]],
    *,
    patience_s: float = PATIENCE_S,
) -> int:
    """Fetch a file and hand on its bytes as they come; the checksum is the caller's to take.

    Credentials in the URL are sent to that server only. A move from https to plain http is not
    followed, whatever it leads to.

    Args:
        url: https, or http on loopback.
        transport: makes the wires.
        take: is given each piece, and awaited before more is read.
        patience_s: so long the server may send nothing.

    Returns:
        The number of bytes. Cancellation closes the connection.

    Raises:
        DownloadError: it cannot be fetched, or not whole.
    """
    async with _reached("GET", url, transport, patience_s) as (parts, answer):
        return await _take_all(answer, Headers(answer.headers), parts, take, patience_s)


async def size_of(
    url: str, transport: TransportFactory, *, patience_s: float = PATIENCE_S
) -> int | None:
    """Ask a web server how large a file is, without fetching it.

    Args:
        url: as for `download`.
        transport: makes the wires.
        patience_s: so long the server may be silent.

    Returns:
        The number of bytes; None where it does not say. Cancellation closes the connection.

    Raises:
        DownloadError: it cannot be reached, or may not be.
    """
    async with _reached("HEAD", url, transport, patience_s) as (_, answer):
        length = Headers(answer.headers).get("content-length", "")
        return int(length) if answer.status == 200 and length.isdigit() else None


@asynccontextmanager
async def _reached(
    method: str, url: str, transport: TransportFactory, patience_s: float
) -> AsyncIterator[tuple[SplitResult, WireAnswer]]:
    """Follow a file to where it is now: the URL of that, and the answer."""
    wire = wire_of(transport(TransportSettings(cloud="download", lanes=1)))
    try:
        for _ in range(MOST_MOVES + 1):
            parts = checked(url)
            async with _asked(method, wire, parts, patience_s) as answer:
                if answer.status not in _MOVED:
                    yield parts, answer
                    return
                moved = _moved(parts, Headers(answer.headers).get("location", ""))
            if parts.scheme == "https" and urlsplit(moved).scheme != "https":
                raise DownloadError(f"{shown(url)}: it moves to plain http, {shown(moved)}")
            if urlsplit(moved).netloc == _plain_netloc(parts):
                # The same server: it needs the credentials again.
                moved = urlunsplit(urlsplit(moved)._replace(netloc=parts.netloc))
            url = moved
        raise DownloadError(f"{shown(url)}: it was moved more than {MOST_MOVES} times")
    except WireError as error:
        raise DownloadError(f"{shown(url)}: {error or 'the connection broke'}") from error
    finally:
        with trio.move_on_after(5.0, shield=True):
            await wire.aclose()


def checked(url: str) -> SplitResult:
    """The parts of a URL that may be fetched.

    Raises:
        DownloadError: it may not.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # which is only read now
    except ValueError as error:
        raise DownloadError(f"this is no URL: {error}") from error
    if parts.scheme == "https" and parts.hostname:
        return parts
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return parts
    raise DownloadError(
        f"{shown(url)}: only https is fetched, and http on loopback: what comes another way may be "
        "anybody's"
    )


def shown(url: str) -> str:
    """A URL without credentials and without its query, which may be a signature."""
    try:
        return _plain(urlsplit(url)._replace(query="", fragment=""))
    except ValueError:
        return "(no URL)"


def _moved(parts: SplitResult, location: str) -> str:
    try:
        moved = urljoin(_plain(parts), location)
        urlsplit(moved)
    except ValueError as error:
        raise DownloadError(f"{shown(urlunsplit(parts))}: it moves to what is no URL") from error
    return moved


async def _take_all(
    answer: WireAnswer,
    headers: Mapping[str, str],
    parts: SplitResult,
    take: Callable[[bytes], Awaitable[None]],
    patience_s: float,
) -> int:
    where = shown(urlunsplit(parts))
    if answer.status != 200:
        raise DownloadError(f"{where}: the server answers {answer.status}")
    if headers.get("content-encoding", "identity") not in ("", "identity"):
        raise DownloadError(f"{where}: the server codes it as was not asked for")
    length = headers.get("content-length", "")
    size = 0
    pieces = _whole(answer.body) if isinstance(answer.body, bytes) else aiter(answer.body)
    while True:
        piece: bytes | None = None
        with trio.move_on_after(patience_s) as waiting:
            piece = await anext(pieces, None)
        if waiting.cancelled_caught:
            raise DownloadError(f"{where}: nothing came for {patience_s:g} s")
        if piece is None:
            break
        size += len(piece)
        try:
            await take(piece)
        except BaseException:
            # Ended by a cancellation, the generators below are unwound; left alone, they are not.
            with trio.move_on_after(0, shield=True):
                await anext(pieces, None)
            raise
    if length.isdigit() and int(length) != size:
        raise DownloadError(f"{where}: {size} bytes came of {length}")
    return size


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


@asynccontextmanager
async def _asked(
    method: str, wire: Wire, parts: SplitResult, patience_s: float
) -> AsyncIterator[WireAnswer]:
    headers = {"Accept-Encoding": "identity"}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    call = Call(
        service="download",
        method=method,
        url=_plain(parts._replace(fragment="")),
        path_label="/",
        headers=headers,
        budget_s=patience_s,
    )
    answer: WireAnswer | None = None
    with trio.move_on_after(patience_s):
        answer = await wire.send(call, Progress())
    if answer is None:
        raise DownloadError(f"{shown(call.url)}: no answer for {patience_s:g} s")
    try:
        yield answer
    finally:
        if answer.close is not None:
            with trio.move_on_after(5.0, shield=True):
                await answer.close()


def _plain(parts: SplitResult) -> str:
    return urlunsplit(parts._replace(netloc=_plain_netloc(parts)))


def _plain_netloc(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]
