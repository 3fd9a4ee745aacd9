"""The judge: reads the clouds' ledgers and the requestors' transcripts, and nothing of Trellis."""

import math
from collections.abc import Container, Mapping, Sequence
from typing import Final

import attrs

from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.ledger import Fact, What
from trellis.sim.cloud.site import STRANGER
from trellis.sim.cloud.spec import Faults
from trellis.sim.host import HostFaults
from trellis.sim.scenario import Scenario
from trellis.sim.transcript import Transcript

REFUSED_AT_MOST: Final = 0.01
"""Share of an account's creates that may be refused for quota."""
LIES_OF_QUOTA: Final = (
    "quota-too-high",
    "quota-unlimited",
    "quota-refused",
    "quota-missing",
    "quota-changed",
    "quota-stuck",
)
"""Faults under which a cloud refuses what it seemed to have room for."""
REFUSED_AT_A_LIE: Final = 30
"""So many creates may be under way, and be refused, for each such fault."""
BETWEEN_SIGHTINGS_S: Final = 60.0
"""What nobody claims is a leak when it was seen twice, so far apart."""
_DEPLOYMENT: Final = "trellis_deployment"
LONG_GONE_S: Final = 300.0
"""Of what has been gone for so long no record is left."""


@attrs.frozen(kw_only=True)
class Violation:
    """A promise that was not kept.

    Attributes:
        promise: ``P1`` … as the design numbers them, ``progress``, or ``bug`` for an error that
            the daemon logged and no fault of a cloud excuses.
        story: what happened to whom, in one line.
        about: ids and names of those it happened to, for `trellis.sim.told.timeline`.
    """

    promise: str
    story: str
    about: tuple[str, ...] = ()


def judge(
    scenario: Scenario,
    clouds: Mapping[str, SimCloud],
    transcripts: Sequence[Transcript],
    *,
    reported: Container[str] = (),
    claimed: Container[str] = (),
    files: Sequence[str] = (),
) -> tuple[Violation, ...]:
    """Hold what happened against the promises; to be called when the clouds had time to settle.

    Args:
        reported: ids of what the daemon reports as leaks, to whoever asks.
        claimed: ids of the images, and objects, that a record of the daemon's accounts for: they
            outlive demand.
        files: of images that are still on the daemon's host, where none are wanted any more.
    """
    return (
        *_single_use(transcripts),
        *_kept_while_leased(clouds, transcripts),
        *_remembered(transcripts),
        *_made_once(clouds),
        *_none_wasted(scenario, clouds, transcripts),
        *_nothing_left(clouds, reported),
        *_no_image_unclaimed(clouds, claimed),
        *(Violation(promise="P2", story=f"the file {path} is left behind") for path in files),
        *_seen_twice(clouds),
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
                    about = (node.external_id, node.node_id)
                    found.append(Violation(promise="P1", story=story, about=about))
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
            about = (transcript.requestor, node.external_id)
            if node.external_id not in created:
                story = f"{who} was never made"
                found.append(Violation(promise="P1", story=story, about=about))
                continue
            kept_until = transcript.kept_until
            deleted_at = deleting.get(node.external_id)
            if kept_until is not None and deleted_at is not None and deleted_at < kept_until:
                story = f"{who} was deleted at {deleted_at:.1f}, leased until {kept_until:.1f}"
                found.append(Violation(promise="P10", story=story, about=about))
    return found


def _remembered(transcripts: Sequence[Transcript]) -> list[Violation]:
    """P10: what somebody was given is known until he gives it back, over every restart."""
    return [
        Violation(
            promise="P10",
            story=f"{transcript.requestor} was told: {transcript.forgotten}",
            about=(transcript.requestor,),
        )
        for transcript in transcripts
        if transcript.forgotten
    ]


def _made_once(clouds: Mapping[str, SimCloud]) -> list[Violation]:
    """P3: a create is never carried out twice; servers of one create share their name.

    Two deployments in one project have the same names, and another mark.
    """
    found = []
    for name, cloud in clouds.items():
        first = dict[tuple[str, str], Fact]()
        for fact in cloud.ledger.of(What.SERVER_CREATED):
            if fact.who == STRANGER:
                continue
            deployment = dict(fact.metadata).get(_DEPLOYMENT, "")
            other = first.setdefault((fact.name, deployment), fact)
            if other is not fact:
                story = f"{name} made {fact.name} at {other.at:.1f} and again at {fact.at:.1f}"
                found.append(Violation(promise="P3", story=story, about=(fact.name,)))
    return found


def _none_wasted(
    scenario: Scenario, clouds: Mapping[str, SimCloud], transcripts: Sequence[Transcript]
) -> list[Violation]:
    """P10: where nothing but kills goes wrong, launches go on, so each server serves somebody."""
    if not _untroubled(scenario):
        return []
    served = {node.external_id for transcript in transcripts for node in transcript.nodes}
    found = []
    for name, cloud in clouds.items():
        for fact in cloud.ledger.of(What.SERVER_CREATED):
            if fact.who != STRANGER and fact.id not in served:
                story = f"{name} made {fact.name} at {fact.at:.1f}, and it never served anybody"
                about = (fact.id, fact.name)
                found.append(Violation(promise="P10", story=story, about=about))
    return found


def _untroubled(scenario: Scenario) -> bool:
    """Whether nothing excuses a server that nobody is given: no fault, cancel, change, stock."""
    troubled = any(
        cloud.outages
        or cloud.faults != Faults()
        or any(window.faults != Faults() for window in cloud.fault_windows)
        for cloud in scenario.clouds
    )
    fickle = any(stream.cancel or stream.burst for stream in scenario.streams)
    stocked = "min-ready" in scenario.configuration
    return not (troubled or fickle or stocked or scenario.changes or scenario.host != HostFaults())


def _nothing_left(clouds: Mapping[str, SimCloud], reported: Container[str]) -> list[Violation]:
    """P2: with demand over, nothing of ours is left anywhere.

    What the cloud never showed to be ours may stay, if it is reported (rule 4).
    """
    found = []
    for name, cloud in clouds.items():
        ours = cloud.spec.credentials.username
        for server in cloud.servers():
            if server.who == ours:
                story = (
                    f"{name} still has server {server.id} ({server.status}), "
                    f"made at {server.created_at:.1f}, {server.metadata}"
                )
                found.append(Violation(promise="P2", story=story, about=(server.id, server.name)))
        for kind, things in (
            ("floating IP", cloud.floating_ips()),
            ("port", cloud.ports()),
            ("volume", cloud.volumes()),
            ("keypair", cloud.keypairs()),
        ):
            for thing in things:
                nobodys = thing.id in cloud.ledger.unattributable and thing.id in reported
                if thing.who == ours and not nobodys:
                    story = f"{name} still has {kind} {thing.id} {thing.description}"
                    found.append(Violation(promise="P2", story=story, about=(thing.id,)))
    return found


def _no_image_unclaimed(clouds: Mapping[str, SimCloud], claimed: Container[str]) -> list[Violation]:
    """P2: an image of ours, or a file on its way to be one, is there for a record's sake."""
    found = []
    for name, cloud in clouds.items():
        ours = cloud.spec.credentials.username
        for image in cloud.images():
            if image.who == ours and image.id not in claimed:
                story = (
                    f"{name} still has image {image.id} {image.name} ({image.status}), made at "
                    f"{image.created_at:.1f}, and no record claims it"
                )
                found.append(Violation(promise="P2", story=story, about=(image.id, image.name)))
        for thing in cloud.objects():
            if thing.who == ours and thing.id not in claimed:
                story = f"{name} still has object {thing.id}, and no record claims it"
                found.append(Violation(promise="P2", story=story, about=(thing.id,)))
    return found


def _seen_twice(clouds: Mapping[str, SimCloud]) -> list[Violation]:
    """P2: what came back after it was long gone is deleted when it was seen twice, not once."""
    found = []
    for name, cloud in clouds.items():
        gone, back = dict[str, float](), dict[str, float]()
        for fact in cloud.ledger.facts:
            if fact.what is What.SERVER_DELETED:
                gone[fact.id] = fact.at
            elif fact.what is What.SERVER_RETURNED:
                # Else the record of it may still be there, which needs no sighting.
                if fact.at - gone.get(fact.id, fact.at) >= LONG_GONE_S:
                    back[fact.id] = fact.at
            elif fact.what is What.SERVER_DELETING and fact.id in back:
                returned_at = back.pop(fact.id)
                if fact.at - returned_at < BETWEEN_SIGHTINGS_S:
                    story = f"{name}: {fact.id} returned at {returned_at:.1f} and was deleted at "
                    story += f"{fact.at:.1f}: nobody can have seen it twice, a minute apart"
                    found.append(Violation(promise="P2", story=story, about=(fact.id,)))
    return found


def _strangers_unharmed(clouds: Mapping[str, SimCloud]) -> list[Violation]:
    """P2: what is not ours is never touched."""
    return [
        Violation(
            promise="P2",
            story=f"{name}: a stranger's {fact.id} was touched: {fact.detail}",
            about=(fact.id,),
        )
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
        lies = sum(cloud.ledger.struck[lie] > 0 for lie in LIES_OF_QUOTA)
        allowed += lies * REFUSED_AT_A_LIE
        if refused > allowed:
            story = f"{name} refused {refused} of {made + refused} creates for quota"
            story += f", {allowed} are allowed with {changes} changes of a stranger"
            found.append(Violation(promise="P6", story=story))
    return found


def _atomic(transcripts: Sequence[Transcript]) -> list[Violation]:
    """P9: a request is fulfilled whole, on one provider and in one zone, in the order asked."""
    found = []
    for transcript in transcripts:
        if transcript.fulfilled_at is None:
            continue
        got = tuple(node.label for node in transcript.nodes)
        places = {(node.provider, node.az) for node in transcript.nodes}
        if got != transcript.labels:
            story = f"{transcript.requestor} asked for {transcript.labels} and got {got}"
            found.append(Violation(promise="P9", story=story, about=(transcript.requestor,)))
        if len(places) > 1:
            story = f"{transcript.requestor}'s nodes are in {sorted(map(str, places))}"
            found.append(Violation(promise="P9", story=story, about=(transcript.requestor,)))
    return found


def _progress(scenario: Scenario, transcripts: Sequence[Transcript]) -> list[Violation]:
    """Every request with room is fulfilled soon after the faults end; none fails."""
    found = []
    for transcript in transcripts:
        due = max(transcript.filed_at, scenario.faults_end) + scenario.patience_s
        about = (transcript.requestor,)
        story = f"{transcript.requestor}, filed at {transcript.filed_at:.1f}"
        if transcript.ended not in ("fulfilled", "cancelled"):
            story += f", ended {transcript.ended or 'never'}: {transcript.reason}"
            found.append(Violation(promise="progress", story=story, about=about))
        elif transcript.fulfilled_at is not None and transcript.fulfilled_at > due:
            story += f", was fulfilled at {transcript.fulfilled_at:.1f}, due {due:.1f}"
            found.append(Violation(promise="progress", story=story, about=about))
    return found
