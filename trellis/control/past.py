"""What an earlier process did that still counts: limits of a day (P6), how launches ended."""

from collections.abc import Iterator

from trellis.model.node import Node, ResourceKind
from trellis.store.store import Store
from trellis.world import World

DAY_S = 86_400.0
_PAGE = 200
"""What is asked for is mostly of the last minutes, and each record that is read costs."""


async def creates_of_a_day(store: Store, provider: str, world: World) -> list[float]:
    """When a provider's creates of the last 24 hours were about to be sent, in UTC seconds.

    Read from the records, of the live nodes and of those that are gone.

    Raises:
        StoreFailedError: the history cannot be read.
    """
    since = world.wall() - DAY_S
    nodes = await nodes_since(store, since)
    return sorted(
        min(at, world.wall())
        for node in nodes
        if node.provider == provider
        for at in _sent_at(node)
        if at >= since
    )


async def nodes_since(store: Store, since: float) -> list[Node]:
    """The live nodes, and those that were archived since then, in UTC seconds.

    Raises:
        StoreFailedError: the history cannot be read.
    """
    nodes = list(store.all(Node).values())
    before: int | None = None
    while page := await store.history_page(Node, limit=_PAGE, before=before):
        # What was archived before that was also created before that.
        nodes += [row.record for row in page if row.at >= since]
        if page[-1].at < since:
            break
        before = page[-1].position
    # One may have been archived while the history was read.
    return list({node.id: node for node in nodes}.values())


def _sent_at(node: Node) -> Iterator[float]:
    """When a node's create was sent; of one that was refused, no earlier than that.

    A refusal takes the intent back and leaves the deadline of the launch, which the first intent
    has set: clouds count what they were asked, not what they made.
    """
    sent = [r.sent_at for r in node.resources if r.kind is ResourceKind.SERVER]
    if not sent and node.launch_by is not None:
        sent = [min(node.launch_by, node.state_at)]
    yield from sent
