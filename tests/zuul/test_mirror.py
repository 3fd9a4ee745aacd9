"""A mirror shows what is in the tree, whatever happens to the connection, at one read a change."""

from contextlib import asynccontextmanager
from random import Random

import attrs
import pytest
import trio
import trio.testing
from trellis_zuul.mirror import Mirror, Wanted, Znode

from trellis.sim.zookeeper import FakeZooKeeper, Latency, Strike, fake_zookeeper
from trellis.zookeeper.errors import (
    DisconnectedError,
    NoSuchZnodeError,
    SessionLostError,
    ZooKeeperError,
)
from trellis.zookeeper.session import Happened, News, Servers, Session, Stat

HOSTS = Servers(hosts=("zk:2181",))
ROOT = "/top"


def wall() -> float:
    return 1_767_225_600.0 + trio.current_time() % 1000.0


def wanted(path: str) -> Wanted:
    """Data two levels down from the top, folders below it, then names."""
    return {2: Wanted.DATA, 3: Wanted.FOLDER}.get(path.count("/"), Wanted.NAME)


@asynccontextmanager
async def a_mirror(zookeeper: FakeZooKeeper):
    """A mirror that runs, and the session that it runs on."""
    async with (
        zookeeper.opener("mirror")(HOSTS) as session,
        trio.open_nursery() as nursery,
    ):
        mirror = Mirror(session, ROOT, wanted)
        await nursery.start(mirror.run)
        yield mirror, session
        nursery.cancel_scope.cancel()


async def the_tree(session: Session) -> dict[str, bytes]:
    """What a whole reading finds: the data where it is wanted."""
    found = dict[str, bytes]()
    paths = [ROOT]
    while paths:
        path = paths.pop()
        try:
            names = await session.children(path)
        except NoSuchZnodeError:
            continue
        for name in names:
            child = f"{path}/{name}"
            data = b""
            if wanted(child) is Wanted.DATA:
                data, _stat = await session.get(child)
            found[child] = data
            paths.append(child)
    return found


def shown(mirror: Mirror) -> dict[str, bytes]:
    seen = dict[str, bytes]()
    for path in mirror:
        znode = mirror.get(path)
        assert znode is not None
        seen[path] = znode.data
    return seen


async def test_what_is_there_at_the_start_is_shown_when_it_has_started(autojump_clock):
    async with (
        fake_zookeeper(wall=wall, random=Random(1), latency=Latency()) as zookeeper,
        zookeeper.open_session(HOSTS) as other,
    ):
        await other.make_path("/top/a/lock")
        await other.write("/top/a", b"one")
        await other.create("/top/a/lock/c-", ephemeral=True, sequence=True)

        async with a_mirror(zookeeper) as (mirror, _session):
            assert {
                "/top/a": b"one",
                "/top/a/lock": b"",
                "/top/a/lock/c-0000000000": b"",
            } == shown(mirror)
            assert ("c-0000000000",) == mirror.children("/top/a/lock")
            assert mirror.get("/top/a").stat.version == 1


async def test_a_root_that_is_not_there_yet_is_watched(autojump_clock):
    async with (
        fake_zookeeper(wall=wall, random=Random(1), latency=Latency()) as zookeeper,
        a_mirror(zookeeper) as (mirror, _session),
        zookeeper.open_session(HOSTS) as other,
    ):
        assert {} == shown(mirror)

        await other.make_path("/top/a")
        await trio.sleep(1)

        assert {"/top/a": b""} == shown(mirror)


@pytest.mark.parametrize("znodes", [50, 5000])
async def test_a_change_costs_one_read_however_many_znodes_there_are(znodes, autojump_clock):
    async with (
        fake_zookeeper(wall=wall, random=Random(1)) as zookeeper,
        zookeeper.open_session(HOSTS) as other,
    ):
        await other.make_path(ROOT)
        for number in range(znodes):
            await other.create(f"/top/{number}", b"x")
        async with a_mirror(zookeeper) as (mirror, _session):
            before = zookeeper.counts["mirror"].reads
            await other.write("/top/7", b"y")
            await trio.sleep(1)

            assert b"y" == mirror.get("/top/7").data
            assert 1 == zookeeper.counts["mirror"].reads - before

            before = zookeeper.counts["mirror"].reads
            await other.delete("/top/7")
            await trio.sleep(1)

            assert "/top/7" not in mirror
            assert 0 == zookeeper.counts["mirror"].reads - before


async def test_a_lock_contender_is_known_without_a_read(autojump_clock):
    async with (
        fake_zookeeper(wall=wall, random=Random(1)) as zookeeper,
        zookeeper.open_session(HOSTS) as other,
    ):
        await other.make_path("/top/a/lock")
        async with a_mirror(zookeeper) as (mirror, _session):
            before = zookeeper.counts["mirror"].reads
            await other.create("/top/a/lock/c-", ephemeral=True, sequence=True)
            await trio.sleep(1)

            assert ("c-0000000000",) == mirror.children("/top/a/lock")
            assert before == zookeeper.counts["mirror"].reads


async def test_changes_are_told_in_order_with_what_was_before(autojump_clock):
    told = []
    async with (
        fake_zookeeper(wall=wall, random=Random(1), latency=Latency()) as zookeeper,
        a_mirror(zookeeper) as (mirror, _session),
        zookeeper.open_session(HOSTS) as other,
    ):
        mirror.tell(lambda path, before, now: told.append((path, before, now)))
        await other.make_path("/top/a")
        await trio.sleep(1)
        await other.write("/top/a", b"1")
        await trio.sleep(1)
        await other.delete("/top/a")
        await trio.sleep(1)

    first, second, third = told
    assert ("/top/a", None) == first[:2]
    assert first[2] == second[1]
    assert b"1" == second[2].data
    assert ("/top/a", second[2], None) == third


async def test_a_znode_that_nobody_may_read_hides_no_other(autojump_clock, monkeypatch):
    from trellis.sim.zookeeper.session import FakeSession
    from trellis.zookeeper.errors import NotAllowedError

    real = FakeSession.get

    async def get(self, path):
        if path == "/top/secret":
            raise NotAllowedError(f"get {path}: no")
        return await real(self, path)

    monkeypatch.setattr(FakeSession, "get", get)
    async with (
        fake_zookeeper(wall=wall, random=Random(1)) as zookeeper,
        zookeeper.open_session(HOSTS) as other,
    ):
        await other.make_path("/top/secret")
        await other.make_path("/top/open")
        async with a_mirror(zookeeper) as (mirror, _session):
            assert {"/top/open": b""} == shown(mirror)


async def test_a_refresh_shows_a_write_whose_answer_was_lost(autojump_clock):
    async with (
        fake_zookeeper(wall=wall, random=Random(3), latency=Latency()) as zookeeper,
        zookeeper.open_session(HOSTS) as other,
    ):
        await other.make_path(ROOT)
        async with a_mirror(zookeeper) as (mirror, session):

            def strike(called):
                lost = called.call.name == "create"
                zookeeper.on_call = None if lost else strike
                return Strike.LOST_ANSWER if lost else None

            zookeeper.on_call = strike
            with pytest.raises(DisconnectedError):
                await session.create("/top/a", b"mine")
            await session.wait_connected()
            await mirror.refresh()

            assert {"/top/a": b"mine"} == shown(mirror)


async def test_the_end_of_the_session_ends_it(autojump_clock):
    async with (
        fake_zookeeper(wall=wall, random=Random(1)) as zookeeper,
        zookeeper.open_session(HOSTS) as session,
    ):
        mirror = Mirror(session, ROOT, wanted)
        with trio.fail_after(60):  # noqa: ASYNC912 - the nursery waits
            try:
                async with trio.open_nursery() as nursery:
                    await nursery.start(mirror.run)
                    zookeeper.expire(zookeeper.sessions[0])
            except* SessionLostError:
                pass


@pytest.mark.parametrize("seed", range(20))
async def test_after_anything_it_shows_what_is_there(seed, autojump_clock):
    """Znodes come and go while connections break; then it is quiet, and both are the same."""
    random = Random(seed)
    async with (
        fake_zookeeper(wall=wall, random=Random(seed), latency=Latency()) as zookeeper,
        a_mirror(zookeeper) as (mirror, _session),
        zookeeper.open_session(HOSTS) as other,
    ):

        async def change() -> None:
            top = f"/top/{random.randrange(4)}"
            match random.randrange(7):
                case 0 | 1:
                    await other.make_path(f"{top}/lock")
                case 2:
                    await other.write(top, str(random.random()).encode())
                case 3 | 4:
                    await other.create(f"{top}/lock/c-", ephemeral=True, sequence=True)
                case 5:
                    for name in await other.children(f"{top}/lock"):
                        await other.delete(f"{top}/lock/{name}")
                    await other.delete(f"{top}/lock")
                case _:
                    await other.delete(top)

        for _ in range(300):
            try:
                await change()
            except DisconnectedError:
                await other.wait_connected()
            except ZooKeeperError:
                pass
            if random.random() < 0.02:
                zookeeper.cut(*zookeeper.sessions, away_s=random.random() * 3)
            if random.random() < 0.1:
                await trio.sleep(random.random() * 0.01)
        await trio.sleep(10)

        assert await the_tree(other) == shown(mirror)


class ScriptedSession:
    """A session whose answers come when the test says so."""

    def __init__(self, folders: dict[str, tuple[str, ...]]) -> None:
        self.folders = folders
        self.asked: dict[str, trio.Event] = {}
        self.answer: dict[str, trio.Event] = {}
        self.breaks = set[str]()
        self.tell, self._news = trio.open_memory_channel[News](10)

    @asynccontextmanager
    async def watch(self, _path):
        await trio.lowlevel.checkpoint()
        yield self._news

    async def transact(self, _operations):
        await trio.lowlevel.checkpoint()
        return ()

    async def wait_connected(self):
        await trio.lowlevel.checkpoint()

    async def get(self, path):
        await trio.lowlevel.checkpoint()
        children = len(self.folders.get(path, ()))
        stat = dict.fromkeys((field.name for field in attrs.fields(Stat)), 1)
        return b"", Stat(**{**stat, "children": children})

    async def children(self, path):
        names = self.folders.get(path, ())
        await trio.lowlevel.checkpoint()
        if path in self.breaks:
            self.breaks.discard(path)
            raise DisconnectedError(f"children {path}")
        if path in self.asked:
            self.asked[path].set()
            await self.answer[path].wait()
        return names


A_LOCK = {"/top": ("a",), "/top/a": ("lock",), "/top/a/lock": ("c-0000000000",)}


async def test_what_is_told_gone_while_it_is_listed_stays_gone(nursery, autojump_clock):
    """The list was made before, though its answer is looked at after the news."""
    session = ScriptedSession(A_LOCK)
    session.asked["/top/a/lock"], session.answer["/top/a/lock"] = trio.Event(), trio.Event()
    mirror = Mirror(session, ROOT, wanted)
    nursery.start_soon(mirror.run)
    await session.asked["/top/a/lock"].wait()

    await session.tell.send(News(Happened.DELETED, "/top/a/lock/c-0000000000"))
    await trio.testing.wait_all_tasks_blocked()
    session.answer["/top/a/lock"].set()
    await trio.testing.wait_all_tasks_blocked()

    assert {"/top/a": b"", "/top/a/lock": b""} == shown(mirror)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("path", sorted(A_LOCK))
async def test_a_list_that_a_broken_connection_cut_off_is_asked_for_again(
    path, nursery, autojump_clock
):
    session = ScriptedSession(A_LOCK)
    session.breaks = {path}
    mirror = Mirror(session, ROOT, wanted)

    with trio.fail_after(60):
        await nursery.start(mirror.run)

    assert {"/top/a", "/top/a/lock", "/top/a/lock/c-0000000000"} == set(mirror)
    nursery.cancel_scope.cancel()


def test_a_znode_of_which_nothing_is_wanted_is_empty():
    assert (b"", None) == (Znode().data, Znode().stat)
