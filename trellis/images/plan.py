"""Decide what to build, upload and delete: purely, from a snapshot.

What it decides is done once: applied to the snapshot it was decided from, it decides nothing more
until time has passed or something else has happened.
"""

import math
from collections.abc import Iterator

import attrs

from trellis.images.decisions import ImageDecision, ImagesPlan, StartBuild, StartUpload
from trellis.images.retention import builds_that_go, files_that_go, uploads_that_go
from trellis.images.snapshot import ALIVE, ImagesSnapshot, ImageView, ProviderPlace
from trellis.model.image import Artifact, Build, BuildState, UploadState, upload_order
from trellis.model.provider import Pause
from trellis.spi.config import ImageConfig

DEFAULT_FORMAT = "qcow2"
"""What is built if a person asks for an image that no provider takes and that names no format."""


def plan(snapshot: ImagesSnapshot) -> ImagesPlan:
    """What to do now, and what is waited for."""
    later = _Later()
    builds = _builds(snapshot, later)
    decisions: list[ImageDecision] = list(builds)
    for image in snapshot.images.values():
        decisions += _uploads(snapshot, image, later)
    for image in snapshot.images.values():
        decisions += uploads_that_go(snapshot, image)
        decisions += builds_that_go(snapshot, image)
        decisions += files_that_go(snapshot, image)
    return ImagesPlan(
        decisions=tuple(decisions),
        builds_wait=later.builds,
        uploads_wait=later.uploads,
        look_again_at=later.at,
    )


@attrs.define(eq=False)
class _Later:
    """What is waited for, found out while deciding."""

    builds: dict[str, str] = attrs.field(factory=dict)
    uploads: dict[tuple[str, str], str] = attrs.field(factory=dict)
    at: float = math.inf

    def look(self, at: float) -> None:
        self.at = min(self.at, at)

    def holds(self, pause: Pause, now: float) -> bool:
        """Whether a pause is in force; its end is waited for."""
        if pause.until is not None and pause.until <= now:
            return False
        self.look(math.inf if pause.until is None else pause.until)
        return True


# -------------------------------------------------------------------------------- to build


@attrs.frozen(kw_only=True)
class _Need:
    """Why an image has to be built; *order* is lower for who has waited longer."""

    image: ImageView
    reason: str
    by: str = ""
    order: tuple[int, float]


def _builds(snapshot: ImagesSnapshot, later: _Later) -> Iterator[StartBuild]:
    needs = [
        need
        for image in snapshot.images.values()
        if image.config is not None
        and (need := _need(snapshot, image, image.config, later)) is not None
    ]
    slots = snapshot.slots_left
    for need in sorted(needs, key=lambda one: (one.order, one.image.name)):
        if held := _held(snapshot, need, later):
            later.builds[need.image.name] = f"{need.reason}; {held}"
        elif slots <= 0:
            later.builds[need.image.name] = (
                f"{need.reason}; it waits until another build ends (build-workers)"
            )
        else:
            slots -= 1
            yield StartBuild(
                image=need.image.name,
                formats=_formats(snapshot, need.image),
                reason=need.reason,
                by=need.by,
            )


def _need(
    snapshot: ImagesSnapshot, image: ImageView, config: ImageConfig, later: _Later
) -> _Need | None:
    """Why it has to be built, held back or not."""
    last, record = image.newest, image.record
    if record.wanted:
        return _Need(image=image, reason=record.wanted, by=record.wanted_by, order=(0, 0.0))
    wanted = _formats(snapshot, image, by_itself=True)
    if not wanted:
        return None
    if last is None or last.ready_at is None:
        return _Need(image=image, reason="there is no build of it", order=(1, 0.0))
    order = (1, last.ready_at)
    if missing := _missing(snapshot, image, last):
        return _Need(image=image, reason=missing, order=order)
    if not config.rebuild_age:
        return None
    if last.recipe != image.recipe:
        return _Need(image=image, reason="its recipe has changed", order=order)
    if snapshot.now >= (due := last.ready_at + config.rebuild_age):
        reason = f"the last build is {_age(snapshot.now - last.ready_at)} old, past rebuild-age"
        return _Need(image=image, reason=reason, order=order)
    later.look(due)
    return None


def _age(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600.0 else f"{seconds:.0f} s"


def _held(snapshot: ImagesSnapshot, need: _Need, later: _Later) -> str:
    """Why a build that is needed must not begin now; "" if it may."""
    image, record, config = need.image, need.image.record, need.image.config
    if any(one.state is BuildState.BUILDING for one in image.builds):
        return "one is being built"
    unknown = _unknown(snapshot, image)
    if unknown and not snapshot.hurried:
        return f"it is not known yet which format {', '.join(unknown)} takes"
    if record.wanted:
        return ""
    if config is not None and config.pause:
        return "its builds are paused by the configuration"
    if record.pause is not None and later.holds(record.pause, snapshot.now):
        return f"its builds are paused by {record.pause.by}: {record.pause.reason}"
    if record.not_before > snapshot.now and not _corrected(image):
        later.look(record.not_before)
        return f"{record.failures} builds failed one after the other, the last by: {record.fault}"
    return ""


def _corrected(image: ImageView) -> bool:
    """Whether what failed last was made of something else than is configured now."""
    failed = next((one for one in image.builds if one.state is BuildState.FAILED), None)
    return failed is not None and failed.recipe != image.recipe


def _formats(
    snapshot: ImagesSnapshot, image: ImageView, *, by_itself: bool = False
) -> tuple[str, ...]:
    """What is to be built: what is configured, and what the providers take.

    Args:
        by_itself: nothing, where nobody names a format; else what a person's wish comes to.
    """
    configured = image.config.formats if image.config is not None else ()
    wanted = dict.fromkeys(configured)
    users = [place for place in snapshot.providers.values() if place.wants(image.name)]
    wanted.update({place.format: None for place in users if place.format is not None})
    if not wanted and (not by_itself or users):
        # A provider that has not told yet most likely takes it, and is heard before in any case.
        return (DEFAULT_FORMAT,)
    return tuple(wanted)


def _missing(snapshot: ImagesSnapshot, image: ImageView, last: Build) -> str:
    """The need of a provider that the last build cannot meet; "" if there is none."""
    for place in snapshot.providers.values():
        format = place.format
        if format is None or not place.wants(image.name):
            continue
        if format not in last.formats:
            return f"{place.name} takes {format}, in which it was not built"
        file = last.artifact(format)
        if file is not None and not file.path and _lacks(image, place, last):
            return f"{place.name} has to get it anew, and its {format} file is deleted"
    for format in image.config.formats if image.config is not None else ():
        if format not in last.formats:
            return f"it was not built as {format}"
    return ""


def _unknown(snapshot: ImagesSnapshot, image: ImageView) -> list[str]:
    return [
        place.name
        for place in snapshot.providers.values()
        if place.wants(image.name) and place.format is None
    ]


# ------------------------------------------------------------------------------- to upload


def _uploads(snapshot: ImagesSnapshot, image: ImageView, later: _Later) -> Iterator[StartUpload]:
    if image.config is None:
        return
    for place in snapshot.providers.values():
        if place.wants(image.name):
            found = _upload(snapshot, image, place, later)
            if found is not None:
                yield found


def _upload(
    snapshot: ImagesSnapshot, image: ImageView, place: ProviderPlace, later: _Later
) -> StartUpload | None:
    """The upload that a provider lacks most and may get now; one at a time."""
    key, at = (place.name, image.name), image.record.place(place.name)
    wanted: list[tuple[Build, str]] = []
    pinned = image.build(at.pin.build_id) if at.pin is not None else None
    if pinned is not None and pinned.state is BuildState.READY:
        wanted.append((pinned, "it is pinned there"))
    newest = image.newest
    if newest is not None and newest is not pinned and not _has_newer(image, place, newest):
        wanted.append((newest, "it is the newest build"))
    for build, reason in wanted:
        if not _lacks(image, place, build):
            continue
        if (file := _file(build, place)) is None:
            format = place.format or "the format it takes, which is not known yet,"
            later.uploads[key] = f"there is no file of build {build.number} as {format} here"
        elif at.pause is not None and later.holds(at.pause, snapshot.now):
            later.uploads[key] = f"uploads are paused by {at.pause.by}: {at.pause.reason}"
        elif at.not_before > snapshot.now:
            later.look(at.not_before)
            later.uploads[key] = (
                f"{at.failures} uploads failed one after the other, the last by: {at.fault}"
            )
        elif any(one.state is UploadState.UPLOADING for one in image.at(place.name)):
            later.uploads[key] = "another upload of it is under way there"
        else:
            return StartUpload(build=build, provider=place.name, artifact=file, reason=reason)
    return None


def _lacks(image: ImageView, place: ProviderPlace, build: Build) -> bool:
    """Whether a provider has no upload of a build, good or bad, nor is getting one."""
    return not any(one.build_id == build.id and one.state in ALIVE for one in image.at(place.name))


def _has_newer(image: ImageView, place: ProviderPlace, build: Build) -> bool:
    """Whether a provider has a later one that is good, of a build that was deleted here."""
    return any(one.usable and upload_order(one)[0] > build.number for one in image.at(place.name))


def _file(build: Build, place: ProviderPlace) -> Artifact | None:
    file = build.artifact(place.format) if place.format is not None else None
    return file if file is not None and file.path else None
