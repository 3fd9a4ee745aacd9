"""What exists against what is recorded: leaks are found, proved by two sightings, and deleted.

What is not ours is never looked at twice: only the tag of this deployment makes a thing ours,
and a node id that the store never issued stops the sweep until a person has decided (rule 1).
"""

from collections.abc import Callable, Mapping

import attrs
import structlog
import trio

from trellis.control.health import ProviderHealth
from trellis.errors import CloudError
from trellis.model.names import NodeId
from trellis.model.node import Node, Resource, ResourceKind
from trellis.model.provider import ProviderRecord
from trellis.model.status import Leak
from trellis.spi.provider import Gone, Instance, InstanceState, Leftover, Listing, Provider, Tag

log = structlog.get_logger()

SIGHTINGS = 2
AGAIN_AFTER_S = 60.0
"""Two sightings must be at least so far apart to count as two."""
LEFTOVERS_EVERY_S = 600.0


@attrs.define
class _Suspect:
    kind: ResourceKind
    external_id: str
    tag: Tag | None
    first_seen: float
    last_seen: float
    sightings: int = 1
    deleting: bool = False
    note: str = ""


@attrs.define(eq=False, kw_only=True)
class Sweep:
    """Compares one provider's full lists with the records.

    Attributes:
        mode: ``report`` or ``delete``.
        issued: tells whether the store ever issued a node id.
        nodes: the live nodes of this provider.
        gone_servers: nodes that are gone, by the id of their server.
        estrange: told, by external id, of node ids that the store never issued.
        words: what people have decided about single leaks.
    """

    name: str
    deployment: str
    provider: Provider
    health: ProviderHealth
    mode: str
    wall: Callable[[], float]
    issued: Callable[[NodeId], bool]
    nodes: Callable[[], Mapping[NodeId, Node]]
    gone_servers: Mapping[str, NodeId]
    estrange: Callable[[Mapping[str, NodeId]], None]
    words: Callable[[], ProviderRecord]
    _suspects: dict[str, _Suspect] = attrs.field(factory=dict, init=False)
    _alarmed: bool = attrs.field(default=False, init=False)

    # ----------------------------------------------------------------------- looking

    def see(self, listing: Listing) -> None:
        """Compare a full list of servers with the records."""
        seen: dict[str, Tag] = {}
        for row in listing.instances:
            if row.tag is None or row.tag.deployment != self.deployment:
                continue
            if row.state not in (InstanceState.GONE, InstanceState.UNKNOWN) and self._unclaimed(
                row
            ):
                seen[row.external_id] = row.tag
        self._note(ResourceKind.SERVER, seen)
        strange = {
            one: tag.node_id
            for one, tag in seen.items()
            if tag.node_id.isdigit() and not self.issued(tag.node_id)
        }
        if strange:
            self.estrange(strange)
        self._tell()

    def see_leftovers(self, leftovers: tuple[Leftover, ...]) -> None:
        """Compare floating IPs, ports and keypairs of ours with the records."""
        live = self.nodes()
        for kind in (ResourceKind.FLOATING_IP, ResourceKind.PORT, ResourceKind.KEYPAIR):
            seen: dict[str, Tag] = {}
            for thing in leftovers:
                tag = thing.tag or self._tag_of_gone(thing)
                if thing.kind is kind and tag is not None and tag.deployment == self.deployment:
                    node = live.get(tag.node_id)
                    claimed = node is not None and node.resource(kind) is not None
                    if not claimed:
                        seen[thing.external_id] = tag
            self._note(kind, seen)

    def _tag_of_gone(self, thing: Leftover) -> Tag | None:
        """Whose a thing without a tag was, by the server it belonged to."""
        node_id = self.gone_servers.get(thing.server_id or "")
        return None if node_id is None else Tag(deployment=self.deployment, node_id=node_id)

    def _unclaimed(self, row: Instance) -> bool:
        assert row.tag is not None
        node = self.nodes().get(row.tag.node_id)
        if node is None:
            return True
        server = node.server
        # In doubt claims whatever turns up; an id on record claims that one server only.
        return server is None or not (server.in_doubt or server.external_id == row.external_id)

    def _tell(self) -> None:
        """Log once when the sweep stops, and once when it goes on."""
        alarm = self.alarm
        if bool(alarm) != self._alarmed:
            self._alarmed = bool(alarm)
            if alarm:
                log.error("sweep_stopped", provider=self.name, alarm=alarm)
            else:
                log.info("sweep_goes_on", provider=self.name)

    def _note(self, kind: ResourceKind, seen: Mapping[str, Tag]) -> None:
        now = self.wall()
        for external_id, tag in sorted(seen.items()):
            suspect = self._suspects.get(external_id)
            if suspect is None:
                self._suspects[external_id] = _Suspect(kind, external_id, tag, now, now)
                log.warning(
                    "leak_suspected",
                    provider=self.name,
                    kind=kind.value,
                    external_id=external_id,
                    node=tag.node_id,
                )
            elif now - suspect.last_seen >= AGAIN_AFTER_S:
                suspect.sightings += 1
                suspect.last_seen = now
        for external_id in [
            e for e, s in self._suspects.items() if s.kind is kind and e not in seen
        ]:
            if not self._suspects[external_id].deleting:
                del self._suspects[external_id]

    # ---------------------------------------------------------------------- deciding

    def leaks(self) -> tuple[Leak, ...]:
        """What is suspected now, and what becomes of it."""
        return tuple(
            Leak(
                id=f"{self.name}:{suspect.external_id}",
                provider=self.name,
                kind=suspect.kind.value,
                external_id=suspect.external_id,
                node_id=suspect.tag.node_id if suspect.tag else None,
                first_seen=suspect.first_seen,
                sightings=suspect.sightings,
                note=self._verdict(suspect)[1],
            )
            for suspect in self._suspects.values()
        )

    @property
    def alarm(self) -> str:
        """Why the sweep has stopped; "" while it has not (rule 1)."""
        words = self.words()
        decided = {*words.adopted, *words.condemned}
        strange = sorted(
            suspect.external_id
            for suspect in self._suspects.values()
            if (suspect.external_id in words.strange or not self._issued_to(suspect))
            and suspect.external_id not in decided
        )
        if not strange:
            return ""
        return (
            f"{len(strange)} things carry deployment {self.deployment} and node ids this store "
            f"never issued, the first is {strange[0]}: another daemon of the same deployment, or "
            "an older copy of the store. Decide with 'trellis leak adopt ID' (it is ours and a "
            "leak) or 'trellis leak delete ID'"
        )

    def _issued_to(self, suspect: _Suspect) -> bool:
        return suspect.tag is None or self.issued(suspect.tag.node_id)

    def _verdict(self, suspect: _Suspect) -> tuple[bool, str]:
        if suspect.external_id in self.words().condemned:
            return True, "is being deleted by a person's word"
        if alarm := self.alarm:
            return False, "the sweep has stopped: " + alarm
        if suspect.sightings < SIGHTINGS:
            return False, "seen once; a second sighting is needed"
        if self.mode != "delete":
            return False, "reported only (sweep: report); 'trellis leak delete ID' deletes it"
        return True, "is being deleted"

    # ------------------------------------------------------------------------ acting

    async def run(self) -> None:
        """Look for leftovers now and then, and delete what is condemned."""
        next_look = trio.current_time()
        while True:
            if trio.current_time() >= next_look:
                next_look = trio.current_time() + LEFTOVERS_EVERY_S
                try:
                    self.see_leftovers(await self.provider.find_leftovers())
                except CloudError as error:
                    self.health.failed(error)
                    next_look = trio.current_time() + AGAIN_AFTER_S
            for suspect in list(self._suspects.values()):
                if self._verdict(suspect)[0]:
                    await self._delete(suspect)
            await trio.sleep(10.0)

    async def _delete(self, suspect: _Suspect) -> None:
        """Take one step of deleting a leak; the next round takes the next."""
        assert suspect.tag is not None
        suspect.deleting = True
        thing = Resource(
            kind=suspect.kind, sent_at=suspect.first_seen, external_id=suspect.external_id
        )
        try:
            done = await self.provider.delete_step(thing, suspect.tag)
        except CloudError as error:
            self.health.failed(error)
            suspect.note = str(error)
            return
        if done is Gone.DONE:
            log.warning(
                "leak_deleted",
                provider=self.name,
                kind=suspect.kind.value,
                external_id=suspect.external_id,
                node=suspect.tag.node_id,
            )
            del self._suspects[suspect.external_id]
