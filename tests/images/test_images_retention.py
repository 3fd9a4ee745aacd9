"""What is kept of an image, and what goes."""

import attrs

from tests.images.image_world import DAY, ImageWorld, debian
from trellis.images.plan import plan
from trellis.model.image import BuildState, ImagePlace, Pin, Standing, Trial, UploadState
from trellis.model.provider import Pause

PAUSE = Pause(by="ada", reason="", since=0.0)


def after_builds(count, config=None, **parts):
    """So many builds, one a day, each uploaded everywhere and promoted at alpha."""
    world = ImageWorld(config or debian(), places=("alpha",), **parts)
    world.settle()
    world.promote(1)
    for number in range(2, count + 1):
        world.rebuilt(number)
        world.promote(number)
        world.settle()
    return world


class TestUploads:
    def test_the_newest_good_ones_are_kept(self):
        assert after_builds(5).live("alpha") == [5, 4]

    def test_as_many_as_are_configured(self):
        assert after_builds(5, debian(keep_uploads=3)).live("alpha") == [5, 4, 3]

    def test_a_canary_is_kept_beside_them(self):
        world = after_builds(3)
        world.rebuilt(4)

        assert world.live("alpha") == [4, 3, 2]

    def test_a_canary_stays_until_the_next_one_is_there(self):
        world = after_builds(1)
        world.rebuilt(2)
        world.now += DAY + 1
        world.one_pass()
        world.goes_on()

        assert world.decided() == [("StartUpload", 3, "alpha")]

    def test_bad_builds_never_evict_the_last_good_one(self):
        world = after_builds(1)
        for number in range(2, 12):
            world.rebuilt(number)
            world.stands(Standing.WITHDRAWN, number)
            world.settle()

        assert world.live("alpha") == [11, 1]
        assert world.uploads[world.at("alpha")[1].id].standing is Standing.PROMOTED
        assert "debian-0000000001" in world.builds

    def test_unproved_builds_never_evict_the_last_good_one(self):
        world = after_builds(1)
        for number in range(2, 12):
            world.rebuilt(number)

        assert world.live("alpha") == [11, 1]

    def test_as_long_as_none_is_good_what_served_is_kept(self):
        """A label so quiet that nothing was ever promoted has something to boot from."""
        world = ImageWorld(debian(), places=("alpha",)).settle()

        (first,) = world.at("alpha")
        world.uploads[first.id] = attrs.evolve(first, trial=Trial(since=0.0, ready=2))
        for number in (2, 3, 4):
            world.rebuilt(number)

        assert world.live("alpha") == [4, 3, 1]

    def test_what_servers_boot_from_is_kept_until_the_last_is_gone(self):
        world = after_builds(2)
        world.boots(1)
        for number in (3, 4):
            world.rebuilt(number)
            world.promote(number)
            world.settle()
        assert world.live("alpha") == [4, 3, 1]
        assert "debian-0000000001" in world.builds

        world.in_use.clear()

        assert world.decided() == [("DeleteUpload", 1, "alpha")]
        (gone,) = plan(world.snapshot()).decisions
        assert gone.reason == "there are 2 newer good ones (keep-uploads)"

    def test_what_is_pinned_is_kept(self):
        world = after_builds(2)
        pin = Pin(build_id="debian-0000000001", by="ada", reason="", at=0.0)
        world.records["debian"] = world.record().with_place(ImagePlace(provider="alpha", pin=pin))
        for number in (3, 4, 5):
            world.rebuilt(number)
            world.promote(number)
            world.settle()

        assert world.live("alpha") == [5, 4, 1]
        assert "debian-0000000001" in world.builds

        world.records["debian"] = world.record().with_place(ImagePlace(provider="alpha"))
        world.settle()
        assert world.live("alpha") == [5, 4]

    def test_what_was_withdrawn_goes_once_there_is_a_newer_one(self):
        world = after_builds(2)
        world.rebuilt(3)
        world.stands(Standing.WITHDRAWN, 3)
        world.settle()
        assert world.live("alpha") == [3, 2, 1]

        world.boots(3)
        world.rebuilt(4)
        assert world.live("alpha") == [4, 3, 2, 1]

        world.in_use.clear()
        (gone,) = plan(world.snapshot()).decisions
        assert gone.reason == "it was withdrawn, and there is a newer build"

    def test_an_image_out_of_the_configuration_goes_once_no_server_needs_it(self):
        world = after_builds(3)
        world.boots(2)
        del world.configs["debian"]
        world.places["alpha"] = attrs.evolve(world.places["alpha"], images=frozenset())

        world.settle()
        assert world.live("alpha") == [2]
        assert list(world.builds) == ["debian-0000000002"]

        world.in_use.clear()
        world.settle()
        assert not world.uploads
        assert not world.builds

    def test_what_no_label_of_a_provider_names_goes_there_alone(self):
        world = ImageWorld(debian()).settle()
        world.places["beta"] = attrs.evolve(world.places["beta"], images=frozenset())

        assert world.decided() == [("DeleteUpload", 1, "beta")]

    def test_what_is_being_uploaded_for_nobody_is_ended(self):
        world = ImageWorld(debian())
        world.one_pass()
        world.goes_on()
        world.one_pass()
        world.places["beta"] = attrs.evolve(world.places["beta"], images=frozenset())

        assert world.decided() == [("DeleteUpload", 1, "beta")]

    def test_a_dropped_provider_loses_all_and_gets_nothing(self):
        world = ImageWorld(debian()).settle()
        world.boots(1, "beta")
        world.places["beta"] = attrs.evolve(world.places["beta"], dropped=True)
        world.rebuilt(2)
        assert world.live("beta") == [1]

        world.in_use.clear()
        (gone,) = plan(world.snapshot()).decisions
        assert (gone.upload.provider, gone.reason) == (
            "beta",
            "the provider is configured no longer",
        )

    def test_what_is_at_a_provider_nobody_runs_is_left_alone(self):
        world = ImageWorld(debian()).settle()
        del world.places["beta"]

        assert world.decided() == []

    def test_a_rename_gives_the_image_to_the_new_name(self):
        world = ImageWorld(debian(), places=("alpha",)).settle()
        renamed = attrs.evolve(world.places["alpha"], name="omega")
        world.places["omega"] = renamed
        world.places["alpha"] = attrs.evolve(world.places["alpha"], dropped=True)

        world.settle()

        assert (world.live("alpha"), world.live("omega")) == ([], [1])


class TestBuilds:
    def test_the_newest_are_kept_and_those_with_uploads(self):
        world = after_builds(6, debian(keep_builds=1))

        assert sorted(one.number for one in world.builds.values()) == [5, 6]

    def test_one_whose_files_are_read_is_kept(self):
        world = ImageWorld(debian(formats=("raw",), keep_builds=1), places=())
        world.read = {("debian-0000000001", "raw")}
        for _ in range(3):
            world.settle()
            world.now += DAY + 1

        assert sorted(one.number for one in world.builds.values()) == [1, 3]
        world.read.clear()
        assert ("DeleteBuild", 1) in world.decided()

    def test_a_pinned_one_is_kept_though_it_is_uploaded_nowhere(self):
        world = after_builds(2, debian(keep_builds=1))
        pin = Pin(build_id="debian-0000000001", by="ada", reason="", at=0.0)
        place = ImagePlace(provider="alpha", pin=pin, pause=PAUSE)
        world.records["debian"] = world.record().with_place(place)
        for upload in world.at("alpha"):
            del world.uploads[upload.id]

        assert world.decided() == []
        world.records["debian"] = world.record().with_place(ImagePlace(provider="alpha"))
        assert ("DeleteBuild", 1) in world.decided()

    def test_without_any_upload_the_newest_are_kept(self):
        world = ImageWorld(debian(formats=("raw",), keep_builds=3), places=())
        for _ in range(6):
            world.settle()
            world.now += DAY + 1

        assert sorted(one.number for one in world.builds.values()) == [4, 5, 6]

    def test_failed_ones_are_remembered_as_long_as_their_logs_are(self):
        world = ImageWorld(debian(), places=("alpha",))
        world.logs_kept = 2
        for number in range(1, 5):
            world.one_pass()
            world.build_failed(f"debian-{number:010d}", wait_s=0.0)

        assert ("ForgetBuild", 2) in world.decided()
        world.one_pass()
        failed = [one for one in world.builds.values() if one.state is BuildState.FAILED]
        assert sorted(one.number for one in failed) == [3, 4]

    def test_one_that_is_being_uploaded_is_kept(self):
        world = after_builds(1, debian(keep_builds=1))
        first = world.builds["debian-0000000001"]
        (upload,) = world.at("alpha")
        world.uploads[upload.id] = attrs.evolve(upload, state=UploadState.UPLOADING)
        for number in (2, 3):
            world.now += DAY + 1
            world.one_pass()
            world.built(f"debian-{number:010d}")
            world.one_pass()

        assert world.builds[first.id].state is BuildState.READY


class TestFiles:
    def config(self, **parts):
        return debian(delete_after_upload=True, **parts)

    def test_they_go_once_every_provider_has_them(self):
        world = ImageWorld(self.config())
        world.one_pass()
        world.goes_on()
        world.one_pass()
        world.uploaded("debian-0000000001.1")
        assert world.decided() == []

        world.uploaded("debian-0000000001.2")
        assert world.decided() == [("DeleteFiles", 1, ("qcow2",))]

    def test_those_that_are_read_stay_and_no_others(self):
        """By a hook after the upload, as a rule."""
        world = ImageWorld(self.config())
        world.places["beta"] = attrs.evolve(world.places["beta"], format="raw")
        world.read = {("debian-0000000001", "raw")}
        world.settle()

        build = world.builds["debian-0000000001"]
        assert {one.format: bool(one.path) for one in build.artifacts} == {
            "raw": True,
            "qcow2": False,
        }
        world.read.clear()
        assert world.decided() == [("DeleteFiles", 1, ("raw",))]

    def test_without_being_told_so_they_stay(self):
        assert ImageWorld(debian()).settle().decided() == []

    def test_those_to_keep_stay(self):
        world = ImageWorld(self.config(keep_formats=("raw",), formats=("raw",)))
        world.places["beta"] = attrs.evolve(world.places["beta"], format="raw")
        world.settle()

        build = world.builds["debian-0000000001"]
        assert {one.format: bool(one.path) for one in build.artifacts} == {
            "raw": True,
            "qcow2": False,
        }

    def test_those_nobody_was_sent_stay(self):
        """Whoever configures a format that no cloud takes wants the file here."""
        world = ImageWorld(self.config(formats=("raw",))).settle()

        build = world.builds["debian-0000000001"]
        assert {one.format: bool(one.path) for one in build.artifacts} == {
            "raw": True,
            "qcow2": False,
        }

    def test_a_provider_that_does_not_tell_its_format_may_want_any(self):
        world = ImageWorld(self.config())
        world.places["beta"] = attrs.evolve(world.places["beta"], format=None)

        world.settle()

        assert world.builds["debian-0000000001"].artifacts[0].path

    def test_a_paused_place_may_still_want_them(self):
        world = ImageWorld(self.config())

        place = ImagePlace(provider="beta", pause=PAUSE)
        world.records["debian"] = world.record().with_place(place)

        world.settle()

        assert world.builds["debian-0000000001"].artifacts[0].path

    def test_what_is_needed_again_after_they_are_gone_is_built_anew(self):
        world = ImageWorld(self.config()).settle()
        (upload,) = world.at("beta")
        del world.uploads[upload.id]

        (again,) = plan(world.snapshot()).decisions

        assert again.reason == "beta has to get it anew, and its qcow2 file is deleted"
        world.settle()
        assert world.live("beta") == [2]
