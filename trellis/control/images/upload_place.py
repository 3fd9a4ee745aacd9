"""Where uploads of one provider go: its cloud, the project they were begun in, its health."""

import math
from collections.abc import Callable
from typing import Final

import attrs
import trio

from trellis.control.health import PROJECT_CHANGED, ProviderHealth
from trellis.control.homes import foreign
from trellis.errors import CloudError, UnreachableError
from trellis.model.image import Upload
from trellis.model.names import UploadId
from trellis.model.node import Home
from trellis.model.status import Health
from trellis.spi.config import ImageConfig, ProviderConfig
from trellis.spi.image import CloudImageState, ImageIntent, ImageStore, ImageTag, UploadProgress
from trellis.spi.provider import Provider
from trellis.world import World

USABLE_EVERY_S: Final = 5.0
LOOKS: Final = "looks for the image of a call that was not answered"


@attrs.define(eq=False, kw_only=True)
class UploadPlace:
    """One provider, as its uploads see it.

    Attributes:
        foreign: why a project and endpoint are not those of our records; "" if they are.
        image_config: the configuration of an image; None if it is configured no longer.
        waits: what uploads and deletions wait for, in words, by id.
    """

    config: ProviderConfig
    deployment: str
    provider: Provider
    world: World
    health: ProviderHealth
    foreign: Callable[[Home], str]
    image_config: Callable[[str], ImageConfig | None]
    waits: dict[UploadId, str] = attrs.field(factory=dict)

    @property
    def images(self) -> ImageStore | None:
        """Where the provider keeps images; None where none can be uploaded."""
        return image_store(self.provider)

    def is_usable(self) -> bool:
        """Whether the provider can be used."""
        return self.health.state is Health.AVAILABLE

    async def until_usable(
        self, upload_id: UploadId, deadline: trio.CancelScope | None = None
    ) -> None:
        """Wait while the provider cannot be used: that is no fault of an upload, nor its time."""
        if self.is_usable():
            return
        left_s = math.inf if deadline is None else deadline.deadline - trio.current_time()
        if deadline is not None:
            deadline.deadline = math.inf
        while not self.is_usable():
            self.waits[upload_id] = self.health.reason
            await trio.sleep(USABLE_EVERY_S)
        if deadline is not None:
            deadline.deadline = trio.current_time() + left_s
        self.waits.pop(upload_id, None)

    async def home(self, upload_id: UploadId) -> Home:
        """Where an upload is to be made: wait until that is known, and where records speak of."""
        while True:
            await self.until_usable(upload_id)
            try:
                home = await self.provider.home()
            except CloudError as error:
                self.waits[upload_id] = str(error)
            else:
                reason = self.foreign(home)
                if not reason:
                    return home
                self.health.closed_for(reason, kind=PROJECT_CHANGED)
            await trio.sleep(USABLE_EVERY_S)

    async def at_home(self, upload: Upload) -> None:
        """See that calls still go where the upload was begun (rule 2).

        Raises:
            UnreachableError: they do not: the provider is closed until they do again.
            CloudError: nobody knows.
        """
        home = await self.provider.home()
        if reason := foreign([upload], home, provider=self.config.name, cloud=self.config.cloud):
            self.health.closed_for(reason, kind=PROJECT_CHANGED)
            raise UnreachableError(reason, cloud=self.config.cloud)

    async def find(self, upload: Upload, images: ImageStore) -> str | None:
        """The id of the image of an upload, if there is one where it was begun.

        Raises:
            CloudError: nobody knows.
        """
        found = await images.find(self.tag(upload), upload.name)
        await self.at_home(upload)  # another project's answer says nothing
        if found is None or found.state is CloudImageState.GONE:
            return None
        return found.external_id

    def had_its_time(self, upload: Upload) -> bool:
        """Whether an image that may have been made can appear no more.

        One that an earlier process has sent gets all of that time again, as servers do.
        """
        assert upload.sent_at is not None
        sent_at = max(upload.sent_at, self.world.wall.began_at)
        return self.world.wall() > sent_at + self.config.create_settle

    def tag(self, upload: Upload) -> ImageTag:
        """What its image is marked with."""
        return ImageTag(
            deployment=self.deployment,
            image=upload.image,
            build_id=upload.build_id,
            upload_id=upload.id,
            origin=upload.origin,
        )

    def intent(self, upload: Upload) -> ImageIntent:
        """All that the cloud is to be told of it."""
        config = self.image_config(upload.image)
        return ImageIntent(
            tag=self.tag(upload),
            name=upload.name,
            artifact=upload.artifact,
            properties=upload.properties,
            visibility=config.visibility if config is not None else None,
        )


def image_store(provider: Provider) -> ImageStore | None:
    """Where a provider keeps images; None also for one made for a release that knew of none."""
    return getattr(provider, "images", None)


def progress_of(upload: Upload) -> UploadProgress:
    """How far an upload has come, by its record."""
    return UploadProgress(stage=upload.stage, external_id=upload.external_id, things=upload.things)
