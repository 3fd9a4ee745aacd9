"""Leaks, the plan and the events."""

from typing import Annotated, Final

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, QueryParameter, RawBody

from trellis.web.bodies import NoBody
from trellis.web.desk import Desk
from trellis.web.operator_answers import LeakAnswer, LeakPage, PlanPage
from trellis.web.operator_views import leak_answer, step_answer
from trellis.web.reading import read_optional
from trellis.web.routes.params import LeakPath
from trellis.web.stream import EventStream

_Resume = Annotated[
    str | None,
    QueryParameter(
        max_length=255, description="Id of the last event seen; what follows it is sent."
    ),
]
_ResumeHeader = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID", max_length=255, description="The same, as browsers resume with it."
    ),
]


@get("/leaks")
async def list_leaks(desk: NamedDependency[Desk]) -> LeakPage:
    """List what is tagged ours in the clouds and claimed by no record."""
    return LeakPage(tuple(leak_answer(leak) for leak in desk.board.leaks()))


@delete("/leaks/{leak_id:str}", status_code=200)
async def delete_leak(leak_id: LeakPath, desk: NamedDependency[Desk]) -> LeakAnswer:
    """Confirm that a leak is ours and may be deleted; the cleanup does it."""
    return leak_answer(await desk.board.delete_leak(leak_id))


@post("/leaks/{leak_id:str}/adopt", status_code=200)
async def adopt_leak(leak_id: LeakPath, desk: NamedDependency[Desk], body: RawBody) -> LeakAnswer:
    """Confirm that a thing whose node id was never issued here is ours all the same."""
    read_optional(NoBody, body)
    return leak_answer(await desk.board.adopt_leak(leak_id))


@get("/plan")
async def show_plan(desk: NamedDependency[Desk]) -> PlanPage:
    """Say what the scheduler would do now and what it would leave, each with its reason."""
    return PlanPage(tuple(step_answer(step) for step in desk.board.plan()))


@get("/events", media_type="text/event-stream")
async def follow_events(
    desk: NamedDependency[Desk],
    after: _Resume = None,
    last_event_id: _ResumeHeader = None,
) -> EventStream:
    """Follow events as server-sent events, from now on or from after an event.

    An event `reset` says that what the client knows may be out of date: its id is too old, or it
    read too slowly.
    """
    seen = last_event_id if last_event_id is not None else after
    newest = desk.board.last_event()
    if seen is None:
        return EventStream(desk.board.events(newest), newest, desk.closing)
    # An id that we never gave is newer than anything, which the board answers with a reset.
    position = int(seen) if seen.isascii() and seen.isdecimal() else newest + 1
    return EventStream(desk.board.events(position), min(position, newest), desk.closing)


HANDLERS: Final = (list_leaks, delete_leak, adopt_leak, show_plan, follow_events)
