"""Requests: ask for nodes, wait for them, cancel."""

from typing import Annotated, Final

import trio
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter, RawBody

from trellis.model.names import RequestId
from trellis.model.request import Ask, NodeRequest, RequestState
from trellis.web.answers import RequestAnswer, RequestPage
from trellis.web.bodies import AskBody, PriorityBody
from trellis.web.desk import Desk
from trellis.web.operator_answers import ExplanationAnswer
from trellis.web.operator_views import explanation_answer
from trellis.web.reading import read
from trellis.web.routes.params import After, Filter, Gone, Limit, RequestPath, WaitS
from trellis.web.views import request_answer, request_summary

_WAITING: Final = frozenset({RequestState.REQUESTED, RequestState.PENDING})
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
    limit: Limit = 200,
    after: After = None,
) -> RequestPage:
    """List requests, oldest first, without their leases."""
    page = await desk.board.requests(
        gone=gone, state=in_state, requestor=requestor, limit=limit, after=after
    )
    shown = tuple(request_summary(request, desk.board.outlook(request)) for request in page.items)
    return RequestPage(shown, page.next)


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
    """Say what a request waits for, since when, what was tried and who declined."""
    return explanation_answer(await desk.port.explain_request(RequestId(request_id)))


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
    create_request, list_requests, show_request, explain_request, change_request, cancel_request,
)  # fmt: skip
