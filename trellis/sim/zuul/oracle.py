"""The judge of a story with Zuul: reads the tree's history and what the jobs saw, nothing else.

What it holds Trellis to: a node is locked before it is written, a request before it is touched;
what Zuul wrote stays to the bit; a server that an executor locked is never anybody else's; the
labels are in order; and when all is over nothing is left in the tree. Of several daemons each keeps
its hands off the nodes of the others, and a request has one answer.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from trellis.sim.oracle import Violation
from trellis.sim.zookeeper import Change, FakeZooKeeper
from trellis.sim.zookeeper.history import Counts
from trellis.sim.zuul.documents import (
    NODES,
    REQUEST_LOCKS,
    REQUESTS,
    decoded,
    node_lock,
    node_of,
    request_lock,
    request_of,
    to_the_bit,
)
from trellis.sim.zuul.jobs import Job
from trellis.sim.zuul.launcher import LAUNCHER
from trellis.zookeeper.session import Happened

_OURS_IN_REQUEST: Final = frozenset({"state", "state_time", "nodes", "declined_by", "reuse"})
_STATES_OURS: Final = frozenset({"requested", "pending", "fulfilled", "failed"})
_ANSWERS: Final = ("fulfilled", "failed")
_ZUULS_IN_NODE: Final = ("user_data", "hold_job", "comment", "hold_expiration")


def judge_zuul(
    zookeeper: FakeZooKeeper, jobs: Sequence[Job], trellis: Collection[str]
) -> tuple[Violation, ...]:
    """Hold what happened in the tree against the promises; when all has had time to settle.

    Args:
        trellis: whom the sessions of Trellis's daemons belong to.
    """
    ledger = _Ledger(zookeeper.history, trellis)
    return (
        *ledger.violations,
        *_one_znode_a_server(ledger),
        *_order(ledger, jobs),
        *_nothing_left(zookeeper),
    )


def cut_short(jobs: Iterable[Job], history: Sequence[Change]) -> None:
    """Note of each job when its lock was lost with its session: it kept the nodes no longer."""
    ended = {change.path: change.at for change in history if change.by_end}
    for job in jobs:
        for contender in job.contenders.values():
            at = ended.get(contender)
            if at is not None and job.told.kept_until is not None:
                job.told.kept_until = min(job.told.kept_until, at)


def per_life(counts: Sequence[Counts], lives: int) -> tuple[float, float]:
    """Writes and reads for each node that was given to Zuul."""
    if not lives:
        return 0.0, 0.0
    return sum(x.writes for x in counts) / lives, sum(x.reads for x in counts) / lives


class _Ledger:
    """Goes through the history once, and knows at each transaction who held which lock."""

    def __init__(self, history: Sequence[Change], trellis: Collection[str]) -> None:
        self.violations: list[Violation] = []
        self.servers: dict[str, dict[str, float]] = defaultdict(dict)
        """By server, the znodes that it was in, and since when."""
        self.locked: dict[str, float] = {}
        """By node znode whose lock somebody else ever had, since when."""
        self.fulfilled: dict[str, list[str]] = {}
        """By request that was fulfilled, its nodes."""
        self.labels: dict[str, list[str]] = {}
        self._trellis = trellis
        self._contenders: dict[str, dict[str, Change]] = defaultdict(dict)
        self._ephemeral: set[str] = set()
        self._data: dict[str, bytes] = {}
        self._makers: dict[str, str] = {}
        """By znode of a node, whose session made it."""
        for transaction in _transactions(history):
            holders = {
                change.path: self._holder(change.path)
                for change in transaction
                if change.who in trellis
            }
            for change in transaction:
                if change.who in trellis and not change.by_end:
                    # One transaction may take a lock that was nobody's, and write under it.
                    holder = holders[change.path] or self._holder(change.path)
                    self._check(change, holder)
                self._take(change)
            for change in transaction:
                self._note_locked(change)

    def _holder(self, path: str) -> Change | None:
        """The making of the contender that holds the lock over a znode; None is nobody's."""
        request, node = request_of(path), node_of(path)
        folder = request_lock(request) if request else node_lock(node) if node else ""
        contenders = self._contenders.get(folder)
        if not contenders:
            return None
        return contenders[min(contenders, key=lambda name: name[-10:])]

    def _note_locked(self, change: Change) -> None:
        """Take down who has the lock of a node now, if a contender for it has come or gone."""
        folder, _, name = change.path.rpartition("/")
        node = node_of(folder.removesuffix("/lock")) if "__lock__" in name else None
        holder = self._holder(folder.removesuffix("/lock")) if node is not None else None
        if node is not None and holder is not None and holder.who not in self._trellis:
            self.locked.setdefault(node, change.at)

    def _holds(self, change: Change, holder: Change | None) -> bool:
        """Whether who did it had the lock: in this session, or by what outlives its sessions."""
        if holder is None or holder.who != change.who:
            return False
        return holder.session == change.session or not holder.ephemeral

    def _say(self, promise: str, change: Change, words: str) -> None:
        story = f"at {change.at:.1f} {words}"
        self.violations.append(Violation(promise=promise, story=story, about=(change.path,)))

    def _check(self, change: Change, holder: Change | None) -> None:
        path, happened = change.path, change.happened
        what = f"{happened.value} {path}"
        if request_of(path) is not None:
            if happened is not Happened.WRITTEN:
                self._say("zuul", change, f"Trellis {what}: only Zuul makes and deletes requests")
                return
            if not self._holds(change, holder):
                self._say("zuul", change, f"Trellis {what} without holding its lock")
            self._check_request(change)
        elif "__lock__" in path:
            folder, _, name = path.rpartition("/")
            made = self._contenders[folder].get(name)
            if made is not None and made.who != change.who:
                self._say("zuul", change, f"{change.who} {what}, a place of {made.who}")
        elif node_of(path) is not None and happened is not Happened.MADE:
            if path not in self._ephemeral and not self._holds(change, holder):
                self._say("zuul", change, f"Trellis {what} without holding its lock")
            maker = self._makers.get(path)
            if maker != change.who and maker in self._trellis:
                self._say("zuul", change, f"{change.who} {what}, which is a node of {maker}")
            if happened is Happened.WRITTEN:
                self._check_node(change)

    def _check_request(self, change: Change) -> None:
        before = to_the_bit(self._data.get(change.path, b""))
        after = to_the_bit(change.data)
        if before.get("state") in _ANSWERS:
            words = f"{change.who} wrote {change.path}, which was {before['state']} already"
            self._say("zuul", change, words)
        kept_before = {k: v for k, v in before.items() if k not in _OURS_IN_REQUEST}
        kept_after = {k: v for k, v in after.items() if k not in _OURS_IN_REQUEST}
        if kept_before != kept_after:
            lost = sorted(k for k in kept_before if kept_before[k] != kept_after.get(k))
            self._say("zuul", change, f"Trellis changed {lost or 'keys'} of {change.path}")
        if after.get("state") not in _STATES_OURS:
            self._say("zuul", change, f"{change.path} has the state {after.get('state')!r}")

    def _check_node(self, change: Change) -> None:
        before = to_the_bit(self._data.get(change.path, b""))
        after = to_the_bit(change.data)
        unknown = [key for key in before if key not in after]
        changed = [k for k in _ZUULS_IN_NODE if k in before and before[k] != after.get(k)]
        if unknown or changed:
            self._say("zuul", change, f"Trellis changed {unknown + changed} of {change.path}")

    def _take(self, change: Change) -> None:
        path = change.path
        folder, _, name = path.rpartition("/")
        if "__lock__" in name:
            if change.happened is Happened.MADE:
                self._contenders[folder][name] = change
            else:
                self._contenders[folder].pop(name, None)
            return
        if change.happened is Happened.DELETED:
            self._data.pop(path, None)
            self._makers.pop(path, None)
            self._ephemeral.discard(path)
            return
        self._data[path] = change.data
        if change.happened is Happened.MADE:
            self._makers[path] = change.who
        if change.ephemeral:
            self._ephemeral.add(path)
        document = decoded(change.data)
        if document is None:
            return
        node, request = node_of(path), request_of(path)
        if node is not None:
            self._take_node(node, document.get("external_id"), document.get("type"), change.at)
        elif request is not None and document.get("state") == "fulfilled":
            self.fulfilled[request] = list(document.get("nodes") or ())

    def _take_node(self, node: str, server: object, labels: object, at: float) -> None:
        if isinstance(server, str) and server:
            self.servers[server].setdefault(node, at)
        if isinstance(labels, list):
            self.labels[node] = labels


def _transactions(history: Sequence[Change]) -> Iterable[list[Change]]:
    found = list[Change]()
    for change in history:
        if found and found[0].zxid != change.zxid:
            yield found
            found = []
        found.append(change)
    if found:
        yield found


def _one_znode_a_server(ledger: _Ledger) -> list[Violation]:
    """P1: a server of a node that an executor locked appears in no znode that is made later."""
    found = []
    for server, nodes in ledger.servers.items():
        for node in nodes:
            at = ledger.locked.get(node, math.inf)
            later = sorted(x for x, since in nodes.items() if x != node and since > at)
            if later:
                story = f"server {server} was locked as node {node}, and then was in {later}"
                found.append(Violation(promise="P1", story=story, about=(server,)))
    return found


def _order(ledger: _Ledger, jobs: Sequence[Job]) -> list[Violation]:
    """P9: the nodes of a fulfilled request are in the order of its labels, and all there."""
    found = []
    for job in jobs:
        nodes = ledger.fulfilled.get(job.requests[-1]) if job.requests else None
        if nodes is None:
            continue
        got = [(ledger.labels.get(node) or [""])[0] for node in nodes]
        if tuple(got) != job.told.labels:
            story = f"{job.told.requestor} asked for {job.told.labels} and was named {got}"
            found.append(Violation(promise="P9", story=story, about=(job.told.requestor,)))
    return found


def _nothing_left(zookeeper: FakeZooKeeper) -> list[Violation]:
    """P2: with all jobs over, no request, node or lock is left in the tree."""
    found = []
    for root in (REQUESTS, NODES, REQUEST_LOCKS):
        left: Collection[str] = sorted(
            path for path in zookeeper.tree.below(root) if path.count("/") == root.count("/") + 1
        )
        for path in left:
            znode = zookeeper.tree.znode(path)
            document = decoded(znode.data) or {}
            if document.get("launcher") == LAUNCHER:
                continue
            story = f"{path} is left in the tree ({document.get('state') or 'no state'})"
            found.append(Violation(promise="P2", story=story, about=(path,)))
    return found
