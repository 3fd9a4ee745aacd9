"""The operator's side of images: what is shown of them, and what a person may do about them.

Implements `trellis.control.images.board.ImageBoard` on the view and the acts.
"""

import difflib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import attrs
import trio

from trellis.control.fleet import Fleet
from trellis.control.images.acts import ImageActs
from trellis.control.images.book import ImageBook
from trellis.control.images.build_log import BuildLogs
from trellis.control.images.choice import Choice
from trellis.control.images.in_use import InUse
from trellis.control.images.service import Images
from trellis.control.images.trials import Trials
from trellis.control.images.view import ImagesView, UnderWay
from trellis.control.policy import InForce
from trellis.control.provider import RunningProvider
from trellis.errors import RefusedError, UnknownIdError
from trellis.model.image import Build, BuildState
from trellis.model.image_status import BuildStatus, ImageStatus
from trellis.model.names import BuildId, UploadId
from trellis.store.store import Store
from trellis.world import World


@attrs.frozen(kw_only=True)
class ImageOperator:
    """See `ImageBoard` for what each method promises.

    Attributes:
        stop: ends a build that is under way, by whose word and why; None builds nothing here.
    """

    view: ImagesView
    acts: ImageActs
    book: ImageBook
    store: Store
    logs: BuildLogs
    stop: Callable[[BuildId, str, str], None] | None = None

    # --------------------------------------------------------------------------- looking

    def all(self) -> tuple[ImageStatus, ...]:
        """See `ImageBoard.all`."""
        return self.view.all()

    def one(self, image: str) -> ImageStatus:
        """See `ImageBoard.one`."""
        found = self.view.one(image)
        if found is None:
            names = self.view.names()
            there = ", ".join(difflib.get_close_matches(image, names, 3) or names) or "none"
            raise UnknownIdError(
                f"there is no image {image!r}",
                remedy=f"there are: {there}; an image stands in the configuration under 'images'",
            )
        return found

    def made_from(self, provider: str, image_id: str) -> UploadId | None:
        """See `ImageBoard.made_from`."""
        upload = self.book.by_external.get((provider, image_id))
        return upload.id if upload is not None else None

    async def a_build(self, image: str, build: BuildId) -> BuildStatus:
        """See `ImageBoard.a_build`."""
        found = await self._build(image, build)
        status = self.view.build(found)
        return attrs.evolve(status, log_bytes=await _size(found.log))

    async def log(self, image: str, build: BuildId, lines: int | None) -> str:
        """See `ImageBoard.log`."""
        found = await self._build(image, build)
        text = await self._tail(found, lines)
        if not text:
            await self._has_log(found)
        return text

    async def follow(self, image: str, build: BuildId, lines: int | None) -> AsyncIterator[str]:
        """See `ImageBoard.follow`."""
        found = await self._build(image, build)
        await self._has_log(found)
        return self.logs.follow(build, Path(found.log), lines)

    async def _build(self, image: str, build: BuildId) -> Build:
        self.one(image)
        found = self.book.builds.get(build) or await self.store.history(Build, build)
        if found is None or found.image != image:
            there = ", ".join(one.id for one in self.book.of_image(image).builds) or "none"
            raise UnknownIdError(f"{image} has no build {build}", remedy=f"there are: {there}")
        return found

    async def _tail(self, build: Build, lines: int | None) -> str:
        if not build.log:
            return ""
        try:
            return await self.logs.tail(Path(build.log), lines)
        except OSError as error:
            raise RefusedError(
                f"the log of {build.id} cannot be read: {build.log}: {error.strerror}",
                remedy="see to the file on the daemon's host",
            ) from error

    async def _has_log(self, build: Build) -> None:
        """See that a build has a log, or will have one.

        Raises:
            UnknownIdError: it is gone.
        """
        if build.state is not BuildState.BUILDING and not await self._tail(build, 1):
            raise UnknownIdError(
                f"the log of {build.id} is gone",
                remedy="the configuration's build-log-retention says how many logs of an image "
                "are kept",
            )

    # ---------------------------------------------------------------------------- acting

    async def build(self, image: str, by: str, reason: str) -> ImageStatus:
        """See `ImageBoard.build`."""
        await self.acts.build(image, by, reason)
        return self.one(image)

    async def upload(self, image: str, provider: str | None, by: str, reason: str) -> ImageStatus:
        """See `ImageBoard.upload`."""
        await self.acts.upload(image, provider, by, reason)
        return self.one(image)

    async def delete_build(self, image: str, build: BuildId, by: str) -> ImageStatus:
        """See `ImageBoard.delete_build`."""
        found = await self._build(image, build)
        if found.state is BuildState.BUILDING and self.stop is not None:
            self.stop(build, by, "")
            return self.one(image)
        await self.acts.delete_build(image, build, by)
        return self.one(image)

    async def delete_upload(self, image: str, upload: UploadId, by: str) -> ImageStatus:
        """See `ImageBoard.delete_upload`."""
        await self.acts.delete_upload(image, upload, by)
        return self.one(image)

    async def pause(self, image: str, provider: str | None, by: str, reason: str) -> ImageStatus:
        """See `ImageBoard.pause`."""
        await self.acts.pause(image, provider, by, reason)
        return self.one(image)

    async def resume(self, image: str, provider: str | None, by: str) -> ImageStatus:
        """See `ImageBoard.resume`."""
        await self.acts.resume(image, provider, by)
        return self.one(image)

    async def promote(
        self, image: str, provider: str | None, build: BuildId | None, by: str, reason: str
    ) -> ImageStatus:
        """See `ImageBoard.promote`."""
        await self.acts.promote(image, provider, build, by, reason)
        return self.one(image)

    async def rollback(
        self, image: str, provider: str | None, build: BuildId | None, by: str, reason: str
    ) -> ImageStatus:
        """See `ImageBoard.rollback`."""
        await self.acts.rollback(image, provider, build, by, reason)
        return self.one(image)

    async def pin(
        self, image: str, build: BuildId, provider: str | None, by: str, reason: str
    ) -> ImageStatus:
        """See `ImageBoard.pin`."""
        await self.acts.pin(image, build, provider, by, reason)
        return self.one(image)

    async def unpin(self, image: str, provider: str | None, by: str, reason: str) -> ImageStatus:
        """See `ImageBoard.unpin`."""
        await self.acts.unpin(image, provider, by, reason)
        return self.one(image)


def image_operator(
    *,
    store: Store,
    book: ImageBook,
    fleet: Fleet,
    world: World,
    in_force: InForce,
    choice: Choice,
    in_use: InUse,
    images: Images,
    providers: Mapping[str, RunningProvider],
    logs: BuildLogs,
    stop: Callable[[BuildId, str, str], None] | None,
    trials: Trials,
) -> ImageOperator:
    """The operator's side of what is at work here.

    Args:
        providers: those at work, by name.
        logs: of builds.
        stop: ends a build that is under way; None builds nothing here.
        trials: of canaries.
    """

    def trial(upload: UploadId) -> str:
        verdict = trials.verdict(upload)
        return verdict.why if verdict is not None else ""

    def under_way(provider: str, upload: UploadId) -> UnderWay:
        running = providers.get(provider)
        uploading = running.uploading if running is not None else None
        if uploading is None:
            return UnderWay()
        return UnderWay(sent=uploading.sent(upload), waits=uploading.waits(upload))

    return ImageOperator(
        view=ImagesView(
            snapshot=images.snapshot,
            waiting=lambda: images.waiting,
            choice=choice,
            in_use=in_use,
            providers=providers,
            under_way=under_way,
            trial=trial,
        ),
        acts=ImageActs(
            store=store,
            book=book,
            fleet=fleet,
            world=world,
            choice=choice,
            images=lambda: in_force.policy.images.configs,
            providers=providers,
        ),
        book=book,
        store=store,
        logs=logs,
        stop=stop,
    )


async def _size(log: str) -> int | None:
    if not log:
        return None
    try:
        return (await trio.Path(Path(log)).stat()).st_size
    except OSError:
        return None
