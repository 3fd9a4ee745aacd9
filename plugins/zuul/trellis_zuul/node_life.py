"""One node that Zuul was given, or is about to be: from its znode's making until both are gone.

A task a znode. It looks, decides by the table of `trellis_zuul.node_steps`, acts, and looks again.
It keeps nothing that matters: cut off anywhere, by a crash, a lost session or a broken connection,
it begins anew with what it finds.
"""

import hashlib
from typing import Final

import attrs
import structlog
import trio

from trellis.errors import AlreadyDoneError, UnknownIdError
from trellis.model.node import Node, NodeState
from trellis.zookeeper.errors import (
    DisconnectedError,
    HasChildrenError,
    NoSuchZnodeError,
    NotAllowedError,
    OtherVersionError,
)
from trellis.zookeeper.lock import Lock as ZnodeLock
from trellis.zookeeper.session import Create, Delete, Stat, Write
from trellis_zuul.ground import Ground
from trellis_zuul.mirror import Znode
from trellis_zuul.node_steps import (
    Act,
    Lock,
    Look,
    Record,
    RequestSight,
    Step,
    decide,
    record_of,
)
from trellis_zuul.node_wire import DocumentError, Mark, NodeDocument, ZnodeState, read_node
from trellis_zuul.paths import node_lock_path, node_path, request_path
from trellis_zuul.request_wire import UnreadableRequestError, ZuulState, read_request

log = structlog.get_logger()

BARRED_S: Final = 180.0
"""Longer than Zuul's session timeout of 120 s, after which an executor has lost its place."""
BAR: Final = f"{hashlib.sha256(b'given back by trellis').hexdigest()[:32]}__lock__0000000000"
"""The contender that holds the lock of a node that was given back. It is no session's."""
_RELEASABLE: Final = (Record.READY, Record.IN_USE, Record.HELD)
AGAIN_S: Final = 5.0
"""When something stands in the way that the mirror may not show, look again after so long."""


class NodeLife:
    """See the module.

    Args:
        znode_id: the node's id in ZooKeeper.
        mark: which node of Trellis's it is.

    Attributes:
        over: its znode is gone, as far as the session knows.
    """

    def __init__(self, ground: Ground, znode_id: str, mark: Mark) -> None:
        self._ground, self.znode_id, self._mark = ground, znode_id, mark
        self._path, self._folder = node_path(znode_id), node_lock_path(znode_id)
        self._token = _token(ground.session.id, znode_id)
        self._lock = ZnodeLock(
            ground.session, self._folder, identifier=b"trellis", token=self._token
        )
        self._node: Node | None = None
        self._changed = trio.Event()
        self._others_seen = self._in_doubt = False
        self._ours_first = False
        self._sure = True
        """Whether no contender of ours can be there that the lock does not know of."""
        self._free_since = ground.wall()
        self._said = ""
        self._barred = False
        self._barred_until: float | None = None
        self.over = False
        self._log = log.bind(znode=znode_id, node=mark.node)

    def nudge(self) -> None:
        """Look again: something about it has changed."""
        self._changed.set()

    async def run(self) -> None:
        """See the node to its end; returns when its znode is gone.

        Cancelled, it leaves everything as it is for the next start.

        Raises:
            SessionLostError: the session is over.
        """
        async with trio.open_nursery() as nursery:
            await self._look_up()
            nursery.start_soon(self._follow_record)
            while not await self._lived():
                pass
            nursery.cancel_scope.cancel()

    async def _lived(self) -> bool:
        ground = self._ground
        try:
            await self._live()
        except DisconnectedError:
            self._in_doubt = True
            await ground.session.wait_connected()
            await ground.nodes.refresh()
            return False
        except NotAllowedError as error:
            self._say("node_znode_forbidden", why=str(error))
            await trio.sleep(12 * AGAIN_S)
            return False
        return True

    async def _live(self) -> None:
        if self._in_doubt:
            # A contender may have been made by a call whose answer was lost. Nobody else could
            # ever lock the node, not even to end a hold.
            await self._lock.release()
            self._in_doubt = False
        while True:
            self._changed = changed = trio.Event()
            znode = self._ground.nodes.get(self._path)
            if znode is None or not znode.data:
                # Without data it is another one: whoever wants a lock makes all that is above it.
                return await self._vanished()
            if self._barred or f"{self._folder}/{BAR}" in self._ground.nodes:
                if await self._give_back(changed):
                    return None
                continue
            look = self._look(znode)
            if look is None:
                return None  # It is no longer ours: somebody has made it anew.
            step = decide(look)
            match step.act:
                case Act.NOTE_IN_USE:
                    await self._note_in_use()
                case Act.NOTE_HOLD:
                    await self._note_hold(look)
                case Act.LOCK:
                    if await self._locked_step(changed):
                        return None
                case _:
                    await self._wait(changed, step)

    # ------------------------------------------------------------------------- looking

    def _look(self, znode: Znode) -> Look | None:
        """What the mirror shows of it; None if it is another node's by now."""
        document = self._read(znode.data)
        if document is None:
            return None
        contenders = self._ground.nodes.children(self._folder)
        others = any(not name.startswith(self._token) for name in contenders)
        if others:
            self._others_seen = True
            self._free_since = self._ground.wall()
        folder = self._folder in self._ground.nodes
        return self._seen(
            document,
            Lock.OTHERS if others else Lock.FREE,
            znode.stat,
            ever_locked=self._others_seen or (folder and not self._ours_first),
        )

    def _seen(
        self, document: NodeDocument, lock: Lock, stat: Stat | None, *, ever_locked: bool
    ) -> Look:
        written_at = stat.modified_ms / 1000.0 if stat is not None else self._free_since
        return Look(
            document=document,
            lock=lock,
            ever_locked=ever_locked,
            request=self._request(document),
            record=record_of(self._node, self._mark.request, self._ground.source),
            now=self._ground.wall(),
            free_since=self._free_since,
            hold_until=document.hold_until(written_at),
        )

    def _read(self, data: bytes) -> NodeDocument | None:
        try:
            document = read_node(data)
        except DocumentError as error:
            self._say("node_znode_unreadable", why=str(error))
            return None
        if document.state is ZnodeState.OTHER:
            self._say("node_znode_of_unknown_state", state=document.whole.get("state"))
        return document if document.mark == self._mark else None

    def _request(self, document: NodeDocument) -> RequestSight:
        name = document.allocated_to
        znode = self._ground.requests.get(request_path(name)) if name is not None else None
        if name is None or znode is None:
            return RequestSight.GONE
        try:
            request = read_request(name, znode.data)
        except UnreadableRequestError:
            return RequestSight.WAITING  # Nobody can tell: nothing is taken back.
        if request.state is ZuulState.FULFILLED:
            named = self.znode_id in request.nodes
            return RequestSight.NAMES_IT if named else RequestSight.WITHOUT_IT
        if request.state is ZuulState.FAILED:
            return RequestSight.WITHOUT_IT
        return RequestSight.WAITING

    async def _wait(self, changed: trio.Event, step: Step) -> None:
        with trio.CancelScope() as scope:
            if step.until is not None:
                left_s = max(step.until - self._ground.wall(), 0.0)
                scope.deadline = trio.current_time() + left_s
            await changed.wait()

    async def _wait_a_little(self, changed: trio.Event) -> None:
        with trio.move_on_after(AGAIN_S):
            await changed.wait()

    # ------------------------------------------------------------------- Trellis's record

    async def _look_up(self) -> None:
        port = self._ground.port
        try:
            request = await port.request(self._mark.request)
            # The others may be gone for longer than anything is known of them.
            own = tuple(one for one in request.nodes if one == self._mark.node)
            nodes = await port.nodes_of(attrs.evolve(request, nodes=own))
        except UnknownIdError:
            nodes = ()
        self._node = next((node for node in nodes if node.id == self._mark.node), None)

    async def _looked_up(self) -> Record:
        """How the node stands at this very moment: it may have gone on to another request."""
        await self._look_up()
        return record_of(self._node, self._mark.request, self._ground.source)

    async def _follow_record(self) -> None:
        known = self._node
        try:
            while known is not None and known.state is not NodeState.GONE:
                known = await self._ground.port.wait_node(known.id, known)
                self._node = known
                self.nudge()
        except UnknownIdError:
            self._node = None
            self.nudge()

    async def _note_in_use(self) -> None:
        if await self._looked_up() is Record.READY:
            await self._ground.port.in_use([self._mark.node])
            await self._look_up()

    async def _note_hold(self, look: Look) -> None:
        port, document = self._ground.port, look.document
        reason = ": ".join(x for x in (document.hold_job, document.comment) if x)
        if await self._looked_up() not in (Record.READY, Record.IN_USE):
            return
        try:
            await port.in_use([self._mark.node])
            await port.hold(
                self._mark.node,
                by=self._ground.source,
                reason=reason or "held by Zuul",
                until=look.hold_until,
            )
        except AlreadyDoneError as error:
            self._log.info("zuul_hold_not_recorded", why=str(error))
        await self._look_up()

    # --------------------------------------------------------------------- under the lock

    async def _locked_step(self, changed: trio.Event) -> bool:
        """Lock it, look again, and act; whether its life is over."""
        if self._folder not in self._ground.nodes:
            self._ours_first = True
        try:
            # Nobody was seen there just now; who came since is seen before anything is done.
            nodes, sure = self._ground.nodes, self._sure
            empty = self._folder in nodes and not nodes.children(self._folder)
            self._sure = False
            seen = () if sure and empty else None
            locked = await self._lock.try_acquire(seen=seen)
            self._sure = True
            data, stat = await self._ground.session.get(self._path) if locked else (b"", None)
        except NoSuchZnodeError:
            self._lock.forget()
            locked = False
        if not locked or stat is None:
            await self._wait_a_little(changed)
            return False
        if not data:
            # It was removed, and our lock has made it anew with nothing in it.
            if not await self._delete(self._lock.path, stat):
                await self._lock.release()
            await self._vanished()
            return True
        document = self._read(data)
        if document is None:
            await self._lock.release()
            return True
        look = self._seen(document, Lock.OURS, stat, ever_locked=self._others_seen)
        step = decide(look)
        if step.act is Act.TAKE_BACK:
            if await self._is_proved(document, stat):
                await self._bar(document, stat)
                return False
            self._others_seen = True
            step = decide(attrs.evolve(look, ever_locked=True))
        if step.act is Act.END:
            return await self._end(document, stat, step.why)
        await self._lock.release()
        return False

    async def _is_proved(self, document: NodeDocument, stat: Stat) -> bool:
        """Whether nobody but us ever had its lock, and its request is not to be had any more.

        An executor makes a contender in the folder before it uses a node, and nobody deletes the
        folder but with its node. So whoever had the lock before us, ours would not be the first
        contender of the only folder that there ever was.
        """
        if stat.cversion != 1 or not self._lock.path.endswith("0" * 10):
            return False
        if self._request(document) is RequestSight.WITHOUT_IT:
            return True
        name = document.allocated_to
        return name is None or await self._ground.session.exists(request_path(name)) is None

    async def _bar(self, document: NodeDocument, stat: Stat) -> None:
        """Have nobody lock it ever again, then it can be given back.

        Zuul's executor reads a node, then locks it, and does not read it again; its lock's folder
        is made with all that is above it. So one that has read the node already would take it
        though it is given to somebody else by now, even if its znode were deleted. Our contender
        is exchanged for one that outlives our session: that executor waits for its lock in vain.
        """
        try:
            await self._ground.session.transact(
                [
                    Create(path=f"{self._folder}/{BAR}"),
                    Write(
                        path=self._path,
                        data=document.written(ZnodeState.DELETING, self._ground.wall()),
                        version=stat.version,
                    ),
                    Delete(path=self._lock.path),
                ]
            )
        except (OtherVersionError, NoSuchZnodeError):
            return  # Somebody does not keep to the lock: look at what it is now.
        self._lock.forget()
        self._barred = True

    async def _delete(self, contender: str, stat: Stat) -> bool:
        """Delete the znode with its lock, held by this contender; whether it was."""
        try:
            await self._ground.session.transact(
                [
                    Delete(path=contender),
                    Delete(path=self._folder),
                    Delete(path=self._path, version=stat.version),
                ]
            )
        except (HasChildrenError, OtherVersionError, NoSuchZnodeError):
            return False
        self._lock.forget()
        self.over = True
        return True

    async def _end(self, document: NodeDocument, stat: Stat, why: str) -> bool:
        """Have the node deleted, then its znode; whether it is gone."""
        session, now = self._ground.session, self._ground.wall()
        await self._looked_up()
        await self._release(why)
        try:
            if document.state is not ZnodeState.DELETING:
                data = document.written(ZnodeState.DELETING, now)
                stat = await session.write(self._path, data, version=stat.version)
        except (OtherVersionError, NoSuchZnodeError):
            return False  # Somebody does not keep to the lock: look at what it is now.
        await self._wait_ended()
        self._changed = changed = trio.Event()
        if await self._delete(self._lock.path, stat):
            return True
        # Somebody waits for the lock, and will give up or find the node deleted.
        await self._wait_a_little(changed)
        return False

    async def _wait_ended(self) -> None:
        """Wait until Trellis's node is gone, or was never this request's."""
        while True:
            self._changed = changed = trio.Event()
            if await self._looked_up() is Record.GONE:
                return
            await changed.wait()

    # ------------------------------------------------------------------------- its end

    async def _vanished(self) -> None:
        """Its znode is gone, and not by us: whether it was ever used nobody can tell."""
        self.over = True
        if await self._looked_up() in _RELEASABLE:
            self._log.warning("node_znode_vanished", remedy="its node is deleted, not given back")
        await self._release("its znode is gone")

    async def _release(self, why: str) -> None:
        """Have it released if it is this request's, as it was just looked up.

        Also one that a person has deleted or holds, that is set apart, or that is gone: its lease
        ends by this alone.
        """
        node = self._node
        if node is not None and (node.allocated_to == self._mark.request or node.set_apart):
            await self._ground.port.release_nodes([self._mark.node], why=why)

    async def _give_back(self, changed: trio.Event) -> bool:
        """It is barred, which proves that nobody ever had it; whether its znode is gone."""
        if await self._looked_up() is Record.READY:
            await self._ground.port.give_back([self._mark.node], why="Zuul's request is gone")
        if self._barred_until is None:
            self._barred_until = trio.current_time() + BARRED_S
        await trio.sleep_until(self._barred_until)
        stat = await self._ground.session.exists(self._path)
        if stat is not None and await self._delete(f"{self._folder}/{BAR}", stat):
            return True
        # Gone already, or somebody waits for the lock, and will give up.
        self._barred = False
        await self._wait_a_little(changed)
        return False

    def _say(self, event: str, **about: object) -> None:
        """Say something once, until there is something else to say."""
        if self._said != event:
            self._said = event
            self._log.warning(event, **about)


def _token(session: int, znode_id: str) -> str:
    """Names our contender: found again in the same session, and in no other."""
    return hashlib.sha256(f"{session} node {znode_id}".encode()).hexdigest()[:32]
