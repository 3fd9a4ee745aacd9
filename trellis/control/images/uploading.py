"""The uploads of one provider: each in a task of its own, as its record says.

Cancellation makes no cloud call: what was recorded stays, and the next process goes on from it.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import attrs
import structlog
import trio

from trellis.control.health import ProviderHealth
from trellis.control.images.book import ImageBook
from trellis.control.images.hook import run_hook
from trellis.control.images.sources import Sent
from trellis.control.images.upload_deletion import UploadDeletion
from trellis.control.images.upload_line import Attempt, UploadLine
from trellis.control.images.upload_place import UploadPlace
from trellis.control.images.upload_records import UploadMovedOnError, UploadRecords
from trellis.control.nudge import Nudge
from trellis.errors import StoreError
from trellis.model.image import Upload, UploadState
from trellis.model.names import UploadId
from trellis.model.node import Home
from trellis.spi.config import ImageConfig, ProviderConfig
from trellis.spi.provider import Provider
from trellis.store.store import Store
from trellis.world import World

log = structlog.get_logger()

RESYNC_S: Final = 60.0
BUG_PAUSE_S: Final = 60.0


@attrs.define(eq=False, kw_only=True)
class Uploading:
    """Uploads images to one provider and deletes them there, as their records say.

    Level-triggered: `run` may be started at any time, and anew at any time. What it is given it
    only borrows. One is made each time a provider connects.

    Attributes:
        provider: where its ``images`` is None nothing is uploaded or deleted.
        foreign: why a project and endpoint are not those of our records; "" if they are.
        image_config: the configuration of an image; None if it is configured no longer.
        booted: whether nodes that are not proved gone were made from an image.
    """

    config: ProviderConfig
    deployment: str
    provider: Provider
    store: Store
    world: World
    book: ImageBook
    health: ProviderHealth
    foreign: Callable[[Home], str]
    image_config: Callable[[str], ImageConfig | None]
    booted: Callable[[str], bool]
    _place: UploadPlace = attrs.field(init=False)
    _records: UploadRecords = attrs.field(init=False)
    _line: UploadLine = attrs.field(init=False)
    _deletion: UploadDeletion = attrs.field(init=False)
    _slots: trio.CapacityLimiter = attrs.field(init=False)
    _look_again: Nudge = attrs.field(factory=Nudge, init=False)
    _attempts: dict[UploadId, Attempt] = attrs.field(factory=dict, init=False)
    _at_work: set[UploadId] = attrs.field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self._place = UploadPlace(
            config=self.config,
            deployment=self.deployment,
            provider=self.provider,
            world=self.world,
            health=self.health,
            foreign=self.foreign,
            image_config=self.image_config,
        )
        self._records = UploadRecords(
            provider=self.config.name, store=self.store, world=self.world, book=self.book
        )
        self._line = UploadLine(place=self._place, records=self._records)
        self._deletion = UploadDeletion(
            place=self._place, records=self._records, booted=self.booted
        )
        self._slots = trio.CapacityLimiter(self.config.upload_workers)

    # ------------------------------------------------------------------------- what is shown

    def sent(self, upload_id: UploadId) -> Sent | None:
        """How much of its file has been sent, and how fast; None while it is not at work."""
        attempt = self._attempts.get(upload_id)
        return attempt.source.sent if attempt is not None and attempt.source is not None else None

    def waits(self, upload_id: UploadId) -> str:
        """What an upload or its deletion waits for, in words; "" if for nothing but its call."""
        return self._place.waits.get(upload_id, "")

    # ------------------------------------------------------------------------------ the tasks

    async def run(self) -> None:
        """Do what the records ask for until cancelled, each upload in a task of its own."""
        self.book.on_upload.append(self._changed)
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    for upload in self.book.at_provider(self.config.name):
                        if upload.id not in self._at_work and _has_to_move(upload):
                            self._at_work.add(upload.id)
                            nursery.start_soon(self._move, upload.id, nursery)
                    await self._look_again.wait(at_most=RESYNC_S)
        finally:
            self.book.on_upload.remove(self._changed)

    def _changed(self, before: Upload | None, after: Upload | None) -> None:
        upload = after or before
        if upload is None or upload.provider != self.config.name:
            return
        ended = after is None or after.state is UploadState.DELETING
        if ended and (attempt := self._attempts.get(upload.id)) is not None:
            attempt.end()
        if after is not None and after.id not in self._at_work and _has_to_move(after):
            self._look_again()

    async def _move(self, upload_id: UploadId, nursery: trio.Nursery) -> None:
        """Upload what is to be uploaded, delete what is to be deleted."""
        structlog.contextvars.bind_contextvars(upload=upload_id, provider=self.config.name)
        try:
            while (upload := self.book.uploads.get(upload_id)) is not None and _has_to_move(upload):
                try:
                    if upload.state is UploadState.DELETING:
                        await self._deletion.delete(upload_id)
                    else:
                        await self._upload_and_hook(upload, nursery)
                except StoreError:
                    raise
                except UploadMovedOnError:
                    pass  # what has become of it is on its way to the log
                except Exception as bug:
                    log.error("upload_task_crashed", again_in_s=BUG_PAUSE_S, exc_info=bug)
                    await trio.sleep(BUG_PAUSE_S)
                    # An attempt with a bug in it would crash again; the next one waits its time.
                    await self._records.fail(upload_id, f"a bug of Trellis ended it: {bug!r}")
                finally:
                    self._place.waits.pop(upload_id, None)
                await self.store.settled()
        finally:
            self._at_work.discard(upload_id)

    async def _upload(self, upload_id: UploadId) -> bool:
        """Make the attempt once there is a slot for it; whether its image is ready."""
        attempt = self._attempts[upload_id] = Attempt()
        waits = self._place.waits
        try:
            with attempt.work:
                waits[upload_id] = (
                    f"waits until one of {self.config.upload_workers} uploads at a time is done "
                    f"(upload-workers of {self.config.name})"
                )
                async with self._slots:
                    waits.pop(upload_id, None)
                    return await self._line.upload(upload_id, attempt)
            return False  # ended by somebody else, who has recorded why
        finally:
            del self._attempts[upload_id]

    async def _upload_and_hook(self, upload: Upload, nursery: trio.Nursery) -> None:
        """Make the attempt, then start its hook; the file is there until both have ended."""
        with ExitStack() as reading:
            reading.enter_context(self.book.reading(upload.build_id, upload.artifact.format))
            if await self._upload(upload.id):
                # A task that is started gets to its first line, also where all is cancelled.
                nursery.start_soon(self._run_hook, upload.id, reading.pop_all())

    async def _run_hook(self, upload_id: UploadId, reading: ExitStack) -> None:
        """Run what the site wants to be run after an upload, and record how it failed."""
        with reading:
            await self._hook(upload_id)

    async def _hook(self, upload_id: UploadId) -> None:
        upload = self._records.head(upload_id)
        config = self.image_config(upload.image)
        command = config.post_upload_hook if config is not None else None
        if not command:
            return
        fault = await run_hook(command, upload)
        if fault:
            log.error("post_upload_hook_failed", upload=upload_id, why=fault)
            await self._records.say(upload_id, lambda u: attrs.evolve(u, hook_fault=fault))


def _has_to_move(upload: Upload) -> bool:
    return upload.state in (UploadState.UPLOADING, UploadState.DELETING)
