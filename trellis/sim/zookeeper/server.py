"""The simulated ZooKeeper: sessions on one tree, and what can befall their connections.

With a latency each session's calls are carried out in the order in which they were made, and its
answers and news come in one order too, as on one TCP connection: whoever reads a znode after the
news of it reads what the news is about. Without one a call is carried out as it is made.

What the client believes and what the server knows differ as in life: a session that expired while
its client was cut off is learned of by that client only when it is connected again.
"""

import enum
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import count
from random import Random
from typing import Any, Final

import attrs
import trio

from trellis.sim.cloud.spec import Lognormal
from trellis.sim.zookeeper.agenda import Agenda
from trellis.sim.zookeeper.history import Change, Counts
from trellis.sim.zookeeper.session import Asked, Call, FakeSession
from trellis.sim.zookeeper.tree import Done, Tree
from trellis.zookeeper.errors import (
    NotAllowedError,
    UnreachableServersError,
    ZooKeeperError,
)
from trellis.zookeeper.session import Create, OpenSession, Operation, Servers, Session

CONNECT_S: Final = 10.0
"""A client gives up so long after it began to look for a server."""
RECONNECT_S: Final = 0.05
"""So long a client takes at least to be connected again."""
SILENCE: Final = 2 / 3
"""Share of its timeout after which a client takes a silent server for gone, as ZooKeeper's do."""
_FIRST_ID: Final = 0x1000000000000


@attrs.frozen(kw_only=True)
class Latency:
    """How long a call is on its way, and its answer, in seconds; both are drawn."""

    there: Lognormal = attrs.field(factory=lambda: Lognormal(0.0005, 0.002))
    back: Lognormal = attrs.field(factory=lambda: Lognormal(0.0005, 0.002))


class Strike(enum.Enum):
    """What befalls a call."""

    LOST_CALL = "the connection breaks before the call is carried out"
    LOST_ANSWER = "the connection breaks after it was carried out"
    LOST_SESSION = "the session is over before it is carried out"
    LOST_SESSION_AFTER = "the session is over after it was carried out"


@attrs.frozen
class Called:
    """A call that a client makes.

    Attributes:
        number: it is the so many-th call of its session, from 1 on.
    """

    session: int
    who: str
    call: Call
    number: int


OnCall = Callable[[Called], Strike | None]
"""Looks at each call as it is made, and says what befalls it."""


class FakeZooKeeper:
    """One ZooKeeper. `run` has to run, in a task of its own, before anything is asked of it.

    Args:
        wall: UTC seconds since the epoch.
        random: its only source of chance.
        latency: None carries out a call as it is made.

    Attributes:
        history: all that ever happened to the tree.
        counts: by who made them, the calls and writes.
        on_call: decides what befalls each call; None is nothing.
        read_only: whether writes are refused.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], float],
        random: Random,
        latency: Latency | None = None,
    ) -> None:
        self.tree = Tree()
        self.random = random
        self.history: list[Change] = []
        self.counts: dict[str, Counts] = {}
        self.on_call: OnCall | None = None
        self.read_only = False
        self._wall = wall
        self._latency = latency
        self._agenda = Agenda()
        self._ids = count(_FIRST_ID)
        self._sessions: dict[int, FakeSession] = {}
        self._numbers = Counter[int]()
        self._paused_until = 0.0
        self._down_until = 0.0
        self._held: list[Callable[[], None]] = []
        for path in ("/zookeeper", "/zookeeper/config", "/zookeeper/quota"):
            self.tree.apply((Create(path=path),), session=0, now_ms=0)

    async def run(  # noqa: ASYNC114, ASYNC128
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Answer, and let sessions expire, until cancelled."""
        await self._agenda.run(task_status=task_status)

    # ----------------------------------------------------------------------------- sessions

    @property
    def sessions(self) -> tuple[FakeSession, ...]:
        """The sessions that the server has."""
        return tuple(self._sessions.values())

    def open_session(self, servers: Servers) -> AbstractAsyncContextManager[Session]:
        """See `OpenSession`; whom the session belongs to is not noted."""
        return self._open("", servers)

    def opener(self, who: str) -> OpenSession:
        """Opens sessions that belong to somebody, for the history and the counts."""
        return lambda servers: self._open(who, servers)

    @asynccontextmanager
    async def _open(self, who: str, servers: Servers) -> AsyncIterator[Session]:
        await self._reach(servers)
        session = FakeSession(
            self,
            next(self._ids),
            who=who,
            chroot=servers.chroot.rstrip("/"),
            timeout_s=servers.timeout_s,
        )
        self.tree.zxid += 1
        self._sessions[session.id] = session
        self._make_chroot(session)
        try:
            yield session
        finally:
            self._close(session)

    async def _reach(self, servers: Servers) -> None:
        deadline = trio.current_time() + CONNECT_S
        await trio.sleep(self._there_s() + self._back_s())
        while self._away:
            await trio.sleep_until(min(self._back_at, deadline))
            if trio.current_time() >= deadline:
                raise UnreachableServersError(
                    f"no ZooKeeper at {', '.join(servers.hosts)}: no answer within "
                    f"{CONNECT_S:g} s. Start it, or correct the addresses."
                )

    def _make_chroot(self, session: FakeSession) -> None:
        path = ""
        for name in session.chroot.split("/")[1:]:
            path += f"/{name}"
            if self.tree.find(path) is None:
                self.carry_out(session, (Create(path=path),))

    def _close(self, session: FakeSession) -> None:
        """The client leaves, as well as it can: without a connection the session lives on."""
        if session.connected and not self._away:
            # What was sent before has arrived before, as on every connection.
            for asked in list(session.under_way):
                self._act(session, asked)
            self._end(session)
        self.abandon(session)

    def abandon(self, session: FakeSession) -> None:
        """The client is dead: nothing more comes from it, and it does not say good-bye."""
        if session.connected:
            self._scatter(session)
        session.disconnect()
        self._expire_later(session)
        session.lose()

    def _end(self, session: FakeSession) -> None:
        """The server ends a session, and with it its ephemeral znodes."""
        if not session.expired:
            session.expired = True
            del self._sessions[session.id]
            self._publish(session, self.tree.end_session(session.id), by_end=True)

    # -------------------------------------------------------------------------------- calls

    def ask(self, session: FakeSession, asked: Asked[Any]) -> None:
        """A client sends a call."""
        self._numbers[session.id] += 1
        strike = None
        if self.on_call is not None:
            number = self._numbers[session.id]
            strike = self.on_call(Called(session.id, session.who, asked.call, number))
        session.under_way[asked] = None
        connection = session.connection

        def arrive() -> None:
            if not asked.forgotten:
                self._arrive(session, connection, asked, strike)

        self._put(session, arrive)

    def _put(self, session: FakeSession, arrive: Callable[[], None]) -> None:
        if self._latency is None and not self._away:
            arrive()
            return
        when = max(trio.current_time() + self._there_s(), session.asked_until)
        session.asked_until = when
        self._agenda.at(when, arrive)

    def _arrive(
        self, session: FakeSession, connection: int, asked: Asked[Any], strike: Strike | None
    ) -> None:
        if self._away:
            self._held.append(lambda: self._arrive(session, connection, asked, strike))
            return
        if asked.forgotten or session.expired:
            return
        if strike is Strike.LOST_CALL:
            asked.forgotten = True
            self.cut(session)
            return
        if strike is Strike.LOST_SESSION:
            self.expire(session)
            return
        self._act(session, asked)
        if strike is Strike.LOST_ANSWER:
            self.cut(session)
        elif strike is Strike.LOST_SESSION_AFTER:
            self.expire(session)
        else:
            self._send(session, connection, lambda: self._deliver(session, asked))

    def _act(self, session: FakeSession, asked: Asked[Any]) -> None:
        """Carry out a call, and keep its answer; a second time nothing happens."""
        if asked.forgotten:
            return
        asked.forgotten = True
        call = asked.call
        counts = self.counts.setdefault(session.who, Counts())
        counts.calls[call.name] += 1
        counts.reads += not call.writes
        try:
            # It refuses every transaction, also one that only checks.
            if self.read_only and (call.writes or call.name == "transact"):
                raise NotAllowedError(f"{call.name} {call.path}: the server is read-only")
            asked.answer = asked.act()
            counts.writes += call.writes
        except ZooKeeperError as error:
            if asked in session.under_way:  # else its client was told that it broke
                asked.error = error

    def _send(self, session: FakeSession, connection: int, deliver: Callable[[], None]) -> None:
        """Send something to a client; it is lost if this connection breaks first."""

        def arrive() -> None:
            if session.connection == connection:
                deliver()

        if self._latency is None:
            arrive()
            return
        when = max(trio.current_time() + self._back_s(), session.answered_until)
        session.answered_until = when
        self._agenda.at(when, arrive)

    def _deliver(self, session: FakeSession, asked: Asked[Any]) -> None:
        session.under_way.pop(asked, None)
        asked.done.set()

    def carry_out(self, session: FakeSession, operations: Sequence[Operation]) -> tuple[str, ...]:
        """Write to the tree in the name of a session, as one transaction; whole paths.

        Raises:
            the error of the first operation that cannot be; then nothing was changed.
        """
        paths, done = self.tree.apply(operations, session=session.id, now_ms=self._now_ms())
        self._publish(session, done)
        return paths

    def _publish(self, by: FakeSession, done: Sequence[Done], *, by_end: bool = False) -> None:
        """Write down what was done, and tell those who watch."""
        now = trio.current_time()
        for one in done:
            self.history.append(
                Change(
                    at=now,
                    zxid=self.tree.zxid,
                    who=by.who,
                    session=by.id,
                    happened=one.happened,
                    path=one.path,
                    data=one.data,
                    version=one.version,
                    ephemeral=one.ephemeral,
                    by_end=by_end,
                )
            )
            for session in self._sessions.values():
                for watch in session.watches:
                    if watch.sees(one.path) and session.connected:
                        told = partial(watch.tell, one.happened, one.path)
                        self._send(session, session.connection, told)

    # ------------------------------------------------------------------------------- faults

    @property
    def _away(self) -> bool:
        return trio.current_time() < self._back_at

    @property
    def _back_at(self) -> float:
        return max(self._paused_until, self._down_until)

    def cut(self, *sessions: FakeSession, away_s: float = 0.0) -> None:
        """Break connections; the clients cannot connect again for a while.

        Of the calls under way some have reached the server and are carried out, some never.

        Args:
            sessions: whose; none named is all.
        """
        for session in sessions or self.sessions:
            if session.connected:
                self._scatter(session)
                session.disconnect()
                self._expire_later(session)
            until = trio.current_time() + away_s
            session.away_until = max(session.away_until, until)
            self._reconnect_at(session.away_until + RECONNECT_S, session)

    def expire(self, *sessions: FakeSession) -> None:
        """End sessions, as if their clients had been silent too long; those learn it at once."""
        for session in sessions or self.sessions:
            self._end(session)
            session.lose()

    def pause(self, for_s: float) -> None:
        """Have the server do nothing for a while, as one that is stopped or collects garbage.

        Calls wait. A client to which this is too long gives up its connection; its calls may still
        be carried out at the end of the pause. Sessions silent for longer than their timeout may
        expire then.
        """
        began = trio.current_time()
        self._paused_until = max(self._paused_until, began + for_s)
        for session in self.sessions:
            patience_s = SILENCE * session.timeout_s
            if patience_s < for_s and session.connected:
                give_up = partial(self._give_up, session, session.connection)
                self._agenda.at(began + patience_s, give_up)
        self._agenda.at(self._paused_until, lambda: self._resume(began))

    def restart(self, down_s: float = 1.0) -> None:
        """Stop the server and start it on what it has on its disk: sessions outlive that."""
        self._down_until = max(self._down_until, trio.current_time() + down_s)
        for session in self.sessions:
            self._scatter(session)
            session.disconnect()
        self._agenda.at(self._down_until, lambda: self._resume(self._down_until))

    def _give_up(self, session: FakeSession, connection: int) -> None:
        if session.connection == connection and self._away:
            session.disconnect()

    def _resume(self, silent_since: float) -> None:
        """The server is back: expire or reconnect, and answer what has waited."""
        if self._away:
            return  # it was paused or stopped again meanwhile
        now = trio.current_time()
        for session in self.sessions:
            if not session.connected:
                if now - silent_since > session.timeout_s and self.random.random() < 0.5:
                    self._end(session)
                else:
                    self._expire_later(session)
                self._reconnect_at(now + self._there_s(), session)
        held, self._held = self._held, []
        for arrive in held:
            arrive()

    def _scatter(self, session: FakeSession) -> None:
        """Of what is under way on a connection that breaks, some has arrived; the order holds."""
        calls = list(session.under_way)
        for asked in calls[: self.random.randint(0, len(calls))] if not self._away else ():
            self._act(session, asked)
        for asked in calls:
            asked.forgotten = True

    def _reconnect_at(self, when: float, session: FakeSession) -> None:
        self._agenda.at(when, lambda: self._reconnect(session))

    def _reconnect(self, session: FakeSession) -> None:
        if self._away or session.connected or trio.current_time() < session.away_until:
            return  # another of these comes later
        if session.expired:
            session.lose()
        else:
            session.connect()

    def _expire_later(self, session: FakeSession) -> None:
        """From now on the server hears nothing of a session."""
        connection = session.connection

        def expire() -> None:
            if self._away or session.expired:
                return  # when it is back it begins to count anew
            if session.connection == connection and not session.connected:
                self._end(session)

        self._agenda.at(trio.current_time() + session.timeout_s, expire)

    # -------------------------------------------------------------------------------- times

    def _now_ms(self) -> int:
        return int(self._wall() * 1000)

    def _there_s(self) -> float:
        return 0.0 if self._latency is None else self._latency.there.draw(self.random)

    def _back_s(self) -> float:
        return 0.0 if self._latency is None else self._latency.back.draw(self.random)


@asynccontextmanager
async def fake_zookeeper(
    *, wall: Callable[[], float], random: Random, latency: Latency | None = None
) -> AsyncIterator[FakeZooKeeper]:
    """A simulated ZooKeeper that runs while the block lasts."""
    zookeeper = FakeZooKeeper(wall=wall, random=random, latency=latency)
    async with trio.open_nursery() as nursery:
        await nursery.start(zookeeper.run)
        try:
            yield zookeeper
        finally:
            nursery.cancel_scope.cancel()
