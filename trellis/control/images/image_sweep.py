"""Images that exist against uploads on record: leaks go, and uploads whose image has gone too.

As with servers: only the tag of this deployment makes an image ours, two sightings make it a
leak, and one that the store cannot have begun stops the sweep until a person decides (rule 1).
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import attrs
import structlog
import trio

from trellis.control.images.book import ImageBook
from trellis.control.images.upload_fate import UploadFate
from trellis.control.images.upload_place import image_store
from trellis.errors import CloudError
from trellis.model.image import Artifact, Upload, UploadState
from trellis.model.node import Home
from trellis.model.provider import ProviderRecord
from trellis.model.status import Leak
from trellis.spi.image import (
    CloudImage,
    CloudImageState,
    ImageIntent,
    ImageStore,
    ImageTag,
    UploadProgress,
)
from trellis.spi.provider import Gone, Provider

log = structlog.get_logger()

KIND: Final = "image"
SIGHTINGS: Final = 2
AGAIN_AFTER_S: Final = 60.0
"""Two sightings must be at least so far apart to count as two."""
LIST_EVERY_S: Final = 600.0
LOOK_EVERY_S: Final = 10.0
LONGEST_PAUSE_S: Final = 600.0
"""So seldom in the end a leak is asked to be deleted that the cloud does not delete."""
_NOTHING: Final = Artifact(format="", path="", size=0, md5="", sha256="")


@attrs.define
class _Suspect:
    image: CloudImage
    tag: ImageTag
    issued: bool
    first_seen: float
    last_seen: float
    sightings: int = 1
    note: str = ""
    again_at: float = -math.inf
    pause_s: float = LOOK_EVERY_S


@attrs.define(eq=False, kw_only=True)
class ImageSweep:
    """Compares the images of one provider with the uploads on record.

    Attributes:
        mode: ``report`` or ``delete``.
        foreign: why a project and endpoint are not those of our records; "" if they are.
        issued: whether this store ever began the upload of a tag.
        booted: whether nodes that are not proved gone were made from an image.
        estrange: told, by external id, of tags of uploads that the store never began.
        let_go: told of what is proved gone: what was remembered of it may be forgotten.
        words: what people have decided about single leaks.
        fate: told of uploads whose image is gone or was put out of use.
    """

    name: str
    deployment: str
    provider: Provider
    mode: str
    wall: Callable[[], float]
    book: ImageBook
    foreign: Callable[[Home], str]
    issued: Callable[[ImageTag], Awaitable[bool]]
    booted: Callable[[str], bool]
    estrange: Callable[[Mapping[str, ImageTag]], None]
    let_go: Callable[[str], None]
    words: Callable[[], ProviderRecord]
    fate: UploadFate
    _suspects: dict[str, _Suspect] = attrs.field(factory=dict, init=False)
    _wanted: dict[str, None] = attrs.field(factory=dict, init=False)
    _asked: trio.Event = attrs.field(factory=trio.Event, init=False)
    _alarmed: bool = attrs.field(default=False, init=False)

    # ------------------------------------------------------------------------ the task

    async def run(self) -> None:
        """List the images now and then, delete what is condemned, look at what is asked for."""
        images = image_store(self.provider)
        if images is None:
            return
        next_list = trio.current_time()
        while True:
            if trio.current_time() >= next_list:
                heard = await self._guarded(partial(self._list, images), "images_not_listed")
                unsure = any(one.sightings < SIGHTINGS for one in self._suspects.values())
                soon = unsure or not heard
                next_list = trio.current_time() + (AGAIN_AFTER_S if soon else LIST_EVERY_S)
            for external_id in list(self._wanted):
                upload = self.book.by_external.get((self.name, external_id))
                if upload is None or await self._guarded(
                    partial(self._look, images, upload), "image_not_looked_at"
                ):
                    self._wanted.pop(external_id, None)
            for suspect in list(self._suspects.values()):
                if suspect.again_at <= trio.current_time() and self._verdict(suspect)[0]:
                    await self._delete(images, suspect)
            # Without a suspect there is nothing to do before the next list, unless it is asked for.
            busy = self._suspects or self._wanted
            with trio.move_on_at(trio.current_time() + LOOK_EVERY_S if busy else next_list):
                await self._asked.wait()
            self._asked = trio.Event()

    def look(self, external_id: str) -> None:
        """Have an image of ours looked at soon: a server could not be made from it."""
        self._wanted[external_id] = None
        self._asked.set()

    async def _guarded(self, act: Callable[[], Awaitable[None]], what: str) -> bool:
        try:
            await act()
        except CloudError as error:
            log.info(what, provider=self.name, error=str(error))
            return False
        return True

    # ------------------------------------------------------------------------- looking

    async def _list(self, images: ImageStore) -> None:
        """Compare what is there with what is on record.

        Raises:
            CloudError: it could not be read, or is not where our records speak of.
        """
        home = await self.provider.home()
        rows = await images.list(self.deployment)
        if await self.provider.home() != home or self.foreign(home):
            return  # another project's list says nothing (rule 2)
        there = {row.external_id: row for row in rows if row.state is not CloudImageState.GONE}
        await self._compare(there)
        for upload in self.book.at_provider(self.name):
            if upload.state is not UploadState.READY or upload.home != home:
                continue
            row = there.get(upload.external_id or "")
            if row is None:
                await self._look(images, upload)  # absence from a list proves nothing
            else:
                await self.fate.seen(upload, row)

    async def _look(self, images: ImageStore, upload: Upload) -> None:
        """Look at the image of an upload.

        Raises:
            CloudError: it could not be looked at.
        """
        if upload.external_id is None or upload.state is not UploadState.READY:
            return
        row = await images.get(upload.external_id)
        if await self.provider.home() == upload.home:
            await self.fate.seen(upload, row)

    async def _compare(self, there: Mapping[str, CloudImage]) -> None:
        now, seen = self.wall(), set[str]()
        for external_id, row in sorted(there.items()):
            tag = row.tag
            if tag is None or tag.deployment != self.deployment:
                continue
            if row.state is CloudImageState.UNKNOWN or self._claimed(external_id, tag):
                continue
            issued = await self.issued(tag)
            if self._claimed(external_id, tag):
                continue  # since: looking into the history takes its time
            seen.add(external_id)
            suspect = self._suspects.get(external_id)
            if suspect is None:
                self._suspects[external_id] = _Suspect(row, tag, issued, now, now)
                log.warning(
                    "leak_suspected",
                    provider=self.name,
                    kind=KIND,
                    external_id=external_id,
                    upload=tag.upload_id,
                )
            elif now - suspect.last_seen >= AGAIN_AFTER_S:
                suspect.sightings += 1
                suspect.last_seen = now
        for external_id in [one for one in self._suspects if one not in seen]:
            del self._suspects[external_id]
        strange = {one: s.tag for one, s in self._suspects.items() if not s.issued}
        if strange:
            self.estrange(strange)
        self._tell()

    def _claimed(self, external_id: str, tag: ImageTag) -> bool:
        """Whether an upload on record answers for an image; to whichever provider it is.

        Two providers may look at one project (rule 9). One in doubt claims whatever turns up.
        """
        upload = self.book.uploads.get(tag.upload_id)
        if upload is None or upload.origin != tag.origin:
            return False
        return upload.external_id in (None, external_id)

    def _tell(self) -> None:
        """Log once when the sweep stops, and once when it goes on."""
        alarm = self.alarm
        if bool(alarm) != self._alarmed:
            self._alarmed = bool(alarm)
            if alarm:
                log.error("image_sweep_stopped", provider=self.name, alarm=alarm)
            else:
                log.info("image_sweep_goes_on", provider=self.name)

    # ------------------------------------------------------------------------ deciding

    def leaks(self) -> tuple[Leak, ...]:
        """What is suspected now, and what becomes of it."""
        return tuple(
            Leak(
                id=f"{self.name}:{external_id}",
                provider=self.name,
                kind=KIND,
                external_id=external_id,
                node_id=None,
                first_seen=suspect.first_seen,
                sightings=suspect.sightings,
                note=self._note(suspect),
            )
            for external_id, suspect in self._suspects.items()
        )

    def knows(self, external_id: str) -> bool:
        """Whether it answers for a thing: what is decided about it is not to be forgotten."""
        return external_id in self._suspects

    @property
    def alarm(self) -> str:
        """Why the sweep has stopped; "" while it has not (rule 1)."""
        words = self.words()
        decided = {*words.adopted, *words.condemned}
        strange = sorted(
            external_id
            for external_id, suspect in self._suspects.items()
            if (external_id in words.strange or not suspect.issued) and external_id not in decided
        )
        if not strange:
            return ""
        return (
            f"{len(strange)} images carry deployment {self.deployment} and uploads this store "
            f"never began, the first is {strange[0]}: another daemon of the same deployment, or "
            "an older copy of the store. Decide with 'trellis leak adopt ID' (it is ours and a "
            "leak) or 'trellis leak delete ID'"
        )

    @property
    def busy(self) -> bool:
        """Whether it is deleting leaks, or will once it has seen them a second time."""
        return any(
            self._verdict(suspect)[0] or (self.mode == "delete" and not self.alarm)
            for suspect in self._suspects.values()
        )

    def _verdict(self, suspect: _Suspect) -> tuple[bool, str]:
        external_id = suspect.image.external_id
        if self.booted(external_id):
            return False, "servers of ours were made from it: it stays until they are gone"
        if external_id in self.words().condemned:
            return True, "is being deleted by a person's word"
        if alarm := self.alarm:
            return False, "the sweep of images has stopped: " + alarm
        if suspect.sightings < SIGHTINGS:
            return False, "seen once; a second sighting is needed"
        if self.mode != "delete":
            return False, "reported only (sweep: report); 'trellis leak delete ID' deletes it"
        return True, "is being deleted"

    def _note(self, suspect: _Suspect) -> str:
        said = self._verdict(suspect)[1]
        what = f"{suspect.image.name}, of upload {suspect.tag.upload_id}: {said}"
        return f"{what}: {suspect.note}" if suspect.note else what

    # -------------------------------------------------------------------------- acting

    async def _delete(self, images: ImageStore, suspect: _Suspect) -> None:
        """Take one step of deleting a leak; the next round takes the next."""
        external_id = suspect.image.external_id
        intent = ImageIntent(tag=suspect.tag, name=suspect.image.name, artifact=_NOTHING)
        suspect.again_at = trio.current_time() + suspect.pause_s
        suspect.pause_s = min(LONGEST_PAUSE_S, suspect.pause_s * 2)
        try:
            if reason := self.foreign(await self.provider.home()):
                suspect.note = reason
                return
            done = await images.delete_step(intent, UploadProgress(external_id=external_id))
        except CloudError as error:
            suspect.note = str(error)
            return
        if done is Gone.DONE:
            log.warning(
                "leak_deleted",
                provider=self.name,
                kind=KIND,
                external_id=external_id,
                upload=suspect.tag.upload_id,
            )
            self._suspects.pop(external_id, None)
            self.let_go(external_id)
            self._tell()
