"""Requests: ask for nodes, wait for them, cancel."""

from typing import Annotated, Final

import trio
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter, RawBody

from trellis.errors import RefusedError
from trellis.model.names import RequestId
from trellis.model.request import Ask, NodeRequest, RequestState
from trellis.web.answers import RequestAnswer, RequestPage
from trellis.web.bodies import AskBody, PriorityBody
from trellis.web.desk import Desk
from trellis.web.operator_answers import ExplanationAnswer
from trellis.web.operator_views import explanation_answer
from trellis.web.reading import read
from trellis.web.routes.params import (
    After,
    Filter,
    Gone,
    Limit,
    RequestPath,
    WaitS,
    Word,
)
from trellis.web.views import request_answer, request_summary

_WAITING: Final = frozenset({RequestState.REQUESTED, RequestState.PENDING})
_MOST_NAMED: Final = 5
_State = Annotated[
    RequestState | None, QueryParameter(name="state", description="Only those in this state.")
]
"""Litestar keeps the name ``state`` for itself."""


@post("/requests", status_code=201)
async def create_request(body: RawBody, desk: NamedDependency[Desk]) -> Response[RequestAnswer]:
    """Ask for one or more nodes, fulfilled whole on one provider and zone.

    With an idempotency_key the call may be repeated: the same body gets the same request.
    """
    data = read(AskBody, body)
    request = await desk.port.submit(
        Ask(
            labels=data.labels,
            requestor=data.requestor,
            tenant=data.tenant,
            priority=data.priority,
            provider=data.provider,
            lease_ttl_s=data.lease_ttl_s,
            metadata=data.metadata,
            idempotency_key=data.idempotency_key,
        )
    )
    return Response(
        await _shown(desk, request),
        status_code=201,
        headers={"location": f"/api/v1/requests/{request.id}"},
    )


@get("/requests")
async def list_requests(
    desk: NamedDependency[Desk],
    gone: Gone = False,
    in_state: _State = None,
    requestor: Filter = None,
    tenant: Filter = None,
    pipeline: Filter = None,
    job: Filter = None,
    limit: Limit = 200,
    after: After = None,
) -> RequestPage:
    """List requests, oldest first, without their leases.

    Pipeline and job are those that a request's metadata name, for one.
    """
    page = await desk.board.requests(
        gone=gone,
        state=in_state,
        requestor=requestor,
        tenant=tenant,
        pipeline=pipeline,
        job=job,
        limit=limit,
        after=after,
    )
    shown = tuple(request_summary(request, desk.board.outlook(request)) for request in page.items)
    return RequestPage(shown, page.next)


@get("/requests/find")
async def find_requests(word: Word, desk: NamedDependency[Desk], limit: Limit = 20) -> RequestPage:
    """Find requests by id, tenant or any value of their metadata, live and gone.

    Live ones come first, the newest first; then those that ended, the last first.
    """
    found = await desk.board.find_requests(word, limit)
    return RequestPage(tuple(request_summary(one, desk.board.outlook(one)) for one in found))


@get("/requests/{request_id:str}")
async def show_request(
    request_id: RequestPath, desk: NamedDependency[Desk], wait_s: WaitS = 0
) -> RequestAnswer:
    """Show a request; with wait_s, once it is fulfilled, failed or cancelled.

    A fulfilled one carries its lease, and its nodes in the order of its labels.
    """
    request = await desk.port.request(RequestId(request_id))
    if wait_s and request.state in _WAITING:
        deadline = trio.current_time() + wait_s
        with desk.closing.wait_scope(deadline=deadline) as scope:
            request = await desk.port.wait(request.id)
        if scope.cancelled_caught:
            request = await desk.port.request(request.id)
    return await _shown(desk, request)


@get("/requests/{request_id:str}/explain")
async def explain_request(
    request_id: RequestPath, desk: NamedDependency[Desk]
) -> ExplanationAnswer:
    """Say what a request waits for, since when, what was tried and who declined.

    In the place of its id may stand its tenant or any value of its metadata, as the id that
    another system gave it, where no other request has the same.
    """
    found = await desk.board.find_requests(request_id, _MOST_NAMED + 1)
    if len(found) > 1:
        named = ", ".join(f"{one.id} ({one.state.value})" for one in found[:_MOST_NAMED])
        more = " and others" if len(found) > _MOST_NAMED else ""
        raise RefusedError(
            f"several requests are found by {request_id!r}: {named}{more}",
            remedy="ask for one of them by its id; GET /api/v1/requests/find?word=… lists them all",
        )
    known = found[0].id if found else RequestId(request_id)
    return explanation_answer(await desk.port.explain_request(known))


@patch("/requests/{request_id:str}")
async def change_request(
    request_id: RequestPath, body: RawBody, desk: NamedDependency[Desk]
) -> RequestAnswer:
    """Change the priority of a request that still waits."""
    priority = read(PriorityBody, body).priority
    return await _shown(desk, await desk.port.reprioritise(RequestId(request_id), priority))


@delete("/requests/{request_id:str}", status_code=200)
async def cancel_request(request_id: RequestPath, desk: NamedDependency[Desk]) -> RequestAnswer:
    """End a request at any moment; a fulfilled one has its lease released."""
    return await _shown(desk, await desk.port.cancel(RequestId(request_id)))


async def _shown(desk: Desk, request: NodeRequest) -> RequestAnswer:
    if request.state is not RequestState.FULFILLED or request.lease_id is None:
        return request_answer(request, desk.board.outlook(request), None, ())
    lease = await desk.port.lease(request.lease_id)
    nodes = await desk.port.nodes_of(request)
    return request_answer(request, desk.board.outlook(request), lease, nodes)


HANDLERS: Final = (
    create_request, list_requests, find_requests, show_request, explain_request, change_request,
    cancel_request,
)  # fmt: skip
