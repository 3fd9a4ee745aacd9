"""One request of Zuul's: from its znode's making until the znode is gone.

A task a request. It looks at what there is, takes the step that is due, and looks again. It keeps
nothing that matters: cut off anywhere, by a crash, a lost session or a broken connection, it
begins anew with what it finds in the tree and in Trellis's records.

The znode is locked only once Trellis has a place for the request. Until then Zuul may change its
priority, and other launchers may serve it.
"""

import hashlib
import json
import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final, TypeVar

import attrs
import structlog
import trio

from trellis.errors import AlreadyDoneError, RefusedError, UnknownIdError
from trellis.model.node import Node
from trellis.model.request import ENDED, Ask, NodeRequest, RequestState
from trellis.zookeeper.errors import (
    DisconnectedError,
    NoSuchZnodeError,
    NotAllowedError,
    OtherVersionError,
)
from trellis.zookeeper.lock import Lock, contenders
from trellis.zookeeper.session import Check, Delete, Stat, Write
from trellis_zuul.ground import Ground
from trellis_zuul.handing_over import HandingOver, LateNodesError
from trellis_zuul.node_wire import UnfitNodeError
from trellis_zuul.paths import node_path, request_lock_path, request_path
from trellis_zuul.pools import Pools
from trellis_zuul.request_wire import (
    MIN_READY_REQUESTOR,
    RequestDocument,
    UnreadableRequestError,
    ZuulState,
    read_request,
)
from trellis_zuul.turns import Turns

log = structlog.get_logger()

LOCKED_BY_OTHERS_S: Final = 5.0
"""Zuul locks a request for the moment in which it changes its priority; who has it for longer, and
has not said that he serves it, will."""
LEFT_TO_OTHERS_S: Final = 120.0
"""What we can never serve is left to others who offer its labels, without a word. After so long we
decline it all the same: they may wait for us in the same way."""
AGAIN_S: Final = 1.0
"""When something stands in the way that may go without our being told, look again after so long."""
FORBIDDEN_S: Final = 60.0
"""When a person has to change what is allowed."""

_T = TypeVar("_T")


class RequestLife:
    """See the module.

    Args:
        request_id: Zuul's.
        czxid: of its znode.
        mine: what was asked of Trellis for it, before this session.
    """

    def __init__(
        self,
        ground: Ground,
        pools: Pools,
        handing_over: HandingOver,
        turns: Turns,
        request_id: str,
        czxid: int,
        mine: NodeRequest | None,
    ) -> None:
        self._ground, self._pools, self._handing_over = ground, pools, handing_over
        self._turns = turns
        self.id, self.czxid = request_id, czxid
        self._mine = mine
        self._path = request_path(request_id)
        self._token = _token(ground.session.id, request_id)
        self._whose = f"trellis {ground.deployment} {ground.source}".encode()
        self._lock = Lock(
            ground.session,
            request_lock_path(request_id),
            identifier=self._whose,
            token=self._token,
        )
        self._contends = False
        """Whether a contender of ours may be in the lock's folder."""
        self._in_doubt = mine is not None
        """Whether something may have been written of which the mirrors do not show the end."""
        self._read_last: tuple[bytes, RequestDocument] | None = None
        self._answered_as = 0
        """The version that our last answer has made of its znode."""
        self._others_since: float | None = None
        self._left_since: float | None = None
        self._changed = self._is_shut = False
        self._waiting: trio.CancelScope | None = None
        self._said = ""
        self._log = log.bind(zuul_request=request_id)

    def is_own(self, contender: str) -> bool:
        """Whether it is its own contender: of that it need not be told."""
        return contender.startswith(self._token)

    def nudge(self) -> None:
        """Look again: something about it has changed. Never blocks."""
        self._changed = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def run(self) -> None:
        """See the request to its end; returns when its znode is gone and nothing is asked for it.

        Cancelled, it leaves everything as it is for the next start.

        Raises:
            SessionLostError: the session is over.
        """
        while True:
            try:
                while not await self._step():
                    pass
                return
            except DisconnectedError:
                self._in_doubt = True
                await self._ground.session.wait_connected()
                await self._ground.requests.refresh()
                await self._ground.request_locks.refresh()
            except NotAllowedError as error:
                self._say("zuul_request_forbidden", why=str(error))
                with trio.move_on_after(FORBIDDEN_S):
                    await self._wait()

    # ------------------------------------------------------------------------- looking

    async def _step(self) -> bool:
        """Take the step that is due now; whether it was the last one."""
        self._changed = False
        znode = self._ground.requests.get(self._path)
        if znode is None or znode.stat is None or znode.stat.czxid != self.czxid:
            await self._let_go("Zuul has deleted its request")
            return True
        if znode.stat.version < self._answered_as:
            await self._wait_a_little()  # the mirror does not show our answer yet
            return False
        document = self._read(znode.data)
        if document is None:
            await self._let_go("its request in ZooKeeper cannot be read")
            await self._wait()
        elif document.state in (ZuulState.FULFILLED, ZuulState.FAILED):
            await self._answered(document)
        elif self._pools.have_declined(document.declined_by):
            await self._have_declined(document)
        else:
            await self._want(document)
        return False

    def _read(self, data: bytes) -> RequestDocument | None:
        if self._read_last is not None and self._read_last[0] == data:
            return self._read_last[1]
        try:
            document = read_request(self.id, data)
        except UnreadableRequestError as error:
            self._say("zuul_request_unreadable", why=str(error), remedy="it is left alone")
            return None
        self._read_last = (data, document)
        return document

    def _others_have_it(self) -> bool:
        """Whether somebody else has the lock, or waits for it, as far as the mirror shows."""
        names = self._ground.request_locks.children(self._lock.folder)
        others = any(not name.startswith(self._token) for name in names)
        if not others:
            self._others_since = None
        elif self._others_since is None:
            self._others_since = trio.current_time()
        return others

    async def _answered(self, document: RequestDocument) -> None:
        """It has its answer: ours, or another launcher's."""
        if self._mine is not None and document.state is ZuulState.FULFILLED:
            if self._in_doubt:
                await self._ground.nodes.refresh()
            znodes = self._handing_over.znodes_of(self._mine.id)
            if set(document.nodes) & set(znodes.values()):
                # The lives of its nodes go on by themselves; one whose znode was removed has none.
                await self._give_back(self._mine, "its znode is gone")
                self._mine = None
        await self._let_go("another launcher has answered its request")
        await self._wait()

    # ----------------------------------------------------------------- until it has a place

    async def _want(self, document: RequestDocument) -> None:
        """Nobody has answered it, and we have not declined it."""
        if self._others_have_it():
            await self._others_serve(document)
            return
        if self._mine is None and document.state is ZuulState.PENDING and not self._contends:
            # Whoever served it has died, and the sweep says so; it is not ours to take yet.
            await self._wait()
            return
        mine = await self._asked(document)
        if mine is None:
            return
        if mine.state is RequestState.REQUESTED:
            await self._wait_placed(document, mine)
        else:
            await self._take_over(mine)

    async def _wait_placed(self, document: RequestDocument, mine: NodeRequest) -> None:
        """Wait for a place; where nothing may be launched, only as long as it takes to look.

        What is ready there may be handed out all the same, and then it has its place at once.
        """
        with self._pools.telling_of_ours(self.nudge):
            why, self._is_shut = self._pools.shut(document.labels), False
            with trio.move_on_after(AGAIN_S if why else math.inf) as waiting:
                await self._wait_for(lambda: self._ground.port.wait_placed(mine.id))
        if why and waiting.cancelled_caught:
            self._mine = await self._ground.port.turn_away(self._ask(document), why=why)
            self._is_shut = self._mine.state is RequestState.FAILED

    async def _left_by_us(self) -> bool:
        """Whether it is an earlier session of ours that has the lock.

        ZooKeeper ends the session of a daemon that died after its time-out.
        """
        first = contenders(self._ground.request_locks.children(self._lock.folder))[:1]
        try:
            data = [await self._ground.session.get(f"{self._lock.folder}/{one}") for one in first]
        except NoSuchZnodeError:
            return False  # it has just ended, and the mirror will show it
        return [self._whose] == [found for found, _ in data]

    async def _others_serve(self, document: RequestDocument) -> None:
        if self._mine is not None and await self._left_by_us():
            await self._wait()
            return
        since = self._others_since or trio.current_time()
        patience_s = since + LOCKED_BY_OTHERS_S - trio.current_time()
        if document.state is ZuulState.PENDING or patience_s <= 0.0:
            await self._let_go("another launcher serves its request")
            await self._wait()
        else:
            with trio.move_on_after(patience_s):
                await self._wait()

    async def _asked(self, document: RequestDocument) -> NodeRequest | None:
        """What is asked of Trellis for it; None if nothing can be: it has been declined."""
        port = self._ground.port
        try:
            if document.requestor == MIN_READY_REQUESTOR:
                raise RefusedError("it is one of Nodepool's own for idle nodes")
            if self._mine is None:
                await self._turns.wait((document.precedence, document.rank, self.id))
                self._mine = await port.submit(self._ask(document))
            self._mine = await port.request(self._mine.id)
            wanted = (document.precedence, document.rank)
            if wanted != (self._mine.ask.priority, self._mine.ask.rank):
                self._mine = await port.reprioritise(self._mine.id, wanted[0], rank=wanted[1])
        except UnknownIdError:
            self._mine = None
            self.nudge()
        except AlreadyDoneError:
            pass  # it has its place already: order matters no longer
        except RefusedError as error:
            await self._refused(document, str(error))
            return None
        return self._mine

    def _ask(self, document: RequestDocument) -> Ask:
        return Ask(
            labels=document.labels,
            requestor=document.requestor,
            tenant=document.tenant,
            priority=document.precedence,
            rank=document.rank,
            prefers=document.provider,
            reuse=document.reuse,
            metadata=document.metadata(),
            idempotency_key=f"{self.id} {self.czxid:x}",
            source=self._ground.source,
            context=context_of(self.id, self.czxid),
        )

    async def _refused(self, document: RequestDocument, why: str) -> None:
        """We can never serve it. Unless somebody else may, say so in its znode."""
        if document.requestor != MIN_READY_REQUESTOR:
            await self._ground.port.turn_away(self._ask(document), why=why)
        pools, now = self._pools, trio.current_time()
        if self._left_since is None:
            self._left_since = now
        left_s = self._left_since + LEFT_TO_OTHERS_S - now
        if not pools.own:
            with pools.telling(self.nudge):
                await self._wait()
        elif left_s > 0.0 and pools.others_may_serve(document.labels, document.declined_by):
            with pools.telling(self.nudge), trio.move_on_after(left_s):
                await self._wait()
        else:
            await self._under_lock(lambda read, stat: self._decline(read, stat, why))

    async def _let_go(self, why: str) -> None:
        """Nothing is wanted for it any more: no lock, no nodes."""
        await self._unlock()
        if self._mine is None:
            return
        port = self._ground.port
        try:
            request = await port.request(self._mine.id)
            if request.state is RequestState.FULFILLED:
                await self._give_back(request, why)
            elif request.state not in ENDED:
                await port.cancel(request.id)
                self._log.info("zuul_request_let_go", request=request.id, why=why)
        except UnknownIdError as error:
            self._log.debug("zuul_request_unknown", why=str(error))
        self._mine = None

    async def _give_back(self, request: NodeRequest, why: str) -> None:
        """Give back the nodes of which there is no znode: the lives of the others see to those."""
        if self._in_doubt:
            await self._ground.nodes.refresh()
        znodes, port = self._handing_over.znodes_of(request.id), self._ground.port
        unshown = [
            node.id
            for node in await self._known_of(request)
            # One that is set apart is nobody's any more, and still in the lease.
            if node.id not in znodes and (node.allocated_to == request.id or node.set_apart)
        ]
        known = self._ground.shown.surely_not(request)
        if not unshown:
            return
        if known:
            await port.give_back(unshown, why=why)
        else:
            await port.release_nodes(unshown, why=f"{why}, and it may have been used")
        event = "zuul_request_given_back" if known else "zuul_request_released"
        self._log.info(event, request=request.id, nodes=unshown, why=why)

    async def _release_shown(self, request: NodeRequest, why: str) -> None:
        """Release the nodes that have a znode, before anybody was told of them.

        Else the request would stay for them, and be found again by whoever asks anew.
        """
        znodes = self._handing_over.znodes_of(request.id)
        nodes = [x.id for x in await self._known_of(request) if x.allocated_to == request.id]
        if shown := [node for node in nodes if node in znodes]:
            await self._ground.port.release_nodes(shown, why=why)

    async def _known_of(self, request: NodeRequest) -> list[Node]:
        """Its nodes, without those that are gone for longer than anything is known of them."""
        nodes = list[Node]()
        for node_id in request.nodes:
            with suppress(UnknownIdError):
                nodes += await self._ground.port.nodes_of(attrs.evolve(request, nodes=(node_id,)))
        return nodes

    # --------------------------------------------------------------------- under the lock

    async def _under_lock(self, act: Callable[[RequestDocument, Stat], Awaitable[None]]) -> None:
        """Lock the request, read it again, and act if it still waits for an answer."""
        self._contends = True
        if not await self._lock.try_acquire():
            self._contends = False
            await self._wait_a_little()
            return

        async def read_and_act() -> None:
            data, stat = await self._ground.session.get(self._path)
            document = self._read(data)
            waits = (ZuulState.REQUESTED, ZuulState.PENDING)
            if stat.czxid == self.czxid and document is not None and document.state in waits:
                await act(document, stat)

        await self._acting(read_and_act)

    async def _acting(self, act: Callable[[], Awaitable[None]]) -> None:
        """Act while the lock is held, then let go of it."""
        try:
            await act()
        except (NoSuchZnodeError, OtherVersionError):
            # It was changed or deleted meanwhile, and the mirror will show it.
            await self._unlock()
            await self._wait_a_little()
        else:
            await self._unlock()

    async def _take_over(self, mine: NodeRequest) -> None:
        """It has a place, or has ended: from here to its answer the lock is held."""
        if mine.state is RequestState.PENDING and (taken := await self._taken_at_once()):
            document, stat = taken
            await self._acting(lambda: self._serve(mine, document, stat))
        else:
            await self._under_lock(lambda document, stat: self._serve(mine, document, stat))

    async def _taken_at_once(self) -> tuple[RequestDocument, Stat] | None:
        """Lock it and say that it is pending, in one transaction; None if that cannot be.

        As it is for most: as far as the mirror shows nobody ever wanted the lock, and the request
        is as it was read. ZooKeeper makes sure of both.
        """
        znode = self._ground.requests.get(self._path)
        if znode is None or znode.stat is None or self._lock.folder in self._ground.request_locks:
            return None
        document = self._read(znode.data)
        if self._contends or document is None or document.state is not ZuulState.REQUESTED:
            return None
        pending, version = document.pending(self._ground.wall()), znode.stat.version
        self._contends = True
        self._contends = await self._lock.take_new(
            Write(path=self._path, data=pending, version=version)
        )
        if not self._contends:
            return None
        return read_request(self.id, pending), attrs.evolve(znode.stat, version=version + 1)

    async def _serve(self, mine: NodeRequest, document: RequestDocument, stat: Stat) -> None:
        session, now = self._ground.session, self._ground.wall
        if document.state is ZuulState.REQUESTED and mine.state is RequestState.PENDING:
            stat = await session.write(self._path, document.pending(now()), version=stat.version)
        ended = await self._wait_served(mine, stat)
        if ended is None:
            return
        if self._is_shut and not self._pools.shut(document.labels):
            self._mine = None  # no longer so: it is asked for again
            return
        if ended.state is not RequestState.FULFILLED:
            why = ended.reason or f"it was {ended.state.value} in Trellis"
            await self._decline(document, stat, why)
            return
        try:
            nodes = await self._handing_over.znodes_for(ended, document, stat, lock=self._lock.path)
        except LateNodesError as error:
            self._log.warning("zuul_request_begun_again", request=ended.id, why=str(error))
            await self._give_back(ended, str(error))
            await self._release_shown(ended, str(error))
            self._mine = None
            await self._answer(document.begun_again(now()), stat)
        except UnfitNodeError as error:
            await self._ground.port.release_nodes(ended.nodes, why=str(error))
            await self._decline(document, stat, str(error))
        else:
            await self._answer(document.fulfilled(nodes, now()), stat, nodes)
            self._mine = None
            self._log.info(
                "zuul_request_fulfilled",
                request=ended.id,
                zuul_event=document.event_id,
                nodes=nodes,
            )

    async def _wait_served(self, mine: NodeRequest, stat: Stat) -> NodeRequest | None:
        """Wait for the answer; None if the znode changes meanwhile, or goes."""
        while True:
            self._changed = False
            znode = self._ground.requests.get(self._path)
            if znode is None or znode.stat is None or znode.stat.version > stat.version:
                self._changed = True
                return None
            ended = await self._wait_for(lambda: self._ground.port.wait(mine.id))
            if ended is not None:
                return ended

    async def _decline(self, document: RequestDocument, stat: Stat, why: str) -> None:
        """Say in the znode that ours cannot serve it; that it failed, if nobody is left."""
        self._mine = None  # it has ended, or never was
        own = self._pools.own
        failed = self._pools.nobody_is_left({*document.declined_by, *own})
        await self._answer(document.declined(own, self._ground.wall(), failed=failed), stat)
        self._log.warning(
            "zuul_request_failed" if failed else "zuul_request_declined",
            zuul_event=document.event_id,
            labels=document.labels,
            why=why,
        )

    async def _have_declined(self, document: RequestDocument) -> None:
        """All of ours have declined it. When everybody has, it fails."""
        await self._let_go("it was declined")
        if self._pools.nobody_is_left(document.declined_by):
            await self._under_lock(
                lambda read, stat: self._decline(read, stat, "all pools have declined it")
            )
            return
        with self._pools.telling(self.nudge):
            await self._wait()

    async def _answer(self, data: bytes, stat: Stat, nodes: Iterable[str] = ()) -> None:
        """Write the request and let go of its lock, both or neither, and if its nodes are there."""
        await self._ground.session.transact(
            [
                *(Check(path=node_path(node)) for node in nodes),
                Write(path=self._path, data=data, version=stat.version),
                Delete(path=self._lock.path),
            ]
        )
        self._answered_as = stat.version + 1
        self._lock.forget()
        self._contends = False

    async def _unlock(self) -> None:
        if self._contends:
            await self._lock.release()
            self._contends = False

    # ------------------------------------------------------------------------- waiting

    async def _wait(self) -> None:
        await self._wait_for(trio.sleep_forever)

    async def _wait_a_little(self) -> None:
        with trio.move_on_after(AGAIN_S):
            await self._wait()

    async def _wait_for(self, wait: Callable[[], Awaitable[_T]]) -> _T | None:
        """Wait for something, or until there is reason to look again: then None."""
        if self._changed:
            await trio.lowlevel.checkpoint()
            return None
        with trio.CancelScope() as self._waiting:
            try:
                return await wait()
            finally:
                self._waiting = None
        return None

    def _say(self, event: str, **about: object) -> None:
        """Say something once, until there is something else to say."""
        if self._said != (said := f"{event} {about}"):
            self._said = said
            self._log.warning(event, **about)


@attrs.frozen
class Znode:
    """Which request of Zuul's a request of Trellis's is for."""

    request_id: str
    czxid: int


def context_of(request_id: str, czxid: int) -> bytes:
    """What Trellis keeps with a request, to find its znode by."""
    return json.dumps({"czxid": czxid, "request": request_id}, sort_keys=True).encode()


def znode_of(context: bytes) -> Znode | None:
    """Read `context_of`; None if it is none of ours."""
    try:
        about = json.loads(context)
        return Znode(str(about["request"]), int(about["czxid"]))
    except (ValueError, TypeError, KeyError):
        return None


def _token(session: int, request_id: str) -> str:
    """Names our contender: found again in the same session, and in no other."""
    return hashlib.sha256(f"{session} request {request_id}".encode()).hexdigest()[:32]
