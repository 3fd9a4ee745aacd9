"""Which upload of an image a launch boots from, and why a label has none.

The stable one serves, and beside it a newer one that is on trial, the canary, by its share.
Nothing here is recorded: all of it follows from the book and from the nodes under way.
"""

from collections import Counter
from collections.abc import Callable, Mapping

import attrs

from trellis.control.fleet import Fleet
from trellis.control.images.absence import why_absent
from trellis.control.images.book import ImageBook
from trellis.images.canary import Rule, first_is_full, may_try, only_one_fails
from trellis.model.image import Build, ImageRecord, Standing, Trial, Upload, UploadState
from trellis.model.image import upload_order as order_of
from trellis.model.names import NodeId, UploadId
from trellis.model.node import Node, NodeState
from trellis.spi.config import ImageConfig
from trellis.spi.provider import Inventory, Offer

Place = tuple[str, str]
"""A provider and an image."""


@attrs.define
class _Tally:
    """Launches of an image at a provider since an upload became its canary.

    Attributes:
        tried: those from the canary, however they ended.
        launched: all of them.
    """

    canary: UploadId
    tried: int
    launched: int


class Choice:
    """Chooses the upload of each launch.

    Attributes:
        revision: rises with what changes the choice and is on no record of an image.

    Args:
        book: of all uploads.
        fleet: of all nodes; it must have been loaded.
        images: what the configuration says of each image, by name.
    """

    def __init__(
        self, book: ImageBook, fleet: Fleet, images: Callable[[], Mapping[str, ImageConfig]]
    ) -> None:
        self._book, self._fleet, self._images = book, fleet, images
        self.revision = 0
        self._building: Counter[tuple[str, str]] = Counter()
        self._given: dict[NodeId, tuple[Place, UploadId]] = {}
        self._given_from: Counter[UploadId] = Counter()
        self._last_given = NodeId("")
        self._tallies: dict[Place, _Tally] = {}
        self._read: dict[str, Inventory] = {}
        self._dressed: dict[str, Inventory] = {}
        self._closed: dict[str, str] = {}
        self._full: set[UploadId] = set()
        for node in fleet.nodes.values():
            self._count(None, node)
        fleet.on_node.append(self._node_changed)
        book.on_upload.append(self._upload_changed)
        book.on_build.append(self._build_changed)
        book.on_image.append(self._image_changed)

    # --------------------------------------------------------------------------- which one

    def choose(self, provider: str, image: str) -> Upload | None:
        """The stable upload: that of the pinned build, or the newest promoted one.

        Where none was ever promoted, one that has shown itself, or else the newest there is.
        """
        uploads = self._book.at(provider, image)
        pin = self._book.record(image).place(provider).pin
        if pin is not None:
            return next((one for one in uploads if _is_of(one, pin.build_id)), None)
        usable = [one for one in uploads if one.usable]
        for upload in usable:
            if upload.standing is Standing.PROMOTED:
                return upload
        hopeful = [one for one in usable if not self.why_unserving(one)]
        shown = [one for one in hopeful if one.trial is not None and one.trial.ready]
        return next(iter((*shown, *hopeful, *usable)), None)

    def canary(self, provider: str, image: str) -> Upload | None:
        """The newest upload that is on trial beside a stable one; None where none is."""
        if self._book.record(image).place(provider).pin is not None:
            return None
        stable = self.choose(provider, image)
        if stable is None:
            return None
        for upload in self._book.at(provider, image):
            newer = order_of(upload) > order_of(stable)
            if newer and upload.usable and upload.standing is Standing.CANARY:
                return upload
        return None

    def rule(self, image: str) -> Rule | None:
        """What the configuration says of an image's trials; None if it is not configured."""
        config = self._images().get(image)
        return Rule.of(config) if config is not None else None

    def named(self, upload: UploadId) -> Upload | None:
        """The upload of this id, if servers can be made from it."""
        found = self._book.uploads.get(upload)
        return found if found is not None and found.state is UploadState.READY else None

    def upload_of(self, node: Node) -> Upload | None:
        """The upload a node was made from; None where it is an image of the cloud's, or gone."""
        return self._book.by_external.get((node.provider, node.shape.image_id))

    def on_trial(self, node: Node) -> bool:
        """Whether a node is of a canary that is tried beside a stable upload.

        Its trial counts how it ends, and nothing else may be blamed for it.
        """
        upload = self.upload_of(node)
        if upload is None or upload.standing is not Standing.CANARY:
            return False
        canary = self.canary(upload.provider, upload.image)
        return canary is not None and canary.id == upload.id

    def is_bad(self, upload: Upload) -> bool:
        """Whether it was withdrawn, and no person has pinned it all the same."""
        if upload.standing is not Standing.WITHDRAWN:
            return False
        pin = self._book.record(upload.image).place(upload.provider).pin
        return pin is None or pin.build_id != upload.build_id

    # ---------------------------------------------------------------------------- launches

    def for_launch(self, provider: str, image: str, node_id: NodeId) -> Upload | None:
        """The upload that a node boots from which is about to be recorded.

        The canary has its turn by its share of launches. A node whose record comes to nothing
        is forgotten once its id is given again.

        Returns:
            None where no upload is stable there any more.
        """
        place = provider, image
        if node_id <= self._last_given:
            # A batch that was overtaken is decided upon anew, with the ids that it did not use.
            for other in [one for one in self._given if one >= node_id]:
                self._take_back(other)
        stable, canary = self.choose(provider, image), self.canary(provider, image)
        rule = self.rule(image)
        chosen = stable
        if canary is not None and rule is not None:
            tally = self._tally(place, canary)
            flying = self.flying(canary)
            if may_try(
                rule,
                tried=tally.tried,
                launched=tally.launched,
                tried_in_flight=flying,
                in_flight=sum(map(self.flying, self._book.at(*place))),
            ):
                chosen = canary
                tally.tried += 1
            tally.launched += 1
        if chosen is not None:
            self._given[node_id] = place, chosen.id
            self._given_from[chosen.id] += 1
            self._last_given = node_id
            self._crowd_changed(chosen)
        return chosen

    def flying(self, upload: Upload) -> int:
        """How many launches from an upload are under way."""
        building = self._building[upload.provider, upload.external_id or ""]
        return building + self._given_from[upload.id]

    def _tally(self, place: Place, canary: Upload) -> _Tally:
        known = self._tallies.get(place)
        if known is None or known.canary != canary.id:
            # After a restart: what has ended is in the record, and what has not is in the fleet.
            # Those of the one before that had begun already only make the canary's share later.
            trial = canary.trial or Trial(since=0.0)
            tried = trial.ready + trial.failed + self.flying(canary)
            before = trial.before_ready + trial.before_failed
            known = _Tally(canary=canary.id, tried=tried, launched=tried + before)
            self._tallies[place] = known
        return known

    def _take_back(self, node_id: NodeId) -> None:
        place, given = self._given.pop(node_id)
        self._given_from[given] -= 1
        self._crowd_changed(self._book.uploads.get(given))
        tally = self._tallies.get(place)
        if tally is not None:
            tally.launched -= 1
            tally.tried -= given == tally.canary

    def _node_changed(self, before: Node | None, after: Node | None) -> None:
        if before is None and after is not None and after.id in self._given:
            _, given = self._given.pop(after.id)
            self._given_from[given] -= 1
        self._count(before, after)

    def _count(self, before: Node | None, after: Node | None) -> None:
        for node, sign in ((before, -1), (after, +1)):
            if node is not None and node.state is NodeState.BUILDING:
                key = node.provider, node.shape.image_id
                self._building[key] += sign
                if not self._building[key]:
                    del self._building[key]
                self._crowd_changed(self._book.by_external.get(key))

    def _crowd_changed(self, upload: Upload | None) -> None:
        """See whether more launches of an upload may begin, or no more, than was offered last."""
        if upload is not None and bool(self.why_full(upload)) != (upload.id in self._full):
            self._dressed.pop(upload.provider, None)

    # --------------------------------------------------------------------------- inventory

    def dressed(self, provider: str, inventory: Inventory) -> Inventory:
        """The inventory with the stable upload in each offer of an own image.

        A label whose image has none is missing, with the reason. The same object as before is
        returned while nothing that matters has changed.
        """
        if self._read.get(provider) is not inventory:
            self._read[provider] = inventory
            self._dressed.pop(provider, None)
        known = self._dressed.get(provider)
        if known is None:
            known = self._dressed[provider] = self._dress(provider, inventory)
        return known

    def offers_from(self, upload: Upload) -> tuple[Offer, ...]:
        """The provider's offers of an image, with one upload of it, whether it serves or not."""
        inventory = self._read.get(upload.provider)
        offers = inventory.offers.values() if inventory is not None else ()
        return tuple(dress(one, upload) for one in offers if one.image == upload.image)

    def why_missing(self, provider: str, image: str) -> str:
        """Why no launch of an image can be made at a provider; "" if it can."""
        stable = self.choose(provider, image)
        if stable is not None:
            return self.why_unserving(stable)
        if why := self._closed.get(provider):
            return f"image {image} is not there: {why}"
        words = why_absent(self._book.of_image(image), provider, image in self._images())
        return f"image {image} {words}"

    def why_unserving(self, upload: Upload) -> str:
        """Why an upload serves no requests though nothing else does; "" if it does."""
        rule = self.rule(upload.image)
        if rule is None or upload.standing is not Standing.CANARY:
            return ""
        fails = only_one_fails(upload.trial, rule)
        return fails and f"image {upload.image}: {fails} of build {upload.build_id}"

    def why_full(self, upload: Upload) -> str:
        """Why no more launches may begin from an upload for now; "" if they may.

        Of one that nothing came before nobody knows whether it boots.
        """
        rule = self.rule(upload.image)
        if rule is None or not self._is_unproved(upload):
            return ""
        if not first_is_full(upload.trial, rule, self.flying(upload)):
            return ""
        return (
            f"image {upload.image}: it is not known yet whether build {upload.build_id} boots: as "
            f"many launches from it were begun as may be for that ({rule.nodes}, canary-nodes)"
        )

    def _is_unproved(self, upload: Upload) -> bool:
        """Whether it may serve without anything having become ready from it, by no one's word."""
        if upload.standing is not Standing.CANARY or (upload.trial and upload.trial.ready):
            return False
        return self._book.record(upload.image).place(upload.provider).pin is None

    def takes_none(self, provider: str, why: str) -> None:
        """Note why nothing can be uploaded to a provider; "" where it can."""
        if self._closed.get(provider, "") != why:
            self._closed[provider] = why
            self.revision += 1
            self._dressed.pop(provider, None)

    def refresh(self) -> None:
        """Look at everything anew: the configuration has changed."""
        self.revision += 1
        self._dressed.clear()

    def _dress(self, provider: str, inventory: Inventory) -> Inventory:
        if all(offer.image is None for offer in inventory.offers.values()):
            return inventory
        offers, missing = dict(inventory.offers), dict(inventory.missing)
        for key, offer in inventory.offers.items():
            if offer.image is None:
                continue
            stable = self.choose(provider, offer.image)
            reason = self.why_missing(provider, offer.image)
            if stable is not None and not reason:
                reason = self._note_full(stable)
            if reason:
                missing[key] = reason
                del offers[key]
            elif stable is not None:
                offers[key] = dress(offer, stable)
        return attrs.evolve(inventory, offers=offers, missing=missing)

    def _note_full(self, upload: Upload) -> str:
        why = self.why_full(upload)
        (self._full.add if why else self._full.discard)(upload.id)
        return why

    # ----------------------------------------------------------------------- what changes it

    def _upload_changed(self, before: Upload | None, after: Upload | None) -> None:
        upload = after or before
        if upload is None:
            return
        if before is not None and after is not None:
            same = attrs.evolve(before, trial=after.trial) == after
            if same and bool(self.why_unserving(before)) == bool(self.why_unserving(after)):
                self._crowd_changed(after)
                return  # a count of a trial changes nothing else that is offered
        if after is None:
            self._full.discard(upload.id)
        self._dressed.pop(upload.provider, None)

    def _build_changed(self, before: Build | None, after: Build | None) -> None:
        if before is not None and after is not None:
            grown = attrs.evolve(before, log_lines=after.log_lines, log_last=after.log_last)
            if grown == after:
                return  # that its log grows changes nothing that is offered
        self._dressed.clear()

    def _image_changed(self, _before: ImageRecord | None, _after: ImageRecord | None) -> None:
        self._dressed.clear()


def dress(offer: Offer, upload: Upload) -> Offer:
    """An offer of an own image, with an upload of it."""
    shape = attrs.evolve(
        offer.shape, image_id=upload.external_id or "", image_name=upload.name or upload.image
    )
    return attrs.evolve(offer, shape=shape)


def _is_of(upload: Upload, build_id: str) -> bool:
    return upload.build_id == build_id and upload.state is UploadState.READY
