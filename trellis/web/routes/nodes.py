"""Nodes: look at them, hold them, delete them."""

from typing import Annotated, Final

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter, RawBody

from trellis.model.names import NodeId
from trellis.model.node import Node, NodeState
from trellis.web.answers import NodeAnswer, NodePage
from trellis.web.bodies import HoldBody
from trellis.web.desk import Desk
from trellis.web.operator_answers import ExplanationAnswer
from trellis.web.operator_views import explanation_answer
from trellis.web.reading import read_optional
from trellis.web.routes.params import Actor, After, Filter, Gone, Limit, NodePath
from trellis.web.views import node_answer

_State = Annotated[
    NodeState | None, QueryParameter(name="state", description="Only those in this state.")
]
"""Litestar keeps the name ``state`` for itself."""


@get("/nodes")
async def list_nodes(
    desk: NamedDependency[Desk],
    gone: Gone = False,
    in_state: _State = None,
    label: Filter = None,
    provider: Filter = None,
    limit: Limit = 200,
    after: After = None,
) -> NodePage:
    """List nodes in rising order of id."""
    page = await desk.board.nodes(
        gone=gone, state=in_state, label=label, provider=provider, limit=limit, after=after
    )
    return NodePage(tuple(_shown(desk, node) for node in page.items), page.next)


@get("/nodes/{node_id:str}")
async def show_node(node_id: NodePath, desk: NamedDependency[Desk]) -> NodeAnswer:
    """Show a node, also one that is gone."""
    return _shown(desk, await desk.board.node(NodeId(node_id)))


@get("/nodes/{node_id:str}/explain")
async def explain_node(node_id: NodePath, desk: NamedDependency[Desk]) -> ExplanationAnswer:
    """Say what a node waits for, since when and what was tried."""
    return explanation_answer(await desk.port.explain_node(NodeId(node_id)))


@post("/nodes/{node_id:str}/hold", status_code=200)
async def hold_node(node_id: NodePath, desk: NamedDependency[Desk], body: RawBody) -> NodeAnswer:
    """Keep a node that is in use or used from being deleted."""
    word = read_optional(HoldBody, body)
    return _shown(desk, await desk.port.hold(NodeId(node_id), by=word.by, reason=word.reason))


@delete("/nodes/{node_id:str}", status_code=200)
async def delete_node(
    node_id: NodePath, desk: NamedDependency[Desk], by: Actor = "api"
) -> NodeAnswer:
    """Have a node deleted, whatever it does. Fine on one that is being deleted or gone."""
    return _shown(desk, await desk.board.delete_node(NodeId(node_id), by))


def _shown(desk: Desk, node: Node) -> NodeAnswer:
    return node_answer(node, desk.board.images.made_from(node.provider, node.shape.image_id))


HANDLERS: Final = (list_nodes, show_node, explain_node, hold_node, delete_node)
