"""Images as people see them: what serves, what comes, what is waited for, and why."""

import math

import attrs
import pytest
import trio

from tests.control.image_house import (
    IMAGE,
    a_build,
    a_house,
    an_inventory,
    an_upload,
    promoted,
    wall,
    withdrawn,
)
from trellis.control.images.build_ground import BuildGround
from trellis.control.images.build_log import BuildLogs
from trellis.control.images.in_use import InUse
from trellis.control.images.operator import ImageOperator
from trellis.control.images.sources import Sent
from trellis.control.images.view import ImagesView, UnderWay
from trellis.errors import RefusedError, UnknownIdError
from trellis.images.decisions import ImagesPlan
from trellis.images.snapshot import ImagesSnapshot, ImageView, ProviderPlace
from trellis.model.image import (
    BuildState,
    ImagePlace,
    ImageRecord,
    Pin,
    Standing,
    Trial,
    UploadState,
)
from trellis.model.names import BuildId
from trellis.model.node import NodeState
from trellis.model.provider import Pause
from trellis.model.records import Change
from trellis.testing.builders import NOW

HOUR = 3600.0


class Shown:
    """The operator's side of a house.

    Attributes:
        wants: the format that each provider takes.
        waiting: what the last pass would have found to be waited for.
        sent: how far uploads are that are at work, by id.
    """

    def __init__(self, house):
        self.house = house
        self.wants = {"alpha": "qcow2", "beta": "raw"}
        self.no_images = {}
        self.waiting = ImagesPlan(
            decisions=(), builds_wait={}, uploads_wait={}, look_again_at=math.inf
        )
        self.under_way = {}
        self.operator = ImageOperator(
            view=ImagesView(
                snapshot=self.snapshot,
                waiting=lambda: self.waiting,
                choice=house.choice,
                in_use=InUse(house.fleet, house.book, freed=lambda: None),
                providers=house.providers,
                under_way=lambda _, upload: self.under_way.get(upload, UnderWay()),
            ),
            acts=house.acts,
            book=house.book,
            store=house.store,
            logs=BuildLogs(BuildGround(), house.book.is_building),
        )

    def snapshot(self):
        house = self.house
        names = dict.fromkeys((*house.configs, *house.book.names()))
        return ImagesSnapshot(
            now=wall(),
            images={name: self._view(name) for name in names},
            providers={
                name: ProviderPlace(
                    name=name,
                    images=frozenset({IMAGE}),
                    format=self.wants.get(name),
                    no_images=self.no_images.get(name, ""),
                )
                for name in house.providers
            },
        )

    def _view(self, name):
        there = self.house.book.of_image(name)
        return ImageView(
            name=name,
            config=self.house.configs.get(name),
            record=there.record,
            builds=there.builds,
            uploads=there.uploads,
        )

    @property
    def image(self):
        return self.operator.one(IMAGE)

    def place(self, provider="alpha"):
        (found,) = (one for one in self.image.places if one.provider == provider)
        return found


def uploads(place):
    """By the number of the build: whether it serves, its share and what is said of it."""
    return {
        int(one.upload.build_id[-10:]): (one.serving, one.share, one.words) for one in place.uploads
    }


class TestAPlace:
    async def test_shows_what_serves_the_canary_and_what_is_kept(self, autojump_clock):
        """With their shares of the launches."""
        async with a_house(a_build(2), promoted(1), promoted(2), an_upload(3), run=False) as house:
            place = Shown(house).place()

        assert uploads(place) == {
            3: (False, 0.25, "it is on trial"),
            2: (True, 0.75, "launches boot from it"),
            1: (False, 0.0, "it is kept to go back to"),
        }
        assert (place.missing, place.words, place.labels) == (False, "", ("small",))

    async def test_tells_how_old_the_build_is_that_serves(self, autojump_clock):
        """Not how old the upload is: one can be uploaded anew."""
        old = a_build(1, created_at=NOW - 9 * HOUR, ready_at=NOW - 8 * HOUR)
        async with a_house(old, promoted(1), run=False) as house:
            await trio.sleep(HOUR)
            place = Shown(house).place()

        assert place.built_at == NOW - 8 * HOUR
        assert place.age_s == pytest.approx(9 * HOUR)

    async def test_goes_by_the_upload_where_its_build_is_gone(self, autojump_clock):
        """The build's number and its upload live longer than its record."""
        async with a_house(promoted(1, created_at=NOW - HOUR), run=False) as house:
            assert Shown(house).place().built_at == NOW - HOUR

    async def test_shows_what_is_bad_and_why(self, autojump_clock):
        """It serves nothing; the one before does."""
        async with a_house(promoted(1), withdrawn(2), run=False) as house:
            place = Shown(house).place()

        assert uploads(place)[2] == (False, 0.0, "it is withdrawn: it was bad")
        assert uploads(place)[1][:2] == (True, 1.0)

    async def test_says_why_nothing_serves(self, autojump_clock):
        """In the words in which its label's requests decline it, but for the image's name."""
        async with a_house(a_build(1), run=False) as house:
            shown = Shown(house)
            place = shown.place()
            reason = house.choice.why_missing("alpha", IMAGE)

        assert (place.missing, place.serving, place.age_s) == (True, None, None)
        assert place.words == f"it {reason.removeprefix('image debian ')}"
        assert place.words == "it is not uploaded there yet: build debian-0000000001 is ready"

    async def test_that_takes_no_images_says_so(self, autojump_clock):
        """Nothing that is built helps there."""
        async with a_house(a_build(1), run=False) as house:
            shown = Shown(house)
            shown.no_images["alpha"] = "images cannot be uploaded there"

            assert shown.place().words == "images cannot be uploaded there"

    async def test_shows_how_far_an_upload_is(self, autojump_clock):
        """Bytes, rate and time left while it is sent; what it waits for else."""
        sending = an_upload(1, state=UploadState.UPLOADING, external_id=None, stage="put")
        async with a_house(a_build(1), sending, run=False) as house:
            shown = Shown(house)
            at_first = shown.place().uploads[0]
            shown.under_way[sending.id] = UnderWay(sent=Sent(bytes=2, total=7, bytes_per_s=0.5))
            then = shown.place().uploads[0]
            shown.under_way[sending.id] = UnderWay(waits="its turn")
            waits = shown.place().uploads[0]

        assert (at_first.sent, at_first.words) == (None, "it is being uploaded: put")
        assert (then.sent, then.rate, then.left_s) == (2, 0.5, 10.0)
        assert waits.words == "its turn"

    async def test_shows_the_pin_and_the_pause(self, autojump_clock):
        """Until they are over."""
        pin = Pin(build_id=a_build(1).id, by="ann", reason="r", at=NOW)
        pause = Pause(by="bob", reason="", since=NOW, until=NOW + HOUR)
        record = ImageRecord(name=IMAGE).with_place(
            ImagePlace(provider="alpha", pin=pin, pause=pause, failures=2, not_before=NOW + HOUR)
        )
        async with a_house(promoted(1), promoted(2), record, run=False) as house:
            shown = Shown(house)
            before = shown.place()
            await trio.sleep(HOUR)
            after = shown.place()

        assert uploads(before)[1] == (True, 1.0, "it is pinned")
        assert (before.pin, before.pause, before.not_before) == (pin, pause, NOW + HOUR)
        assert (after.pin, after.pause, after.not_before) == (pin, None, 0.0)
        assert after.failures == 2

    async def test_counts_the_nodes_of_each_upload(self, autojump_clock):
        """Those that are not proved gone: as long it is not deleted."""
        async with a_house(promoted(1), promoted(2), run=False) as house:
            shown = Shown(house)
            node = await house.launch_from(1)
            with_one = {one.upload.id: one.nodes for one in shown.place().uploads}
            await house.store.commit(
                [Change(node, attrs.evolve(node, state=NodeState.GONE), archive=True)]
            )
            with_none = {one.upload.id: one.nodes for one in shown.place().uploads}

        one, two = promoted(1).id, promoted(2).id
        assert (with_one, with_none) == ({one: 1, two: 0}, {one: 0, two: 0})

    async def test_that_uses_the_image_no_longer_is_shown_while_it_has_something(
        self, autojump_clock
    ):
        """A provider that is not configured any more ends what it has."""
        async with a_house(promoted(1), promoted(1, "gamma"), run=False) as house:
            places = {one.provider: one for one in Shown(house).image.places}

        assert list(places) == ["alpha", "beta", "gamma"]
        assert places["gamma"].missing is False
        assert places["gamma"].words == "no label there is made from it"
        assert uploads(places["gamma"])[1][0] is False


class TestAnImage:
    async def test_shows_a_build_under_way_with_how_long_it_may_take(self, autojump_clock):
        """By how long the last one took that ended well."""
        last = a_build(1, created_at=NOW - 900, ready_at=NOW - 300)
        building = a_build(
            2, state=BuildState.BUILDING, ready_at=None, artifacts=(), phase="root.d"
        )
        async with a_house(last, building, run=False) as house:
            await trio.sleep(120)
            image = Shown(house).image

        newest, before = image.builds
        assert image.words == "build 2 is under way: root.d"
        assert (newest.elapsed_s, newest.usual_s) == (pytest.approx(120, abs=1), 600)
        assert (before.elapsed_s, before.usual_s) == (600, None)

    async def test_says_what_its_next_build_waits_for(self, autojump_clock):
        """As the last pass found it."""
        async with a_house(run=False) as house:
            shown = Shown(house)
            shown.waiting = attrs.evolve(shown.waiting, builds_wait={IMAGE: "it waits for ann"})

            assert shown.image.words == "a build waits: it waits for ann"

    @pytest.mark.parametrize(
        ("config", "record", "due"),
        [
            ({}, {}, NOW + 86_400),
            ({"rebuild_age": 0}, {}, None),
            ({"pause": True}, {}, None),
            ({}, {"pause": Pause(by="ann", reason="", since=NOW)}, None),
        ],
        ids=["by-age", "never", "paused-by-configuration", "paused-by-person"],
    )
    async def test_says_when_it_is_built_anew(self, autojump_clock, config, record, due):
        """Only where it is by itself."""
        remembered = ImageRecord(name=IMAGE, **record)
        async with a_house(a_build(1), remembered, run=False, **config) as house:
            assert Shown(house).image.rebuild_at == due

    async def test_that_is_configured_no_longer_is_shown_until_it_is_gone(self, autojump_clock):
        """Then it is not there."""
        async with a_house(promoted(1), run=False) as house:
            house.configs.clear()
            shown = Shown(house)
            image = shown.image
            upload = house.upload(1)
            gone = attrs.evolve(upload, state=UploadState.GONE)
            await house.store.commit([Change(upload, gone, archive=True)])

            assert (image.configured, image.rebuild_at) == (False, None)
            assert "configured no longer" in image.words
            assert shown.operator.all() == ()

    async def test_that_is_not_there_is_refused_with_near_names(self, autojump_clock):
        """And where an image would stand."""
        async with a_house(run=False) as house:
            with pytest.raises(UnknownIdError, match="no image 'debain'") as refused:
                Shown(house).operator.one("debain")

        assert "there are: debian;" in refused.value.remedy


class TestWhatIsOffered:
    async def test_is_the_same_while_only_the_log_of_a_build_grows(self, autojump_clock):
        """The planner would look at everything anew; what it says of a label it must hear of."""
        building = a_build(1, state=BuildState.BUILDING, ready_at=None, artifacts=())
        async with a_house(building, run=False) as house:
            inventory = an_inventory()
            offered = house.choice.dressed("alpha", inventory)
            grown = attrs.evolve(building, log_lines=9, log_last="nine")
            await house.store.commit([Change(building, grown)])
            same = house.choice.dressed("alpha", inventory)
            await house.store.commit([Change(grown, attrs.evolve(grown, phase="root.d"))])
            other = house.choice.dressed("alpha", inventory)

        assert same is offered
        assert "root.d" in other.missing["main", "small"]


class TestActs:
    async def test_answer_shows_what_they_did(self, autojump_clock):
        """At once: the record is durable and in the book."""
        async with a_house(a_build(1), a_build(2), promoted(1), promoted(2), run=False) as house:
            operator = Shown(house).operator
            wanted = await operator.build(IMAGE, "ann", "a new kernel")
            paused = await operator.pause(IMAGE, None, "ann", "freeze")
            back = await operator.rollback(IMAGE, "alpha", None, "ann", "bad")

        assert wanted.wanted.endswith("a new kernel")
        assert paused.pause is not None
        place = next(one for one in back.places if one.provider == "alpha")
        assert uploads(place)[1] == (True, 1.0, "it is pinned")
        assert place.pin is not None

    async def test_canary_is_promoted(self, autojump_clock):
        """It serves all launches."""
        trial = Trial(since=NOW, ready=1)
        async with a_house(promoted(1), an_upload(2, trial=trial), run=False) as house:
            shown = await Shown(house).operator.promote(IMAGE, None, None, "ann", "")

        place = shown.places[0]
        assert uploads(place)[2][:2] == (True, 1.0)
        assert place.serving is not None
        assert place.serving.upload.standing is Standing.PROMOTED


class TestLogs:
    async def test_tail_and_follow_read_the_file(self, tmp_path):
        """A build that has ended has all of it."""
        path = tmp_path / "debian-0000000001.log"
        path.write_text("one\ntwo\nthree\n")
        build = a_build(1, log=str(path))
        async with a_house(build, run=False) as house:
            operator = Shown(house).operator
            last = await operator.log(IMAGE, build.id, 2)
            followed = [one async for one in await operator.follow(IMAGE, build.id, None)]
            status = await operator.a_build(IMAGE, build.id)

        assert last == "two\nthree\n"
        assert followed == ["one", "two", "three"]
        assert status.log_bytes == 14

    async def test_build_that_is_not_there_is_refused(self, autojump_clock):
        """With those that are."""
        async with a_house(a_build(1), run=False) as house:
            with pytest.raises(UnknownIdError) as refused:
                await Shown(house).operator.log(IMAGE, BuildId("debian-0000000009"), None)

        assert refused.value.remedy == "there are: debian-0000000001"

    @pytest.mark.parametrize("log", ["", "/nonexistent/debian.log"])
    async def test_log_that_is_gone_is_said_to_be(self, autojump_clock, log):
        """It is pruned after a while."""
        async with a_house(a_build(1, log=log), run=False) as house:
            operator = Shown(house).operator
            for read in (operator.log, operator.follow):
                with pytest.raises(UnknownIdError, match="is gone") as refused:
                    await read(IMAGE, a_build(1).id, None)

        assert "build-log-retention" in refused.value.remedy

    async def test_log_that_cannot_be_read_is_refused(self, tmp_path):
        """A folder in its place, for one."""
        build = a_build(1, log=str(tmp_path))
        async with a_house(build, run=False) as house:
            with pytest.raises(RefusedError, match="cannot be read"):
                await Shown(house).operator.log(IMAGE, build.id, None)

    async def test_build_of_the_history_can_be_looked_at(self, autojump_clock):
        """As long as history is kept."""
        async with a_house(a_build(1), a_build(2), run=False) as house:
            build = house.book.builds[a_build(1).id]
            gone = attrs.evolve(build, state=BuildState.GONE)
            await house.store.commit([Change(build, gone, archive=True)])
            status = await Shown(house).operator.a_build(IMAGE, build.id)

        assert status.build.state is BuildState.GONE
