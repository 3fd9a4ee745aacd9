"""Finding requests by what others call them, while they live and after."""

from typing import Final

from trellis.control.ask_index import AskIndex
from trellis.control.fleet import Fleet
from trellis.model.asked import words_of
from trellis.model.names import RequestId
from trellis.model.request import NodeRequest
from trellis.store.store import Store

_LOOKED_AT: Final = 200
"""So many of the latest events with the word are looked through for requests that have ended."""


async def find_requests(
    word: str, most: int, *, fleet: Fleet, store: Store, asks: AskIndex
) -> tuple[NodeRequest, ...]:
    """See `trellis.control.board.Board.find_requests`."""
    exact = RequestId(word)
    found = fleet.requests.get(exact) or await store.history(NodeRequest, exact)
    if found is not None:
        return (found,)
    gone = await _gone(word, most, store)
    ended = {request.id for request in gone}
    # Read last and at one moment: what ends meanwhile is not told of twice.
    live = [fleet.requests[one] for one in asks.named(word) if one not in ended]
    live.sort(key=lambda request: (-request.created_at, request.id))
    return (*live, *gone)[:most]


async def _gone(word: str, most: int, store: Store) -> list[NodeRequest]:
    events = await store.events_about(word, _LOOKED_AT)
    gone: list[NodeRequest] = []
    for request_id in dict.fromkeys(event.subject for event in reversed(events)):
        if len(gone) == most:
            break
        ended = await store.history(NodeRequest, request_id)
        # Events of all kinds of things have words, and an id may be one of them.
        if ended is not None and word in words_of(ended.ask):
            gone.append(ended)
    return gone
