"""The end of an upload: what there is of it goes from the cloud, until that is proved."""

from collections.abc import Callable
from typing import Final

import attrs
import structlog
import trio

from trellis.control.images.upload_place import LOOKS, UploadPlace, progress_of
from trellis.control.images.upload_records import UploadRecords
from trellis.errors import CloudError
from trellis.model.image import Upload
from trellis.model.names import UploadId
from trellis.spi.provider import Gone

log = structlog.get_logger()

AT_ONCE: Final = 4
"""Calls that delete images at the same time; they share no slot with uploads."""
PAUSE_MOST_S: Final = 60.0
STUCK_AFTER_S: Final = 600.0
BOOTED_EVERY_S: Final = 10.0
BOOTED: Final = "servers of ours were made from it: it stays until they are gone"
STUCK: Final = "the deletion is stuck"


@attrs.define(eq=False, kw_only=True)
class UploadDeletion:
    """Deletes uploads at one provider.

    Attributes:
        booted: whether nodes that are not proved gone were made from an image.
    """

    place: UploadPlace
    records: UploadRecords
    booted: Callable[[str], bool]
    _slots: trio.CapacityLimiter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._slots = trio.CapacityLimiter(AT_ONCE)

    async def delete(self, upload_id: UploadId) -> None:
        """Take what there is of an upload from the cloud, until it is proved gone.

        It is asked for ever, with growing pauses: its owner is the cloud (P4). While nodes of it
        are left, nothing is asked: not every cloud refuses to delete what a server boots from.
        """
        pause_s, free_at = 1.0, 0.0
        while True:
            upload = self.records.head(upload_id)
            if upload.external_id is not None and self.booted(upload.external_id):
                self.place.waits[upload_id] = BOOTED
                free_at = self.place.world.wall() + BOOTED_EVERY_S
                await trio.sleep(BOOTED_EVERY_S)
                continue
            await self._tell_if_stuck(upload, free_at)
            try:
                async with self._slots:
                    if await self._step(upload):
                        await self.records.gone(upload_id)
                        return
            except CloudError as error:
                self.place.waits[upload_id] = str(error)
                log.info("upload_delete_again", upload=upload_id, error=str(error))
            await trio.sleep(pause_s)
            pause_s = min(PAUSE_MOST_S, pause_s * 2)

    async def _step(self, upload: Upload) -> bool:
        """Take one step; whether nothing is left.

        Raises:
            CloudError: it could not be taken.
        """
        place, waits = self.place, self.place.waits
        if upload.sent_at is None:
            return True  # nothing was ever made
        if place.images is None:
            waits[upload.id] = f"{place.config.name} keeps no images any more"
            return False
        await place.at_home(upload)
        if upload.external_id is None:
            late = place.had_its_time(upload)  # asked before the look, which then counts
            found = await place.find(upload, place.images)
            if found is not None:
                await self.records.found(upload.id, found)
            if found is not None or not late:
                waits[upload.id] = LOOKS
                return False
        gone = await place.images.delete_step(place.intent(upload), progress_of(upload))
        await place.at_home(upload)
        if gone is Gone.AGAIN:
            waits[upload.id] = (
                "the cloud has been told to delete it and still has it: a server may boot from it"
            )
        return gone is Gone.DONE

    async def _tell_if_stuck(self, upload: Upload, free_at: float) -> None:
        """Have an old deletion say so, once: in the log and in its record (P4, P8)."""
        age_s = self.place.world.wall() - max(upload.state_at, free_at)
        if age_s < STUCK_AFTER_S or STUCK in (upload.fault or ""):
            return
        said = f"{STUCK} for {age_s / 60:.0f} min: {self.place.waits.get(upload.id, '')}"
        fault = f"{upload.fault}; {said}" if upload.fault else said
        log.error("upload_deletion_stuck", upload=upload.id, why=said)
        await self.records.say(upload.id, lambda u: attrs.evolve(u, fault=fault), why=said)
