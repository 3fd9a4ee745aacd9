"""What people see of images and may do with them: the part of the board that is about images."""

from collections.abc import AsyncIterator
from typing import Protocol

from trellis.model.image_status import BuildStatus, ImageStatus
from trellis.model.names import BuildId, UploadId


class ImageBoard(Protocol):
    """See `trellis.control.board.Board`, which has it as `images`: the same promises hold.

    Everything that changes something is durable when it returns, and refuses with a remedy.
    """

    def all(self) -> tuple[ImageStatus, ...]:
        """Every image, in the order of the configuration; then those that go."""
        ...

    def one(self, image: str) -> ImageStatus:
        """One image.

        Raises:
            UnknownIdError: there is none of this name (with near matches).
        """
        ...

    def made_from(self, provider: str, image_id: str) -> UploadId | None:
        """The upload that an image in a cloud is; None where it is none of ours, or gone."""
        ...

    async def a_build(self, image: str, build: BuildId) -> BuildStatus:
        """One build, also one of the history.

        Raises:
            UnknownIdError: there is none of this id.
        """
        ...

    async def log(self, image: str, build: BuildId, lines: int | None) -> str:
        """The last *lines* of a build's log, or all of it, without what is secret.

        Raises:
            UnknownIdError: there is no such build, or its log is gone.
        """
        ...

    async def follow(self, image: str, build: BuildId, lines: int | None) -> AsyncIterator[str]:
        """The log of a build from its last *lines* on, line by line, until the build has ended.

        What is returned is used by one reader, which calls its ``aclose`` if it has one.

        Raises:
            UnknownIdError: there is no such build, or its log is gone.
        """
        ...

    async def build(self, image: str, by: str, reason: str) -> ImageStatus:
        """Have an image built as soon as there is a turn, paused or not.

        Raises:
            UnknownIdError: there is none of this name.
            RefusedError: it is abstract.
        """
        ...

    async def upload(self, image: str, provider: str | None, by: str, reason: str) -> ImageStatus:
        """Have the newest build uploaded now, to one provider or wherever it lacks.

        Raises:
            UnknownIdError: there is no such image, or it is not used there.
            RefusedError: there is no build that could be uploaded.
        """
        ...

    async def delete_build(self, image: str, build: BuildId, by: str) -> ImageStatus:
        """Have the files of a build and its uploads deleted; one that is under way is ended.

        Raises:
            UnknownIdError: there is no such build.
            RefusedError: it is pinned, or launches boot from it.
        """
        ...

    async def delete_upload(self, image: str, upload: UploadId, by: str) -> ImageStatus:
        """Have an upload deleted from its cloud, once no server boots from it.

        Raises:
            UnknownIdError: there is no such upload.
            RefusedError: it is what launches boot from.
        """
        ...

    async def pause(self, image: str, provider: str | None, by: str, reason: str) -> ImageStatus:
        """Build nothing, or upload nothing to one provider, until it is resumed."""
        ...

    async def resume(self, image: str, provider: str | None, by: str) -> ImageStatus:
        """Build, or upload to one provider, again. Fine on what is not paused."""
        ...

    async def promote(
        self, image: str, provider: str | None, build: BuildId | None, by: str, reason: str
    ) -> ImageStatus:
        """Have a canary serve all launches now, at one provider or wherever it is one.

        Args:
            build: which one; the newest canary if left out.

        Raises:
            RefusedError: there is no canary of it.
        """
        ...

    async def rollback(
        self,
        image: str,
        provider: str | None,
        build: BuildId | None,
        by: str,
        reason: str,
    ) -> ImageStatus:
        """Go back to an older build, and stay with it until it is unpinned.

        Idle nodes of what is gone back from are deleted.

        Args:
            provider: there only; None is all of them.
            build: to which one; the newest good one before what serves now if left out.

        Raises:
            RefusedError: there is nothing to go back to.
        """
        ...

    async def pin(
        self, image: str, build: BuildId, provider: str | None, by: str, reason: str
    ) -> ImageStatus:
        """Stay with one build, at one provider or at all, until it is unpinned.

        Raises:
            UnknownIdError: there is no such build.
            RefusedError: nothing of it is left.
        """
        ...

    async def unpin(self, image: str, provider: str | None, by: str, reason: str) -> ImageStatus:
        """Go by what is newest and good again. Fine on what is not pinned."""
        ...
