"""Images in brief, for live views."""

from collections.abc import Iterator

from trellis.live.images import about_build, about_trial, about_upload, build_share, upload_share
from trellis.model.image import BuildState, Standing, UploadState, build_number
from trellis.model.image_status import ImageStatus, PlaceStatus
from trellis.web.image_views import build_row, trial_answer, upload_row
from trellis.web.status_answers import ComingGlance, ImageGlance, ImagePlaceGlance
from trellis.web.views import maybe_moment


def image_glance(image: ImageStatus) -> ImageGlance:
    """An image, its newest build, what is being built, and how it stands at each provider."""
    builds = [status.build for status in image.builds]
    ready = next((one for one in builds if one.state is BuildState.READY), None)
    under_way = next((x for x in image.builds if x.build.state is BuildState.BUILDING), None)
    row = build_row(under_way) if under_way is not None else None
    return ImageGlance(
        name=image.name,
        words=image.words,
        paused_by=image.pause.by if image.pause is not None else None,
        fault=image.fault if image.failures else "",
        build=ready.number if ready is not None else None,
        built_at=maybe_moment(ready.ready_at) if ready is not None else None,
        building=under_way.build.number if under_way is not None else None,
        building_words=about_build(row) if row is not None else "",
        building_share=_rounded(build_share(row)) if row is not None else None,
        places=tuple(_place(place) for place in image.places),
    )


def _place(place: PlaceStatus) -> ImagePlaceGlance:
    serving = place.serving
    return ImagePlaceGlance(
        provider=place.provider,
        missing=place.missing,
        words=place.words,
        build=build_number(serving.upload.build_id) if serving is not None else None,
        built_at=maybe_moment(place.built_at),
        pinned_by=place.pin.by if place.pin is not None else None,
        coming=tuple(_coming(place)),
    )


def _coming(place: PlaceStatus) -> Iterator[ComingGlance]:
    """What is newer than what serves, the newest first."""
    for status in place.uploads:
        if status.serving:
            return
        upload, row = status.upload, upload_row(status)
        number = build_number(upload.build_id)
        if upload.state is UploadState.UPLOADING:
            share = _rounded(upload_share(row))
            yield ComingGlance(
                build=number, state="uploading", words=about_upload(row), share=share
            )
        elif upload.state is UploadState.READY and upload.standing is Standing.CANARY:
            trial = trial_answer(upload.trial, status.needed)
            yield ComingGlance(build=number, state="canary", words=about_trial(row), trial=trial)
        elif upload.state is UploadState.READY and upload.standing is Standing.WITHDRAWN:
            yield ComingGlance(build=number, state="withdrawn", words=upload.standing_why)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 3)
