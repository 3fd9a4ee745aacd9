"""What the life of an upload puts on record: each step is one commit, and none is taken twice."""

from collections.abc import Callable
from statistics import median
from typing import Final

import attrs
import structlog

from trellis.control.amend import amend
from trellis.control.images.book import ImageBook
from trellis.errors import TrellisError
from trellis.model.image import ImageRecord, Standing, Upload, UploadState
from trellis.model.names import UploadId
from trellis.model.node import Home
from trellis.model.records import Change
from trellis.spi.image import UploadProgress
from trellis.store.store import Store
from trellis.world import World

log = structlog.get_logger()

BACK_OFF_S: Final = 60.0
MOST_BACK_OFF_S: Final = 6 * 3600.0
QUOTA_BACK_OFF_S: Final = 1800.0
MEASURED_FROM: Final = 64 * 1024 * 1024
"""Bytes: what is smaller takes as long as the cloud's own steps do, and tells no rate."""
MEASURED: Final = 5


class UploadMovedOnError(TrellisError):
    """Somebody else has ended this upload: it is to be deleted, or is gone."""


@attrs.frozen
class Failure:
    """How an attempt failed.

    Attributes:
        fault: why, in words.
        counted: False: it says nothing of the next one, which may begin at once.
        broken: another attempt may well go better: the next one begins at once, but no more than
            one after the other.
        wait_s: how long the next one waits; None doubles with each failure in a row.
    """

    fault: str
    counted: bool = attrs.field(default=True, kw_only=True)
    broken: bool = attrs.field(default=False, kw_only=True)
    wait_s: float | None = attrs.field(default=None, kw_only=True)


@attrs.define(eq=False, kw_only=True)
class UploadRecords:
    """The steps of the uploads to one provider, as changes of their records."""

    provider: str
    store: Store
    world: World
    book: ImageBook

    async def begin(self, upload_id: UploadId, home: Home) -> Upload:
        """Record that an image is about to be made, and in which project (P3).

        Raises:
            UploadMovedOnError: it is no longer to be uploaded.
        """
        now = self.world.wall()
        return await self._note(upload_id, lambda u: attrs.evolve(u, home=home, sent_at=now))

    async def progressed(self, upload_id: UploadId, progress: UploadProgress) -> Upload:
        """Record how far an upload has come; what was made also if it has been ended meanwhile.

        Raises:
            UploadMovedOnError: it has been.
        """

        def further(upload: Upload) -> Upload:
            if upload.state is UploadState.GONE:
                return upload
            return attrs.evolve(
                upload,
                stage=progress.stage,
                external_id=progress.external_id or upload.external_id,
                things=progress.things,
            )

        return still_uploading(await amend(self.store, Upload, upload_id, further))

    async def ready(self, upload_id: UploadId, *, promoted: bool) -> Upload:
        """Record that it can be used; its failures before are forgotten.

        Raises:
            UploadMovedOnError: it has been ended meanwhile.
        """
        now = self.world.wall()
        before = still_uploading(self.head(upload_id))
        after = before.became(UploadState.READY, now, ready_at=now)
        if promoted:
            words = "canary-share is 0"
            after = attrs.evolve(after, standing=Standing.PROMOTED, standing_why=words)
        await self.store.commit(
            [Change(before, after), *self._remembered(before, 0, not_before=0.0, fault="")]
        )
        return after

    async def fail(self, upload_id: UploadId, failure: "Failure | str") -> None:
        """End an attempt: what there is of it is to be deleted, and the next one has to wait."""
        failed = Failure(failure) if isinstance(failure, str) else failure
        before = self.store.head(Upload, upload_id)
        if before is None or before.state is not UploadState.UPLOADING:
            return
        now = self.world.wall()
        place = self._image(before).place(self.provider)
        failures = place.failures + 1
        wait_s = failed.wait_s
        if failed.broken and failures == 1:
            wait_s = 0.0
        elif wait_s is None:
            wait_s = min(MOST_BACK_OFF_S, BACK_OFF_S * 2.0 ** min(20, failures - 1))
        again = f"; tried again in {_words(wait_s)}" if failed.counted and wait_s else ""
        fault = failed.fault + again
        after = before.became(UploadState.DELETING, now, fault=fault)
        changes = [Change(before, after, why=fault)]
        if failed.counted:
            changes += self._remembered(
                before, failures, not_before=now + wait_s, fault=failed.fault
            )
        await self.store.commit(changes)
        log.warning("upload_failed", upload=upload_id, provider=self.provider, fault=fault)

    async def gone(self, upload_id: UploadId) -> None:
        """Record that nothing of it is left in the cloud."""
        before = self.head(upload_id)
        if before.state is UploadState.GONE:
            return
        after = before.became(UploadState.GONE, self.world.wall())
        await self.store.commit([Change(before, after, archive=True)])
        log.info("upload_gone", upload=upload_id, provider=self.provider, why=before.fault or "")

    async def found(self, upload_id: UploadId, external_id: str) -> Upload:
        """Record that an image in doubt is there after all."""
        return await amend(
            self.store, Upload, upload_id, lambda u: attrs.evolve(u, external_id=external_id)
        )

    async def say(
        self, upload_id: UploadId, change: Callable[[Upload], Upload], *, why: str = ""
    ) -> None:
        """Record words about it; nothing happens if it is gone."""
        if self.store.head(Upload, upload_id) is not None:
            await amend(self.store, Upload, upload_id, change, why=why)

    def head(self, upload_id: UploadId) -> Upload:
        """The newest version of it.

        Raises:
            UploadMovedOnError: it is gone.
        """
        upload = self.store.head(Upload, upload_id)
        if upload is None:
            raise UploadMovedOnError
        return upload

    def rate(self) -> float | None:
        """Bytes in a second at which whole uploads to this provider went lately, if any did."""
        done = [
            (one.ready_at, one.artifact.size / (one.ready_at - one.sent_at))
            for one in self.book.at_provider(self.provider)
            if one.ready_at is not None
            and one.sent_at is not None
            and one.ready_at > one.sent_at
            and one.artifact.size >= MEASURED_FROM
        ]
        return median([rate for _, rate in sorted(done)[-MEASURED:]]) if done else None

    async def _note(self, upload_id: UploadId, change: Callable[[Upload], Upload]) -> Upload:
        return await amend(self.store, Upload, upload_id, lambda u: change(still_uploading(u)))

    def _image(self, upload: Upload) -> ImageRecord:
        return self.store.head(ImageRecord, upload.image) or ImageRecord(name=upload.image)

    def _remembered(
        self, upload: Upload, failures: int, *, not_before: float, fault: str
    ) -> list[Change]:
        """The change of what is remembered of an image here, if there is one."""
        known = self.store.head(ImageRecord, upload.image)
        image = self._image(upload)
        place = attrs.evolve(
            image.place(self.provider), failures=failures, not_before=not_before, fault=fault
        )
        after = image.with_place(place)
        same = image.place(self.provider) == place
        return [] if same else [Change(known, after, why=fault)]


def still_uploading(upload: Upload) -> Upload:
    """The upload, if it goes on.

    Raises:
        UploadMovedOnError: it does not.
    """
    if upload.state is not UploadState.UPLOADING:
        raise UploadMovedOnError
    return upload


def _words(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"
