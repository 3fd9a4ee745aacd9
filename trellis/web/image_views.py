"""From what the board says of images to what the face shows."""

from trellis.model.image import Artifact, Pin, Trial
from trellis.model.image_status import BuildStatus, ImageStatus, PlaceStatus, UploadStatus
from trellis.web.image_answers import (
    ArtifactAnswer,
    BuildAnswer,
    ImageAnswer,
    PinAnswer,
    PlaceAnswer,
    TrialAnswer,
    UploadAnswer,
)
from trellis.web.operator_views import pause_answer
from trellis.web.views import maybe_moment, moment, seconds


def image_answer(image: ImageStatus) -> ImageAnswer:
    """An image with its builds and its places."""
    return ImageAnswer(
        name=image.name,
        configured=image.configured,
        type=image.type,
        words=image.words,
        rebuild_at=maybe_moment(image.rebuild_at),
        pause=pause_answer(image.pause),
        wanted=image.wanted,
        wanted_by=image.wanted_by,
        next_build=image.next_build,
        failures=image.failures,
        not_before=maybe_moment(image.not_before or None),
        fault=image.fault,
        builds=tuple(build_answer(build) for build in image.builds),
        places=tuple(_place_answer(place) for place in image.places),
    )


def build_answer(status: BuildStatus) -> BuildAnswer:
    """A build."""
    build = status.build
    return BuildAnswer(
        id=build.id,
        number=build.number,
        state=build.state.value,
        state_at=moment(build.state_at),
        created_at=moment(build.created_at),
        ready_at=maybe_moment(build.ready_at),
        builder=build.builder,
        formats=build.formats,
        phase=build.phase,
        elapsed_s=round(status.elapsed_s, 1),
        usual_s=seconds(status.usual_s),
        log_bytes=status.log_bytes,
        why=build.why,
        by=build.by,
        words=status.words,
        fault=build.fault,
        artifacts=tuple(_artifact_answer(artifact) for artifact in build.artifacts),
    )


def _artifact_answer(artifact: Artifact) -> ArtifactAnswer:
    return ArtifactAnswer(
        format=artifact.format,
        path=artifact.path,
        bytes=artifact.size,
        md5=artifact.md5,
        sha256=artifact.sha256,
    )


def _place_answer(place: PlaceStatus) -> PlaceAnswer:
    serving = place.serving
    return PlaceAnswer(
        provider=place.provider,
        labels=place.labels,
        format=place.wants,
        missing=place.missing,
        words=place.words,
        build_id=serving.upload.build_id if serving is not None else None,
        built_at=maybe_moment(place.built_at),
        pin=pin_answer(place.pin),
        pause=pause_answer(place.pause),
        failures=place.failures,
        not_before=maybe_moment(place.not_before or None),
        fault=place.fault,
        uploads=tuple(_upload_answer(upload) for upload in place.uploads),
    )


def _upload_answer(status: UploadStatus) -> UploadAnswer:
    upload = status.upload
    return UploadAnswer(
        id=upload.id,
        build_id=upload.build_id,
        provider=upload.provider,
        format=upload.artifact.format,
        name=upload.name,
        external_id=upload.external_id,
        state=upload.state.value,
        state_at=moment(upload.state_at),
        created_at=moment(upload.created_at),
        ready_at=maybe_moment(upload.ready_at),
        standing=upload.standing.value,
        standing_why=upload.standing_why,
        serving=status.serving,
        share=status.share,
        stage=upload.stage,
        bytes=upload.artifact.size,
        sent=status.sent,
        rate=seconds(status.rate),
        left_s=seconds(status.left_s),
        trial=trial_answer(upload.trial, status.needed),
        nodes=status.nodes,
        why=upload.why,
        by=upload.by,
        words=status.words,
        fault=upload.fault,
    )


def trial_answer(trial: Trial | None, needed: int) -> TrialAnswer | None:
    """How a canary has fared; None before its first launch."""
    if trial is None:
        return None
    return TrialAnswer(
        since=moment(trial.since),
        ready=trial.ready,
        failed=trial.failed,
        before_ready=trial.before_ready,
        before_failed=trial.before_failed,
        needed=needed,
    )


def pin_answer(pin: Pin | None) -> PinAnswer | None:
    """Who holds an image at a build; None if nobody does."""
    if pin is None:
        return None
    return PinAnswer(build_id=pin.build_id, by=pin.by, reason=pin.reason, at=moment(pin.at))


def build_row(status: BuildStatus) -> dict[str, object]:
    """What `trellis.live.images` says how far a build is from."""
    return {
        "phase": status.build.phase,
        "elapsed_s": status.elapsed_s,
        "usual_s": status.usual_s,
    }


def upload_row(status: UploadStatus) -> dict[str, object]:
    """What `trellis.live.images` says how far an upload is, and how it fares, from."""
    trial = status.upload.trial
    return {
        "state": status.upload.state.value,
        "words": status.words,
        "bytes": status.upload.artifact.size,
        "sent": status.sent,
        "rate": status.rate,
        "left_s": status.left_s,
        "trial": None
        if trial is None
        else {"ready": trial.ready, "failed": trial.failed, "needed": status.needed},
    }
