"""All requests in the tree: each has a life, from when its znode is first seen."""

import structlog
import trio

from trellis.errors import StoreError
from trellis.model.request import NodeRequest, RequestState
from trellis.zookeeper.errors import SessionLostError
from trellis_zuul.foreign import is_taken_over
from trellis_zuul.ground import Ground
from trellis_zuul.handing_over import HandingOver
from trellis_zuul.mirror import Znode
from trellis_zuul.paths import name_of, parent_of, request_path
from trellis_zuul.pools import Pools
from trellis_zuul.request_life import RequestLife, znode_of
from trellis_zuul.turns import Turns

log = structlog.get_logger()

FIRST_WAIT_S = 1.0
MOST_WAIT_S = 300.0
_OF_NO_ZNODE = "none-"
"""Begins the name of a znode that there never is."""


class RequestLives:
    """Runs the lives on one session's ground. A change costs what the life it is about costs."""

    def __init__(self, ground: Ground, pools: Pools, handing_over: HandingOver) -> None:
        self._ground, self._pools, self._handing_over = ground, pools, handing_over
        self._turns = Turns()
        self._lives: dict[str, RequestLife] = {}

    async def run(  # noqa: ASYNC114 - it is started by `_serve` alone
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run until cancelled; started when each request that is there has its life.

        What was asked of Trellis before and has no znode any more has one too: it is let go.

        Raises:
            SessionLostError: the session is over (in a group).
        """
        ground = self._ground
        async with trio.open_nursery() as nursery:

            def request_told(path: str, _before: Znode | None, _now: Znode | None) -> None:
                if parent_of(path) == ground.requests.root:
                    self._told(name_of(path), nursery)

            def lock_told(path: str, _before: Znode | None, _now: Znode | None) -> None:
                name = name_of(path if parent_of(path) == root else parent_of(path))
                life = self._lives.get(name)
                if life is not None and not life.is_own(name_of(path)):
                    life.nudge()

            root = ground.request_locks.root
            ground.requests.tell(request_told)
            ground.request_locks.tell(lock_told)
            nursery.start_soon(self._turns.run)
            self._begin_with_records(nursery)
            for path in tuple(ground.requests):
                self._told(name_of(path), nursery)
            task_status.started()
            await trio.sleep_forever()

    def _begin_with_records(self, nursery: trio.Nursery) -> None:
        for mine in self._ground.port.asked_by(self._ground.source):
            znode = znode_of(mine.ask.context)
            if is_taken_over(mine.ask.context):
                continue  # a node of another launcher's, whose end is waited for elsewhere
            if znode is None:
                log.error("zuul_request_without_znode", request=mine.id, context=mine.ask.context)
                nursery.start_soon(
                    self._end_odd, mine, "no request of Zuul's is named in it", nursery
                )
            elif znode.request_id in self._lives:
                log.error("zuul_request_asked_twice", request=mine.id, znode=znode.request_id)
                why = f"{znode.request_id} has another request here"
                nursery.start_soon(self._end_odd, mine, why, nursery)
            else:
                self._begin(znode.request_id, znode.czxid, mine, nursery)

    async def _end_odd(self, mine: NodeRequest, why: str, nursery: trio.Nursery) -> None:
        """End a request that cannot be answered: else it would stay, and nobody look after it.

        Its nodes in the tree have lives of their own; those that are not there are released.
        """
        if mine.state is RequestState.FULFILLED:
            self._begin(f"{_OF_NO_ZNODE}{mine.id}", 0, mine, nursery)
        else:
            await self._ground.port.cancel(mine.id, why=why)

    def _told(self, request_id: str, nursery: trio.Nursery) -> None:
        if request_id in self._lives:
            self._lives[request_id].nudge()
            return
        znode = self._ground.requests.get(request_path(request_id))
        if znode is not None and znode.stat is not None:
            self._begin(request_id, znode.stat.czxid, None, nursery)

    def _begin(
        self, request_id: str, czxid: int, mine: NodeRequest | None, nursery: trio.Nursery
    ) -> None:
        life = RequestLife(
            self._ground,
            self._pools,
            self._handing_over,
            self._turns,
            request_id,
            czxid,
            mine,
        )
        self._lives[request_id] = life
        nursery.start_soon(self._run, life, nursery, name=f"zuul request {request_id}")

    async def _run(self, life: RequestLife, nursery: trio.Nursery) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            try:
                await life.run()
                break
            except (SessionLostError, StoreError):
                raise
            except Exception as crash:
                # One request of which we make nothing must not take the others with it.
                log.error("zuul_request_crashed", zuul_request=life.id, exc_info=crash)
            await trio.sleep(wait_s)
            wait_s = min(2 * wait_s, MOST_WAIT_S)
        del self._lives[life.id]
        self._told(life.id, nursery)  # one of the same name may have come meanwhile
