"""Why an image is not at a provider, in words: what is done about it, or waited for."""

from datetime import UTC, datetime

from trellis.control.images.book import OfImage
from trellis.model.image import Build, BuildState, Pin, Standing, Upload, UploadState
from trellis.model.provider import Pause


def why_absent(all_of: OfImage, provider: str, configured: bool) -> str:
    """Why no upload of an image serves at a provider.

    It does not change by itself with the time, as it is part of what the planner compares.

    Args:
        all_of: the image.
        configured: whether the configuration has it still.
    """
    place = all_of.record.place(provider)
    uploads = [one for one in all_of.uploads if one.provider == provider]
    if place.pin is not None:
        return _pinned(place.pin, uploads, all_of.builds)
    if words := _under_way(uploads):
        return words
    bad = [one for one in uploads if one.standing is Standing.WITHDRAWN]
    if bad and bad[0].state is UploadState.READY:
        return f"has no good upload there: build {bad[0].build_id} was withdrawn, as {_why(bad[0])}"
    ready = [one for one in all_of.builds if one.state is BuildState.READY]
    if not configured and not ready:
        return "is not one of the configured images"
    if place.pause is not None and ready:
        return f"is not uploaded there: uploads are {_paused(place.pause)}"
    if place.fault and ready:
        return f"is not uploaded there: {_failed('upload', place.failures, place.not_before)}: " + (
            place.fault
        )
    if ready:
        here = any(one.path for one in ready[0].artifacts)
        deleted = "" if here else ", but its files are deleted here"
        return f"is not uploaded there yet: build {ready[0].id} is ready{deleted}"
    return _not_built(all_of)


def _pinned(pin: Pin, uploads: list[Upload], builds: tuple[Build, ...]) -> str:
    held = f"is pinned to build {pin.build_id} by {pin.by}"
    if _under_way([one for one in uploads if one.build_id == pin.build_id]):
        return f"{held}, which is being uploaded"
    build = next((one for one in builds if one.id == pin.build_id), None)
    if build is None or build.state is not BuildState.READY:
        return f"{held}, of which nothing is left: unpin it, or pin another build"
    return f"{held}, which is not uploaded there yet"


def _under_way(uploads: list[Upload]) -> str:
    for upload in uploads:
        if upload.state is UploadState.UPLOADING:
            stage = f" ({upload.stage})" if upload.stage else ""
            return f"is being uploaded there: build {upload.build_id}{stage}"
    return ""


def _not_built(all_of: OfImage) -> str:
    record = all_of.record
    building = [one for one in all_of.builds if one.state is BuildState.BUILDING]
    if building:
        phase = f": {building[0].phase}" if building[0].phase else ""
        return f"is being built: {building[0].id}{phase}"
    if record.pause is not None and not record.wanted:
        return f"has no build: builds are {_paused(record.pause)}"
    if record.fault:
        failed = _failed("build", record.failures, record.not_before)
        return f"has no build: {failed}: {record.fault}"
    return "has no build yet"


def _paused(pause: Pause) -> str:
    return f"paused by {pause.by}: {pause.reason}" if pause.reason else f"paused by {pause.by}"


def _failed(what: str, failures: int, not_before: float) -> str:
    times = f"{failures} {what}s" if failures > 1 else f"the last {what}"
    again = datetime.fromtimestamp(not_before, UTC).strftime("%H:%M:%S UTC")
    return f"{times} failed, tried again at {again}"


def _why(upload: Upload) -> str:
    return upload.standing_why or "a person said so"
