"""Images: what builds them here, and what a provider keeps them in.

Both are asked by the core, which owns order, deadlines and records. An `ImageBuilder` makes files
on this host; an `ImageStore` is the part of a provider that has images, where the cloud takes them.
"""

import enum
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, runtime_checkable

import attrs

from trellis.model.image import Artifact
from trellis.model.names import BuildId, UploadId
from trellis.spi.provider import Gone

# ------------------------------------------------------------------------------------ building


@attrs.frozen(kw_only=True)
class BuildOrder:
    """What a builder is to make, and where.

    Attributes:
        formats: one file each.
        base: path of the files without their suffixes: ``base.qcow2`` is one of them.
        scratch: a folder for this build alone, for temporary files; removed afterwards, with
            all that is mounted in it.
        cache: a folder that outlives builds and that no other build uses meanwhile.
        elements_dirs: folders with elements of the site's own.
    """

    build_id: BuildId
    image: str
    formats: tuple[str, ...]
    base: Path
    scratch: Path
    cache: Path
    elements_dirs: tuple[Path, ...] = ()


class BuildWatch(Protocol):
    """Is told how a build goes on."""

    def line(self, text: str) -> None:
        """One line of the log, without its end. Secrets are masked by who is told."""
        ...

    def phase(self, name: str) -> None:
        """What is done from now on, in a word or a few: it is shown to people."""
        ...


class ImageBuilder(Protocol):
    """Makes the files of an image; made for one image of the configuration."""

    async def build(self, order: BuildOrder, watch: BuildWatch) -> tuple[Artifact, ...]:
        """Make one file for each format of *order*, with its checksums.

        Deadlines are the caller's, who cancels. Cancelled, or failed, it has ended every process
        it started and undone what they left: mounts, loop devices, files.

        Raises:
            BuildError: it cannot be built; what failed, and what to do now.
        """
        ...

    async def clean(self, order: BuildOrder) -> None:
        """Undo what a build has left that ended with the daemon; fine where nothing is left.

        Processes of it that still run are ended first.
        """
        ...

    def secrets(self) -> tuple[str, ...]:
        """Texts that must not be seen in the log of a build."""
        ...


@runtime_checkable
class SizedBuilder(Protocol):
    """An `ImageBuilder` that can tell beforehand how much room a build takes; none has to.

    Of one that cannot, or whose answer is None, three times what the last build took is asked for,
    and 2 GiB at least.
    """

    async def room(self, order: BuildOrder) -> int | None:
        """The bytes that a build of *order* needs on the disk at most; None if it cannot be told.

        Nothing is made or left by it. It is given 30 s, then it is cancelled.

        Raises:
            BuildError: it can be seen now that the build will fail.
        """
        ...


# ------------------------------------------------------------------------------------ in clouds


@attrs.frozen(kw_only=True)
class ImageTag:
    """What marks an image in a cloud as ours."""

    deployment: str
    image: str
    build_id: BuildId
    upload_id: UploadId
    origin: str = ""


@attrs.frozen(kw_only=True)
class ImageIntent:
    """All that an upload needs to know; made from its record alone, so it can be repeated.

    Attributes:
        name: of the image in the cloud.
        properties: of the image, beside the tag.
        visibility: ``private``, ``shared``, ``community`` or ``public``; None is the cloud's own.
    """

    tag: ImageTag
    name: str
    artifact: Artifact
    properties: Mapping[str, str] = attrs.field(factory=dict)
    visibility: str | None = None


@attrs.frozen(kw_only=True)
class UploadProgress:
    """How far an upload has come; recorded after each step, and handed to the next one.

    Attributes:
        stage: in the store's own word; "" is the beginning.
        external_id: the cloud's id of the image, once it is known.
        things: what was made beside the image, by name.
        done: the image can be used, and is what was sent.
        wait_s: so long nothing has to be asked.
    """

    stage: str = ""
    external_id: str | None = None
    things: Mapping[str, str] = attrs.field(factory=dict)
    done: bool = False
    wait_s: float = 0.0


class CloudImageState(enum.Enum):
    """The state of an image in a cloud, as far as the core cares."""

    PENDING = "pending"
    ACTIVE = "active"
    FAILED = "failed"
    GONE = "gone"
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class CloudImage:
    """One image in a cloud.

    Attributes:
        tag: None for what is not tagged as Trellis's.
        words: the cloud's own for its state, and why, where it says so.
    """

    external_id: str
    name: str
    state: CloudImageState
    tag: ImageTag | None = None
    size: int | None = None
    created_at: float | None = None
    words: str = ""


class ImageSource(Protocol):
    """The file of an artifact; each upload opens one of its own."""

    size: int

    def open(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Read it from its beginning, in pieces of 1 MiB; the last may be shorter.

        They may be read-only views of bytes, which can be sliced, joined, hashed and sent as bytes
        can; who keeps one keeps its memory. ``bytes(piece)`` is a copy.

        Raises:
            OSError: it cannot be read.
        """
        ...


class ImageStore(Protocol):
    """Where a provider keeps images. Every method may raise any `CloudError`.

    Attributes:
        formats: that the cloud takes, the one that suits it best first.
    """

    formats: tuple[str, ...]

    async def upload_step(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        """Take the next step of an upload: one remote change, or one look.

        The core records the progress before the next step, and the intent before the first. After
        a restart the step that was under way is asked for again; where that cannot be done twice
        (an image that is half written), UploadBrokenError says so.

        Cancelled, it leaves what its one call may have made, which `find` and `delete_step` find.

        Raises:
            UploadBrokenError: this attempt cannot go on; another one may.
            QuotaExceededError: no room for images; nothing was made by this step.
            CloudError: as for providers; the step may be asked for again.
        """
        ...

    async def find(self, tag: ImageTag, name: str) -> CloudImage | None:
        """Look for the image of this tag."""
        ...

    async def get(self, external_id: str) -> CloudImage:
        """Look at one image. GONE stands for the cloud's 404, in the project it was made in."""
        ...

    async def list(self, deployment: str) -> tuple[CloudImage, ...]:
        """All images that carry the tag of a deployment."""
        ...

    async def delete_step(self, intent: ImageIntent, progress: UploadProgress) -> Gone:
        """Delete one thing more of an upload, the image last, or see that nothing is left.

        May be repeated for ever. AGAIN also where the cloud cannot delete it yet, as a server
        boots from it.
        """
        ...
