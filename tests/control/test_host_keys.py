"""Keys of nodes that are gone: remembered for seven days, and never more than so many."""

import attrs
import pytest

from tests.store.store_builders import a_node
from trellis.control import host_keys
from trellis.control.host_keys import HostKeys
from trellis.model.names import NodeId

NEW = NodeId("0000009999")


def ended(keys: HostKeys, *numbers: int) -> None:
    """Let nodes of these numbers come and go, each with a key of its own, in this order."""
    for number in numbers:
        node = attrs.evolve(a_node(number), host_keys=(f"key {number}",), state_at=float(number))
        keys.see(None, node)
        keys.see(node, None)


def known(keys: HostKeys, numbers: range) -> list[int]:
    """Those whose key is still another node's."""
    return [number for number in numbers if keys.claim(f"key {number}", NEW) is not None]


def test_a_key_outlives_its_node():
    """And is the first node's that showed it."""
    keys = HostKeys()
    ended(keys, 1)
    later = attrs.evolve(a_node(2), host_keys=("key 1",), state_at=9.0)
    keys.see(None, later)
    keys.see(later, None)

    assert keys.claim("key 1", NEW) == a_node(1).id


def test_after_its_time_it_is_anybodys():
    """Those that were gone before it are forgotten, and no other."""
    keys = HostKeys()
    ended(keys, 1, 2, 3)

    keys.forget(2.0)

    assert known(keys, range(1, 4)) == [2, 3]


def test_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch):
    """However many come in a week, so many are remembered, and some more."""
    monkeypatch.setattr(host_keys, "MOST_GONE", 10)
    monkeypatch.setattr(host_keys, "_PURGED", 5)
    keys = HostKeys()

    ended(keys, *range(1, 101))

    kept = known(keys, range(1, 101))
    assert 10 <= len(kept) <= 15
    assert kept == list(range(kept[0], 101))
