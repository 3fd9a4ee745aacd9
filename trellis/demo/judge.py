"""The judge of the demo: holds what the clouds and the requestors say against the promises.

It believes the daemon in nothing but one thing: which nodes it has records of.
"""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Final

import attrs

from trellis.demo.transcript import Transcript
from trellis.demo.truth import CloudTruth
from trellis.sim.cloud.ledger import Fact, What
from trellis.sim.cloud.site import STRANGER

REFUSED_AT_MOST: Final = 0.01
"""Share of our creates that may be refused for quota."""
PATIENCE_S: Final = 30.0
"""Requests that were filed over so long and not one of them served: nothing works."""
TAG_NODE: Final = "trellis_node_id"
"""Where a server's metadata says which node it is; not taken from the code that is judged."""

Transcripts = Sequence[Transcript]
Truths = Sequence[CloudTruth]


@attrs.frozen(kw_only=True)
class Verdict:
    """One promise, and what speaks against its having been held.

    Attributes:
        promise: ``P1`` … as the design numbers them.
        claim: the promise in words.
        against: a line for each breach; empty if it was held.
    """

    promise: str
    claim: str
    against: tuple[str, ...]

    @property
    def held(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.against


def judge(
    truths: Truths, transcripts: Transcripts, recorded: Collection[str]
) -> tuple[Verdict, ...]:
    """Hold it against the promises; to be called when the daemon says that nothing is left.

    Args:
        truths: of every cloud.
        transcripts: of every requestor.
        recorded: ids of all nodes that the daemon has a record or a tombstone of.
    """
    found: tuple[tuple[str, str, Callable[[], list[str]]], ...] = (
        ("P1", "no node was handed out twice", lambda: _single_use(transcripts)),
        ("P1", "no node was taken while leased", lambda: _kept(truths, transcripts)),
        ("P2", "nothing of ours is left", lambda: _left(truths)),
        ("P2", "what is not ours is untouched", lambda: _harmed(truths)),
        ("P3", "no server without a record, none made twice", lambda: _made(truths, recorded)),
        ("P4", "every request came to an end, none failed", lambda: _ended(transcripts)),
        ("P6", "creates refused for quota: 1 % at most", lambda: _refused(truths)),
        ("P9", "sets whole, in one zone of one provider", lambda: _whole(transcripts)),
    )
    return tuple(
        Verdict(promise=promise, claim=claim, against=tuple(breaches()))
        for promise, claim, breaches in found
    )


def _single_use(transcripts: Transcripts) -> list[str]:
    found, holder = [], dict[str, str]()
    for transcript in transcripts:
        for node in transcript.nodes:
            for key in (f"server {node.external_id}", f"node {node.node_id}"):
                if key in holder:
                    found.append(f"{key} went to {holder[key]} and to {transcript.requestor}")
                holder[key] = transcript.requestor
    return found


def _kept(truths: Truths, transcripts: Transcripts) -> list[str]:
    made, deleting = set[str](), dict[str, float]()
    for truth in truths:
        made |= {fact.id for fact in truth.ledger.of(What.SERVER_CREATED)}
        for fact in truth.ledger.of(What.SERVER_DELETING, What.SERVER_DELETED):
            deleting.setdefault(fact.id, fact.at - truth.clock_ahead_s)
    found = []
    for transcript in transcripts:
        for node in transcript.nodes:
            who = f"{transcript.requestor}: server {node.external_id} of node {node.node_id}"
            deleted_at, until = deleting.get(node.external_id), transcript.kept_until
            if node.external_id not in made:
                found.append(f"{who} was never made")
            elif deleted_at is not None and until is None:
                found.append(f"{who} was deleted and never given back")
            elif deleted_at is not None and until is not None and deleted_at < until:
                found.append(f"{who} was deleted {until - deleted_at:.1f} s too early")
    return found


def _left(truths: Truths) -> list[str]:
    return [
        f"{truth.name} still has {thing.kind} {thing.id} {thing.detail}".rstrip()
        for truth in truths
        for thing in truth.things
        if thing.who != STRANGER
    ]


def _harmed(truths: Truths) -> list[str]:
    return [
        f"{truth.name}: a stranger's {fact.id} was touched: {fact.detail}"
        for truth in truths
        for fact in truth.ledger.violations
    ]


def _made(truths: Truths, recorded: Collection[str]) -> list[str]:
    found = []
    by_name, by_node = dict[str, Fact](), dict[str, str]()
    for truth in truths:
        for fact in _ours(truth):
            node = dict(fact.metadata).get(TAG_NODE, "")
            if node not in recorded:
                whose = f"node {node}" if node else "no node"
                found.append(f"{truth.name} made {fact.name}, of {whose}: there is no record")
            if (other := by_name.setdefault(fact.name, fact)) is not fact:
                found.append(f"{truth.name} made {fact.name} twice: {other.id} and {fact.id}")
            elif node and by_node.setdefault(node, fact.id) != fact.id:
                found.append(f"node {node} was made twice: {by_node[node]} and {fact.id}")
    return found


def _ended(transcripts: Transcripts) -> list[str]:
    filed = [transcript.filed_at for transcript in transcripts]
    served = any(transcript.ended == "fulfilled" for transcript in transcripts)
    if not served and filed and max(filed) - min(filed) >= PATIENCE_S:
        return [f"none of {len(filed)} requests was served in {max(filed) - min(filed):.0f} s"]
    return [
        f"{transcript.requestor}'s request for {', '.join(transcript.labels)} "
        + (f"failed: {transcript.reason}" if transcript.ended else "never ended")
        for transcript in transcripts
        if transcript.ended not in ("fulfilled", "cancelled")
    ]


def _refused(truths: Truths) -> list[str]:
    found = []
    for truth in truths:
        refused, made = len(truth.ledger.of(What.QUOTA_REFUSED)), len(_ours(truth))
        # What a stranger makes or deletes may surprise once each; what he had at first does not.
        changes = sum(
            fact.who == STRANGER and fact.at > truth.ledger.facts[0].at
            for fact in truth.ledger.of(What.SERVER_CREATED, What.SERVER_DELETED)
        )
        if refused > math.ceil((made + refused) * REFUSED_AT_MOST) + changes:
            found.append(f"{truth.name} refused {refused} of {made + refused} creates for quota")
    return found


def _whole(transcripts: Transcripts) -> list[str]:
    found = []
    for transcript in transcripts:
        got = tuple(node.label for node in transcript.nodes)
        places = sorted({f"{node.provider} {node.az}" for node in transcript.nodes})
        if got and got != transcript.labels:
            found.append(f"{transcript.requestor} asked for {transcript.labels} and got {got}")
        if len(places) > 1:
            found.append(f"{transcript.requestor}'s nodes are in {', '.join(places)}")
    return found


def _ours(truth: CloudTruth) -> list[Fact]:
    return [fact for fact in truth.ledger.of(What.SERVER_CREATED) if fact.who != STRANGER]
