"""The demand source: a session with ZooKeeper, and in it the life of each request and node.

Nothing of a session outlives it. When it is lost, what Trellis launches goes on, and the next
session begins with reading all there is.
"""

from typing import Final

import structlog
import trio

from trellis.spi.demand import DemandPort
from trellis.spi.registry import DemandContext
from trellis.zookeeper.errors import (
    DisconnectedError,
    NotAllowedError,
    SessionLostError,
    UnreachableServersError,
)
from trellis.zookeeper.session import Check, Session
from trellis_zuul.config import ZuulConfig
from trellis_zuul.foreign import ForeignNodes
from trellis_zuul.ground import ground_of
from trellis_zuul.handing_over import HandingOver
from trellis_zuul.left_marks import LeftMarks
from trellis_zuul.marks import Marks
from trellis_zuul.node_lives import NodeLives
from trellis_zuul.paths import NODES, POOLS, REQUEST_LOCKS, REQUESTS
from trellis_zuul.pools import PoolIds, Pools
from trellis_zuul.request_lives import RequestLives
from trellis_zuul.resume import Shown
from trellis_zuul.sweeps import Sweeps

log = structlog.get_logger()

FIRST_WAIT_S: Final = 1.0
MOST_WAIT_S: Final = 30.0
"""Between tries to reach ZooKeeper; a site waits for it, so not for long."""
LOOK_EVERY_S: Final = 5.0
"""How often it is seen whether ZooKeeper still answers."""


class ZuulSource:
    """See `trellis.spi.demand.DemandSource`."""

    def __init__(self, config: ZuulConfig, context: DemandContext) -> None:
        self._config, self._context = config, context
        self._pool_ids = PoolIds(context.deployment, context.random)
        self._shown: Shown | None = None
        self._trouble = self._left = ""
        self._left_said: set[str] = set()

    async def run(self, port: DemandPort) -> None:
        """Serve until cancelled.

        What keeps it from ZooKeeper is reported, and tried again. Anything else ends it: a crash.
        """
        wait_s = FIRST_WAIT_S
        self._shown = Shown(port.asked_by(self._config.name))
        while True:
            began = trio.current_time()
            why = ""
            try:
                async with self._context.zookeeper(self._config.servers) as session:
                    why = await self._serve(session, port)
            except* (UnreachableServersError, NotAllowedError) as group:
                why = "; ".join(dict.fromkeys(_texts(group)))
            if trio.current_time() - began > MOST_WAIT_S:
                wait_s = FIRST_WAIT_S
            self._say(f"{why} Tried again in {wait_s:g} s.")
            await trio.sleep(wait_s)
            wait_s = min(2 * wait_s, MOST_WAIT_S)

    async def _serve(self, session: Session, port: DemandPort) -> str:
        """Serve in a session until it is lost; what to report then.

        Raises:
            NotAllowedError: something cannot be written that has to be (in a group).
        """
        ground = ground_of(
            session,
            port,
            deployment=self._context.deployment,
            source=self._config.name,
            wall=self._context.wall,
            random=self._context.random,
            shown=self._shown,
        )
        lasts_s = self._config.take_over_after
        sweeps = Sweeps(ground, lasts_s=lasts_s)
        foreign = ForeignNodes(ground, lambda: pools.own, lasts_s=lasts_s)
        left_marks = LeftMarks(ground, self._say_left, self._left_said)
        marks = Marks(ground.nodes, deployment=self._context.deployment, source=self._config.name)
        pools = Pools(ground, self._pool_ids)
        handing_over = HandingOver(ground, pools, marks)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_lost, session, nursery.cancel_scope)
                for path in (REQUESTS, REQUEST_LOCKS, NODES, POOLS):
                    await session.make_path(path)
                for mirror in ground.mirrors:
                    await nursery.start(mirror.run)
                await nursery.start(pools.run)
                await nursery.start(NodeLives(ground, marks).run)
                nursery.start_soon(sweeps.run)
                nursery.start_soon(foreign.run)
                await nursery.start(RequestLives(ground, pools, handing_over).run)
                nursery.start_soon(left_marks.run)
                self._say("")
                nursery.start_soon(self._look_whether_it_answers, session)
                log.info("zuul_session", source=self._config.name, requests=len(ground.requests))
        except* (SessionLostError, DisconnectedError) as group:
            log.debug("zuul_session_lost_in_a_call", source=self._config.name, why=_texts(group))
        return "The session with ZooKeeper was lost."

    def _say(self, trouble: str) -> None:
        """Report what stands in the way, and what a person has to see to besides."""
        self._trouble = trouble
        self._context.report(" ".join(filter(None, (self._trouble, self._left))))

    def _say_left(self, left: str) -> None:
        if left != self._left:
            self._left = left
            self._say(self._trouble)

    async def _look_whether_it_answers(self, session: Session) -> None:
        """Report when ZooKeeper is away: a session is not over before it is back and says so."""
        said = ""
        while True:
            await trio.sleep(LOOK_EVERY_S)
            before, said = said, await _what_is_wrong(session, self._config.servers.timeout_s)
            if said != before:
                self._say(said)


async def _what_is_wrong(session: Session, within_s: float) -> str:
    """Why ZooKeeper takes no writes now; "" if it does. Nothing is changed by it."""
    try:
        with trio.move_on_after(within_s):
            # A read would be answered by a server that has lost the others, too.
            await session.transact([Check(path=REQUESTS)])
            return ""
    except NotAllowedError as error:
        return f"{error} It is tried again and again."
    except DisconnectedError:
        pass  # as if it did not answer
    return "ZooKeeper does not answer; it is tried again and again."


async def _until_lost(session: Session, scope: trio.CancelScope) -> None:
    await session.wait_lost()
    scope.cancel()


def _texts(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [text for one in error.exceptions for text in _texts(one)]
    return [str(error)]
