"""What of an image is kept, at each provider and on this host, and what goes.

Uploads are counted at each provider by itself. What was promoted counts; what was withdrawn does
not, so that however many bad builds come, the last good one stays. Nothing goes that a server was
made from and that is not proved gone.
"""

from collections.abc import Iterator
from typing import Final

from trellis.images.decisions import DeleteBuild, DeleteFiles, DeleteUpload, ForgetBuild
from trellis.images.snapshot import ALIVE, ImagesSnapshot, ImageView, ProviderPlace
from trellis.model.image import Build, BuildState, Standing, Upload, UploadState
from trellis.model.names import BuildId, UploadId
from trellis.spi.config import ImageConfig

_GONE_FROM_FILE: Final = "the image is configured no longer"


def uploads_that_go(snapshot: ImagesSnapshot, image: ImageView) -> Iterator[DeleteUpload]:
    """The uploads of an image that are to be deleted now.

    Those at a provider that is not at work stay: nothing can be done about them.
    """
    for place in snapshot.providers.values():
        there = [one for one in image.at(place.name) if one.state in ALIVE]
        if not there:
            continue
        kept = _kept(image, place, there) if _needed(image, place) else frozenset()
        for upload in there:
            if upload.id not in kept and upload.id not in snapshot.in_use:
                yield DeleteUpload(upload=upload, reason=_why(image, place, upload))


def builds_that_go(
    snapshot: ImagesSnapshot, image: ImageView
) -> Iterator[DeleteBuild | ForgetBuild]:
    """The builds of an image that are to be deleted or forgotten now."""
    config = image.config
    ready = [one for one in image.builds if one.state is BuildState.READY]
    used = {one.build_id for one in image.uploads if one.state in ALIVE}
    newest = ready[: config.keep_builds] if config is not None else []
    kept = used | {one.id for one in newest} | _pinned(snapshot, image)
    kept |= {build for build, _ in snapshot.read}
    for build in ready:
        if build.id not in kept:
            count = f"there are {config.keep_builds} newer ones (keep-builds)" if config else ""
            yield DeleteBuild(build=build, reason=count or _GONE_FROM_FILE)
    failed = [one for one in image.builds if one.state is BuildState.FAILED]
    most = snapshot.logs_kept if config is not None else 0
    for build in failed[most:]:
        reason = f"{most} newer ones failed too" if config else _GONE_FROM_FILE
        yield ForgetBuild(build=build, reason=reason)


def files_that_go(snapshot: ImagesSnapshot, image: ImageView) -> Iterator[DeleteFiles]:
    """The files that every provider has which takes their format, where those are not kept."""
    config = image.config
    if config is None or not config.delete_after_upload:
        return
    pinned = _pinned(snapshot, image)
    for build in image.builds:
        if build.state is BuildState.READY and (formats := _served(snapshot, image, build, pinned)):
            reason = "every provider has them (delete-after-upload)"
            yield DeleteFiles(build=build, formats=formats, reason=reason)


# ------------------------------------------------------------------------------- of uploads


def _needed(image: ImageView, place: ProviderPlace) -> bool:
    return image.config is not None and not place.dropped and image.name in place.images


def _kept(image: ImageView, place: ProviderPlace, there: list[Upload]) -> frozenset[UploadId]:
    config = image.config
    assert config is not None
    ready = [one for one in there if one.state is UploadState.READY]
    pin = image.record.place(place.name).pin
    newest = image.newest
    kept = {one.id for one in there if one.state is UploadState.UPLOADING}
    kept |= {one.id for one in ready if pin is not None and one.build_id == pin.build_id}
    # Were it gone, it would be uploaded again: nobody else remembers that it is bad there.
    kept |= {one.id for one in ready if newest is not None and one.build_id == newest.id}
    canaries = [one for one in ready if one.standing is Standing.CANARY]
    kept |= {one.id for one in canaries[:1]}
    good = [one for one in ready if one.standing is Standing.PROMOTED]
    if not good:
        # Those that may be good are all there is to go back to, first of all who has served.
        served = [one for one in canaries if one.trial is not None and one.trial.ready]
        kept |= {one.id for one in (*served[:1], *canaries[: config.keep_uploads])}
    kept |= {one.id for one in good[: config.keep_uploads]}
    return frozenset(kept)


def _why(image: ImageView, place: ProviderPlace, upload: Upload) -> str:
    config = image.config
    if place.dropped:
        return "the provider is configured no longer"
    if config is None:
        return _GONE_FROM_FILE
    if image.name not in place.images:
        return "no label of the provider names the image any more"
    if upload.standing is Standing.WITHDRAWN:
        return "it was withdrawn, and there is a newer build"
    if upload.standing is Standing.CANARY:
        return "a newer one is there, and it was never promoted"
    return f"there are {config.keep_uploads} newer good ones (keep-uploads)"


# -------------------------------------------------------------------------------- of builds


def _pinned(snapshot: ImagesSnapshot, image: ImageView) -> frozenset[BuildId]:
    """The builds that the image is held at, at a provider that still has use for it."""
    return frozenset(
        place.pin.build_id
        for place in image.record.places
        if place.pin is not None
        and (at := snapshot.providers.get(place.provider)) is not None
        and _needed(image, at)
    )


def _served(
    snapshot: ImagesSnapshot, image: ImageView, build: Build, pinned: frozenset[BuildId]
) -> tuple[str, ...]:
    """The formats of a build whose files nobody needs any more."""
    config = image.config
    assert config is not None
    of_build = [one for one in image.uploads if one.build_id == build.id]
    sent = {one.artifact.format for one in of_build if one.state is UploadState.READY}
    being_sent = {one.artifact.format for one in of_build if one.state is UploadState.UPLOADING}
    there = {one.provider for one in of_build if one.state is UploadState.READY}
    newest = image.newest
    for place in snapshot.providers.values():
        wants = place.wants(image.name) and place.name not in there
        pin = image.record.place(place.name).pin
        held = pin is not None and pin.build_id == build.id and build.id in pinned
        if wants and (held or (newest is not None and build.id == newest.id)):
            if place.format is None:
                return ()  # any of them may be what it will want
            being_sent.add(place.format)
    return tuple(
        one.format
        for one in build.artifacts
        if one.path
        and one.format in sent - being_sent
        and one.format not in _formats_kept(config)
        and (build.id, one.format) not in snapshot.read
    )


def _formats_kept(config: ImageConfig) -> frozenset[str]:
    return frozenset(config.keep_formats)
