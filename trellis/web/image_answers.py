"""What the face answers with about images."""

from typing import Annotated

from msgspec import Meta, Struct

from trellis.web.answers import Next, Time
from trellis.web.operator_answers import PauseAnswer


class ArtifactAnswer(Struct, frozen=True, kw_only=True):
    """One file of a build."""

    format: Annotated[str, Meta(description="qcow2, raw or vhd.")]
    path: Annotated[str, Meta(description='On the daemon\'s host; "" once it is deleted there.')]
    bytes: Annotated[int, Meta(description="Its size, as it is uploaded.")]
    md5: Annotated[str, Meta(description="Its checksum.")]
    sha256: Annotated[str, Meta(description="Its checksum.")]


class BuildAnswer(Struct, frozen=True, kw_only=True):
    """One build of an image."""

    id: Annotated[str, Meta(description="The image's name and a rising number.")]
    number: Annotated[int, Meta(description="Rises with each build of the image.")]
    state: Annotated[str, Meta(description="building, ready, failed, deleting or gone.")]
    state_at: Annotated[Time, Meta(description="Since when it is in that state. UTC.")]
    created_at: Annotated[Time, Meta(description="When it began. UTC.")]
    ready_at: Annotated[Time | None, Meta(description="When its files were there. UTC.")]
    builder: Annotated[str, Meta(description="The type of its builder.")]
    formats: Annotated[tuple[str, ...], Meta(description="What is built.")]
    phase: Annotated[str, Meta(description="What the builder does now, in its own words.")]
    elapsed_s: Annotated[float, Meta(description="Seconds it has taken so far, or took.")]
    usual_s: Annotated[
        float | None, Meta(description="Seconds that the last one took; null if none ended well.")
    ]
    log_bytes: Annotated[int | None, Meta(description="How long its log is; null if it has none.")]
    why: Annotated[str, Meta(description="The reason for it.")]
    by: Annotated[str, Meta(description='Who asked for it; "" is the daemon itself.')]
    words: Annotated[str, Meta(description="What it does or how it ended, for a person.")]
    fault: Annotated[str | None, Meta(description="Why it failed.")]
    artifacts: Annotated[tuple[ArtifactAnswer, ...], Meta(description="Its files.")]


class TrialAnswer(Struct, frozen=True, kw_only=True):
    """How launches have fared since an upload became a canary, at its provider."""

    since: Annotated[Time, Meta(description="Launches that began after it count. UTC.")]
    ready: Annotated[int, Meta(description="Nodes of it that became ready.")]
    failed: Annotated[int, Meta(description="Launches of it that failed.")]
    before_ready: Annotated[
        int, Meta(description="Nodes of the image before it that became ready meanwhile.")
    ]
    before_failed: Annotated[
        int, Meta(description="Launches of the image before it that failed meanwhile.")
    ]
    needed: Annotated[int, Meta(description="How many have to become ready: canary-nodes.")]


class UploadAnswer(Struct, frozen=True, kw_only=True):
    """One attempt to have a build at one provider."""

    id: Annotated[str, Meta(description="The build's id and a rising number.")]
    build_id: Annotated[str, Meta(description="The build it is of.")]
    provider: Annotated[str, Meta(description="Where.")]
    format: Annotated[str, Meta(description="Of the file that is uploaded.")]
    name: Annotated[str, Meta(description="Of the image in the cloud.")]
    external_id: Annotated[str | None, Meta(description="The cloud's id of the image.")]
    state: Annotated[str, Meta(description="uploading, ready, deleting or gone.")]
    state_at: Annotated[Time, Meta(description="Since when it is in that state. UTC.")]
    created_at: Annotated[Time, Meta(description="When it was decided. UTC.")]
    ready_at: Annotated[Time | None, Meta(description="When the cloud had all of it. UTC.")]
    standing: Annotated[str, Meta(description="canary, promoted or withdrawn.")]
    standing_why: Annotated[str, Meta(description="Why it is so.")]
    serving: Annotated[bool, Meta(description="Whether launches there boot from it.")]
    share: Annotated[float, Meta(description="Its share of the launches there, from 0 to 1.")]
    stage: Annotated[str, Meta(description="How far it is, in the word of the way it goes.")]
    bytes: Annotated[int, Meta(description="How much is to be sent.")]
    sent: Annotated[int | None, Meta(description="How much was sent; null while nothing is.")]
    rate: Annotated[float | None, Meta(description="Bytes in a second lately.")]
    left_s: Annotated[float | None, Meta(description="Seconds that sending may still take.")]
    trial: Annotated[TrialAnswer | None, Meta(description="Set once a canary had a launch.")]
    nodes: Annotated[int, Meta(description="Nodes there that were made from it.")]
    why: Annotated[str, Meta(description="The reason for it.")]
    by: Annotated[str, Meta(description='Who asked for it; "" is the daemon itself.')]
    words: Annotated[str, Meta(description="What it does or waits for, for a person.")]
    fault: Annotated[str | None, Meta(description="Why it failed.")]


class PinAnswer(Struct, frozen=True, kw_only=True):
    """A person's word that an image stays that of one build."""

    build_id: Annotated[str, Meta(description="Which build.")]
    by: Annotated[str, Meta(description="Who said so.")]
    reason: Annotated[str, Meta(description="Why.")]
    at: Annotated[Time, Meta(description="When. UTC.")]


class PlaceAnswer(Struct, frozen=True, kw_only=True):
    """An image at one provider."""

    provider: Annotated[str, Meta(description="Where.")]
    labels: Annotated[tuple[str, ...], Meta(description="Labels whose nodes are made from it.")]
    format: Annotated[str | None, Meta(description="What is uploaded; null is not known yet.")]
    missing: Annotated[bool, Meta(description="Nothing serves there: its labels cannot be made.")]
    words: Annotated[str, Meta(description="Why, or what it waits for, for a person.")]
    build_id: Annotated[str | None, Meta(description="The build that launches boot from.")]
    built_at: Annotated[Time | None, Meta(description="When that build was ready. UTC.")]
    pin: Annotated[PinAnswer | None, Meta(description="What it is held at.")]
    pause: Annotated[PauseAnswer | None, Meta(description="Set while nothing is uploaded there.")]
    failures: Annotated[int, Meta(description="Uploads that failed in a row.")]
    not_before: Annotated[
        Time | None, Meta(description="Nothing is uploaded there before. UTC; null is at once.")
    ]
    fault: Annotated[str, Meta(description="Of the last upload that failed.")]
    uploads: Annotated[tuple[UploadAnswer, ...], Meta(description="Of the newest build first.")]


class ImageAnswer(Struct, frozen=True, kw_only=True):
    """One image: its builds, and how it stands at each provider."""

    name: Annotated[str, Meta(description="Its name in the configuration.")]
    configured: Annotated[bool, Meta(description="false: it is configured no longer, and goes.")]
    type: Annotated[str, Meta(description="The type of its builder.")]
    words: Annotated[str, Meta(description="What it does or waits for, for a person.")]
    rebuild_at: Annotated[
        Time | None, Meta(description="When it is built anew by itself. UTC; null is never.")
    ]
    pause: Annotated[PauseAnswer | None, Meta(description="Set while nothing is built.")]
    wanted: Annotated[str, Meta(description="Why a build was asked for that has not begun.")]
    wanted_by: Annotated[str, Meta(description="Who asked for it.")]
    next_build: Annotated[str, Meta(description="The id that its next build will have.")]
    failures: Annotated[int, Meta(description="Builds that failed in a row.")]
    not_before: Annotated[
        Time | None, Meta(description="Nothing is built by itself before. UTC; null is at once.")
    ]
    fault: Annotated[str, Meta(description="Of the last build that failed.")]
    builds: Annotated[tuple[BuildAnswer, ...], Meta(description="The newest first.")]
    places: Annotated[tuple[PlaceAnswer, ...], Meta(description="How it stands at each provider.")]


class ImagePage(Struct, frozen=True):
    """All images."""

    items: Annotated[tuple[ImageAnswer, ...], Meta(description="As in the configuration.")]
    next: Next = None


class LogLineAnswer(Struct, frozen=True, kw_only=True):
    """One line of a build's log, in its stream."""

    text: Annotated[str, Meta(description="Without its end, and without what is secret.")]


class LogEndAnswer(Struct, frozen=True, kw_only=True):
    """The end of the stream of a build's log."""

    state: Annotated[str, Meta(description="What the build is now.")]
    words: Annotated[str, Meta(description="How it ended, for a person.")]
