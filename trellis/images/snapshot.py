"""What the deciding about images is given: the records and the configuration at one moment."""

from collections.abc import Mapping

import attrs

from trellis.model.image import Build, BuildState, ImageRecord, Upload, UploadState
from trellis.model.names import BuildId, UploadId
from trellis.spi.config import ImageConfig


@attrs.frozen(kw_only=True)
class ProviderPlace:
    """A provider, as far as images matter.

    Attributes:
        images: own images that its labels name.
        format: in which its cloud takes images; None while that is not known.
        no_images: why nothing can be uploaded there at all; "" where it can.
        dropped: it is configured no longer: it ends what it has.
    """

    name: str
    images: frozenset[str] = frozenset()
    format: str | None = None
    no_images: str = ""
    dropped: bool = False

    def wants(self, image: str) -> bool:
        """Whether an image is to be uploaded there."""
        return image in self.images and not self.dropped and not self.no_images


@attrs.frozen(kw_only=True)
class ImageView:
    """One image: what the configuration says of it, and what there is of it.

    Attributes:
        config: None for one that is configured no longer.
        recipe: hash of all that the configuration has it made of.
        builds: the live ones, the newest first.
        uploads: the live ones to all providers, by build, the newest first.
    """

    name: str
    config: ImageConfig | None
    recipe: str = ""
    record: ImageRecord
    builds: tuple[Build, ...] = ()
    uploads: tuple[Upload, ...] = ()

    @property
    def newest(self) -> Build | None:
        """The newest build that is ready."""
        return next((one for one in self.builds if one.state is BuildState.READY), None)

    def build(self, build: BuildId) -> Build | None:
        """The live build of this id."""
        return next((one for one in self.builds if one.id == build), None)

    def at(self, provider: str) -> tuple[Upload, ...]:
        """The uploads to a provider, that of the newest build first."""
        return tuple(one for one in self.uploads if one.provider == provider)


@attrs.frozen(kw_only=True)
class ImagesSnapshot:
    """All that is decided from.

    Attributes:
        now: in UTC seconds.
        images: by name: all that are configured, but for abstract ones, and all of which there
            is a record.
        providers: those at work, by name.
        in_use: uploads that nodes which are not proved gone were made from.
        read: builds and formats whose files are read now, by an upload or what follows it.
        slots_left: builds that may begin now.
        hurried: no build waits any longer for a provider to tell the format it takes.
        logs_kept: so many failed builds of an image are remembered, with their logs.
    """

    now: float
    images: Mapping[str, ImageView]
    providers: Mapping[str, ProviderPlace]
    in_use: frozenset[UploadId] = frozenset()
    read: frozenset[tuple[BuildId, str]] = frozenset()
    slots_left: int = 1
    hurried: bool = True
    logs_kept: int = 7


ALIVE = frozenset({UploadState.UPLOADING, UploadState.READY})
"""States of an upload that is in the cloud, or on its way there."""
