"""The images of a board in memory, and builders of what is shown of them."""

from collections.abc import AsyncIterator

import attrs
import trio

from trellis.errors import RefusedError, UnknownIdError
from trellis.model.image import (
    Artifact,
    Build,
    BuildState,
    Pin,
    Standing,
    Trial,
    Upload,
    UploadState,
    build_id,
    upload_id,
)
from trellis.model.image_status import BuildStatus, ImageStatus, PlaceStatus, UploadStatus
from trellis.model.names import BuildId, UploadId
from trellis.model.provider import Pause

T0 = 1_790_000_000.5
GIB = 1024**3


def an_artifact(**changes: object) -> Artifact:
    artifact = Artifact(
        format="qcow2", path="images/debian-12-0000000007.qcow2", size=2 * GIB,
        md5="d41d8cd98f00b204e9800998ecf8427e", sha256="e3b0c44298fc1c149afbf4c8996fb924",
    )  # fmt: skip
    return attrs.evolve(artifact, **changes)


def a_build(number: int = 7, image: str = "debian-12", **changes: object) -> Build:
    build = Build(
        id=build_id(image, number), image=image, number=number, state=BuildState.READY,
        state_at=T0 - 7200, created_at=T0 - 8000, builder="diskimage-builder",
        formats=("qcow2",), recipe="r1", why="the last one is older than 24 h",
        ready_at=T0 - 7200, artifacts=(an_artifact(),),
    )  # fmt: skip
    return attrs.evolve(build, **changes)


def a_build_status(build: Build | None = None, **changes: object) -> BuildStatus:
    given = build or a_build()
    status = BuildStatus(build=given, words="ready", elapsed_s=800.0, usual_s=790.0)
    return attrs.evolve(status, **changes)


def an_upload(
    build: Build | None = None, provider: str = "ovh-bhs1", number: int = 12, **changes: object
) -> Upload:
    of = build or a_build()
    upload = Upload(
        id=upload_id(of.id, number), build_id=of.id, image=of.image, provider=provider,
        cloud=provider.partition("-")[0], region="BHS1", artifact=an_artifact(), name=of.id,
        state=UploadState.READY, state_at=T0 - 7000, created_at=T0 - 7190,
        external_id=f"uuid-{number}", ready_at=T0 - 7000, standing=Standing.PROMOTED,
        standing_why="5 of 5 launches became ready",
    )  # fmt: skip
    return attrs.evolve(upload, **changes)


def an_upload_status(upload: Upload | None = None, **changes: object) -> UploadStatus:
    status = UploadStatus(
        upload=upload or an_upload(), words="serves", serving=True, share=1.0, needed=5, nodes=3
    )
    return attrs.evolve(status, **changes)


def a_place(provider: str = "ovh-bhs1", **changes: object) -> PlaceStatus:
    place = PlaceStatus(
        provider=provider, labels=("debian-12",), words="", missing=False, wants="qcow2",
        built_at=T0 - 7200, age_s=7200.0, uploads=(an_upload_status(an_upload(provider=provider)),),
    )  # fmt: skip
    return attrs.evolve(place, **changes)


def an_image(name: str = "debian-12", **changes: object) -> ImageStatus:
    image = ImageStatus(
        name=name, configured=True, type="diskimage-builder", words="",
        next_build=build_id(name, 8), rebuild_at=T0 + 79_200,
        builds=(a_build_status(a_build(image=name)),), places=(a_place(),),
    )  # fmt: skip
    return attrs.evolve(image, **changes)


def building(image: str = "debian-12", number: int = 8, **changes: object) -> BuildStatus:
    """A build that is under way."""
    build = a_build(
        number, image, state=BuildState.BUILDING, state_at=T0 - 300, created_at=T0 - 300,
        ready_at=None, artifacts=(), phase="install.d",
    )  # fmt: skip
    status = a_build_status(
        build, words="building: install.d", elapsed_s=400.0, usual_s=800.0, log_bytes=12_345
    )
    return attrs.evolve(status, **changes)


def uploading(provider: str = "ovh-bhs1", **changes: object) -> UploadStatus:
    """An upload that is under way."""
    upload = an_upload(
        a_build(8), provider, 13, state=UploadState.UPLOADING, external_id="uuid-13",
        ready_at=None, stage="put", standing=Standing.CANARY, standing_why="",
    )  # fmt: skip
    status = an_upload_status(
        upload, words="uploading", serving=False, share=0.0, sent=GIB // 2,
        rate=64.0 * 1024**2, left_s=24.0, nodes=0,
    )  # fmt: skip
    return attrs.evolve(status, **changes)


def a_canary(provider: str = "ovh-bhs1", **changes: object) -> UploadStatus:
    """A new upload on trial."""
    trial = Trial(since=T0 - 600, ready=2, failed=1, before_ready=40, before_failed=1)
    upload = an_upload(
        a_build(8), provider, 13, standing=Standing.CANARY, standing_why="", trial=trial
    )
    status = an_upload_status(upload, words="canary", serving=False, share=0.05, nodes=2)
    return attrs.evolve(status, **changes)


def withdrawn(provider: str = "ovh-bhs1") -> UploadStatus:
    """A bad one."""
    upload = an_upload(
        a_build(8), provider, 13, standing=Standing.WITHDRAWN,
        standing_why="4 of 4 launches failed, and 1 of 41 of the one before",
    )  # fmt: skip
    return an_upload_status(upload, words="withdrawn", serving=False, share=0.0, nodes=0)


class FakeImages:
    """Shows the images that a test puts in, and notes what is asked for."""

    def __init__(self) -> None:
        self.known = {"debian-12": an_image()}
        self.acts: list[tuple[object, ...]] = []
        self.lines = ["line one", "line two", "line three"]
        self.followers, self.left = 0, trio.Event()
        self._news = trio.Event()

    # what a test does

    def write(self, line: str) -> None:
        """Add a line to the log of the build that is under way."""
        self.lines.append(line)
        self._tell()

    def put(self, image: ImageStatus) -> None:
        """Change how an image stands; who follows a log sees that its build has ended."""
        self.known[image.name] = image
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    # the board

    def all(self) -> tuple[ImageStatus, ...]:
        return tuple(self.known.values())

    def one(self, image: str) -> ImageStatus:
        if image not in self.known:
            there = ", ".join(self.known)
            raise UnknownIdError(f"there is no image {image!r}", remedy=f"there is: {there}")
        return self.known[image]

    def made_from(self, provider: str, image_id: str) -> UploadId | None:
        for image in self.known.values():
            for place in image.places:
                for one in place.uploads:
                    if (place.provider, one.upload.external_id) == (provider, image_id):
                        return one.upload.id
        return None

    async def a_build(self, image: str, build: BuildId) -> BuildStatus:
        for status in self.one(image).builds:
            if status.build.id == build:
                return status
        raise UnknownIdError(f"there is no build {build}")

    async def log(self, image: str, build: BuildId, lines: int | None) -> str:
        await self.a_build(image, build)
        return "".join(f"{line}\n" for line in self._last(lines))

    async def follow(self, image: str, build: BuildId, lines: int | None) -> AsyncIterator[str]:
        await self.a_build(image, build)
        return self._follow(image, build, len(self.lines) - len(self._last(lines)))

    def _last(self, lines: int | None) -> list[str]:
        return self.lines if lines is None else self.lines[max(0, len(self.lines) - lines) :]

    async def _follow(self, image: str, build: BuildId, at: int) -> AsyncIterator[str]:
        self.followers += 1
        try:
            while True:
                news = self._news
                while at < len(self.lines):
                    at += 1
                    yield self.lines[at - 1]
                if (await self.a_build(image, build)).build.state is not BuildState.BUILDING:
                    return
                await news.wait()
        finally:
            self.followers -= 1
            self.left.set()

    async def build(self, image: str, by: str, reason: str) -> ImageStatus:
        return self._note(image, "build", by, reason)

    async def upload(self, image: str, provider: str | None, by: str, reason: str) -> ImageStatus:
        return self._note(image, "upload", provider, by, reason)

    async def delete_build(self, image: str, build: BuildId, by: str) -> ImageStatus:
        await self.a_build(image, build)
        return self._note(image, "delete-build", build, by)

    async def delete_upload(self, image: str, upload: UploadId, by: str) -> ImageStatus:
        known = {one.upload.id for place in self.one(image).places for one in place.uploads}
        if upload not in known:
            raise UnknownIdError(f"there is no upload {upload}")
        return self._note(image, "delete-upload", upload, by)

    async def pause(self, image: str, provider: str | None, by: str, reason: str) -> ImageStatus:
        pause = Pause(by=by, reason=reason, since=T0)
        after = self._note(image, "pause", provider, by, reason)
        if provider is None:
            self.put(attrs.evolve(after, pause=pause, words=f"paused by {by}: {reason}"))
        return self.one(image)

    async def resume(self, image: str, provider: str | None, by: str) -> ImageStatus:
        self.put(attrs.evolve(self._note(image, "resume", provider, by), pause=None, words=""))
        return self.one(image)

    async def promote(
        self, image: str, provider: str | None, build: BuildId | None, by: str, reason: str
    ) -> ImageStatus:
        return self._note(image, "promote", provider, build, by, reason)

    async def rollback(
        self, image: str, provider: str | None, build: BuildId | None, by: str, reason: str
    ) -> ImageStatus:  # fmt: skip
        if build is None and all(len(place.uploads) < 2 for place in self.one(image).places):
            raise RefusedError(
                "there is nothing to go back to", remedy="build a good one: trellis image build"
            )
        return self._note(image, "rollback", provider, build, by, reason)

    async def pin(
        self, image: str, build: BuildId, provider: str | None, by: str, reason: str
    ) -> ImageStatus:
        await self.a_build(image, build)
        after = self._note(image, "pin", build, provider, by, reason)
        pin = Pin(build_id=build, by=by, reason=reason, at=T0)
        self.put(attrs.evolve(after, places=tuple(attrs.evolve(p, pin=pin) for p in after.places)))
        return self.one(image)

    async def unpin(self, image: str, provider: str | None, by: str, reason: str) -> ImageStatus:
        return self._note(image, "unpin", provider, by, reason)

    def _note(self, image: str, *act: object) -> ImageStatus:
        found = self.one(image)
        self.acts.append((act[0], image, *act[1:]))
        return found
