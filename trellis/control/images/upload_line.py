"""One attempt at an upload, straight from its intent to an image that can be used.

Each step is recorded before the next, so that another process goes on where this one ended.
"""

import contextlib
from collections.abc import Iterator
from typing import Final

import attrs
import structlog
import trio

from trellis.control.images.sources import CountedSource, FileSource
from trellis.control.images.upload_place import LOOKS, UploadPlace, progress_of
from trellis.control.images.upload_records import (
    QUOTA_BACK_OFF_S,
    Failure,
    UploadRecords,
    still_uploading,
)
from trellis.errors import (
    AnswerLostError,
    AuthError,
    CloudBrokenError,
    CloudError,
    ConflictingStateError,
    QuotaExceededError,
    RetryLaterError,
    UnreachableError,
    UploadBrokenError,
)
from trellis.model.image import Upload
from trellis.model.names import UploadId
from trellis.spi.image import ImageStore, UploadProgress

log = structlog.get_logger()

FIND_EVERY_S: Final = 20.0
SENT_JUST_S: Final = 1.0
"""A call that makes an image is recorded anew if it is sent so much later than was recorded."""
PAUSE_MOST_S: Final = 60.0
AT_LEAST_S: Final = 600.0
"""So long any upload may take, and one of an earlier process from when this one began."""
UNKNOWN_RATE: Final = 1024 * 1024.0
"""Bytes in a second that are expected at least of a provider nothing was uploaded to lately."""
SHARE_OF_RATE: Final = 0.25
LOOK_AT_LEAST_S: Final = 10.0
_TRANSIENT: Final = (
    AnswerLostError,
    AuthError,
    CloudBrokenError,
    ConflictingStateError,
    RetryLaterError,
    UnreachableError,
)
"""What may be otherwise at the next try; the deadline of the upload bounds the tries."""


@attrs.define(eq=False)
class Attempt:
    """One upload that this process works on.

    Attributes:
        work: all of it.
        resumed: an earlier process has begun it, or this one before it connected anew.
        calling: a call is under way, which is never cut off unless it sends a file.
        source: what is sent, once that is known.
        over: this process has ended it, and is recording so.
    """

    work: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    resumed: bool = False
    calling: bool = False
    source: CountedSource | None = None
    over: bool = False

    def end(self) -> None:
        """The upload has been ended; if by somebody else, a file need not be sent to its end."""
        sending = self.source is not None and self.source.sending
        if not self.over and (sending or not self.calling):
            self.work.cancel()

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """A call is made in this block."""
        self.calling = True
        try:
            yield
        finally:
            self.calling = False


@attrs.define(eq=False, kw_only=True)
class UploadLine:
    """Makes the attempts at one provider; one call of `upload` for each."""

    place: UploadPlace
    records: UploadRecords

    async def upload(self, upload_id: UploadId, attempt: Attempt) -> bool:
        """Bring an upload from its intent to ready, or end the attempt; whether it is ready.

        Raises:
            UploadMovedOnError: somebody else has ended it.
        """
        upload = still_uploading(self.records.head(upload_id))
        attempt.resumed = upload.sent_at is not None
        if self.place.images is None or not upload.artifact.path:
            attempt.over = True
            none = f"{self.place.config.name} keeps no images"
            why = none if self.place.images is None else "its file is deleted: build it anew"
            await self.records.fail(upload_id, why)
            return False
        if not attempt.resumed:
            upload = await self.records.begin(upload_id, await self.place.home(upload_id))
        make = self.place.world.image_source or FileSource
        source = attempt.source = CountedSource(make(upload.artifact.path, upload.artifact.size))
        fault = await self._taken(upload, self.place.images, source, attempt)
        attempt.over = True
        if fault is not None:
            await self.records.fail(upload_id, fault)
            return False
        config = self.place.image_config(upload.image)
        promoted = config is not None and config.canary_share <= 0.0
        await self.records.ready(upload_id, promoted=promoted)
        log.info("upload_ready", upload=upload_id, provider=self.place.config.name)
        return True

    async def _taken(
        self, upload: Upload, images: ImageStore, source: CountedSource, attempt: Attempt
    ) -> Failure | None:
        """Take all steps; how they failed, if they did."""
        limit_s = self._limit_s(upload)
        try:
            with trio.fail_after(self._left_s(upload, limit_s)) as deadline:
                await self._steps(_Line(upload, images, source, deadline, attempt))
        except trio.TooSlowError:
            late = self._too_late(upload.id, source, limit_s)
            return Failure(late, counted=self.place.is_usable())
        except (CloudError, OSError) as error:
            if source.error is not None:
                return Failure(f"the file cannot be read: {source.error}. Build the image anew")
            return self._failure(error, resumed=attempt.resumed)
        return None

    def _failure(self, error: Exception, *, resumed: bool) -> Failure:
        match error:
            case QuotaExceededError():
                return Failure(str(error), wait_s=QUOTA_BACK_OFF_S)
            case UploadBrokenError():
                # What was half done by an earlier process says nothing of the next attempt.
                return Failure(str(error), counted=not resumed, broken=True)
            case AnswerLostError() if resumed:
                return Failure(str(error), counted=False)
            case _:
                return Failure(str(error), counted=self.place.is_usable())

    # --------------------------------------------------------------------------- the steps

    async def _steps(self, line: "_Line") -> None:
        """Take all steps to an image that can be used.

        Raises:
            CloudError, OSError: this attempt ends.
        """
        progress = progress_of(line.upload)
        if line.attempt.resumed and _is_beginning(progress):
            progress = await self._settle(line)
            await self.records.progressed(line.upload.id, progress)
        while True:
            before, progress = progress, await self._step(line, progress)
            if progress.done and progress.external_id is None:
                raise UploadBrokenError("it is done, and its image has no id")
            await self.records.progressed(line.upload.id, progress)
            if progress.done:
                return
            await trio.sleep(max(progress.wait_s, 1.0 if progress == before else 0.0))

    async def _step(self, line: "_Line", progress: UploadProgress) -> UploadProgress:
        """Take one step, repeated while the cloud cannot be reached or has no good answer.

        Raises:
            CloudError, OSError: it cannot be taken.
            UploadMovedOnError: it is wanted no longer.
        """
        pause_s, upload = 1.0, line.upload
        while True:
            await self.place.until_usable(upload.id, line.deadline)
            still_uploading(self.records.head(upload.id))
            wait_s = pause_s
            try:
                await self.place.at_home(upload)
                upload = await self._about_to_send(upload, progress)
                with line.attempt.call():
                    taken = await line.images.upload_step(
                        self.place.intent(upload), progress, line.source
                    )
            except _TRANSIENT as error:
                if line.source.error is not None:
                    raise  # it is our own file that cannot be read
                self.place.waits[upload.id] = str(error)
                lost = isinstance(error, AnswerLostError | CloudBrokenError)
                if lost and _is_beginning(progress):
                    # The one call that makes the image is never sent again (P3).
                    log.warning("upload_in_doubt", upload=upload.id, error=str(error))
                    return await self._settle(line)
                if isinstance(error, RetryLaterError):
                    wait_s = max(wait_s, error.after_s or 0.0)
                log.info("upload_step_again", upload=upload.id, error=str(error))
            else:
                self.place.waits.pop(upload.id, None)
                return taken
            await trio.sleep(wait_s)
            pause_s = min(PAUSE_MOST_S, pause_s * 2)

    async def _about_to_send(self, upload: Upload, progress: UploadProgress) -> Upload:
        """Record anew when the image is made, if that was put off: from then on it may appear.

        Raises:
            UploadMovedOnError: it is wanted no longer.
        """
        assert upload.sent_at is not None
        if not _is_beginning(progress) or self.place.world.wall() - upload.sent_at < SENT_JUST_S:
            return upload
        assert upload.home is not None
        return await self.records.begin(upload.id, upload.home)

    async def _settle(self, line: "_Line") -> UploadProgress:
        """Find the image of a call without an answer; it may appear minutes late.

        Raises:
            AnswerLostError: none has appeared within ``create-settle``.
        """
        config = self.place.config
        upload = still_uploading(self.records.head(line.upload.id))  # of when it was sent last
        while True:
            late = self.place.had_its_time(upload)  # asked before the look, which then counts
            try:
                found = await self.place.find(upload, line.images)
            except CloudError as error:
                self.place.waits[upload.id] = str(error)
            else:
                if found is not None:
                    return UploadProgress(external_id=found)
                if late:
                    raise AnswerLostError(
                        "the call that makes the image was not answered, and no image of it "
                        f"appeared within create-settle, {config.create_settle:g} s",
                        cloud=config.cloud,
                    )
                self.place.waits[upload.id] = LOOKS
            await trio.sleep(FIND_EVERY_S)

    # ------------------------------------------------------------------------ its deadline

    def _limit_s(self, upload: Upload) -> float:
        """Longest time of the whole attempt: as configured, or by its size and the usual rate."""
        if self.place.config.image_upload_timeout > 0.0:
            return self.place.config.image_upload_timeout
        known = self.records.rate()
        rate = UNKNOWN_RATE if known is None else known * SHARE_OF_RATE
        return AT_LEAST_S + upload.artifact.size / rate

    def _left_s(self, upload: Upload, limit_s: float) -> float:
        """Seconds of it that are left; after a long absence of ours some are given anew."""
        assert upload.sent_at is not None
        wall = self.place.world.wall
        anew = wall.began_at + min(limit_s, AT_LEAST_S)
        return max(LOOK_AT_LEAST_S, max(upload.sent_at + limit_s, anew) - wall())

    def _too_late(self, upload_id: UploadId, source: CountedSource, limit_s: float) -> str:
        configured = self.place.config.image_upload_timeout > 0.0
        which = "image-upload-timeout" if configured else "by its size and the usual rate there"
        sent = source.sent
        last = self.place.waits.get(upload_id, "")
        return (
            f"not ready within {limit_s:.0f} s ({which}); {sent.bytes} of {sent.total} bytes "
            "were sent by the last try" + (f": {last}" if last else "")
        )


@attrs.frozen
class _Line:
    """What all steps of one attempt are given."""

    upload: Upload
    images: ImageStore
    source: CountedSource
    deadline: trio.CancelScope
    attempt: Attempt


def _is_beginning(progress: UploadProgress) -> bool:
    return not progress.stage and progress.external_id is None and not progress.things
