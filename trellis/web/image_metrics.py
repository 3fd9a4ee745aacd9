"""What Prometheus reads of images: how old what serves is, and how canaries fare."""

from collections.abc import Iterator, Mapping, Sequence

from trellis.model.image import Artifact, BuildState, Standing, UploadState
from trellis.model.image_status import ImageStatus, PlaceStatus, UploadStatus

Row = tuple[Mapping[str, str], float]
Gauge = tuple[str, str, Sequence[Row]]
"""A name, what it means, and its values by their labels."""


def gauges(images: Sequence[ImageStatus]) -> Iterator[Gauge]:
    """Every gauge of images."""
    places = [(image.name, place) for image in images for place in image.places]
    yield (
        "trellis_image_age_seconds",
        "How long ago the build was ready that launches boot from.",
        [(_where(image, place), place.age_s) for image, place in places if place.age_s is not None],
    )
    yield (
        "trellis_image_missing",
        "Whether nothing serves there, so that its labels cannot be made; 1 is worth an alarm.",
        [(_where(image, place), place.missing) for image, place in places],
    )
    yield (
        "trellis_image_bytes",
        "Size of the newest build that is ready, by format.",
        [
            ({"image": image.name, "format": artifact.format}, artifact.size)
            for image in images
            for artifact in _newest_artifacts(image)
        ],
    )
    yield (
        "trellis_image_building",
        "Whether it is being built.",
        [
            ({"image": i.name}, any(b.build.state is BuildState.BUILDING for b in i.builds))
            for i in images
        ],
    )
    yield (
        "trellis_image_build_failures",
        "Builds that failed one after the other.",
        [({"image": image.name}, image.failures) for image in images],
    )
    yield (
        "trellis_image_upload_failures",
        "Uploads that failed one after the other.",
        [(_where(image, place), place.failures) for image, place in places],
    )
    yield (
        "trellis_image_upload_rate_bytes",
        "Bytes in a second that go to the provider now.",
        [
            (_where(image, place), upload.rate)
            for image, place in places
            for upload in place.uploads
            if upload.rate is not None
        ],
    )
    yield (
        "trellis_image_pinned",
        "Whether a person holds it at one build.",
        [(_where(image, place), place.pin is not None) for image, place in places],
    )
    yield (
        "trellis_image_uploads_by_standing",
        "Uploads that are in the cloud, by standing: canary, promoted or withdrawn.",
        [
            (
                {**_where(image, place), "standing": standing.value},
                sum(_is(upload, standing) for upload in place.uploads),
            )
            for image, place in places
            for standing in Standing
        ],
    )
    yield (
        "trellis_image_canary_nodes",
        "Launches from the canary on trial, by how they ended.",
        [
            ({**_where(image, place), "end": end}, count)
            for image, place in places
            for end, count in _trial(place)
        ],
    )


def _where(image: str, place: PlaceStatus) -> dict[str, str]:
    return {"image": image, "provider": place.provider}


def _is(upload: UploadStatus, standing: Standing) -> bool:
    return upload.upload.state is UploadState.READY and upload.upload.standing is standing


def _newest_artifacts(image: ImageStatus) -> tuple[Artifact, ...]:
    ready = (one.build for one in image.builds if one.build.state is BuildState.READY)
    newest = next(ready, None)
    return newest.artifacts if newest is not None else ()


def _trial(place: PlaceStatus) -> Iterator[tuple[str, int]]:
    for status in place.uploads:
        trial = status.upload.trial
        if _is(status, Standing.CANARY) and trial is not None:
            yield "ready", trial.ready
            yield "failed", trial.failed
            return
