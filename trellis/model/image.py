"""Images: built here, uploaded to each provider, tried there, kept, and in the end deleted.

A *build* is one run of a builder and the files it made. An *upload* is one attempt to have one of
those files as an image at one provider; a retry is a new upload, as a retried launch is a new node.
"""

import enum
from collections.abc import Mapping
from typing import Any, Final

import attrs

from trellis.errors import TransitionError
from trellis.model.names import BuildId, UploadId
from trellis.model.node import Home, Login
from trellis.model.provider import Pause


class BuildState(enum.Enum):
    """Where a build is in its life; `BUILD_TRANSITIONS` has every step there is."""

    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"
    """No files of it are left; its log is, for a while."""
    DELETING = "deleting"
    GONE = "gone"


_B = BuildState
BUILD_TRANSITIONS: Final = {
    _B.BUILDING: frozenset({_B.READY, _B.FAILED}),
    _B.READY: frozenset({_B.DELETING}),
    _B.FAILED: frozenset({_B.GONE}),
    _B.DELETING: frozenset({_B.GONE}),
    _B.GONE: frozenset[BuildState](),
}


class UploadState(enum.Enum):
    """Where an upload is in its life; `UPLOAD_TRANSITIONS` has every step there is."""

    UPLOADING = "uploading"
    READY = "ready"
    """Servers can be made from it; whether they are, its `Standing` says."""
    DELETING = "deleting"
    """What there may be of it in the cloud is being deleted; `fault` says why, if it failed."""
    GONE = "gone"


_U = UploadState
UPLOAD_TRANSITIONS: Final = {
    _U.UPLOADING: frozenset({_U.READY, _U.DELETING}),
    _U.READY: frozenset({_U.DELETING}),
    _U.DELETING: frozenset({_U.GONE}),
    _U.GONE: frozenset[UploadState](),
}


class Standing(enum.Enum):
    """What is known of an upload by the nodes that were made from it."""

    CANARY = "canary"
    """It serves a small share of launches, until enough nodes became ready."""
    PROMOTED = "promoted"
    """It is good: it serves launches while it is the newest that is, or pinned."""
    WITHDRAWN = "withdrawn"
    """It is bad there: nothing is launched from it."""


@attrs.frozen(kw_only=True)
class Artifact:
    """One file of a build.

    Attributes:
        path: where it is on this host; "" once it is deleted here.
        size: in bytes, as it is uploaded.
    """

    format: str
    path: str
    size: int
    md5: str
    sha256: str
    sha512: str = ""


@attrs.frozen(kw_only=True)
class Build:
    """One build of an image.

    Attributes:
        number: rises with each build of the image.
        builder: type of the builder.
        formats: what is to be built.
        recipe: hash of all it is made of: another one means that the configuration has changed.
        why: the reason for it, in words.
        by: who asked for it; "" is the daemon itself.
        login: how to log in to nodes made of it.
        properties: of the image in the clouds.
        base: path of its files without their suffixes.
        log: path of its log.
        phase: what the builder does now, in its own words.
        log_lines: how many lines its log had when that was recorded last, while it is built.
        log_last: the last of them, without what is secret.
        artifacts: its files, once it is ready.
    """

    id: BuildId
    image: str
    number: int
    state: BuildState
    state_at: float
    created_at: float
    builder: str
    formats: tuple[str, ...]
    recipe: str
    why: str = ""
    by: str = ""
    login: Login = attrs.field(factory=Login)
    properties: Mapping[str, str] = attrs.field(factory=dict)
    base: str = ""
    log: str = ""
    phase: str = ""
    log_lines: int = 0
    log_last: str = ""
    ready_at: float | None = None
    artifacts: tuple[Artifact, ...] = ()
    fault: str | None = None

    def became(self, state: BuildState, at: float, **changes: Any) -> "Build":
        """Take one step of life.

        Raises:
            TransitionError: the table has no such step.
        """
        if state not in BUILD_TRANSITIONS[self.state]:
            raise TransitionError(f"build {self.id}: {self.state.value} → {state.value}")
        return attrs.evolve(self, state=state, state_at=at, **changes)

    def artifact(self, format: str) -> Artifact | None:
        """Its file of this format, whether it is still here or not."""
        return next((one for one in self.artifacts if one.format == format), None)


@attrs.frozen(kw_only=True)
class Trial:
    """How launches have fared since an upload became a canary, at its provider.

    Attributes:
        since: when the upload became ready: launches that began before do not count.
        ready, failed: launches from the canary; those refused for quota or capacity do not count.
        before_ready, before_failed: launches from the image before it, in the same window.
    """

    since: float
    ready: int = 0
    failed: int = 0
    before_ready: int = 0
    before_failed: int = 0


@attrs.frozen(kw_only=True)
class Upload:
    """One image at one provider, recorded from its intent until it is proved gone.

    Attributes:
        artifact: what is uploaded; its file may be gone from here since.
        name: of the image in the cloud.
        home: where it is made: a 404 from another project or endpoint proves nothing.
        stage: how far it has come, in the word of the way it is uploaded by.
        sent_at: when the call that makes the image was about to be sent. Set and no
            ``external_id`` means *in doubt*: it may exist, and is looked for by its tag.
        external_id: the cloud's id of the image.
        things: what has been made for the upload beside the image (an object, a task), by name.
        standing: what is known of it by its nodes.
        trial: how the canary has fared; None until a launch has ended.
        hook_fault: how the post-upload hook failed; "" where it has not.
        origin: the mark of the store's opening that began it, which its tag bears too.
    """

    id: UploadId
    build_id: BuildId
    image: str
    provider: str
    cloud: str
    region: str
    artifact: Artifact
    name: str
    state: UploadState
    state_at: float
    created_at: float
    why: str = ""
    by: str = ""
    login: Login = attrs.field(factory=Login)
    properties: Mapping[str, str] = attrs.field(factory=dict)
    home: Home | None = None
    stage: str = ""
    sent_at: float | None = None
    external_id: str | None = None
    things: Mapping[str, str] = attrs.field(factory=dict)
    ready_at: float | None = None
    standing: Standing = Standing.CANARY
    standing_why: str = ""
    trial: Trial | None = None
    fault: str | None = None
    hook_fault: str = ""
    origin: str = ""

    def became(self, state: UploadState, at: float, **changes: Any) -> "Upload":
        """Take one step of life.

        Raises:
            TransitionError: the table has no such step.
        """
        if state not in UPLOAD_TRANSITIONS[self.state]:
            raise TransitionError(f"upload {self.id}: {self.state.value} → {state.value}")
        return attrs.evolve(self, state=state, state_at=at, **changes)

    @property
    def usable(self) -> bool:
        """Whether servers may be made from it."""
        return self.state is UploadState.READY and self.standing is not Standing.WITHDRAWN


@attrs.frozen(kw_only=True)
class Pin:
    """A person's word that an image shall be that of one build; until it is taken back."""

    build_id: BuildId
    by: str
    reason: str
    at: float


@attrs.frozen(kw_only=True)
class ImagePlace:
    """What is remembered of an image at one provider.

    Attributes:
        pin: what it is held at there.
        pause: set while nothing is uploaded there.
        failures: uploads that failed one after the other.
        not_before: no upload is begun there before this time.
        fault: of the last one that failed.
    """

    provider: str
    pin: Pin | None = None
    pause: Pause | None = None
    failures: int = 0
    not_before: float = 0.0
    fault: str = ""


@attrs.frozen(kw_only=True)
class ImageRecord:
    """What is remembered of an image over restarts.

    Attributes:
        next_build, next_upload: numbers of the next ones; they only rise.
        pause: set while nothing is built.
        wanted: a person has asked for a build, and why; "" if nobody has.
        failures: builds that failed one after the other.
        not_before: no build is begun before this time.
        fault: of the last build that failed.
    """

    name: str
    next_build: int = 1
    next_upload: int = 1
    pause: Pause | None = None
    wanted: str = ""
    wanted_by: str = ""
    failures: int = 0
    not_before: float = 0.0
    fault: str = ""
    places: tuple[ImagePlace, ...] = ()

    def place(self, provider: str) -> ImagePlace:
        """What is remembered of it at a provider; nothing yet is a value too."""
        found = next((one for one in self.places if one.provider == provider), None)
        return ImagePlace(provider=provider) if found is None else found

    def with_place(self, place: ImagePlace) -> "ImageRecord":
        """The same with *place* in place of what was remembered of its provider."""
        others = tuple(one for one in self.places if one.provider != place.provider)
        return attrs.evolve(self, places=(*others, place))


def build_id(image: str, number: int) -> BuildId:
    """The id of a build; also the name of its files and, but for the clouds' rules, its images."""
    return BuildId(f"{image}-{number:010d}")


def build_number(build: BuildId) -> int:
    """The number that a build's id ends with."""
    return int(build.rpartition("-")[2])


def upload_id(build: BuildId, number: int) -> UploadId:
    """The id of an upload; *number* rises with each upload of the image, to any provider."""
    return UploadId(f"{build}.{number}")


def upload_order(upload: Upload) -> tuple[int, int]:
    """Rises from older to newer: by the build it is of, then by the attempt."""
    build, _, attempt = upload.id.rpartition(".")
    return int(build.rpartition("-")[2]), int(attempt)
