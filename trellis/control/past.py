"""What an earlier process did that still counts at the clouds: their limits of a day (P6)."""

from trellis.model.node import Node, ResourceKind
from trellis.store.store import Store
from trellis.world import World

DAY_S = 86_400.0
_PAGE = 1000


async def creates_of_a_day(store: Store, provider: str, world: World) -> list[float]:
    """When a provider's creates of the last 24 hours were about to be sent, in UTC seconds.

    Read from the records, of the live nodes and of those that are gone.

    Raises:
        StoreFailedError: the history cannot be read.
    """
    since = world.wall() - DAY_S
    nodes = list(store.all(Node).values())
    before: int | None = None
    while page := await store.history_page(Node, limit=_PAGE, before=before):
        # What was archived before that was also created before that.
        nodes += [row.record for row in page if row.at >= since]
        if page[-1].at < since:
            break
        before = page[-1].position
    return sorted(
        resource.sent_at
        for node in nodes
        if node.provider == provider
        for resource in node.resources
        if resource.kind is ResourceKind.SERVER and resource.sent_at >= since
    )
