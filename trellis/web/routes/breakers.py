"""Breakers: what is left alone after failures, and a person's word that it is mended."""

from typing import Final

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import RawBody

from trellis.web.bodies import ResetBody
from trellis.web.desk import Desk
from trellis.web.operator_answers import BreakerPage
from trellis.web.operator_views import breaker_answer
from trellis.web.reading import read_optional
from trellis.web.routes.params import BreakerPath


@get("/breakers")
async def list_breakers(desk: NamedDependency[Desk]) -> BreakerPage:
    """List the breakers that are not closed: what is left alone, why, and when it is tried."""
    return BreakerPage(tuple(breaker_answer(breaker) for breaker in desk.board.breakers()))


@post("/breakers/{breaker_id:str}/reset", status_code=200)
async def reset_breaker(
    breaker_id: BreakerPath, desk: NamedDependency[Desk], body: RawBody
) -> BreakerPage:
    """Close a breaker: launches go on at once. Answers with those that are still not closed."""
    word = read_optional(ResetBody, body)
    await desk.board.reset_breaker(breaker_id, word.by, word.reason)
    return BreakerPage(tuple(breaker_answer(breaker) for breaker in desk.board.breakers()))


HANDLERS: Final = (list_breakers, reset_breaker)
