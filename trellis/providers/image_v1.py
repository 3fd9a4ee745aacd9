"""Upload by glance v1: one call makes the image and sends its data."""

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from trellis.errors import NotFoundError, UploadBrokenError
from trellis.openstack.image_v1 import ImageV1
from trellis.openstack.image_write import FullImage
from trellis.providers.image_rows import difference
from trellis.providers.image_ways import ACTIVE, Step, longer
from trellis.spi.image import ImageIntent, ImageSource, UploadProgress

POSTED: Final = "posted"


@attrs.frozen(kw_only=True)
class V1Way:
    """Uploads where glance has no version 2.

    Args:
        glance: carries the calls.
        cloud: the account's name, for messages.
        properties: of an image, for its intent.
    """

    glance: ImageV1
    cloud: str
    properties: Callable[[ImageIntent], Mapping[str, str]]

    def steps(self) -> Mapping[str, Step]:
        """The steps after the first, by the stage that was reached."""
        return {POSTED: self._await}

    async def first(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        """The first step makes the image, and sends it."""
        if progress.external_id is not None:
            return attrs.evolve(progress, stage=POSTED)
        image = await self.glance.post(
            name=intent.name,
            disk_format=intent.artifact.format,
            properties=self.properties(intent),
            md5=intent.artifact.md5,
            public=intent.visibility == "public",
            body=source,
        )
        posted = attrs.evolve(progress, stage=POSTED, external_id=image.id)
        return self._looked_at(intent, posted, image)

    async def _await(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        del source
        assert progress.external_id is not None
        try:
            image = await self.glance.image(progress.external_id)
        except NotFoundError as error:
            raise UploadBrokenError(
                f"image {progress.external_id} is not there any more", cloud=self.cloud
            ) from error
        return self._looked_at(intent, progress, image)

    def _looked_at(
        self, intent: ImageIntent, progress: UploadProgress, image: FullImage
    ) -> UploadProgress:
        if image.status in ("queued", "saving"):
            return attrs.evolve(progress, wait_s=longer(progress.wait_s))
        wrong = difference(image, intent.artifact)
        if image.status != "active" or wrong:
            raise UploadBrokenError(
                f"image {image.id} is {wrong or image.status}: it is not what was sent",
                cloud=self.cloud,
            )
        return attrs.evolve(progress, stage=ACTIVE, done=True, wait_s=0.0)
