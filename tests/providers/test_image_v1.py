"""Uploads to HP's twin, whose glance has version 1 alone."""

import attrs
import pytest
from image_cloud import NAME, NOTHING, TAG, Source, an_intent, at_cloud

from trellis.errors import QuotaExceededError, RejectedError, UploadBrokenError
from trellis.openstack.quirks import Quirks
from trellis.sim.cloud import Faults
from trellis.sim.clouds.hpcloud import hpcloud
from trellis.spi.image import CloudImageState, UploadProgress

OLD = Quirks(reads_images_through_nova=True)


def at_hp(faults=None, **kwargs):
    spec = hpcloud()
    if faults is not None:
        spec = attrs.evolve(spec, faults=faults)
    return at_cloud(spec, auth_type="v2password", quirks=OLD, **kwargs)


async def test_image_goes_with_one_call(autojump_clock):
    """Its tag is in headers."""
    source = Source()
    intent = an_intent(source)
    async with at_hp() as at:
        steps = await at.upload(intent, source)

        (image,) = at.there()
        found = await at.images.find(TAG, NAME)
        assert len([call for call in at.calls if call.startswith("POST")]) == 1
        assert (image.status, image.stored.md5) == ("active", intent.artifact.md5)
        assert steps[-1].external_id == found.external_id == image.id
        assert (found.state, found.tag) == (CloudImageState.ACTIVE, TAG)
        assert [one.external_id for one in await at.images.list("d")] == [image.id]


async def test_image_that_arrived_otherwise_is_refused_and_found(autojump_clock):
    """Glance compares the checksum, and keeps what it killed."""
    source = Source()
    intent = an_intent(source)
    wrong = attrs.evolve(intent, artifact=attrs.evolve(intent.artifact, md5="0" * 32))
    async with at_hp() as at:
        with pytest.raises(RejectedError):
            await at.images.upload_step(wrong, NOTHING, source)

        await at.delete(intent, NOTHING)
        assert [one for one in at.there() if one.ended is None] == []


async def test_image_that_was_found_is_looked_at(autojump_clock):
    """The answer to its call was lost, and it is there after all."""
    source = Source()
    intent = an_intent(source)
    async with at_hp() as at:
        steps = await at.upload(intent, source)
        found = UploadProgress(external_id=steps[-1].external_id)
        again = await at.upload(intent, Source(), found)

        assert again[-1].done
        assert len([call for call in at.calls if call.startswith("POST")]) == 1


async def test_image_that_is_gone_is_broken(autojump_clock):
    source = Source()
    async with at_hp() as at:
        with pytest.raises(UploadBrokenError, match="not there any more"):
            await at.images.upload_step(
                an_intent(source), UploadProgress(stage="posted", external_id="none"), source
            )


async def test_image_is_deleted(autojump_clock):
    """Gone is what nova does not show: glance's own refusals are pages."""
    source = Source()
    intent = an_intent(source)
    async with at_hp() as at:
        steps = await at.upload(intent, source)

        assert await at.delete(intent, steps[-1]) == 2
        assert (await at.images.get(steps[-1].external_id)).state is CloudImageState.GONE


async def test_no_room_is_a_quota(autojump_clock):
    source = Source()
    async with at_hp(Faults(image_quota_full=True)) as at:
        with pytest.raises(QuotaExceededError):
            await at.images.upload_step(an_intent(source), NOTHING, source)
