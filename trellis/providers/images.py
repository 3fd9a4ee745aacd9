"""Where an OpenStack cloud keeps images: the methods of the SPI's `ImageStore` as calls to glance.

How images get there is in `image_ways` (glance itself), `image_task` (through the file store) and
`image_v1`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from trellis.errors import (
    ConflictingStateError,
    NotFoundError,
    RejectedError,
    UploadBrokenError,
)
from trellis.openstack.image_v1 import ImageV1
from trellis.openstack.image_write import FullImage, ImageWrites
from trellis.openstack.object_store import ObjectStore
from trellis.openstack.quirks import STOCK, Quirks
from trellis.openstack.session import Session
from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.homes import AtHome
from trellis.providers.image_rows import (
    TAG_DEPLOYMENT,
    as_cloud_image,
    hash_properties,
    owned_by,
    tag_of,
    tag_properties,
)
from trellis.providers.image_task import TaskWay
from trellis.providers.image_v1 import V1Way
from trellis.providers.image_ways import GlanceWays, Step
from trellis.spi.image import (
    CloudImage,
    CloudImageState,
    ImageIntent,
    ImageSource,
    ImageTag,
    UploadProgress,
)
from trellis.spi.provider import Gone

FORMATS: Final = ("qcow2", "raw")
"""What a stock cloud takes, the best first: the smaller to send."""
_TRUE: Final = frozenset({"true", "yes", "1", "on"})


@attrs.frozen(kw_only=True)
class ImageSettings:
    """How images get into one cloud; `chosen` makes it of all that has a say.

    Attributes:
        way: ``put``, ``import``, ``web-download``, ``task``, or ``v1`` for glance's version 1.
        formats: that the cloud takes, the best first.
        download_url: for ``web-download``.
        properties: of every image there: first those of the cloud, then the configured ones.
        refused: beginnings of names of properties that the cloud refuses.
    """

    way: str = "put"
    formats: tuple[str, ...] = FORMATS
    download_url: str = attrs.field(default="", repr=False)
    vendor_properties: Mapping[str, str] = attrs.field(factory=dict)
    properties: Mapping[str, str] = attrs.field(factory=dict)
    refused: tuple[str, ...] = ()


class Shelf(Protocol):
    """Glance, of whatever version: what is there, and goes."""

    async def image(self, image_id: str) -> FullImage:
        """One image; raises NotFoundError."""
        ...

    async def images(self, filters: Mapping[str, str]) -> Sequence[FullImage]:
        """Images with these fields and properties, or more than these."""
        ...

    async def delete(self, image_id: str) -> None:
        """Delete one; raises NotFoundError, ConflictingStateError."""
        ...


def chosen(
    config: OpenStackProviderConfig, settings: Mapping[str, Any], quirks: Quirks = STOCK
) -> ImageSettings:
    """Of the provider's configuration, its entry in ``clouds.yaml`` and its profile: the first.

    Args:
        settings: of the entry, laid over the profile's: ``image_api_use_tasks``,
            ``image_format`` and ``disable_vendor_agent`` are openstacksdk's.
    """
    tasks = str(settings.get("image_api_use_tasks", "")).lower() in _TRUE
    form = config.image_format or settings.get("image_format")
    vendor = settings.get("disable_vendor_agent")
    way = config.image_upload or ("task" if tasks else "put")
    return ImageSettings(
        way="v1" if quirks.reads_images_through_nova else way,
        formats=FORMATS if not form else (str(form),),
        download_url=config.image_download_url or "",
        vendor_properties={
            str(key): str(value)
            for key, value in (vendor.items() if isinstance(vendor, Mapping) else ())
        },
        properties=config.image_properties,
        refused=quirks.refused_image_properties,
    )


class OpenStackImages:
    """Images of one region of one account.

    Args:
        session: the account's road to the region.
        settings: how images get there.
        place: of the provider: project, region and endpoint of the present token.
        budget_s: seconds for each call but those that carry data.
    """

    def __init__(
        self,
        session: Session,
        settings: ImageSettings,
        place: AtHome,
        budget_s: float | None = None,
    ) -> None:
        self.formats = settings.formats
        self._settings = settings
        self._cloud = session.cloud
        self._place = place
        glance, old = ImageWrites(session, budget_s), ImageV1(session, budget_s)
        self.glance: Shelf = old if settings.way == "v1" else glance
        ways = GlanceWays(
            glance=glance,
            cloud=session.cloud,
            properties=self.properties,
            download_url=settings.download_url,
        )
        v1 = V1Way(glance=old, cloud=session.cloud, properties=self.properties)
        self._task = TaskWay(glance=glance, swift=ObjectStore(session, budget_s), ways=ways)
        firsts = {"task": self._task.first, "v1": v1.first}
        self._steps: dict[str, Step] = {
            "": firsts.get(settings.way) or ways.first(settings.way),
            **ways.steps(),
            **self._task.steps(),
            **v1.steps(),
        }

    def properties(self, intent: ImageIntent) -> Mapping[str, str]:
        """All properties of an image: the cloud's, the image's, the provider's, and our own."""
        given = {
            **self._settings.vendor_properties,
            **intent.properties,
            **self._settings.properties,
            **hash_properties(intent),
        }
        refused = self._settings.refused
        taken = {key: text for key, text in given.items() if not key.startswith(refused)}
        return {**taken, **tag_properties(intent.tag)}

    # ----------------------------------------------------------------------------- uploading

    async def upload_step(
        self, intent: ImageIntent, progress: UploadProgress, source: ImageSource
    ) -> UploadProgress:
        """Take the next step; see `trellis.spi.image.ImageStore`."""
        step = self._steps.get(progress.stage)
        if step is None:
            raise UploadBrokenError(
                f"stage {progress.stage!r} is of another way of uploading", cloud=self._cloud
            )
        try:
            return await step(intent, progress, source)
        except OSError as error:
            raise UploadBrokenError(
                f"{intent.artifact.path} cannot be read here: {error}", cloud=self._cloud
            ) from error

    # ------------------------------------------------------------------------------- looking

    async def find(self, tag: ImageTag, name: str) -> CloudImage | None:
        """Look for the image of this tag by its name, which may be others' as well."""
        rows = [row for row in await self._ours({"name": name}) if tag_of(row) == tag]
        found = [as_cloud_image(row) for row in rows]
        return next((one for one in found if one.state is not CloudImageState.GONE), None)

    async def get(self, external_id: str) -> CloudImage:
        """Look at one image; a 404 is GONE only if the project stayed the same meanwhile."""
        try:
            row = await self._place.call(lambda: self.glance.image(external_id))
        except NotFoundError:
            return CloudImage(external_id=external_id, name="", state=CloudImageState.GONE)
        return as_cloud_image(row)

    async def list(self, deployment: str) -> tuple[CloudImage, ...]:
        """The project's images that carry the tag of a deployment."""
        rows = await self._ours({TAG_DEPLOYMENT: deployment})
        found = [as_cloud_image(row) for row in rows]
        return tuple(
            one
            for one in found
            if one.tag is not None
            and one.tag.deployment == deployment
            and one.state is not CloudImageState.GONE
        )

    async def _ours(self, filters: Mapping[str, str]) -> Sequence[FullImage]:
        project_id = (await self._place.home()).project_id
        rows = await self.glance.images(filters)
        return [row for row in rows if owned_by(row, project_id)]

    # ------------------------------------------------------------------------------ deleting

    async def delete_step(self, intent: ImageIntent, progress: UploadProgress) -> Gone:
        """Delete what is in the file store, then the image; see `trellis.spi.image.ImageStore`.

        Of an upload without the image's id, the image of its tag or its task is deleted, and DONE
        means that there is none *now*.

        Raises:
            RejectedError: the image is protected: somebody wants it kept.
        """
        return await self._place.call(lambda: self._delete(intent, progress))

    async def _delete(self, intent: ImageIntent, progress: UploadProgress) -> Gone:
        image_id = progress.external_id
        if self._by_task(progress):
            await self._task.delete_objects(intent)
            if image_id is None:
                made = await self._task.image_of(intent, progress)
                if made is Gone.AGAIN:
                    return Gone.AGAIN
                image_id = made if isinstance(made, str) else None
        if image_id is None:
            found = await self.find(intent.tag, intent.name)
            if found is None:
                return Gone.DONE
            image_id = found.external_id
        return await self._delete_image(image_id)

    def _by_task(self, progress: UploadProgress) -> bool:
        """Whether an upload may have left an object: none was begun by another way."""
        if progress.stage == "":
            return self._settings.way == "task" and progress.external_id is None
        return progress.stage in self._task.steps() or "object" in progress.things

    async def _delete_image(self, image_id: str) -> Gone:
        try:
            row = await self.glance.image(image_id)
            if as_cloud_image(row).state is CloudImageState.GONE:
                return Gone.DONE
            if row.protected:
                raise RejectedError(
                    f"image {image_id} is protected in the cloud, so it stays: take the "
                    "protection away (openstack image set --unprotected) to have it deleted",
                    cloud=self._cloud,
                )
            await self.glance.delete(image_id)
        except NotFoundError:
            return Gone.DONE
        except ConflictingStateError:
            # Its data are the ground of a server's disk; it can be deleted after the server.
            return Gone.AGAIN
        return Gone.AGAIN
