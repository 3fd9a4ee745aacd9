"""The ways an image gets into a cloud, each as steps that can be taken again after a restart.

A step is told by the *stage* that was reached before it, which is in the upload's record; so the
way of an upload stays what it was when the configuration changes in its middle. Each step makes
one change at the cloud; one that might have been made already looks first.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import attrs
import structlog

from trellis.errors import (
    AnswerLostError,
    CloudBrokenError,
    ConflictingStateError,
    MisconfiguredError,
    NotFoundError,
    RejectedError,
    UploadBrokenError,
)
from trellis.http.download import shown
from trellis.openstack.image_write import GLANCE_DIRECT, WEB_DOWNLOAD, FullImage, ImageWrites
from trellis.providers.image_rows import difference
from trellis.spi.image import ImageIntent, ImageSource, UploadProgress

log = structlog.get_logger()

CREATED: Final = "created"
"""By `put`: the image is there, without data."""
SENT: Final = "sent"
UNHEARD: Final = "sent, answer lost"
TO_STAGE: Final = "created, to be staged"
STAGED: Final = "staged"
IMPORTING: Final = "importing"
TO_DOWNLOAD: Final = "created, to be downloaded"
DOWNLOADING: Final = "downloading"
ACTIVE: Final = "active"

_LOOK_S: Final = 2.0
_LOOK_AT_MOST_S: Final = 30.0
_REFUSED_WAYS: Final = frozenset({403, 404, 405, 501})
_IMPORT_TASK: Final = "os_glance_import_task"
_FAILED_IMPORT: Final = "os_glance_failed_import"


def longer(waited_s: float) -> float:
    """Seconds to the next look at something that goes on: half as many again as before."""
    return min(_LOOK_AT_MOST_S, max(_LOOK_S, 1.5 * waited_s))


Step = Callable[[ImageIntent, UploadProgress, ImageSource], Awaitable[UploadProgress]]


@attrs.define(eq=False)
class Counting:
    """A source that tells whether it was read to its end."""

    _source: ImageSource
    size: int = attrs.field(init=False)
    at_end: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.size = self._source.size

    def open(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `ImageSource.open`."""
        self.at_end = False
        return self._opened()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._source.open() as pieces:
            yield _UpToEnd(pieces, self)


class _UpToEnd(AsyncIterator[bytes]):
    def __init__(self, pieces: AsyncIterator[bytes], told: Counting) -> None:
        self._pieces = pieces
        self._told = told

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            self._told.at_end = True
            raise


@attrs.frozen(kw_only=True)
class GlanceWays:
    """Uploads by glance v2 itself: ``put``, ``import`` and ``web-download``.

    Args:
        glance: carries the calls.
        cloud: the account's name, for messages.
        properties: of an image, for its intent.
        download_url: where the cloud finds the files, with ``{file}`` in it; "" where it does not.
    """

    glance: ImageWrites
    cloud: str
    properties: Callable[[ImageIntent], Mapping[str, str]]
    download_url: str = attrs.field(default="", repr=False)

    def first(self, way: str) -> Step:
        """The first step of a way: the image is made, without data."""
        stage = {"put": CREATED, "import": TO_STAGE, "web-download": TO_DOWNLOAD}[way]

        async def create(
            intent: ImageIntent, progress: UploadProgress, source: ImageSource
        ) -> UploadProgress:
            del source
            if progress.external_id is not None:
                return attrs.evolve(progress, stage=stage)
            image = await self.glance.create(
                name=intent.name,
                disk_format=intent.artifact.format,
                properties=self.properties(intent),
                visibility=intent.visibility,
            )
            return attrs.evolve(progress, stage=stage, external_id=image.id)

        return create

    def steps(self) -> Mapping[str, Step]:
        """The steps after the first, by the stage that was reached."""
        return {
            CREATED: self._put,
            SENT: self._await_put,
            UNHEARD: self._await_put,
            TO_STAGE: self._stage,
            STAGED: self._import,
            TO_DOWNLOAD: self._download,
            IMPORTING: self._await_import,
            DOWNLOADING: self._await_import,
        }

    # ---------------------------------------------------------------------------------- put

    async def _put(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        image = await self.image(progress)
        if image.status == "active":
            return self.proved(intent, progress, image)
        if image.status != "queued":
            raise self._broken(image, "its data were sent before, and not to their end")
        counting = Counting(source)
        try:
            await self.glance.put_file(image.id, counting)
        except (AnswerLostError, CloudBrokenError) as error:
            # A proxy's patience may end while glance still writes what it has been sent whole.
            if not counting.at_end:
                raise
            log.info("image_answer_lost", cloud=self.cloud, image=intent.name, error=str(error))
            return attrs.evolve(progress, stage=UNHEARD, wait_s=_LOOK_S)
        except ConflictingStateError as error:
            raise self._broken(image, str(error)) from error
        except (RejectedError, MisconfiguredError) as error:
            if error.status not in _REFUSED_WAYS:
                raise
            refused = error
        else:
            return attrs.evolve(progress, stage=SENT)
        if GLANCE_DIRECT in await self._methods():
            log.info("image_put_refused", cloud=self.cloud, error=str(refused))
            return attrs.evolve(progress, stage=TO_STAGE)
        raise refused

    async def _await_put(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        del source
        image = await self.image(progress)
        if image.status == "active":
            return self.proved(intent, progress, image)
        if image.status not in ("saving", "importing"):
            raise self._broken(image, "the cloud has thrown its data away")
        return attrs.evolve(progress, wait_s=longer(progress.wait_s))

    # ------------------------------------------------------------------------------- import

    async def _methods(self) -> tuple[str, ...]:
        return await self.glance.import_methods()

    async def _stage(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        image = await self.image(progress)
        if image.status == "uploading" and image.size == intent.artifact.size:
            return attrs.evolve(progress, stage=STAGED)  # glance tells the size of what is whole
        if image.status != "queued":
            raise self._broken(image, "its data were staged before, and not to their end")
        try:
            await self.glance.stage(image.id, source)
        except ConflictingStateError as error:
            raise self._broken(image, str(error)) from error
        return attrs.evolve(progress, stage=STAGED)

    async def _import(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        del intent, source
        image = await self.image(progress)
        if image.status == "uploading" and not image.properties.get(_IMPORT_TASK):
            await self.glance.start_import(image.id, GLANCE_DIRECT)
        return attrs.evolve(progress, stage=IMPORTING, wait_s=_LOOK_S)

    async def _download(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        del source
        image = await self.image(progress)
        if image.status == "queued" and not image.properties.get(_IMPORT_TASK):
            try:
                await self.glance.start_import(image.id, WEB_DOWNLOAD, self._url(intent))
            except RejectedError as error:
                raise self._broken(image, self._without_secrets(str(error), intent)) from None
        return attrs.evolve(progress, stage=DOWNLOADING, wait_s=_LOOK_S)

    async def _await_import(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        del source
        image = await self.image(progress)
        if image.status == "active":
            return self.proved(intent, progress, image)
        under_way = image.status == "importing" or image.properties.get(_IMPORT_TASK)
        if image.properties.get(_FAILED_IMPORT) or not under_way:
            why = await self.glance.why_failed(image.id)
            why = self._without_secrets(why, intent)
            raise self._broken(image, why or "the import failed, and the cloud does not say why")
        return attrs.evolve(progress, wait_s=longer(progress.wait_s))

    def _url(self, intent: ImageIntent) -> str:
        file = intent.artifact.path.rpartition("/")[2]
        return self.download_url.replace("{file}", file)

    def _without_secrets(self, text: str, intent: ImageIntent) -> str:
        """What the cloud says, which may quote the URL that it was given."""
        url = self._url(intent)
        return text.replace(url, shown(url)) if url else text

    # ------------------------------------------------------------------------------- common

    def proved(
        self, intent: ImageIntent, progress: UploadProgress, image: FullImage
    ) -> UploadProgress:
        """The upload is done, if the image is what was sent.

        Raises:
            UploadBrokenError: it is not.
        """
        if wrong := difference(image, intent.artifact):
            raise self._broken(image, f"it is not what was sent: {wrong}")
        return self.done(progress)

    def done(self, progress: UploadProgress) -> UploadProgress:
        """The upload is done."""
        return attrs.evolve(progress, stage=ACTIVE, done=True, wait_s=0.0)

    async def image(self, progress: UploadProgress) -> FullImage:
        """The upload's image.

        Raises:
            UploadBrokenError: it is not there any more.
        """
        assert progress.external_id is not None
        try:
            return await self.glance.image(progress.external_id)
        except NotFoundError as error:
            raise UploadBrokenError(
                f"image {progress.external_id} is not there any more: somebody deleted it, or the "
                "cloud did",
                cloud=self.cloud,
                call=error.call,
                status=error.status,
                cloud_request_id=error.cloud_request_id,
            ) from error

    def _broken(self, image: FullImage, why: str) -> UploadBrokenError:
        return UploadBrokenError(
            f"image {image.id} is {image.status or 'in no known state'}: {why}", cloud=self.cloud
        )
