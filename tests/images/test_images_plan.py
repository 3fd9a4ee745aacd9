"""What is built, and what is uploaded where."""

import attrs

from tests.images.image_world import DAY, HOUR, ImageWorld, debian
from trellis.images.plan import plan
from trellis.images.snapshot import ProviderPlace
from trellis.model.image import BuildState, ImagePlace, ImageRecord, Pin, Standing
from trellis.model.provider import Pause
from trellis.spi.config import ImageConfig

PAUSE = Pause(by="ada", reason="the mirror is down", since=0.0)


def built_world(*configs, **parts):
    """One build, ready and uploaded to alpha and beta."""
    return ImageWorld(*(configs or (debian(),)), **parts).settle()


def only(found):
    (one,) = found
    return one


class TestBuilds:
    def test_what_was_never_built_is_built(self):
        world = ImageWorld(debian(formats=("raw",)))

        built = only(plan(world.snapshot()).decisions)

        assert (built.image, built.formats) == ("debian", ("raw", "qcow2"))
        assert built.reason == "there is no build of it"

    def test_nothing_is_built_twice_at_a_time(self):
        world = ImageWorld(debian(), slots=2)
        world.one_pass()

        assert world.decided() == []
        assert "being built" in plan(world.snapshot()).builds_wait["debian"]

    def test_what_is_older_than_rebuild_age_is_built_anew(self):
        world = built_world()
        world.now += DAY - 1
        assert world.decided() == []
        assert plan(world.snapshot()).look_again_at == world.now + 1

        world.now += 1
        assert world.decided() == [("StartBuild", "debian")]

    def test_rebuild_age_0_builds_once_and_then_when_asked(self):
        world = built_world(debian(rebuild_age=0.0))
        world.now += 100 * DAY
        world.recipes["debian"] = "r2"
        assert world.decided() == []

        world.records["debian"] = attrs.evolve(
            world.record(), wanted="the kernel is new", wanted_by="ada"
        )
        asked = only(plan(world.snapshot()).decisions)
        assert (asked.reason, asked.by) == ("the kernel is new", "ada")

    def test_another_recipe_is_built(self):
        world = built_world()
        world.recipes["debian"] = "r2"

        assert only(plan(world.snapshot()).decisions).reason == "its recipe has changed"

    def test_a_format_that_a_new_provider_takes_is_built(self):
        world = built_world()
        world.places["gamma"] = ProviderPlace(
            name="gamma", images=frozenset({"debian"}), format="vhd"
        )

        asked = only(plan(world.snapshot()).decisions)

        assert asked.reason == "gamma takes vhd, in which it was not built"
        assert set(asked.formats) == {"qcow2", "vhd"}

    def test_a_new_provider_whose_format_is_there_needs_no_build(self):
        world = built_world()
        world.places["gamma"] = ProviderPlace(
            name="gamma", images=frozenset({"debian"}), format="qcow2"
        )

        assert world.decided() == [("StartUpload", 1, "gamma")]

    def test_what_no_provider_uses_is_not_built_unless_asked(self):
        world = ImageWorld(debian())
        world.places = {}
        assert world.decided() == []

        world.records["debian"] = ImageRecord(name="debian", wanted="try it")
        assert only(plan(world.snapshot()).decisions).formats == ("qcow2",)

    def test_a_configured_format_is_built_though_nobody_takes_it(self):
        world = ImageWorld(debian(formats=("raw",)), places=())

        assert only(plan(world.snapshot()).decisions).formats == ("raw",)

    def test_a_failure_backs_it_off(self):
        world = ImageWorld(debian())
        world.one_pass()
        world.build_failed("debian-0000000001")

        assert world.decided() == []
        found = plan(world.snapshot())
        assert (
            "1 builds failed one after the other, the last by: it broke"
            in (found.builds_wait["debian"])
        )
        assert found.look_again_at == world.now + 60
        world.now += 60
        assert world.decided() == [("StartBuild", "debian")]

    def test_a_corrected_recipe_is_tried_at_once(self):
        world = ImageWorld(debian())
        world.one_pass()
        world.build_failed("debian-0000000001", wait_s=6 * HOUR)

        world.recipes["debian"] = "r2"

        assert world.decided() == [("StartBuild", "debian")]

    def test_a_pause_stops_builds_and_says_whose_it_is(self):
        world = ImageWorld(debian())
        world.records["debian"] = ImageRecord(name="debian", pause=PAUSE)

        assert world.decided() == []
        assert "paused by ada: the mirror is down" in plan(world.snapshot()).builds_wait["debian"]

    def test_a_pause_of_the_configuration_stops_builds(self):
        assert ImageWorld(debian(pause=True)).decided() == []

    def test_a_pause_that_is_over_stops_nothing(self):
        world = ImageWorld(debian())
        pause = attrs.evolve(PAUSE, until=world.now + 60)
        world.records["debian"] = ImageRecord(name="debian", pause=pause)
        assert plan(world.snapshot()).look_again_at == world.now + 60

        world.now += 60

        assert world.decided() == [("StartBuild", "debian")]

    def test_a_wish_goes_through_a_pause_and_a_back_off(self):
        world = ImageWorld(debian(pause=True))
        world.records["debian"] = ImageRecord(
            name="debian", pause=PAUSE, wanted="now", not_before=world.now + HOUR, failures=3
        )

        assert world.decided() == [("StartBuild", "debian")]

    def test_one_that_fails_holds_up_no_other(self):
        """With one slot, the next in need has its turn while one is backed off."""
        world = ImageWorld(debian(), ImageConfig(name="fedora"))
        world.one_pass()
        world.build_failed("debian-0000000001")

        assert world.decided() == [("StartBuild", "fedora")]

    def test_the_oldest_need_goes_first(self):
        world = built_world(debian(), ImageConfig(name="fedora"), slots=1)
        assert list(world.builds) == ["debian-0000000001", "fedora-0000000001"]
        fedora = world.builds["fedora-0000000001"]
        world.builds[fedora.id] = attrs.evolve(fedora, ready_at=fedora.ready_at - HOUR)
        world.now += 2 * DAY

        assert world.decided() == [("StartBuild", "fedora")]
        waits = plan(world.snapshot()).builds_wait["debian"]
        assert "waits until another build ends (build-workers)" in waits

    def test_a_format_that_is_not_known_yet_is_waited_for_but_not_for_ever(self):
        world = ImageWorld(debian())
        world.places["beta"] = attrs.evolve(world.places["beta"], format=None)
        world.hurried = False
        assert world.decided() == []
        assert "which format beta takes" in plan(world.snapshot()).builds_wait["debian"]

        world.hurried = True
        assert world.decided() == [("StartBuild", "debian")]

    def test_an_image_out_of_the_configuration_is_not_built(self):
        world = built_world()
        del world.configs["debian"]
        world.now += 10 * DAY

        assert not any(kind == "StartBuild" for kind, *_ in world.decided())


class TestUploads:
    def test_a_build_goes_to_each_provider_that_uses_it(self):
        world = ImageWorld(debian())
        world.one_pass()
        world.goes_on()
        world.places["gamma"] = ProviderPlace(name="gamma", format="qcow2")

        assert world.decided() == [("StartUpload", 1, "alpha"), ("StartUpload", 1, "beta")]

    def test_each_gets_the_format_it_takes(self):
        world = ImageWorld(debian())
        world.places["beta"] = attrs.evolve(world.places["beta"], format="raw")
        world.one_pass()
        world.goes_on()

        sent = {one.provider: one.artifact.format for one in plan(world.snapshot()).decisions}

        assert sent == {"alpha": "qcow2", "beta": "raw"}

    def test_one_attempt_at_a_time(self):
        world = ImageWorld(debian())
        world.one_pass()
        world.goes_on()
        world.one_pass()

        assert world.decided() == []

    def test_a_failed_attempt_is_followed_by_another_one_later(self):
        world = ImageWorld(debian(), places=("alpha",))
        world.one_pass()
        world.goes_on()
        world.one_pass()
        world.upload_failed("debian-0000000001.1")

        assert world.decided() == []
        found = plan(world.snapshot())
        assert "1 uploads failed" in found.uploads_wait["alpha", "debian"]
        assert found.look_again_at == world.now + 60
        world.now += 60
        assert world.decided() == [("StartUpload", 1, "alpha")]

    def test_a_paused_place_gets_none_and_others_do(self):
        world = ImageWorld(debian())
        world.one_pass()
        world.goes_on()
        place = ImagePlace(provider="alpha", pause=PAUSE)
        world.records["debian"] = world.record().with_place(place)

        assert world.decided() == [("StartUpload", 1, "beta")]
        assert "paused by ada" in plan(world.snapshot()).uploads_wait["alpha", "debian"]

        world.records["debian"] = world.record().with_place(ImagePlace(provider="alpha"))
        assert ("StartUpload", 1, "alpha") in world.decided()

    def test_one_that_takes_no_images_gets_none(self):
        world = ImageWorld(debian(), places=("alpha",))
        world.places["alpha"] = attrs.evolve(world.places["alpha"], no_images="it has no Glance")

        assert world.decided() == []

    def test_a_pinned_build_is_uploaded_where_it_is_gone(self):
        world = built_world(debian(keep_builds=3))
        world.promote(1)
        for number in (2, 3, 4):
            world.rebuilt(number)
            world.promote(number)
        world.settle()
        assert world.live("alpha") == [4, 3]
        pin = Pin(build_id="debian-0000000002", by="ada", reason="4 and 3 are bad", at=world.now)
        assert pin.build_id in world.builds

        world.records["debian"] = world.record().with_place(ImagePlace(provider="alpha", pin=pin))

        assert world.decided() == [("StartUpload", 2, "alpha")]

    def test_the_pinned_and_the_newest_go_one_after_the_other(self):
        world = built_world()
        world.rebuilt(2)
        pin = Pin(build_id="debian-0000000001", by="ada", reason="", at=world.now)
        world.records["debian"] = world.record().with_place(ImagePlace(provider="alpha", pin=pin))
        for upload in world.at("alpha"):
            del world.uploads[upload.id]

        assert world.decided() == [("StartUpload", 1, "alpha")]
        world.one_pass()
        assert world.decided() == []
        world.goes_on()
        assert world.decided() == [("StartUpload", 2, "alpha")]

    def test_what_is_bad_there_is_not_uploaded_there_again(self):
        world = built_world()
        world.promote(1)
        world.rebuilt(2)
        world.stands(Standing.WITHDRAWN, 2)

        world.settle()

        assert world.live("alpha") == [2, 1]
        assert world.decided() == []

    def test_what_vanished_is_uploaded_anew(self):
        world = built_world()
        (upload,) = world.at("alpha")
        del world.uploads[upload.id]

        assert world.decided() == [("StartUpload", 1, "alpha")]

    def test_an_older_build_does_not_follow_one_deleted_by_a_person(self):
        """The files of the newest are deleted; what a provider has of it goes on serving."""
        world = built_world()
        world.rebuilt(2)
        world.promote(2)
        build = world.builds["debian-0000000002"]
        world.builds[build.id] = build.became(BuildState.DELETING, world.now)
        (old,) = (one for one in world.at("alpha") if one.build_id == "debian-0000000001")
        del world.uploads[old.id]

        assert ("StartUpload", 1, "alpha") not in world.decided()
