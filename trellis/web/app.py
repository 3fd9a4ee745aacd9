"""The face as one ASGI application."""

from collections.abc import Collection
from functools import cache, partial
from typing import Any, cast

import attrs
from litestar import Litestar, Request, Router, get
from litestar.di import Provide
from litestar.exceptions import ValidationException
from litestar.params import QueryParameter
from litestar.types import ControllerRouterHandler

from trellis.control.board import Board
from trellis.spi.demand import DemandPort
from trellis.web.closing import Closing
from trellis.web.desk import Desk
from trellis.web.guard import AsgiApp, Guard, Message, Receive, Send
from trellis.web.openapi import describe
from trellis.web.page import serving as page
from trellis.web.problems import HANDLERS
from trellis.web.routes import (
    breakers,
    demand,
    health,
    images,
    leases,
    nodes,
    operations,
    providers,
    requests,
    status,
)


@attrs.frozen(kw_only=True)
class Face:
    """The ASGI application, and the handle that ends what waits in it."""

    app: AsgiApp
    closing: Closing

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection of the ASGI server."""
        await self.app(scope, receive, send)


def make_app(port: DemandPort, board: Board, *, hosts: Collection[str] = ()) -> Face:
    """Build the face.

    Args:
        hosts: further values of the `Host` header to accept, for a face behind a proxy; the
            address that is listened at is always accepted.
    """
    desk = Desk(port=port, board=board, closing=Closing())

    def give_desk() -> Desk:
        return desk

    handlers = calls()
    described = cache(partial(describe, handlers))

    @get("/openapi.json", include_in_schema=False)
    async def openapi() -> dict[str, Any]:
        """Describe every call, as OpenAPI 3.1."""
        return described()

    app = Litestar(
        [*handlers, openapi, *page.HANDLERS],
        dependencies={"desk": Provide(give_desk, sync_to_thread=False)},
        exception_handlers=HANDLERS,
        before_request=_refuse_unknown_parameters,
        openapi_config=None,
        # Litestar would take over the root logger.
        logging_config=None,
        # The guard bounds bodies.
        request_max_body_size=None,
    )
    return Face(app=Guard(cast(AsgiApp, app), hosts=hosts), closing=desk.closing)


def calls() -> tuple[ControllerRouterHandler, ...]:
    """Every call of the face: those under ``/api/v1``, and those of machines."""
    api = Router(
        "/api/v1",
        route_handlers=[
            *requests.HANDLERS,
            *leases.HANDLERS,
            *nodes.HANDLERS,
            *providers.HANDLERS,
            *images.HANDLERS,
            *breakers.HANDLERS,
            *demand.HANDLERS,
            *operations.HANDLERS,
            *status.HANDLERS,
        ],
    )
    return api, *health.HANDLERS


async def _refuse_unknown_parameters(request: Request[Any, Any, Any]) -> None:
    """Refuse a query parameter that the call does not have: a mistyped filter lists everything."""
    if not request.scope["query_string"]:
        return
    known = {
        field.kwarg_definition.name or name
        for name, field in request.route_handler.parsed_fn_signature.parameters.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    }
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        raise ValidationException(
            extra=[
                {"key": name, "message": "unknown query parameter", "source": "query"}
                for name in unknown
            ]
        )
