"""How launches have ended lately, by provider and label: what placement goes by.

Only launches of which a create was sent count: one that was given up before that says nothing
of the cloud.
"""

import bisect
import math
from collections import Counter, deque
from collections.abc import Mapping
from typing import Final

import attrs

from trellis.control.past import nodes_since
from trellis.model.node import Node, NodeState
from trellis.model.records import Change
from trellis.scheduler.snapshot import Track
from trellis.store.store import Store
from trellis.world import World

LATELY_S: Final = 900.0
"""So long an ending counts. A cloud that has recovered has its whole share again after that."""
MOST: Final = 200
"""So many endings of a provider and label are kept at most."""
FEWEST: Final = 3
"""From fewer launches than this no time is told."""

Key = tuple[str, str]
_FAILED: Final = frozenset({NodeState.FAILED, NodeState.ABORTED})
_FAILURES: Final = frozenset(f"node.{state.value}" for state in _FAILED)
MOST_EVENTS: Final = 20
"""Of a node that is gone so many events are looked through: those of its end are the last."""


@attrs.define
class _Endings:
    """Endings of one provider and label, the oldest first, and what they come to."""

    ends: deque[tuple[float, float | None]] = attrs.field(factory=deque)
    took: list[float] = attrs.field(factory=list)

    def add(self, at: float, took_s: float | None) -> None:
        self.ends.append((at, took_s))
        if took_s is not None:
            bisect.insort(self.took, took_s)
        if len(self.ends) > MOST:
            self.drop()

    def drop(self) -> None:
        _, took_s = self.ends.popleft()
        if took_s is not None:
            del self.took[bisect.bisect_left(self.took, took_s)]

    def track(self) -> Track:
        ready = len(self.took)
        return Track(
            ready=ready,
            failed=len(self.ends) - ready,
            took_s=self.took[ready // 2] if ready >= FEWEST else None,
        )


class Tracks:
    """Remembers how launches ended in the last `LATELY_S`.

    What is asked for between two endings costs nothing, however many there are.
    """

    def __init__(self) -> None:
        self._endings: dict[Key, _Endings] = {}
        self._tracks: dict[Key, Track] = {}
        self._oldest = math.inf

    async def load(self, store: Store, world: World) -> None:
        """Take in what an earlier process saw: from the nodes that live, and that are gone.

        Raises:
            StoreFailedError: the history cannot be read.
        """
        began_at = world.wall()
        # What was seen before is among the records by now, and is not counted twice.
        self._endings, self._tracks, self._oldest = {}, {}, math.inf
        nodes = await nodes_since(store, began_at - LATELY_S)
        ends = [end for node in nodes if (end := _end_of(node)) is not None]
        looked_up: Counter[Key] = Counter()
        for node in sorted(filter(_may_have_failed, nodes), key=_state_at, reverse=True):
            key = node.provider, node.label
            if looked_up[key] == MOST:
                continue
            looked_up[key] += 1
            if (at := await _failed_at(node, store)) is not None:
                ends.append((at, key, None))
        # What has ended since is seen as it happens.
        lately = (end for end in ends if began_at - LATELY_S < end[0] < began_at)
        for at, key, took_s in sorted(lately, key=lambda e: e[:2]):
            self._add(key, at, took_s)

    def see(self, change: Change) -> None:
        """Take in one durable change."""
        before, after = change.before, change.after
        if not isinstance(before, Node) or before.state is not NodeState.BUILDING:
            return
        if isinstance(after, Node) and (
            after.state is NodeState.READY or (after.state in _FAILED and _was_sent(after))
        ):
            took_s = after.state_at - after.created_at
            self._add(
                (after.provider, after.label),
                after.state_at,
                took_s if after.state is NodeState.READY else None,
            )

    def at(self, now: float) -> Mapping[Key, Track]:
        """How launches ended in the last `LATELY_S` before *now*, in UTC seconds."""
        if self._oldest <= now - LATELY_S:
            self._forget(now - LATELY_S)
        return self._tracks

    def words(self, provider: str, now: float) -> dict[str, str]:
        """How a provider's launches ended, by label."""
        return {
            label: _words(track)
            for (name, label), track in sorted(self.at(now).items())
            if name == provider
        }

    def _add(self, key: Key, at: float, took_s: float | None) -> None:
        endings = self._endings.setdefault(key, _Endings())
        endings.add(at, took_s)
        self._tracks[key] = endings.track()
        self._oldest = min(self._oldest, at)

    def _forget(self, until: float) -> None:
        self._oldest = math.inf
        for key, endings in list(self._endings.items()):
            before = len(endings.ends)
            while endings.ends and endings.ends[0][0] <= until:
                endings.drop()
            if not endings.ends:
                del self._endings[key], self._tracks[key]
                continue
            if len(endings.ends) < before:
                self._tracks[key] = endings.track()
            self._oldest = min(self._oldest, endings.ends[0][0])


def _words(track: Track) -> str:
    text = f"{track.ready} of {track.ready + track.failed} launches became ready in the last "
    text += f"{LATELY_S / 60:.0f} min"
    return text if track.took_s is None else f"{text}, in {track.took_s:.0f} s"


def _was_sent(node: Node) -> bool:
    # The first intent to create sets the deadline, and it stays when a refusal takes it back.
    return node.launch_by is not None


def _end_of(node: Node) -> tuple[float, Key, float | None] | None:
    """How a recorded node's launch ended, as far as its own record tells."""
    key = node.provider, node.label
    if node.ready_at is not None:
        return node.ready_at, key, node.ready_at - node.created_at
    if node.state in _FAILED and _was_sent(node):
        return node.state_at, key, None
    return None


def _may_have_failed(node: Node) -> bool:
    """Whether its launch failed or was cancelled, which its record tells no longer."""
    ended = node.state in (NodeState.DELETING, NodeState.GONE)
    return ended and node.ready_at is None and node.fault is not None and _was_sent(node)


async def _failed_at(node: Node, store: Store) -> float | None:
    """When its launch failed; None if it was cancelled, or deleted by a person."""
    for event in await store.events_about(node.id, MOST_EVENTS):
        if event.subject == node.id and event.type in _FAILURES:
            return event.at
    return None


def _state_at(node: Node) -> float:
    return node.state_at
