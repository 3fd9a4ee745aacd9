"""The judge: reads the clouds' ledgers and the requestors' transcripts, and nothing of Trellis."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.ledger import Fact, What
from trellis.sim.cloud.site import STRANGER
from trellis.sim.requestors import Transcript
from trellis.sim.scenario import Scenario

REFUSED_AT_MOST: Final = 0.01
"""Share of an account's creates that may be refused for quota."""


@attrs.frozen(kw_only=True)
class Violation:
    """A promise that was not kept.

    Attributes:
        promise: ``P1`` … as the design numbers them, ``progress``, or ``bug`` for an error that
            the daemon logged and no fault of a cloud excuses.
        story: what happened to whom, in one line.
    """

    promise: str
    story: str


def judge(
    scenario: Scenario, clouds: Mapping[str, SimCloud], transcripts: Sequence[Transcript]
) -> tuple[Violation, ...]:
    """Hold what happened against the promises; to be called when the clouds had time to settle."""
    return (
        *_single_use(transcripts),
        *_kept_while_leased(clouds, transcripts),
        *_remembered(transcripts),
        *_made_once(clouds),
        *_nothing_left(clouds),
        *_strangers_unharmed(clouds),
        *_inside_quota(clouds),
        *_atomic(transcripts),
        *_progress(scenario, transcripts),
    )


def _single_use(transcripts: Sequence[Transcript]) -> list[Violation]:
    """P1: no server is handed out twice, under one node id or two."""
    found, holder = [], dict[str, str]()
    for transcript in transcripts:
        for node in transcript.nodes:
            for key in (f"server {node.external_id}", f"node {node.node_id}"):
                if key in holder:
                    story = f"{key} was handed out to {holder[key]} and to {transcript.requestor}"
                    found.append(Violation(promise="P1", story=story))
                holder[key] = transcript.requestor
    return found


def _kept_while_leased(
    clouds: Mapping[str, SimCloud], transcripts: Sequence[Transcript]
) -> list[Violation]:
    """P1, P10: a server exists when it is handed out, and nobody deletes it under a lease."""
    found = []
    created, deleting = dict[str, float](), dict[str, float]()
    for cloud in clouds.values():
        for fact in cloud.ledger.of(What.SERVER_CREATED):
            created[fact.id] = fact.at
        for fact in cloud.ledger.of(What.SERVER_DELETING):
            deleting.setdefault(fact.id, fact.at)
    for transcript in transcripts:
        for node in transcript.nodes:
            who = f"{transcript.requestor}: server {node.external_id} of node {node.node_id}"
            if node.external_id not in created:
                found.append(Violation(promise="P1", story=f"{who} was never made"))
                continue
            kept_until = transcript.kept_until
            deleted_at = deleting.get(node.external_id)
            if kept_until is not None and deleted_at is not None and deleted_at < kept_until:
                story = f"{who} was deleted at {deleted_at:.1f}, leased until {kept_until:.1f}"
                found.append(Violation(promise="P10", story=story))
    return found


def _remembered(transcripts: Sequence[Transcript]) -> list[Violation]:
    """P10: what somebody was given is known until he gives it back, over every restart."""
    return [
        Violation(promise="P10", story=f"{transcript.requestor} was told: {transcript.forgotten}")
        for transcript in transcripts
        if transcript.forgotten
    ]


def _made_once(clouds: Mapping[str, SimCloud]) -> list[Violation]:
    """P3: a create is never carried out twice; servers of one create share their name."""
    found = []
    for name, cloud in clouds.items():
        first = dict[str, Fact]()
        for fact in cloud.ledger.of(What.SERVER_CREATED):
            if fact.who == STRANGER:
                continue
            other = first.setdefault(fact.name, fact)
            if other is not fact:
                story = f"{name} made {fact.name} at {other.at:.1f} and again at {fact.at:.1f}"
                found.append(Violation(promise="P3", story=story))
    return found


def _nothing_left(clouds: Mapping[str, SimCloud]) -> list[Violation]:
    """P2: with demand over, nothing of ours is left anywhere."""
    found = []
    for name, cloud in clouds.items():
        ours = cloud.spec.credentials.username
        for server in cloud.servers():
            if server.who == ours:
                story = (
                    f"{name} still has server {server.id} ({server.status}), "
                    f"made at {server.created_at:.1f}, {server.metadata}"
                )
                found.append(Violation(promise="P2", story=story))
        for kind, things in (
            ("floating IP", cloud.floating_ips()),
            ("port", cloud.ports()),
            ("volume", cloud.volumes()),
            ("keypair", cloud.keypairs()),
        ):
            for thing in things:
                if thing.who == ours:
                    story = f"{name} still has {kind} {thing.id} {thing.description}"
                    found.append(Violation(promise="P2", story=story))
    return found


def _strangers_unharmed(clouds: Mapping[str, SimCloud]) -> list[Violation]:
    """P2: what is not ours is never touched."""
    return [
        Violation(promise="P2", story=f"{name}: a stranger's {fact.id} was touched: {fact.detail}")
        for name, cloud in clouds.items()
        for fact in cloud.ledger.violations
    ]


def _inside_quota(clouds: Mapping[str, SimCloud]) -> list[Violation]:
    """P6: quota is known before it is asked for; what a stranger takes may surprise once each."""
    found = []
    for name, cloud in clouds.items():
        refused = len(cloud.ledger.of(What.QUOTA_REFUSED))
        made = sum(f.who != STRANGER for f in cloud.ledger.of(What.SERVER_CREATED))
        changes = sum(
            f.who == STRANGER for f in cloud.ledger.of(What.SERVER_CREATED, What.SERVER_DELETED)
        )
        allowed = math.ceil((made + refused) * REFUSED_AT_MOST) + changes
        if refused > allowed:
            story = f"{name} refused {refused} of {made + refused} creates for quota"
            story += f", {allowed} are allowed with {changes} changes of a stranger"
            found.append(Violation(promise="P6", story=story))
    return found


def _atomic(transcripts: Sequence[Transcript]) -> list[Violation]:
    """P9: a request is fulfilled whole, on one provider and in one zone, in the order asked."""
    found = []
    for transcript in transcripts:
        if not transcript.nodes:
            continue
        got = tuple(node.label for node in transcript.nodes)
        places = {(node.provider, node.az) for node in transcript.nodes}
        if got != transcript.labels:
            story = f"{transcript.requestor} asked for {transcript.labels} and got {got}"
            found.append(Violation(promise="P9", story=story))
        if len(places) > 1:
            story = f"{transcript.requestor}'s nodes are in {sorted(map(str, places))}"
            found.append(Violation(promise="P9", story=story))
    return found


def _progress(scenario: Scenario, transcripts: Sequence[Transcript]) -> list[Violation]:
    """Every request with room is fulfilled soon after the faults end; none fails."""
    found = []
    for transcript in transcripts:
        due = max(transcript.filed_at, scenario.faults_end) + scenario.patience_s
        story = f"{transcript.requestor}, filed at {transcript.filed_at:.1f}"
        if transcript.ended in ("", "failed"):
            story += f", ended {transcript.ended or 'never'}: {transcript.reason}"
            found.append(Violation(promise="progress", story=story))
        elif transcript.fulfilled_at is not None and transcript.fulfilled_at > due:
            story += f", was fulfilled at {transcript.fulfilled_at:.1f}, due {due:.1f}"
            found.append(Violation(promise="progress", story=story))
    return found
