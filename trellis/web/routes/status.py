"""The state of everything in one answer, for live views."""

from typing import Annotated, Final

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from trellis.web.desk import Desk
from trellis.web.status_answers import StatusAnswer
from trellis.web.status_views import status_answer

_Most = Annotated[
    int,
    QueryParameter(ge=0, le=200, description="How many waiting requests and slow nodes to name."),
]


@get("/status")
async def show_status(desk: NamedDependency[Desk], most: _Most = 50) -> StatusAnswer:
    """Show clouds, labels, requests that wait and nodes at one moment, in one answer.

    Made for views that are kept up to date: read it, follow the events after its `last_event`,
    and read it again when something happened.
    """
    return status_answer(desk.board, most)


HANDLERS: Final = (show_status,)
