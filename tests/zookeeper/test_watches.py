"""News for readers of a session: who is told, and what a slow one is told."""

import pytest
import trio

from trellis.zookeeper.session import Happened, News
from trellis.zookeeper.watches import Watch, Watches


def unread(watch):
    """All that waits for the reader."""
    told = []
    while True:
        try:
            told.append(watch.news.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            return told


def written(path):
    return News(Happened.WRITTEN, path)


async def test_those_are_told_who_watch_the_znode_or_one_above_it():
    """A name that only begins alike is another."""
    watches = Watches()
    root, above, same, beside, below = (
        Watch(path) for path in ("/", "/a", "/a/b", "/a/bb", "/a/b/c")
    )
    for watch in (root, above, same, beside, below):
        watches.add(watch)

    watches.tell(written("/a/b"))

    assert [1, 1, 1, 0, 0] == [len(unread(watch)) for watch in (root, above, same, beside, below)]


async def test_a_slow_reader_has_what_fits_and_then_one_missed():
    """It is told again once it has read that."""
    watch = Watch("/a", most_unread=3)
    for number in range(10):
        watch.tell(written(f"/a/{number}"))

    assert [written("/a/0"), written("/a/1"), written("/a/2"), News(Happened.MISSED, "/a")] == (
        unread(watch)
    )
    watch.tell(written("/a/b"))
    assert [written("/a/b")] == unread(watch)


async def test_what_comes_while_missed_is_unread_is_part_of_it():
    """Whoever reads MISSED reads everything after it."""
    watch = Watch("/a")
    watch.miss()
    watch.miss()
    watch.tell(written("/a"))

    assert [News(Happened.MISSED, "/a")] == unread(watch)


async def test_two_may_watch_one_path():
    """It is watched until the last of them has gone."""
    watches = Watches()
    one, two = Watch("/a"), Watch("/a")
    watches.add(one)
    watches.add(two)

    assert not watches.remove(one)
    watches.tell(written("/a"))
    assert [written("/a")] == unread(two)
    assert [] == unread(one)
    assert watches.remove(two)
    assert () == watches.paths


async def test_the_channel_ends_after_what_was_told():
    """When the session is over."""
    watches = Watches()
    watch = Watch("/a")
    watches.add(watch)
    watches.tell(written("/a"))
    watches.end()

    assert written("/a") == await watch.news.receive()
    with pytest.raises(trio.EndOfChannel):
        await watch.news.receive()
