"""Which upload a launch boots from, how often it is the canary, and why a label has none."""

import attrs
import pytest

from tests.control.image_house import (
    FILE,
    IMAGE,
    a_build,
    a_house,
    an_inventory,
    an_upload,
    promoted,
    withdrawn,
)
from trellis.model.image import (
    BuildState,
    ImagePlace,
    ImageRecord,
    Pin,
    Trial,
    UploadState,
)
from trellis.model.names import NodeId
from trellis.model.node import NodeState
from trellis.model.provider import Pause
from trellis.model.records import Change
from trellis.testing.builders import NOW, an_offer

KEY = ("main", "small")


def pinned(number, provider="alpha"):
    """A record of the image, pinned to a build at a provider."""
    pin = Pin(build_id=a_build(number).id, by="ann", reason="", at=NOW)
    return ImageRecord(name=IMAGE).with_place(ImagePlace(provider=provider, pin=pin))


def tried(*counts):
    ready, failed = counts
    return Trial(since=NOW, ready=ready, failed=failed)


class TestTheStableOne:
    @pytest.mark.parametrize(
        ("uploads", "expected"),
        [
            ((), None),
            ((promoted(1), promoted(2)), 2),
            ((promoted(1), an_upload(2)), 1),
            ((promoted(1), withdrawn(2)), 1),
            ((withdrawn(1),), None),
            ((an_upload(1),), 1),
            ((an_upload(1), an_upload(2)), 2),
            ((an_upload(1, trial=tried(1, 0)), an_upload(2)), 1),
            ((an_upload(1), an_upload(2, trial=tried(0, 3))), 1),
            ((an_upload(2, trial=tried(0, 3)),), 2),
            ((promoted(1), promoted(2, state=UploadState.DELETING)), 1),
            ((an_upload(1, state=UploadState.UPLOADING, external_id=None),), None),
        ],
        ids=[
            "none",
            "newest-promoted",
            "canary-is-newer",
            "withdrawn-is-newer",
            "only-withdrawn",
            "only-canary",
            "newest-of-canaries",
            "canary-that-has-shown-itself",
            "newest-canary-fails",
            "only-one-fails",
            "being-deleted",
            "being-uploaded",
        ],
    )
    async def test_is(self, autojump_clock, uploads, expected):
        async with a_house(*uploads, run=False) as house:
            assert expected == house.stable()

    async def test_is_that_of_the_pinned_build_whatever_is_known_of_it(self, autojump_clock):
        async with a_house(withdrawn(1), promoted(2), pinned(1), run=False) as house:
            assert (1, None) == (house.stable(), house.canary())

    async def test_is_none_while_the_pinned_build_is_not_there(self, autojump_clock):
        """A person's word is not set aside because something else is at hand."""
        async with a_house(promoted(2), a_build(1), pinned(1), run=False) as house:
            assert house.stable() is None

    async def test_is_another_at_each_provider(self, autojump_clock):
        uploads = promoted(1), promoted(1, "beta"), promoted(2, "beta")
        async with a_house(*uploads, run=False) as house:
            assert (1, 2) == (house.stable("alpha"), house.stable("beta"))


class TestTheCanary:
    @pytest.mark.parametrize(
        ("uploads", "expected"),
        [
            ((promoted(1), an_upload(2)), 2),
            ((promoted(1), an_upload(2), an_upload(3)), 3),
            ((promoted(1), an_upload(2), withdrawn(3)), 2),
            ((an_upload(1), promoted(2)), None),
            ((an_upload(1),), None),
            ((an_upload(1, trial=tried(1, 0)), an_upload(2)), 2),
        ],
        ids=["newer", "newest", "not-withdrawn", "not-older", "not-alone", "beside-a-canary"],
    )
    async def test_is(self, autojump_clock, uploads, expected):
        async with a_house(*uploads, run=False) as house:
            assert expected == house.canary()


class TestLaunches:
    async def test_each_fourth_is_from_the_canary(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2), run=False) as house:
            images = []
            for _ in range(8):
                node = await house.launch()
                images.append(node.shape.image_id)
                await house.ended(node, NodeState.ABORTED)

        assert [n for n, image in enumerate(images, 1) if image == "alpha-image-2"] == [4, 8]

    async def test_at_once_no_more_than_have_to_become_ready(self, autojump_clock):
        """Many launches in one pass of the planner, none of which is on record yet."""
        async with a_house(promoted(1), an_upload(2), run=False) as house:
            chosen = [
                house.choice.for_launch("alpha", IMAGE, NodeId(f"{n:010d}")) for n in range(1, 101)
            ]

        assert 3 == sum(one.id == an_upload(2).id for one in chosen)

    async def test_the_share_is_of_those_at_the_same_provider(self, autojump_clock):
        uploads = promoted(1), an_upload(2), promoted(1, "beta"), an_upload(2, "beta")
        async with a_house(*uploads, run=False) as house:
            for _ in range(3):
                await house.launch("alpha")
            node = await house.launch("beta")

            assert "beta-image-1" == node.shape.image_id

    async def test_one_that_came_to_nothing_is_not_counted(self, autojump_clock):
        """A batch that was overtaken: its ids are given again."""
        async with a_house(promoted(1), an_upload(2), run=False) as house:
            for _ in range(3):
                await house.launch()
            coming = NodeId(f"{4:010d}")
            for _ in range(3):
                chosen = house.choice.for_launch("alpha", IMAGE, coming)

                assert an_upload(2).id == chosen.id
                assert 1 == house.choice.flying(chosen)

    async def test_after_a_restart_the_share_is_kept(self, autojump_clock):
        """What has ended is in the record of the upload, what has not is a node."""
        trial = Trial(since=NOW, ready=1, failed=1, before_ready=5, before_failed=0)
        async with a_house(promoted(1), an_upload(2, trial=trial), run=False) as house:
            images = [(await house.launch()).shape.image_id for _ in range(5)]

        assert ["alpha-image-1"] * 4 + ["alpha-image-2"] == images

    async def test_of_a_pinned_image_all_are_from_the_pinned_build(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2), pinned(1), run=False) as house:
            images = {(await house.launch()).shape.image_id for _ in range(20)}

        assert {"alpha-image-1"} == images

    async def test_where_none_is_there_none_is_chosen(self, autojump_clock):
        async with a_house(run=False) as house:
            assert house.choice.for_launch("alpha", IMAGE, NodeId("0000000001")) is None


class TestOffers:
    async def test_have_the_stable_upload_in_them(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2), run=False) as house:
            offer = house.choice.dressed("alpha", an_inventory()).offers[KEY]

        assert ("alpha-image-1", promoted(1).name) == (offer.shape.image_id, offer.shape.image_name)

    async def test_of_the_clouds_own_images_are_left_as_they_are(self, autojump_clock):
        other = an_offer("large")
        async with a_house(run=False) as house:
            found = house.choice.dressed("alpha", an_inventory(other))

        assert {("main", "large"): other} == found.offers
        assert [KEY] == list(found.missing)

    async def test_are_the_same_object_until_something_changes(self, autojump_clock):
        inventory = an_inventory()
        async with a_house(promoted(1), an_upload(2), run=False) as house:
            first = house.choice.dressed("alpha", inventory)
            counted = attrs.evolve(house.upload(2), trial=tried(1, 0))
            await house.store.commit([Change(house.upload(2), counted)])
            same = house.choice.dressed("alpha", inventory)
            await house.add(promoted(3))
            other = house.choice.dressed("alpha", inventory)

        assert same is first
        assert "alpha-image-3" == other.offers[KEY].shape.image_id


class TestWhyMissing:
    async def words(self, *records, **config):
        async with a_house(*records, run=False, **config) as house:
            found = house.choice.dressed("alpha", an_inventory())
            assert not found.offers
            return found.missing[KEY]

    async def test_nothing_was_ever_built(self, autojump_clock):
        assert "image debian has no build yet" == await self.words()

    async def test_it_is_being_built(self, autojump_clock):
        build = a_build(1, state=BuildState.BUILDING, ready_at=None, phase="root", artifacts=())

        assert "image debian is being built: debian-0000000001: root" == await self.words(build)

    async def test_builds_are_paused(self, autojump_clock):
        pause = Pause(by="ann", reason="mirror is down", since=NOW)

        words = await self.words(ImageRecord(name=IMAGE, pause=pause))

        assert "image debian has no build: builds are paused by ann: mirror is down" == words

    async def test_builds_failed(self, autojump_clock):
        record = ImageRecord(name=IMAGE, failures=2, not_before=NOW + 60, fault="no space left")

        assert await self.words(record) == (
            "image debian has no build: 2 builds failed, tried again at 00:01:00 UTC: no space left"
        )

    async def test_it_is_built_and_not_uploaded(self, autojump_clock):
        assert await self.words(a_build(1)) == (
            "image debian is not uploaded there yet: build debian-0000000001 is ready"
        )

    async def test_it_is_being_uploaded(self, autojump_clock):
        upload = an_upload(1, state=UploadState.UPLOADING, external_id=None, stage="sending")

        assert await self.words(a_build(1), upload) == (
            "image debian is being uploaded there: build debian-0000000001 (sending)"
        )

    async def test_uploads_are_paused(self, autojump_clock):
        place = ImagePlace(provider="alpha", pause=Pause(by="ann", reason="", since=NOW))

        words = await self.words(a_build(1), ImageRecord(name=IMAGE).with_place(place))

        assert "image debian is not uploaded there: uploads are paused by ann" == words

    async def test_uploads_failed(self, autojump_clock):
        place = ImagePlace(provider="alpha", failures=1, not_before=NOW + 60, fault="413 too much")

        assert await self.words(a_build(1), ImageRecord(name=IMAGE).with_place(place)) == (
            "image debian is not uploaded there: the last upload failed, tried again at 00:01:00 "
            "UTC: 413 too much"
        )

    async def test_it_was_withdrawn(self, autojump_clock):
        assert await self.words(a_build(1), withdrawn(1)) == (
            "image debian has no good upload there: build debian-0000000001 was withdrawn, as it "
            "was bad"
        )

    async def test_it_is_pinned_to_what_is_on_its_way(self, autojump_clock):
        upload = an_upload(1, state=UploadState.UPLOADING, external_id=None)
        held = "image debian is pinned to build debian-0000000001 by ann"

        assert f"{held}, which is being uploaded" == await self.words(
            a_build(1), upload, promoted(2), pinned(1)
        )
        assert f"{held}, which is not uploaded there yet" == await self.words(
            a_build(1), promoted(2), pinned(1)
        )

    async def test_it_is_pinned_to_what_is_gone(self, autojump_clock):
        words = await self.words(promoted(2), pinned(1))

        assert words.endswith("of which nothing is left: unpin it, or pin another build")

    async def test_its_only_upload_fails(self, autojump_clock):
        words = await self.words(an_upload(1, trial=tried(0, 4)))

        assert words == (
            "image debian: its only image fails: 4 of 4 launches of build debian-0000000001"
        )

    async def test_its_cloud_takes_no_images(self, autojump_clock):
        inventory = an_inventory()
        async with a_house(a_build(1), run=False) as house:
            before = house.choice.dressed("alpha", inventory).missing[KEY]
            house.choice.takes_none("alpha", "images cannot be uploaded there")
            words = house.choice.dressed("alpha", inventory).missing[KEY]

        assert "is not uploaded there yet" in before
        assert "image debian is not there: images cannot be uploaded there" == words

    async def test_one_provider_lacks_it_and_the_other_does_not(self, autojump_clock):
        build = a_build(1, artifacts=(FILE,))
        async with a_house(build, promoted(1, "beta"), run=False) as house:
            assert house.choice.dressed("alpha", an_inventory()).missing
            assert not house.choice.dressed("beta", an_inventory()).missing
