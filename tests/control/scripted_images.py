"""A cloud's images for tests of single parts: what goes wrong is what the test puts in."""

from contextlib import asynccontextmanager

import attrs
import trio

from trellis.errors import UploadBrokenError
from trellis.spi.image import CloudImage, CloudImageState
from trellis.spi.provider import Gone

PIECE = 1024 * 1024
_ZEROS = bytes(PIECE)


class ScriptedSource:
    """Bytes that come at a rate, without a file.

    Attributes:
        fails_at: the reading fails once so many bytes were read; None is never.
    """

    def __init__(self, size, rate=100 * PIECE, fails_at=None):
        self.size, self.rate, self.fails_at = size, rate, fails_at
        self.read = 0

    @asynccontextmanager
    async def open(self):
        self.read = 0
        yield self

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.read >= self.size:
            raise StopAsyncIteration
        if self.fails_at is not None and self.read >= self.fails_at:
            raise OSError("I/O error")
        piece = min(PIECE, self.size - self.read)
        await trio.sleep(piece / self.rate)
        self.read += piece
        return _ZEROS[:piece]


@attrs.define
class Kept:
    """One image in the cloud."""

    id: str
    name: str
    tag: object
    status: str = "queued"
    seen_from: float = 0.0


@attrs.define
class ScriptedImages:
    """Images that are made, sent and looked at in three steps, as glance has it.

    Attributes:
        kept: the images there are, by id.
        meddle: by stage, what happens at its next steps, one each: an error is raised before the
            step does anything; a pair of "after" and an error is raised once it has; "never"
            hangs for ever; a callable is called with the image.
        takes_s: each call's time, half of it before the call acts.
        saves_s: how long the image is processed after it was sent.
        appears_s: so late a new image is seen by others than its maker.
        in_use: ids of images that cannot be deleted.
        calls: the calls so far, by name, with the time.
    """

    formats: tuple[str, ...] = ("qcow2",)
    kept: dict[str, Kept] = attrs.field(factory=dict)
    meddle: dict[str, list] = attrs.field(factory=dict)
    takes_s: float = 1.0
    saves_s: float = 5.0
    appears_s: float = 0.0
    in_use: set[str] = attrs.field(factory=set)
    calls: list[tuple[float, str]] = attrs.field(factory=list)
    creates: int = 0
    most_sending: int = 0
    sending: int = 0

    async def upload_step(self, intent, progress, source):
        stage = progress.stage or "create"
        after = await self._called(stage)
        match stage:
            case "create":
                taken = await self._create(intent, progress)
            case "created":
                taken = await self._send(progress, source)
            case "sent":
                taken = self._look(progress)
            case _:
                raise AssertionError(stage)
        await trio.sleep(self.takes_s / 2)
        if after is not None:
            raise after
        return taken

    async def _create(self, intent, progress):
        external_id = progress.external_id
        if external_id is None:
            self.creates += 1
            external_id = f"image-{self.creates}"
            self.kept[external_id] = Kept(
                id=external_id,
                name=intent.name,
                tag=intent.tag,
                seen_from=trio.current_time() + self.appears_s,
            )
        return attrs.evolve(progress, stage="created", external_id=external_id)

    async def _send(self, progress, source):
        image = self._image(progress)
        if image.status != "queued":
            raise UploadBrokenError(f"image {image.id} is {image.status}")
        image.status = "saving"
        self.sending += 1
        self.most_sending = max(self.most_sending, self.sending)
        try:
            async with source.open() as pieces:
                async for _ in pieces:
                    pass
        finally:
            self.sending -= 1
        image.status = "processed"
        image.seen_from = trio.current_time() + self.saves_s
        return attrs.evolve(progress, stage="sent")

    def _look(self, progress):
        image = self._image(progress)
        if image.status == "processed" and trio.current_time() >= image.seen_from:
            image.status = "active"
        if image.status == "active":
            return attrs.evolve(progress, done=True)
        if image.status == "wrong":
            raise UploadBrokenError(f"image {image.id} is not what was sent: its md5 is another")
        return attrs.evolve(progress, wait_s=2.0)

    def _image(self, progress):
        image = self.kept.get(progress.external_id)
        if image is None:
            raise UploadBrokenError(f"image {progress.external_id} is not there any more")
        return image

    async def find(self, tag, name):
        await self._called("find")
        for image in self.kept.values():
            if image.tag == tag and image.name == name and self._seen(image):
                return self._row(image)
        return None

    async def get(self, external_id):
        await self._called("get")
        image = self.kept.get(external_id)
        if image is None:
            return CloudImage(external_id=external_id, name="", state=CloudImageState.GONE)
        return self._row(image)

    async def list(self, deployment):
        await self._called("list")
        return tuple(
            self._row(one)
            for one in self.kept.values()
            if one.tag is not None and one.tag.deployment == deployment and self._seen(one)
        )

    async def delete_step(self, intent, progress):
        await self._called("delete")
        image_id = progress.external_id
        if image_id in self.in_use:
            return Gone.AGAIN
        if image_id in self.kept:
            del self.kept[image_id]
            return Gone.AGAIN
        return Gone.DONE

    def _seen(self, image):
        return image.status != "queued" or trio.current_time() >= image.seen_from

    def _row(self, image):
        states = {"active": CloudImageState.ACTIVE, "deactivated": CloudImageState.FAILED}
        state = states.get(image.status, CloudImageState.PENDING)
        words = "" if state is CloudImageState.ACTIVE else image.status
        return CloudImage(
            external_id=image.id, name=image.name, state=state, tag=image.tag, words=words
        )

    async def _called(self, what):
        """Note a call; what is to go wrong after it has acted."""
        self.calls.append((trio.current_time(), what))
        await trio.sleep(self.takes_s / 2)
        planned = self.meddle.get(what, [])
        trouble = planned.pop(0) if planned else None
        match trouble:
            case None:
                return None
            case "never":
                await trio.sleep_forever()
            case ("after", error):
                return error
            case Exception():
                raise trouble
            case _:
                trouble()
        return None

    def count(self, what):
        return sum(name == what for _, name in self.calls)
