"""Trials of new uploads: how launches from them end is counted, and decides about them.

Counts are recorded in the upload they are about, and only while it is a canary. What is decided
is recorded as its standing; the idle nodes of what is withdrawn are deleted with it.
"""

import math
from collections.abc import Callable, Iterable, Iterator

import attrs
import structlog
import trio

from trellis.control.fleet import Fleet
from trellis.control.images.book import ImageBook
from trellis.control.images.choice import Choice
from trellis.control.nudge import Nudge
from trellis.images.canary import Probed, Step, Verdict, judge
from trellis.model.image import ImageRecord, Standing, Trial, Upload, UploadState
from trellis.model.names import NodeId, UploadId
from trellis.model.node import Node, NodeState
from trellis.model.records import Change
from trellis.scheduler.snapshot import Probe
from trellis.store.store import Store
from trellis.world import World

log = structlog.get_logger()

LOOK_EVERY_S = 30.0
"""So often trials are looked at without anything having happened: some wait for time to pass."""

WITHDRAWN = "its image was withdrawn"
_ENDS = {NodeState.READY: "ready", NodeState.FAILED: "failed"}


class Trials:
    """Runs the trials of all images at all providers.

    Args:
        at_fault: why a launch that failed says nothing of its image, as its cloud fails anyhow;
            "" where it does.
        changed: called when something else is chosen for launches, or something is to be probed.
    """

    def __init__(
        self,
        *,
        store: Store,
        book: ImageBook,
        fleet: Fleet,
        world: World,
        choice: Choice,
        at_fault: Callable[[Node], str],
        changed: Callable[[], None],
    ) -> None:
        self._store, self._book, self._fleet, self._world = store, book, fleet, world
        self._choice, self._at_fault, self._changed = choice, at_fault, changed
        self._counts: dict[UploadId, Trial] = {}
        self._to_retire: dict[NodeId, None] = {}
        self._verdicts: dict[UploadId, Verdict] = {}
        self._probed_at: dict[UploadId, float] = {}
        self._nudge = Nudge()
        fleet.on_node.append(self._node_changed)
        book.on_upload.append(self._upload_changed)
        book.on_image.append(self._image_changed)
        self._see_idle_nodes(fleet.nodes.values())

    async def run(self) -> None:
        """Record counts, decide and delete until cancelled.

        Cancelled, it leaves what has become durable, from which the next start goes on.
        """
        while True:
            # Read and staged without an await between: nobody comes between.
            await self._store.commit([*self._decided(), *self._retired()])
            if self.probes():
                self._changed()
            await self._nudge.wait(at_most=LOOK_EVERY_S)

    def verdict(self, upload: UploadId) -> Verdict | None:
        """What was last decided about a canary; None where there is nothing to decide."""
        return self._verdicts.get(upload)

    def probes(self) -> tuple[Probe, ...]:
        """The launches that are wanted now for trials alone."""
        return tuple(self._wanted_probes())

    # --------------------------------------------------------------------------- counting

    def _node_changed(self, before: Node | None, after: Node | None) -> None:
        if after is None:
            return
        if before is None or before.state is NodeState.BUILDING:
            upload = self._choice.upload_of(after)
            if upload is not None and before is None:
                self._probed_at[upload.id] = trio.current_time()
            elif upload is not None and after.state is not NodeState.BUILDING:
                self._ended(upload, after)
                self._nudge()
        self._see_idle(after)

    def _ended(self, upload: Upload, node: Node) -> None:
        """Count how a launch ended, for itself and for the canary that is tried beside it."""
        end = _ENDS.get(node.state)
        if end is None or (end == "failed" and self._says_nothing(node)):
            return
        if upload.standing is Standing.CANARY:
            self._count(upload, end)
        canary = self._choice.canary(upload.provider, upload.image)
        if canary is None or canary.id == upload.id:
            return
        stable = self._choice.choose(upload.provider, upload.image)
        began = canary.ready_at or canary.created_at
        if stable is not None and stable.id == upload.id and node.created_at >= began:
            self._count(canary, f"before_{end}")

    def _says_nothing(self, node: Node) -> bool:
        # A create that was not answered is the cloud's doing, whatever it was a create of.
        unanswered = node.server is not None and node.server.in_doubt
        return unanswered or bool(self._at_fault(node))

    def _count(self, upload: Upload, what: str) -> None:
        known = self._counts.get(upload.id, Trial(since=0.0))
        self._counts[upload.id] = attrs.evolve(known, **{what: getattr(known, what) + 1})

    # --------------------------------------------------------------------------- deciding

    def _decided(self) -> Iterator[Change]:
        """The counts since the last round, and what they come to: one change for each upload."""
        counts, self._counts = self._counts, {}
        self._verdicts = {}
        for known in list(self._book.uploads.values()):
            if known.state is not UploadState.READY or known.standing is not Standing.CANARY:
                continue
            before = self._store.head(Upload, known.id)
            if before is None or not before.usable or before.standing is not Standing.CANARY:
                continue
            after = before
            if known.id in counts:
                after = attrs.evolve(before, trial=_sum(_trial_of(before), counts[known.id]))
            found = self._judged(after)
            if found is not None:
                self._verdicts[known.id] = found
                after = _with_standing(after, found)
            if after != before:
                why = after.standing_why if after.standing is not before.standing else ""
                yield Change(before, after, why=why)

    def _judged(self, upload: Upload) -> Verdict | None:
        rule = self._choice.rule(upload.image)
        if rule is None:
            return None
        stable = self._choice.choose(upload.provider, upload.image)
        canary = self._choice.canary(upload.provider, upload.image)
        alone = stable is not None and stable.id == upload.id
        if not alone and (canary is None or canary.id != upload.id):
            return None  # superseded by a newer one, or the image is pinned there
        if self._book.record(upload.image).place(upload.provider).pin is not None:
            return None
        now = self._world.wall()
        return judge(_trial_of(upload), rule, has_previous=not alone, now=now)

    # ---------------------------------------------------------------------------- probing

    def _wanted_probes(self) -> Iterator[Probe]:
        now = trio.current_time()
        for upload_id, verdict in self._verdicts.items():
            upload = self._book.uploads.get(upload_id)
            if verdict.step is not Step.PROBE or upload is None or not upload.usable:
                continue
            target: Upload | None = upload
            if verdict.probe is Probed.BEFORE:
                target = self._choice.choose(upload.provider, upload.image)
            if target is None or self._choice.flying(target):
                continue
            if now - self._probed_at.get(target.id, -math.inf) < verdict.every_s:
                continue
            offers = self._choice.offers_from(target)
            if offers:
                reason = f"to try image {target.image} of build {target.build_id}: {verdict.why}"
                yield Probe(
                    provider=target.provider, upload=target.id, offers=offers, reason=reason
                )

    # --------------------------------------------------------------------------- retiring

    def _upload_changed(self, before: Upload | None, after: Upload | None) -> None:
        if before is not None and after is not None and before.standing is not after.standing:
            self._see_idle_nodes(self._fleet.by_provider.get(after.provider, {}).values())
            self._changed()
        if after is None and before is not None:
            self._probed_at.pop(before.id, None)
        self._nudge()

    def _image_changed(self, before: ImageRecord | None, after: ImageRecord | None) -> None:
        if before is not None and after is not None and before.places != after.places:
            # What was withdrawn may have been pinned all the same, and be so no longer.
            self._see_idle_nodes(self._fleet.nodes.values())
            self._changed()

    def _see_idle_nodes(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            self._see_idle(node)

    def _see_idle(self, node: Node) -> None:
        upload = self._choice.upload_of(node) if node.idle else None
        if upload is not None and self._choice.is_bad(upload):
            self._to_retire[node.id] = None
            self._nudge()

    def _retired(self) -> Iterator[Change]:
        nodes, self._to_retire = self._to_retire, {}
        for node_id in nodes:
            node = self._store.head(Node, node_id)
            upload = self._choice.upload_of(node) if node is not None else None
            # Somebody may have been given it meanwhile, or a person may have said otherwise.
            if node is None or upload is None or not node.idle:
                continue
            if self._choice.is_bad(upload):
                after = node.became(NodeState.DELETING, self._world.wall())
                yield Change(node, after, why=WITHDRAWN)


def _with_standing(upload: Upload, verdict: Verdict) -> Upload:
    if verdict.step is Step.WITHDRAW:
        log.warning("upload_withdrawn", upload=upload.id, why=verdict.why)
        return attrs.evolve(upload, standing=Standing.WITHDRAWN, standing_why=verdict.why)
    if verdict.step is Step.PROMOTE:
        log.info("upload_promoted", upload=upload.id, why=verdict.why)
        return attrs.evolve(upload, standing=Standing.PROMOTED, standing_why=verdict.why)
    return upload


def _trial_of(upload: Upload) -> Trial:
    if upload.trial is not None:
        return upload.trial
    return Trial(since=upload.ready_at or upload.created_at)


def _sum(known: Trial, more: Trial) -> Trial:
    return attrs.evolve(
        known,
        ready=known.ready + more.ready,
        failed=known.failed + more.failed,
        before_ready=known.before_ready + more.before_ready,
        before_failed=known.before_failed + more.before_failed,
    )
