"""What was shown of images, kept to be shown again.

It is asked for at each look at the status page and at the metrics, and takes a millisecond for
each thirty uploads. So what it was made of is kept beside it: as long as that is the same, only
the ages are made anew.
"""

from collections.abc import Iterable

import attrs

from trellis.model.image import BuildState, UploadState
from trellis.model.image_status import ImageStatus, PlaceStatus


@attrs.frozen(kw_only=True)
class Sources:
    """All that what is shown of an image is made of, but for the time.

    Attributes:
        image: values that are the same only as the same objects: they are large, and never change.
        configs: of the providers at work; likewise.
        others: values that are compared.
    """

    image: tuple[object, ...]
    configs: tuple[object, ...]
    others: tuple[object, ...]

    def same_as(self, other: "Sources") -> bool:
        """Whether the same is made of both."""
        return (
            _same_objects(self.image, other.image)
            and _same_objects(self.configs, other.configs)
            and self.others == other.others
        )


@attrs.define
class ShownImages:
    """Keeps what was shown of each image, with what it was made of."""

    _kept: dict[str, tuple[Sources, ImageStatus]] = attrs.field(factory=dict)

    def get(self, image: str, sources: Sources, now: float) -> ImageStatus | None:
        """What was shown of an image, as it is now; None where that has to be made anew."""
        known = self._kept.get(image)
        if known is None or not known[0].same_as(sources):
            return None
        status = known[1]
        return attrs.evolve(status, places=tuple(_aged(one, now) for one in status.places))

    def keep(self, status: ImageStatus, sources: Sources) -> None:
        """Keep what is shown of an image, unless it changes by itself with the time."""
        if _at_rest(status):
            self._kept[status.name] = sources, status
        else:
            self._kept.pop(status.name, None)

    def forget_all_but(self, images: Iterable[str]) -> None:
        """Forget the images that there are no longer."""
        for gone in self._kept.keys() - set(images):
            del self._kept[gone]


def _same_objects(some: tuple[object, ...], others: tuple[object, ...]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def _aged(place: PlaceStatus, now: float) -> PlaceStatus:
    if place.built_at is None:
        return place
    return attrs.evolve(place, age_s=max(0.0, now - place.built_at))


def _at_rest(status: ImageStatus) -> bool:
    """Whether nothing but ages is otherwise a moment later, by the clock alone."""
    pauses = [status.pause, *(place.pause for place in status.places)]
    waits = [status.not_before, *(place.not_before for place in status.places)]
    uploads = [one.upload for place in status.places for one in place.uploads]
    return (
        not any(waits)
        and all(pause is None or pause.until is None for pause in pauses)
        and all(one.build.state is not BuildState.BUILDING for one in status.builds)
        and all(one.state is not UploadState.UPLOADING for one in uploads)
    )
