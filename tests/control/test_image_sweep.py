"""Images against uploads on record: leaks go, strangers stay, what vanished is told."""

from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from tests.control.scripted_images import Kept
from tests.control.upload_stage import BUILD, UploadStage
from trellis.control.images.image_sweep import ImageSweep
from trellis.control.images.upload_fate import UploadFate, estrange_images, is_issued_upload
from trellis.control.lineage import let_go
from trellis.errors import UnreachableError
from trellis.model.image import Standing, Upload, UploadState
from trellis.model.names import UploadId
from trellis.model.node import Home
from trellis.model.provider import ProviderRecord
from trellis.model.records import Change
from trellis.spi.image import ImageTag

MINUTE = 60.0
READY, DELETING, GONE = UploadState.READY, UploadState.DELETING, UploadState.GONE


class Swept:
    """A process with a sweep beside its uploads."""

    def __init__(self, stage, process, mode):
        self.stage, self.process, self.store = stage, process, process.store
        self.booted = set()
        self.sweep = ImageSweep(
            name="alpha",
            deployment="test",
            provider=stage.provider,
            mode=mode,
            wall=process.world.wall,
            book=process.book,
            foreign=lambda home: process.home_trouble,
            issued=lambda tag: is_issued_upload(process.store, tag),
            booted=self.booted.__contains__,
            estrange=lambda strange: estrange_images(process.store, "alpha", strange),
            let_go=lambda one: let_go(process.store, "alpha", one),
            words=self.words,
            fate=UploadFate(store=process.store, world=process.world),
        )

    def words(self):
        return self.store.head(ProviderRecord, "alpha") or ProviderRecord(name="alpha")

    async def decide(self, **parts):
        before = self.store.head(ProviderRecord, "alpha")
        after = attrs.evolve(before or ProviderRecord(name="alpha"), **parts)
        await self.store.commit([Change(before, after)])

    async def an_ended_upload(self):
        """One that the store has begun and knows to be gone."""
        upload = await self.process.until(await self.process.begin(), READY)
        await self.process.change(upload.id, state=DELETING)
        return await self.process.until(upload.id, GONE)

    def leak(self, upload=None, image_id="leaked", **tag):
        """An image in the cloud that no record claims any more."""
        given = {
            "deployment": "test",
            "image": "debian-12",
            "build_id": BUILD,
            "upload_id": upload.id if upload is not None else UploadId(f"{BUILD}.99"),
            "origin": "store-1",
        }
        self.stage.images.kept[image_id] = Kept(
            id=image_id, name=BUILD, tag=ImageTag(**{**given, **tag}), status="active"
        )

    @property
    def there(self):
        return list(self.stage.images.kept)


@asynccontextmanager
async def swept(mode="delete"):
    stage = UploadStage()
    async with stage.process() as process, trio.open_nursery() as nursery:
        one = Swept(stage, process, mode)
        nursery.start_soon(one.sweep.run)
        yield one
        nursery.cancel_scope.cancel()


async def test_image_whose_record_is_gone_is_deleted_after_two_sightings(autojump_clock):
    """As when the cloud shows again what it had denied."""
    async with swept() as at:
        at.leak(await at.an_ended_upload())
        await trio.sleep(10 * MINUTE + 15)
        (leak,) = at.sweep.leaks()
        assert "second sighting" in leak.note
        assert leak.kind == "image"
        assert leak.id == "alpha:leaked"
        assert at.there == ["leaked"]

        await trio.sleep(3 * MINUTE)

        assert at.there == []
        assert at.sweep.leaks() == ()


async def test_second_image_of_one_upload_is_a_leak(autojump_clock):
    """The record claims the one whose id it knows."""
    async with swept() as at:
        upload = await at.process.until(await at.process.begin(), READY)
        at.leak(upload)

        await trio.sleep(15 * MINUTE)

        assert at.there == [upload.external_id]


async def test_upload_in_doubt_claims_whatever_turns_up(autojump_clock):
    """It may be just the image it looks for."""
    async with swept() as at:
        at.process.health.closed_for("away")
        upload = await at.process.begin(sent_at=at.process.world.wall())
        at.leak(at.store.head(Upload, upload))

        await trio.sleep(15 * MINUTE)

        assert at.there == ["leaked"]
        assert at.sweep.leaks() == ()


async def test_leak_is_only_reported_where_the_sweep_reports(autojump_clock):
    """Until a person says otherwise."""
    async with swept(mode="report") as at:
        at.leak(await at.an_ended_upload())
        await trio.sleep(30 * MINUTE)
        assert at.there == ["leaked"]
        assert "sweep: report" in at.sweep.leaks()[0].note

        await at.decide(condemned=("leaked",))
        await trio.sleep(MINUTE)

        assert at.there == []
        assert at.words().condemned == ()


@pytest.mark.parametrize(
    "tag",
    [{"deployment": "theirs"}, {"deployment": "test2"}],
    ids=["another-deployment", "alike"],
)
async def test_images_of_others_are_never_looked_at(tag, autojump_clock):
    """Only the tag of this deployment makes an image ours (P2)."""
    async with swept() as at:
        at.leak(await at.an_ended_upload(), **tag)
        at.stage.images.kept["plain"] = Kept(id="plain", name="plain", tag=None, status="active")

        await trio.sleep(30 * MINUTE)

        assert at.there == ["leaked", "plain"]
        assert at.sweep.leaks() == ()


@pytest.mark.parametrize(
    "tag",
    [{}, {"origin": "store-2"}, {"origin": ""}],
    ids=["number-never-given", "other-origin", "no-origin"],
)
async def test_image_of_an_upload_never_begun_here_stops_the_sweep(tag, autojump_clock):
    """It may be that of another daemon, or of a later state of the store (rule 1)."""
    async with swept() as at:
        mine = await at.an_ended_upload()
        at.leak(mine, "mine")
        at.leak(mine if tag else None, "strange", **tag)

        await trio.sleep(30 * MINUTE)

        assert "never began" in at.sweep.alarm
        assert at.there == ["mine", "strange"]
        assert at.words().strange == ("strange",)

        await at.decide(adopted=("strange",))
        await trio.sleep(5 * MINUTE)

        assert at.sweep.alarm == ""
        assert at.there == []
        assert at.words().strange == ()


async def test_image_that_our_servers_were_made_from_stays(autojump_clock):
    """Not even a person's word deletes it before they are gone."""
    async with swept() as at:
        at.booted.add("leaked")
        at.leak(await at.an_ended_upload())
        await trio.sleep(15 * MINUTE)
        await at.decide(condemned=("leaked",))
        await trio.sleep(15 * MINUTE)
        assert at.there == ["leaked"]
        assert "servers of ours" in at.sweep.leaks()[0].note

        at.booted.clear()
        await trio.sleep(MINUTE)

        assert at.there == []


async def test_list_of_another_project_says_nothing(autojump_clock):
    """Neither are there leaks in it, nor has anything vanished."""
    async with swept() as at:
        upload = await at.process.until(await at.process.begin(), READY)
        at.leak()
        at.process.home_trouble = "project changed"
        at.stage.images.kept.pop(upload.external_id)

        await trio.sleep(30 * MINUTE)

        assert at.sweep.leaks() == ()
        assert at.process.book.uploads[upload.id].state is READY


async def test_upload_whose_image_vanished_ends(autojump_clock):
    """So that another one is begun; what happened is its fault."""
    async with swept() as at:
        upload = await at.process.until(await at.process.begin(), READY)
        del at.stage.images.kept[upload.external_id]

        gone = await at.process.until(upload.id, GONE)

        assert "no longer in the cloud" in gone.fault


async def test_image_is_looked_at_at_once_when_a_create_was_refused_for_it(autojump_clock):
    """Not only with the next list."""
    async with swept() as at:
        upload = await at.process.until(await at.process.begin(), READY)
        del at.stage.images.kept[upload.external_id]
        began = trio.current_time()

        at.sweep.look(upload.external_id)
        await at.process.until(upload.id, GONE)

        assert trio.current_time() - began < 30


async def test_image_absent_from_a_list_only_is_still_there(autojump_clock):
    """Filters and pages may skip it: a look decides (rule 2)."""
    async with swept() as at:
        upload = await at.process.until(await at.process.begin(), READY)
        at.stage.images.kept[upload.external_id].tag = None  # as if a person had taken it off
        await trio.sleep(30 * MINUTE)

        assert at.process.book.uploads[upload.id].state is READY


async def test_deactivated_image_is_out_of_use_until_it_is_active_again(autojump_clock):
    """The reason shows; afterwards it has to prove itself anew."""
    async with swept() as at:
        upload = await at.process.until(await at.process.begin(), READY)
        image = at.stage.images.kept[upload.external_id]
        image.status = "deactivated"
        await trio.sleep(11 * MINUTE)
        out = at.process.book.uploads[upload.id]
        assert not out.usable
        assert out.standing_why == "its cloud has put the image out of use: deactivated"

        image.status = "active"
        await trio.sleep(11 * MINUTE)

        back = at.process.book.uploads[upload.id]
        assert back.usable
        assert back.standing is Standing.CANARY


async def test_upload_that_was_withdrawn_for_its_nodes_stays_so(autojump_clock):
    """That its image is active was never the question."""
    async with swept() as at:
        upload = await at.process.until(await at.process.begin(), READY)
        await at.process.change(
            upload.id, standing=Standing.WITHDRAWN, standing_why="3 of 4 failed"
        )

        await trio.sleep(30 * MINUTE)

        assert at.process.book.uploads[upload.id].standing is Standing.WITHDRAWN


async def test_list_that_fails_is_read_again_soon(autojump_clock):
    """And nothing is concluded from it."""
    async with swept() as at:
        at.stage.images.meddle["list"] = [UnreachableError("no route")] * 3
        at.leak(await at.an_ended_upload())

        await trio.sleep(8 * MINUTE)

        assert at.stage.images.count("list") >= 5
        assert at.there == []


async def test_leak_that_moved_home_is_not_deleted_elsewhere(autojump_clock):
    """The look at where calls go comes before each deletion."""
    async with swept(mode="report") as at:
        at.leak(await at.an_ended_upload())
        await trio.sleep(15 * MINUTE)
        at.stage.provider.at_home = Home(project_id="p2", region="RegionOne", endpoint="http://x")
        at.process.home_trouble = "project changed"
        await at.decide(condemned=("leaked",))

        await trio.sleep(15 * MINUTE)

        assert at.there == ["leaked"]


async def test_provider_of_an_earlier_release_has_nothing_to_be_swept(autojump_clock):
    """It knows of no images: what looks after them ends, and does not crash again and again."""
    stage = UploadStage()
    async with stage.process() as process:
        del stage.provider.images
        swept = Swept(stage, process, "delete")
        with trio.fail_after(MINUTE):
            await swept.sweep.run()

        upload = await process.until(await process.begin(), GONE)
    assert "keeps no images" in upload.fault
