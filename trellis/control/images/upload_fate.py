"""What becomes of an upload whose image others have deleted or put out of use; whose one is."""

from collections.abc import Iterable
from typing import Final

import attrs
import structlog

from trellis.model.image import Standing, Upload, UploadState
from trellis.model.provider import ProviderRecord
from trellis.model.records import Change
from trellis.spi.image import CloudImage, CloudImageState, ImageTag
from trellis.store.store import Store
from trellis.world import World

log = structlog.get_logger()

OUT_OF_USE: Final = "its cloud has put the image out of use"


@attrs.define(eq=False, kw_only=True)
class UploadFate:
    """Records what looks at the images of ready uploads have found."""

    store: Store
    world: World

    async def seen(self, upload: Upload, image: CloudImage) -> None:
        """Take note of an image as it is now, in the project its upload is recorded in.

        One that is gone ends its upload, so that another one is begun; one that was deactivated
        is withdrawn, and tried anew once it is active again.
        """
        before = self.store.head(Upload, upload.id)
        if before is None or before.state is not UploadState.READY:
            return
        after, why = before, ""
        match image.state:
            case CloudImageState.GONE:
                why = "the image is no longer in the cloud, and nobody here has deleted it"
                after = before.became(UploadState.DELETING, self.world.wall(), fault=why)
            case CloudImageState.FAILED if before.standing is not Standing.WITHDRAWN:
                why = f"{OUT_OF_USE}: {image.words or image.state.value}"
                after = attrs.evolve(before, standing=Standing.WITHDRAWN, standing_why=why)
            case CloudImageState.ACTIVE if _was_put_out_of_use(before):
                why = "its cloud has the image in use again"
                after = attrs.evolve(before, standing=Standing.CANARY, standing_why=why, trial=None)
            case _:
                return
        await self.store.commit([Change(before, after, why=why)])
        log.warning("upload_image_changed", upload=upload.id, provider=upload.provider, why=why)


def _was_put_out_of_use(upload: Upload) -> bool:
    withdrawn = upload.standing is Standing.WITHDRAWN
    return withdrawn and upload.standing_why.startswith(OUT_OF_USE)


async def is_issued_upload(store: Store, tag: ImageTag) -> bool:
    """Whether this store began the upload of a tag, under the mark that the tag bears.

    Only a record proves it, live or of the history: a number that is small enough may have been
    given by a copy of the store just as well.

    Raises:
        StoreFailedError: the history cannot be read.
    """
    upload = store.head(Upload, tag.upload_id) or await store.history(Upload, tag.upload_id)
    return upload is not None and upload.origin == tag.origin and upload.image == tag.image


def estrange_images(store: Store, provider: str, external_ids: Iterable[str]) -> None:
    """Remember images of uploads that were never begun here, until a person decides (rule 1)."""
    record = store.head(ProviderRecord, provider)
    known = record or ProviderRecord(name=provider)
    new = tuple(one for one in external_ids if one not in known.strange)
    if new:
        after = attrs.evolve(known, strange=(*known.strange, *new))
        why = f"{len(new)} images are of uploads that were never begun here"
        store.stage([Change(record, after, why=why)])
