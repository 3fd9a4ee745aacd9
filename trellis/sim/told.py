"""What happened to whom: the timeline of one violation, from ledgers and transcripts alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.ledger import Fact
from trellis.sim.transcript import Transcript

MOST_LINES: Final = 60
Moment = tuple[float, str]
"""A time, and what happened then."""


def timeline(
    about: Sequence[str],
    clouds: Mapping[str, SimCloud],
    transcripts: Iterable[Transcript],
    host: Iterable[Moment] = (),
) -> tuple[str, ...]:
    """All that is written down of some things, in the order of time.

    Args:
        about: ids and names of servers and other things, names of requestors, ids of nodes.
        clouds: what happened in them.
        transcripts: what requestors saw.
        host: kills and changes; those are told that come while the things exist.
    """
    names = {*about}
    told: list[Moment] = []
    mine = [t for t in transcripts if _concerns(t, names)]
    for transcript in mine:
        names.add(transcript.requestor)
        names.update(node.external_id for node in transcript.nodes if node.node_id in names)
        told += _seen_by(transcript)
    for cloud_name, cloud in clouds.items():
        facts = [fact for fact in cloud.ledger.facts if _is_about(fact, names)]
        told += [(fact.at, f"{cloud_name}: {_fact(fact)}") for fact in facts]
    if told:
        first, last = min(at for at, _ in told), max(at for at, _ in told)
        told += [(at, what) for at, what in host if first <= at <= last]
    told.sort(key=lambda moment: moment[0])
    lines = [f"{at:9.1f}  {what}" for at, what in told]
    if len(lines) > MOST_LINES:
        left = len(lines) - MOST_LINES
        lines[MOST_LINES // 2 : -MOST_LINES // 2] = [f"           … {left} more"]
    return tuple(lines)


def _concerns(transcript: Transcript, names: set[str]) -> bool:
    nodes = {one for node in transcript.nodes for one in (node.node_id, node.external_id)}
    return transcript.requestor in names or bool(nodes & names)


def _seen_by(transcript: Transcript) -> list[Moment]:
    who = transcript.requestor
    moments = [(transcript.filed_at, f"{who} asks for {', '.join(transcript.labels)}")]
    if transcript.fulfilled_at is not None:
        nodes = ", ".join(f"node {x.node_id} (server {x.external_id})" for x in transcript.nodes)
        moments.append((transcript.fulfilled_at, f"{who} is given {nodes}"))
    if transcript.kept_until is not None:
        moments.append((transcript.kept_until, f"{who} gives back what he has, or may lose it"))
    return moments


def _is_about(fact: Fact, names: set[str]) -> bool:
    if fact.id in names or fact.name in names:
        return True
    return bool(fact.metadata) and any(value in names for _, value in fact.metadata)


def _fact(fact: Fact) -> str:
    words = [fact.what.value, fact.name, fact.id, fact.detail]
    if fact.asked_at is not None and fact.asked_at < fact.at:
        words.append(f"(asked for at {fact.asked_at:.1f})")
    return " ".join(word for word in words if word)
