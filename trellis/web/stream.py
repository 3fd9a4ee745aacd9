"""Streams of server-sent events, ended cleanly when the face closes; that of events resumes."""

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final, Generic, TypeVar

import msgspec
import trio
from litestar import Response

from trellis.control.board import Reset
from trellis.model.records import Event
from trellis.web.closing import Closing
from trellis.web.operator_answers import ResetAnswer
from trellis.web.operator_views import event_answer

_BEAT_S: Final = 15.0
_RETRY_MS: Final = 2000
_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # nginx would hold events back.
    (b"x-accel-buffering", b"no"),
]

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
T = TypeVar("T")


class ServerSent(Response[None], Generic[T]):
    """A response that sends what *items* gives until it ends, the client leaves or the face closes.

    Args:
        items: what to follow; closed at the end.
    """

    def __init__(self, items: AsyncIterator[T], closing: Closing) -> None:
        super().__init__(None, media_type="text/event-stream")
        self._items = items
        self._closing = closing

    def _opening(self) -> bytes:
        """What is sent before the first item."""
        return b""

    def _written(self, item: T) -> bytes:
        """An item as one server-sent event."""
        raise NotImplementedError

    async def _ending(self) -> bytes:
        """What is sent when the items have ended by themselves."""
        return b""

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """What Litestar calls to send the answer."""
        return self._serve

    async def _serve(self, _scope: object, receive: _Receive, send: _Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        with self._closing.wait_scope(deadline=float("inf")):
            await self._follow(receive, _Sender(send))
        with trio.move_on_after(_BEAT_S):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, receive: _Receive, sender: "_Sender") -> None:
        try:
            await sender(self._opening())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
                nursery.start_soon(_beat, sender)
                async for item in self._items:
                    await sender(self._written(item))
                if last := await self._ending():
                    await sender(last)
                nursery.cancel_scope.cancel()
        finally:
            # A generator that is left to the garbage collector is closed at no known time.
            if (close := getattr(self._items, "aclose", None)) is not None:
                with trio.CancelScope(deadline=trio.current_time() + 1, shield=True):
                    await close()


class EventStream(ServerSent[Event | Reset]):
    """The response that follows *events*.

    Args:
        position: id of the event the stream begins after; the client is told, so that it can
            resume even if it lost the connection before the first event.
    """

    def __init__(
        self, events: AsyncIterator[Event | Reset], position: int, closing: Closing
    ) -> None:
        super().__init__(events, closing)
        self._position = position

    def _opening(self) -> bytes:
        return f"retry: {_RETRY_MS}\nid: {self._position}\n\n".encode()

    def _written(self, item: Event | Reset) -> bytes:
        return _written(item)


class _Sender:
    """Sends parts of one body from several tasks, one after another."""

    def __init__(self, send: _Send) -> None:
        self._send = send
        self._turn = trio.Lock()

    async def __call__(self, part: bytes) -> None:
        async with self._turn:
            await self._send({"type": "http.response.body", "body": part, "more_body": True})


async def _until_gone(receive: _Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _beat(sender: _Sender) -> None:
    """Show proxies and clients that the line is alive while nothing happens."""
    while True:
        await trio.sleep(_BEAT_S)
        await sender(b": still here\n\n")


def server_sent(kind: str, data: object) -> bytes:
    """One event of a stream that cannot be resumed."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode(data))


def _written(event: Event | Reset) -> bytes:
    if isinstance(event, Reset):
        kind, answer = (
            "reset",
            msgspec.json.encode(
                ResetAnswer(
                    why=event.why,
                    remedy="Read the lists again; the stream goes on from here.",
                )
            ),
        )
    else:
        kind, answer = event.type, msgspec.json.encode(event_answer(event))
    return b"event: %s\nid: %d\ndata: %s\n\n" % (kind.encode(), event.id, answer)
