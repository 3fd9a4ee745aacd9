"""Liveness, readiness and metrics: what machines ask about the daemon itself."""

from typing import Final

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.exceptions import ServiceUnavailableException

from trellis.web import metrics
from trellis.web.desk import Desk
from trellis.web.operator_answers import HealthAnswer


@get("/healthz")
async def healthz() -> HealthAnswer:
    """Say that the daemon's loop turns."""
    return HealthAnswer(status="ok")


@get("/readyz")
async def readyz(desk: NamedDependency[Desk]) -> HealthAnswer:
    """Say whether requests can be served: 200, or 503 with what stands in the way."""
    ready, detail = desk.board.ready()
    if desk.closing.begun:
        ready, detail = False, "The daemon is stopping."
    if not ready:
        raise ServiceUnavailableException(detail or "The daemon is starting.")
    return HealthAnswer(status="ok", detail=detail)


@get("/metrics", media_type=metrics.CONTENT_TYPE)
async def show_metrics(desk: NamedDependency[Desk]) -> Response[bytes]:
    """Show figures for Prometheus, in its text format."""
    return Response(metrics.render(desk.board), media_type=metrics.CONTENT_TYPE)


HANDLERS: Final = (healthz, readyz, show_metrics)
