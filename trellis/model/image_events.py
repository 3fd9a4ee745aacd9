"""The events that changes of images, builds and uploads are."""

from collections.abc import Mapping

import attrs

from trellis.model.image import Build, BuildState, ImageRecord, Upload, UploadState


@attrs.frozen(kw_only=True)
class Told:
    """What an event says beside its number, its time and its subject."""

    type: str
    why: str = ""
    about: tuple[str, ...] = ()
    data: Mapping[str, str] = attrs.field(factory=dict)


def told_of(before: object, after: ImageRecord | Build | Upload, why: str) -> Told | None:
    """The event that a change is; None if it is no step of anybody's."""
    match after:
        case Build():
            return _build(before, after, why)
        case Upload():
            return _upload(before, after, why)
        case ImageRecord():
            return _image(before, after, why)


def _build(before: object, after: Build, why: str) -> Told | None:
    about = (after.image,)
    if isinstance(before, Build) and before.state is after.state:
        if before.phase != after.phase:
            return Told(type="build.phase", why=why, about=about, data={"phase": after.phase})
        if before.log_lines == after.log_lines:
            return None
        data = {"lines": str(after.log_lines), "last": after.log_last}
        return Told(type="build.progress", why=why, about=about, data=data)
    data = {"formats": ",".join(after.formats)}
    if after.state is BuildState.READY and after.ready_at is not None:
        data["took_s"] = f"{after.ready_at - after.created_at:.1f}"
        data["bytes"] = str(sum(one.size for one in after.artifacts))
    reason = why or after.fault or after.why
    return Told(type=f"build.{after.state.value}", why=reason, about=about, data=data)


def _upload(before: object, after: Upload, why: str) -> Told | None:
    about = (after.image, after.build_id, *((after.external_id,) if after.external_id else ()))
    data = {"provider": after.provider, "format": after.artifact.format}
    if isinstance(before, Upload) and before.state is after.state:
        if before.standing is not after.standing:
            kind = f"upload.{after.standing.value}"
            return Told(type=kind, why=why or after.standing_why, about=about, data=data)
        if after.hook_fault and before.hook_fault != after.hook_fault:
            return Told(type="upload.hook-failed", why=after.hook_fault, about=about, data=data)
        return None
    if after.state is UploadState.READY and after.ready_at is not None:
        data["took_s"] = f"{after.ready_at - after.created_at:.1f}"
        data["bytes"] = str(after.artifact.size)
    reason = why or after.fault or after.why
    return Told(type=f"upload.{after.state.value}", why=reason, about=about, data=data)


def _image(before: object, after: ImageRecord, why: str) -> Told | None:
    was = before if isinstance(before, ImageRecord) else ImageRecord(name=after.name)
    if was.pause != after.pause:
        return Told(type="image.paused" if after.pause else "image.resumed", why=why)
    if after.wanted and was.wanted != after.wanted:
        return Told(type="image.wanted", why=why or after.wanted)
    for place in after.places:
        old, data = was.place(place.provider), {"provider": place.provider}
        if old.pin != place.pin:
            about = (place.pin.build_id,) if place.pin else ()
            step = "pinned" if place.pin else "unpinned"
            return Told(type=f"image.{step}", why=why, about=about, data=data)
        if old.pause != place.pause:
            step = "paused" if place.pause else "resumed"
            return Told(type=f"image.{step}", why=why, data=data)
    return None
