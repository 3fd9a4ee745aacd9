"""Upload by task: an object of the file store is made an image, as at Rackspace (classic).

An image that a task makes has a name and no other property of ours until it is marked; before
that it is found by its task, and the task by the object, whose name is the upload's own.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import attrs
import structlog
import trio

from trellis.errors import NotFoundError, UploadBrokenError
from trellis.openstack.image_write import ImageWrites, TaskRow
from trellis.openstack.object_store import MOST_OBJECT, ObjectStore, Segment
from trellis.providers.image_ways import GlanceWays, Step, longer
from trellis.spi.image import ImageIntent, ImageSource, UploadProgress
from trellis.spi.provider import Gone

log = structlog.get_logger()

CONTAINER: Final = "trellis-images"
KEEP_S: Final = 2 * 86_400
"""Swift deletes the object by itself after this, should nobody else."""
SEGMENT: Final = 4 * 1024**3

BEGUN: Final = "begun"
STORING: Final = "container made"
STORED: Final = "object stored"
RUNNING: Final = "task runs"
IMPORTED: Final = "imported"
MARKED: Final = "marked"
PROVED: Final = "proved"

_TASK: Final = "task"
_TRIES: Final = "tasks tried"
_ETAG: Final = "segment "
_MOST_TRIES: Final = 3
_LOOK_S: Final = 10.0
_PERHAPS_TRANSIENT: Final = "396"
"""A file that is no VHD, as it is documented; and often a task that only has to be begun again
(survey of clouds, part 1 section 4.1)."""
_LIVE: Final = frozenset({"pending", "processing"})


@attrs.define(eq=False)
class _Slice:
    """A part of a source.

    Attributes:
        md5: of what was read of it, in hexadecimal.
    """

    _source: ImageSource
    _start: int
    size: int
    _taken: Any = attrs.field(init=False)

    @property
    def md5(self) -> str:
        return str(self._taken.hexdigest())

    def open(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `ImageSource.open`.

        What lies before the part is read and left aside here, before there is a connection: Swift
        hangs up on who sends nothing for a minute (``client_timeout``), and it may be 100 GiB.
        """
        self._taken = hashlib.md5(usedforsecurity=False)
        return self._opened()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._source.open() as pieces:
            begun, left = b"", self._start
            while left:
                piece = await anext(pieces, b"")
                if not piece:
                    break  # the file has become shorter: the part is found to end too early
                begun, left = piece[left:], max(0, left - len(piece))
            yield _Within(pieces, begun, self.size, self._taken)


class _Within(AsyncIterator[bytes]):
    def __init__(self, pieces: AsyncIterator[bytes], begun: bytes, left: int, taken: Any) -> None:
        self._pieces, self._begun, self._left, self._taken = pieces, begun, left, taken

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        piece, self._begun = self._begun or await anext(self._pieces), b""
        piece = piece[: self._left]
        self._left -= len(piece)
        self._taken.update(piece)
        return piece


@attrs.frozen(kw_only=True)
class TaskWay:
    """Uploads by the file store and a task.

    Args:
        glance, swift: carry the calls.
        ways: knows what an image must be like in the end.
        most: bytes of one object; larger files go as segments.
        segment: bytes of a segment.
    """

    glance: ImageWrites
    swift: ObjectStore
    ways: GlanceWays
    most: int = MOST_OBJECT
    segment: int = SEGMENT
    _origins: dict[str, str] = attrs.field(factory=dict, init=False)
    """What known tasks were given, by their ids: it never changes, and asking is a call each."""

    def steps(self) -> Mapping[str, Step]:
        """The steps after the first, by the stage that was reached."""
        return {
            BEGUN: self._make_container,
            STORING: self._store,
            STORED: self._start,
            RUNNING: self._await_task,
            IMPORTED: self._mark,
            MARKED: self._await_image,
            PROVED: self._clean,
        }

    async def first(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        """The first step makes nothing: a call of it that is lost leaves no image in doubt."""
        del intent, source
        await trio.lowlevel.checkpoint()
        return attrs.evolve(progress, stage=BEGUN)

    # ------------------------------------------------------------------------------- steps

    async def _make_container(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        del intent, source
        await self.swift.create_container(CONTAINER)
        return attrs.evolve(progress, stage=STORING)

    async def _store(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        name = object_name(intent)
        if intent.artifact.size > self.most:
            return await self._store_part(intent, progress, source)
        await self.swift.put_object(CONTAINER, name, source, md5=intent.artifact.md5, keep_s=KEEP_S)
        return _with(progress, STORED, object=f"{CONTAINER}/{name}")

    async def _store_part(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        """Send the next segment, or the manifest when all are there."""
        name, sizes = object_name(intent), self._sizes(intent)
        segments = []
        for number, size in enumerate(sizes):
            part, key = _segment_name(name, number), f"{_ETAG}{number}"
            if key not in progress.things:
                cut = _Slice(source, number * self.segment, size)
                etag = await self.swift.put_object(CONTAINER, part, cut, keep_s=KEEP_S)
                if etag and etag != cut.md5:
                    raise self._broken(f"segment {part} has the md5 {etag} and not {cut.md5}")
                return _with(progress, STORING, **{key: etag})
            segments.append(
                Segment(path=f"{CONTAINER}/{part}", etag=progress.things[key], size=size)
            )
        await self.swift.put_manifest(CONTAINER, name, segments, keep_s=KEEP_S)
        return _with(progress, STORED, object=f"{CONTAINER}/{name}")

    async def _start(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        del source
        task = await self._task_of(intent)
        if task is None:
            origin = f"{CONTAINER}/{object_name(intent)}"
            task = await self.glance.create_import_task(origin, intent.name)
        return attrs.evolve(_with(progress, RUNNING, task=task.id), wait_s=_LOOK_S)

    async def _await_task(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        del source
        task_id = progress.things[_TASK]
        try:
            task = await self.glance.task(task_id)
        except NotFoundError as error:
            raise self._broken(f"task {task_id} is not there any more") from error
        if task.status in _LIVE:
            return attrs.evolve(progress, wait_s=longer(progress.wait_s))
        if task.status == "success" and task.image_id:
            return attrs.evolve(progress, stage=IMPORTED, external_id=task.image_id, wait_s=0.0)
        why = task.words or "it does not say why"
        tries = int(progress.things.get(_TRIES, "1"))
        if _PERHAPS_TRANSIENT in why and tries < _MOST_TRIES:
            log.info("image_task_again", cloud=self.ways.cloud, image=intent.name, error=why)
            again = _with(progress, STORED, **{_TRIES: str(tries + 1)})
            return attrs.evolve(again, wait_s=_LOOK_S)
        raise self._broken(f"task {task_id} ended with {task.status}: {why}")

    async def _mark(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        del source
        assert progress.external_id is not None
        await self.glance.set_properties(progress.external_id, self.ways.properties(intent))
        return attrs.evolve(progress, stage=MARKED)

    async def _await_image(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        """See that the image can be used; its size and hashes are of what the import made of it.

        That the object, or each segment, is what was sent is known by its MD5.
        """
        del intent, source
        image = await self.ways.image(progress)
        if image.status != "active":
            if image.status in ("queued", "saving", "importing"):
                return attrs.evolve(progress, wait_s=longer(progress.wait_s))
            raise self._broken(f"image {image.id} is {image.status}")
        return attrs.evolve(progress, stage=PROVED, wait_s=0.0)

    async def _clean(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        del source
        await self.delete_objects(intent)
        return self.ways.done(progress)

    # ---------------------------------------------------------------------------- deleting

    async def delete_objects(self, intent: ImageIntent) -> None:
        """Delete what there is of an upload in the file store; fine if there is nothing."""
        if not await self.swift.offered():
            return  # nor can anything have been put there, or it goes by itself in two days
        name, parts = object_name(intent), []
        if intent.artifact.size > self.most:
            parts = [_segment_name(name, number) for number in range(len(self._sizes(intent)))]
        for one in (name, *parts):
            try:
                await self.swift.delete_object(CONTAINER, one)
            except NotFoundError:
                continue

    async def image_of(self, intent: ImageIntent, progress: UploadProgress) -> str | Gone:
        """The image that the upload's task made: its id, or DONE if it made none.

        AGAIN stands for a task that may still make one.
        """
        if progress.stage in ("", BEGUN, STORING):
            return Gone.DONE  # no task was begun before the object was there
        task: TaskRow | None = None
        if task_id := progress.things.get(_TASK):
            try:
                task = await self.glance.task(task_id)
            except NotFoundError:
                return Gone.DONE
        if task is None or task.status == "failure":
            task = await self._task_of(intent)
        if task is None:
            return Gone.DONE
        return Gone.AGAIN if task.status in _LIVE else task.image_id or Gone.DONE

    async def _task_of(self, intent: ImageIntent) -> TaskRow | None:
        """The task that was begun for the upload's object, and has not failed."""
        wanted = f"{CONTAINER}/{object_name(intent)}"
        rows = await self.glance.import_tasks()
        listed = {row.id for row in rows}
        for gone in self._origins.keys() - listed:
            del self._origins[gone]
        for row in rows:
            if row.status not in (*_LIVE, "success"):
                continue
            task = row
            try:
                # Lists of tasks leave out what they were given (glance/api/v2/tasks.py).
                if row.input is None and self._origins.get(row.id, wanted) == wanted:
                    task = await self.glance.task(row.id)
            except NotFoundError:
                continue
            if task.input is None:
                continue
            self._origins[task.id] = task.input.import_from or ""
            if task.input.import_from == wanted:
                return await self.glance.task(task.id) if task.result is None else task
        return None

    def _sizes(self, intent: ImageIntent) -> list[int]:
        size = intent.artifact.size
        return [min(self.segment, size - at) for at in range(0, size, self.segment)]

    def _broken(self, why: str) -> UploadBrokenError:
        return UploadBrokenError(why, cloud=self.ways.cloud)


def object_name(intent: ImageIntent) -> str:
    """The name of an upload's object: nothing else ever has it."""
    tag = intent.tag
    origin = f"-{tag.origin}" if tag.origin else ""
    return f"{tag.deployment}-{tag.upload_id}{origin}.{intent.artifact.format}"


def _segment_name(name: str, number: int) -> str:
    return f"{name}-{number:04d}"


def _with(progress: UploadProgress, stage: str, **things: str) -> UploadProgress:
    return attrs.evolve(progress, stage=stage, things={**progress.things, **things}, wait_s=0.0)
