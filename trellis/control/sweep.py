"""What exists against what is recorded: leaks are found, proved by two sightings, and deleted.

What is not ours is never looked at twice: only the tag of this deployment makes a thing ours,
and a node id that the store never issued stops the sweep until a person has decided (rule 1).
"""

import math
from collections.abc import Callable, Mapping

import attrs
import structlog
import trio

from trellis.control.attached import Attached
from trellis.control.health import ProviderHealth
from trellis.errors import CloudError
from trellis.model.names import NodeId
from trellis.model.node import Home, Node, Resource, ResourceKind
from trellis.model.provider import ProviderRecord
from trellis.model.status import Leak
from trellis.spi.provider import Gone, Instance, InstanceState, Leftover, Listing, Provider, Tag

log = structlog.get_logger()

SIGHTINGS = 2
AGAIN_AFTER_S = 60.0
"""Two sightings must be at least so far apart to count as two."""
LEFTOVERS_EVERY_S = 600.0
LOOK_EVERY_S = 10.0
MOST_LOOKED_FOR = 10
"""So many things that no list shows any more are asked for in each round of leftovers."""
LONGEST_PAUSE_S = 600.0
"""So seldom in the end a leak is asked to be deleted that the cloud does not delete."""


@attrs.define
class _Suspect:
    kind: ResourceKind
    external_id: str
    tag: Tag | None
    first_seen: float
    last_seen: float
    sightings: int = 1
    deleting: bool = False
    buried: bool = False
    note: str = ""
    again_at: float = -math.inf
    pause_s: float = LOOK_EVERY_S

    @property
    def unsure(self) -> bool:
        """Whether another look at the leftovers has to tell if it is a leak."""
        return self.kind is not ResourceKind.SERVER and self.sightings < SIGHTINGS


@attrs.define(eq=False, kw_only=True)
class Sweep:
    """Compares one provider's full lists with the records.

    Attributes:
        mode: ``report`` or ``delete``.
        issued: tells whether the store ever issued a tag's node id, under the tag's mark.
        nodes: the live nodes of this provider.
        attached: remembers what leaked servers have, and tells whose a thing was.
        estrange: told, by external id, of tags that the store never issued.
        let_go: told of what is proved gone: what was remembered of it may be forgotten.
        words: what people have decided about single leaks.
        not_servers: whether another sweep answers for a thing: nothing is asked about it here.
    """

    name: str
    deployment: str
    provider: Provider
    health: ProviderHealth
    mode: str
    wall: Callable[[], float]
    issued: Callable[[Tag], bool]
    nodes: Callable[[], Mapping[NodeId, Node]]
    attached: Attached
    estrange: Callable[[Mapping[str, Tag]], None]
    let_go: Callable[[str], None]
    words: Callable[[], ProviderRecord]
    not_servers: Callable[[str], bool] = lambda _: False
    _suspects: dict[str, _Suspect] = attrs.field(factory=dict, init=False)
    _alarmed: bool = attrs.field(default=False, init=False)
    _suspected: trio.Event = attrs.field(factory=trio.Event, init=False)
    _home: Home | None = attrs.field(default=None, init=False)
    _looked_for: dict[str, None] = attrs.field(factory=dict, init=False)
    _gone_once: dict[str, None] = attrs.field(factory=dict, init=False)

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
        self._home = listing.home
        strange = {
            one: tag for one, tag in seen.items() if tag.number is not None and not self.issued(tag)
        }
        if strange:
            self.estrange(strange)
        self._tell()

    async def see_leftovers(self, leftovers: tuple[Leftover, ...]) -> None:
        """Compare floating IPs, ports, keypairs and volumes of ours with the records.

        Raises:
            StoreFailedError: the history cannot be read.
        """
        for kind in (ResourceKind.FLOATING_IP, ResourceKind.PORT, ResourceKind.KEYPAIR):
            seen: dict[str, Tag | None] = {}
            for thing in leftovers:
                if thing.kind is not kind:
                    continue
                # A floating IP that carries no mark was recorded; a port never was.
                own_id = thing.external_id if kind is ResourceKind.FLOATING_IP else None
                tag = thing.tag or await self._tag_of_gone(own_id, thing.server_id)
                if tag is not None and tag.deployment == self.deployment:
                    node = self._node_of(tag)
                    claimed = node is not None and node.resource(kind) is not None
                    if not claimed and not (node is not None and node.set_apart):
                        seen[thing.external_id] = tag
            self._note(kind, seen)
        volumes = [thing for thing in leftovers if thing.kind is ResourceKind.VOLUME]
        self._note(ResourceKind.VOLUME, await self._unclaimed_volumes(volumes))

    async def _unclaimed_volumes(self, volumes: list[Leftover]) -> dict[str, Tag | None]:
        """Those whose server is gone, with the node they were of, or None if nobody can tell."""
        seen: dict[str, Tag | None] = {}
        if not volumes:
            return seen
        claimed, servers = set[str | None](), {*self._suspects}
        for node in self.nodes().values():
            if node.shape.resources.volumes:
                claimed.update(x.external_id for x in node.resources if x.exists)
        servers.update(one for one in claimed if one is not None)
        for thing in volumes:
            if thing.external_id in claimed or thing.server_id in servers:
                continue
            tag = await self._tag_of_gone(thing.external_id, thing.server_id)
            # What is attached to a server that nobody here knows is a stranger's.
            if tag is not None or thing.server_id is None:
                seen[thing.external_id] = tag
        return seen

    async def _tag_of_gone(self, *external_ids: str | None) -> Tag | None:
        """Whose a thing without a tag was, by its own id or that of the server it belonged to."""
        for external_id in external_ids:
            if external_id is not None:
                node_id = await self.attached.whose(external_id)
                if node_id is not None:
                    return Tag(deployment=self.deployment, node_id=node_id)
        return None

    def _unclaimed(self, row: Instance) -> bool:
        assert row.tag is not None
        node = self._node_of(row.tag)
        if node is None:
            return True
        if node.set_apart:
            return False  # nobody knows what else was made for it
        server = node.server
        # In doubt claims whatever turns up; an id on record claims that one server only.
        return server is None or not (server.in_doubt or server.external_id == row.external_id)

    def _node_of(self, tag: Tag) -> Node | None:
        """The node for which a thing was made; one of the same id may be of another origin."""
        node = self.nodes().get(tag.node_id)
        same = node is not None and (not tag.origin or node.origin == tag.origin)
        return node if same else None

    def _tell(self) -> None:
        """Log once when the sweep stops, and once when it goes on."""
        alarm = self.alarm
        if bool(alarm) != self._alarmed:
            self._alarmed = bool(alarm)
            if alarm:
                log.error("sweep_stopped", provider=self.name, alarm=alarm)
            else:
                log.info("sweep_goes_on", provider=self.name)

    def _note(self, kind: ResourceKind, seen: Mapping[str, Tag | None]) -> None:
        now = self.wall()
        for external_id, tag in sorted(seen.items(), key=lambda one: one[0]):
            suspect = self._suspects.get(external_id)
            if suspect is None:
                self._suspects[external_id] = _Suspect(kind, external_id, tag, now, now)
                self._suspected.set()
                log.warning(
                    "leak_suspected",
                    provider=self.name,
                    kind=kind.value,
                    external_id=external_id,
                    node=tag.node_id if tag is not None else "",
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

    @property
    def busy(self) -> bool:
        """Whether it is deleting leaks, or will once it has seen them a second time."""
        return any(
            self._verdict(suspect)[0]
            or (self.mode == "delete" and suspect.tag is not None and not self.alarm)
            for suspect in self._suspects.values()
        )

    def _issued_to(self, suspect: _Suspect) -> bool:
        return suspect.tag is None or self.issued(suspect.tag)

    def _verdict(self, suspect: _Suspect) -> tuple[bool, str]:
        if suspect.external_id in self.words().condemned:
            return True, "is being deleted by a person's word"
        if alarm := self.alarm:
            return False, "the sweep has stopped: " + alarm
        if suspect.sightings < SIGHTINGS:
            return False, "seen once; a second sighting is needed"
        if suspect.tag is None and suspect.external_id not in self.words().adopted:
            return False, (
                "nobody can tell whose it is, so it is only reported; 'trellis leak delete ID' "
                "deletes it"
            )
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
                    await self.see_leftovers(await self.provider.find_leftovers())
                    await self._let_go_what_is_gone()
                except CloudError as error:
                    self.health.failed(error)
                    next_look = trio.current_time() + AGAIN_AFTER_S
                if any(suspect.unsure for suspect in self._suspects.values()):
                    next_look = trio.current_time() + AGAIN_AFTER_S
            for suspect in list(self._suspects.values()):
                if suspect.again_at <= trio.current_time() and self._verdict(suspect)[0]:
                    await self._delete(suspect)
                    suspect.again_at = trio.current_time() + suspect.pause_s
                    suspect.pause_s = min(LONGEST_PAUSE_S, suspect.pause_s * 2)
            if self._suspects:
                await trio.sleep(LOOK_EVERY_S)
            else:
                self._suspected = trio.Event()
                with trio.move_on_at(next_look):
                    await self._suspected.wait()

    async def _let_go_what_is_gone(self) -> None:
        """Let go of what was strange or decided upon and is proved gone: no list proves that.

        Only what is gone at two looks, some ten minutes apart: clouds have shown a server again
        that they had denied.

        Raises:
            CloudError: one could not be looked for.
        """
        words = self.words()
        known = dict.fromkeys((*words.strange, *words.adopted, *words.condemned))
        missing = [one for one in known if one not in self._suspects and not self.not_servers(one)]
        waiting = [one for one in missing if one not in self._looked_for]
        if not waiting:
            self._looked_for.clear()  # all have had their turn
            waiting = missing
        for external_id in waiting[:MOST_LOOKED_FOR]:
            self._looked_for[external_id] = None
            row = await self.provider.get(external_id)
            if await self.provider.home() != self._home:
                return  # of another project's servers a 404 says nothing (rule 2)
            if row.state is not InstanceState.GONE:
                self._gone_once.pop(external_id, None)
            elif external_id in self._gone_once:
                del self._gone_once[external_id]
                self.let_go(external_id)
            else:
                self._gone_once[external_id] = None

    async def _delete(self, suspect: _Suspect) -> None:
        """Take one step of deleting a leak; the next round takes the next.

        Before a server goes, it is recorded what it has: its volume and ports have no other mark.
        """
        suspect.deleting = True
        tag = suspect.tag or Tag(deployment=self.deployment, node_id=NodeId(""))
        thing = Resource(
            kind=suspect.kind, sent_at=suspect.first_seen, external_id=suspect.external_id
        )
        try:
            if suspect.kind is ResourceKind.SERVER and not suspect.buried:
                row = await self.provider.get(suspect.external_id)
                await self.attached.bury(tag.node_id, suspect.external_id, *row.volumes)
                suspect.buried = True
            done = await self.provider.delete_step(thing, tag)
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
                node=tag.node_id,
            )
            del self._suspects[suspect.external_id]
