"""Demand sources: who asks for nodes beside this interface, and how they fare."""

from typing import Final

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import RawBody

from trellis.web.bodies import EndBody
from trellis.web.desk import Desk
from trellis.web.operator_answers import EndedAnswer, SourcePage
from trellis.web.operator_views import source_answer
from trellis.web.reading import read_optional
from trellis.web.routes.params import SourcePath


@get("/demand-sources")
async def list_sources(desk: NamedDependency[Desk]) -> SourcePage:
    """List the demand sources: how each fares, and what it has asked for.

    One that is configured no longer is among them as long as something it asked for is live.
    """
    return SourcePage(tuple(source_answer(one) for one in desk.board.demand_sources()))


@post("/demand-sources/{name:str}/end", status_code=200)
async def end_source(name: SourcePath, body: RawBody, desk: NamedDependency[Desk]) -> EndedAnswer:
    """End all that a source which is configured no longer asked for: nobody wants it any more.

    Its requests that wait are cancelled, the nodes of the others are deleted.
    """
    word = read_optional(EndBody, body)
    return EndedAnswer(requests=await desk.board.end_demand(name, word.by))


HANDLERS: Final = (list_sources, end_source)
