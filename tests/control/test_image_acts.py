"""What a person may do about images: what it records, and what it refuses with which remedy."""

from random import Random

import attrs
import pytest

from tests.control.image_house import (
    FILE,
    IMAGE,
    a_build,
    a_house,
    an_upload,
    promoted,
    withdrawn,
)
from trellis.errors import RefusedError, UnknownIdError
from trellis.model.image import (
    BuildState,
    ImagePlace,
    ImageRecord,
    Pin,
    Standing,
    UploadState,
    build_id,
)
from trellis.model.node import NodeState
from trellis.model.provider import Pause
from trellis.model.records import Change
from trellis.store.simulated import SimulatedLog
from trellis.testing.builders import NOW, a_node, a_shape

GONE_FILE = attrs.evolve(FILE, path="")


def a_place(provider="alpha", **parts):
    return ImageRecord(name=IMAGE).with_place(ImagePlace(provider=provider, **parts))


def a_pin(number):
    return Pin(build_id=build_id(IMAGE, number), by="ann", reason="", at=NOW)


def node_of(number, state=NodeState.READY, serial=1, **parts):
    """A node made from the upload of a build."""
    return a_node(serial, state=state, shape=a_shape(image_id=f"alpha-image-{number}"), **parts)


class TestEveryAct:
    @pytest.mark.parametrize(
        "act",
        [
            lambda acts: acts.build("debain", "ann"),
            lambda acts: acts.upload("debain", None, "ann"),
            lambda acts: acts.delete_upload("debain", "debian-0000000001.2", "ann"),
            lambda acts: acts.delete_build("debain", build_id(IMAGE, 1), "ann"),
            lambda acts: acts.pause("debain", None, "ann"),
            lambda acts: acts.resume("debain", None, "ann"),
            lambda acts: acts.promote("debain", None, None, "ann"),
            lambda acts: acts.rollback("debain", None, None, "ann"),
            lambda acts: acts.pin("debain", build_id(IMAGE, 1), None, "ann"),
            lambda acts: acts.unpin("debain", None, "ann"),
        ],
        ids=[
            "build", "upload", "delete-upload", "delete-build", "pause", "resume", "promote",
            "rollback", "pin", "unpin",
        ],
    )  # fmt: skip
    async def test_refuses_an_image_it_does_not_know(self, autojump_clock, act):
        async with a_house(a_build(1), promoted(1), run=False) as house:
            with pytest.raises(UnknownIdError) as refused:
                await act(house.acts)

        assert "debian" in refused.value.remedy

    @pytest.mark.parametrize(
        "act",
        [
            lambda acts: acts.upload(IMAGE, "gamma", "ann"),
            lambda acts: acts.pause(IMAGE, "gamma", "ann"),
            lambda acts: acts.resume(IMAGE, "gamma", "ann"),
            lambda acts: acts.promote(IMAGE, "gamma", None, "ann"),
            lambda acts: acts.rollback(IMAGE, "gamma", None, "ann"),
            lambda acts: acts.pin(IMAGE, build_id(IMAGE, 1), "gamma", "ann"),
            lambda acts: acts.unpin(IMAGE, "gamma", "ann"),
        ],
        ids=["upload", "pause", "resume", "promote", "rollback", "pin", "unpin"],
    )
    async def test_refuses_a_provider_that_does_not_use_it(self, autojump_clock, act):
        async with a_house(a_build(1), promoted(1), run=False) as house:
            with pytest.raises(UnknownIdError, match="debian is not used at gamma") as refused:
                await act(house.acts)

        assert "it is used at: alpha, beta" == refused.value.remedy

    async def test_is_durable(self, autojump_clock):
        """A process that dies right after the answer has lost nothing of it."""
        log = SimulatedLog(Random(1))
        async with a_house(a_build(1), promoted(1), log=log, run=False) as house:
            await house.acts.pin(IMAGE, build_id(IMAGE, 1), None, "ann", "it works")
            await house.acts.build(IMAGE, "bob", "a fix")
        async with a_house(log=log.reopen(), run=False) as house:
            assert "asked for by bob: a fix" == house.record.wanted
            assert ["alpha", "beta"] == [x.provider for x in house.record.places if x.pin]


class TestBuild:
    async def test_records_the_wish_and_who_had_it(self, autojump_clock):
        async with a_house(run=False) as house:
            await house.acts.build(IMAGE, "ann")

            assert ("asked for by ann", "ann") == (house.record.wanted, house.record.wanted_by)


class TestUpload:
    async def test_ends_the_back_off_wherever_it_lacks(self, autojump_clock):
        place = {"failures": 3, "not_before": NOW + 900, "fault": "413"}
        record = a_place(**place).with_place(ImagePlace(provider="beta", **place))
        async with a_house(a_build(1), promoted(1, "beta"), record, run=False) as house:
            await house.acts.upload(IMAGE, None, "ann")

            assert ImagePlace(provider="alpha") == house.record.place("alpha")
            assert 3 == house.record.place("beta").failures

    async def test_is_refused_where_it_is_already(self, autojump_clock):
        async with a_house(a_build(1), promoted(1), run=False) as house:
            with pytest.raises(RefusedError, match="is at alpha already") as refused:
                await house.acts.upload(IMAGE, "alpha", "ann")

        assert "trellis image build debian" in refused.value.remedy

    async def test_is_refused_while_it_is_paused(self, autojump_clock):
        pause = Pause(by="bob", reason="", since=NOW)
        async with a_house(a_build(1), a_place(pause=pause), run=False) as house:
            with pytest.raises(RefusedError, match="paused") as refused:
                await house.acts.upload(IMAGE, "alpha", "ann")

        assert "'trellis image resume debian --provider alpha'" == refused.value.remedy

    @pytest.mark.parametrize(
        "build",
        [
            a_build(1, state=BuildState.FAILED, artifacts=()),
            a_build(1, artifacts=(GONE_FILE,)),
        ],
        ids=["failed", "files-deleted"],
    )
    async def test_is_refused_without_files(self, autojump_clock, build):
        async with a_house(build, run=False) as house:
            with pytest.raises(RefusedError, match="no build of debian that could be uploaded"):
                await house.acts.upload(IMAGE, None, "ann")


class TestDeleteUpload:
    @pytest.mark.parametrize(
        "upload",
        [
            an_upload(2),
            withdrawn(2),
            promoted(2, state=UploadState.UPLOADING, external_id=None),
        ],
        ids=["canary", "withdrawn", "under-way"],
    )
    async def test_deletes_what_does_not_serve(self, autojump_clock, upload):
        async with a_house(promoted(1), upload, run=False) as house:
            await house.acts.delete_upload(IMAGE, upload.id, "ann")

            assert UploadState.DELETING is house.book.uploads[upload.id].state

    async def test_refuses_what_launches_boot_from(self, autojump_clock):
        async with a_house(promoted(1), run=False) as house:
            with pytest.raises(RefusedError, match="launches at alpha boot from") as refused:
                await house.acts.delete_upload(IMAGE, promoted(1).id, "ann")

        assert "trellis image rollback debian --provider alpha" in refused.value.remedy

    async def test_refuses_what_is_pinned(self, autojump_clock):
        pinned = a_place(pin=a_pin(1))
        async with a_house(promoted(1), promoted(2), pinned, run=False) as house:
            with pytest.raises(RefusedError, match="pinned to build") as refused:
                await house.acts.delete_upload(IMAGE, promoted(1).id, "ann")

        assert "'trellis image unpin debian --provider alpha' first" == refused.value.remedy

    async def test_deletes_an_only_one_that_serves_nothing(self, autojump_clock):
        """Or nobody could ever be rid of it."""
        async with a_house(an_upload(1)) as house:
            for _ in range(3):
                await house.failed(await house.launch_from(1))
            await house.settled()
            await house.acts.delete_upload(IMAGE, an_upload(1).id, "ann")

            assert UploadState.DELETING is house.upload(1).state

    async def test_of_what_is_being_deleted_is_nothing(self, autojump_clock):
        upload = withdrawn(1, state=UploadState.DELETING)
        async with a_house(upload, run=False) as house:
            await house.acts.delete_upload(IMAGE, upload.id, "ann")

    async def test_refuses_what_it_does_not_know(self, autojump_clock):
        async with a_house(promoted(1), run=False) as house:
            with pytest.raises(UnknownIdError):
                await house.acts.delete_upload(IMAGE, an_upload(7).id, "ann")


class TestDeleteBuild:
    async def test_deletes_its_uploads_with_it(self, autojump_clock):
        records = a_build(1), a_build(2), promoted(1), promoted(2), withdrawn(1, "beta")
        async with a_house(*records, run=False) as house:
            await house.acts.delete_build(IMAGE, build_id(IMAGE, 1), "ann")

            assert BuildState.DELETING is house.book.builds[build_id(IMAGE, 1)].state
            assert UploadState.DELETING is house.upload(1).state is house.upload(1, "beta").state
            assert UploadState.READY is house.upload(2).state

    async def test_refuses_what_serves_anywhere(self, autojump_clock):
        records = a_build(1), promoted(1), promoted(2), promoted(1, "beta")
        async with a_house(*records, run=False) as house:
            with pytest.raises(RefusedError, match="launches at beta boot from"):
                await house.acts.delete_build(IMAGE, build_id(IMAGE, 1), "ann")

    async def test_refuses_what_is_pinned(self, autojump_clock):
        async with a_house(a_build(1), a_place(pin=a_pin(1)), run=False) as house:
            with pytest.raises(RefusedError, match="pinned to debian-0000000001 at alpha"):
                await house.acts.delete_build(IMAGE, build_id(IMAGE, 1), "ann")

    async def test_refuses_what_is_being_built(self, autojump_clock):
        async with a_house(a_build(1, state=BuildState.BUILDING), run=False) as house:
            with pytest.raises(RefusedError, match="is being built"):
                await house.acts.delete_build(IMAGE, build_id(IMAGE, 1), "ann")

    async def test_refuses_what_it_does_not_know(self, autojump_clock):
        async with a_house(a_build(1), run=False) as house:
            with pytest.raises(UnknownIdError):
                await house.acts.delete_build(IMAGE, build_id(IMAGE, 9), "ann")


class TestPause:
    async def test_of_builds_and_of_uploads_are_two(self, autojump_clock):
        async with a_house(run=False) as house:
            await house.acts.pause(IMAGE, None, "ann", "mirror")
            await house.acts.pause(IMAGE, "beta", "bob")

            assert "mirror" == house.record.pause.reason
            assert "bob" == house.record.place("beta").pause.by
            assert house.record.place("alpha").pause is None

            await house.acts.resume(IMAGE, None, "ann")
            await house.acts.resume(IMAGE, "beta", "ann")

            assert house.record.pause is None is house.record.place("beta").pause

    async def test_to_resume_what_is_not_paused_is_fine(self, autojump_clock):
        async with a_house(run=False) as house:
            revision = house.store.revision
            await house.acts.resume(IMAGE, None, "ann")

            assert revision == house.store.revision


class TestPromote:
    async def test_of_canaries_wherever_there_is_one(self, autojump_clock):
        records = promoted(1), an_upload(2), promoted(1, "beta"), an_upload(2, "beta")
        async with a_house(*records, run=False) as house:
            await house.acts.promote(IMAGE, None, None, "ann", "seen to work")

            assert (2, 2) == (house.stable("alpha"), house.stable("beta"))
            assert "promoted by ann: seen to work" == house.upload(2).standing_why

    async def test_at_one_provider(self, autojump_clock):
        records = promoted(1), an_upload(2), promoted(1, "beta"), an_upload(2, "beta")
        async with a_house(*records, run=False) as house:
            await house.acts.promote(IMAGE, "beta", None, "ann")

            assert (1, 2) == (house.stable("alpha"), house.stable("beta"))

    async def test_of_what_was_withdrawn_by_its_build(self, autojump_clock):
        async with a_house(promoted(1), withdrawn(2), run=False) as house:
            with pytest.raises(RefusedError, match="debian has no canary at alpha, beta"):
                await house.acts.promote(IMAGE, None, None, "ann")
            await house.acts.promote(IMAGE, None, build_id(IMAGE, 2), "ann")

            assert 2 == house.stable()

    async def test_is_refused_where_another_build_is_pinned(self, autojump_clock):
        """It would change nothing."""
        records = promoted(1), an_upload(2), a_place(pin=a_pin(1))
        async with a_house(*records, run=False) as house:
            with pytest.raises(RefusedError, match="is pinned to build debian-0000000001"):
                await house.acts.promote(IMAGE, None, None, "ann")

    async def test_is_refused_where_a_newer_one_is_good(self, autojump_clock):
        async with a_house(an_upload(1), promoted(2), run=False) as house:
            with pytest.raises(RefusedError, match="which is newer, is good") as refused:
                await house.acts.promote(IMAGE, "alpha", build_id(IMAGE, 1), "ann")

        assert "trellis image rollback" in refused.value.remedy


class TestRollback:
    async def test_goes_back_and_stays_there(self, autojump_clock):
        async with a_house(a_build(1), promoted(1), promoted(2), run=False) as house:
            await house.acts.rollback(IMAGE, "alpha", None, "ann", "ssh is slow")

            assert 1 == house.stable()
            assert Standing.WITHDRAWN is house.upload(2).standing
            assert "rolled back by ann: ssh is slow" == house.upload(2).standing_why
            await house.add(an_upload(3))
            assert (1, None) == (house.stable(), house.canary())

    async def test_unpinned_it_does_not_come_back(self, autojump_clock):
        """A fixed build is tried beside the good one, and not beside the bad one."""
        async with a_house(promoted(1), promoted(2), an_upload(3), run=False) as house:
            await house.acts.rollback(IMAGE, None, None, "ann")
            await house.acts.unpin(IMAGE, None, "ann")

            assert (1, 3) == (house.stable(), house.canary())

    async def test_deletes_idle_nodes_of_what_it_goes_back_from(self, autojump_clock):
        nodes = (
            node_of(2, serial=1),
            node_of(1, serial=2),
            node_of(2, NodeState.IN_USE, serial=3),
            node_of(2, NodeState.BUILDING, serial=4),
            node_of(2, serial=5, allocated_to="r"),
        )
        async with a_house(promoted(1), promoted(2), *nodes, run=False) as house:
            await house.acts.rollback(IMAGE, "alpha", None, "ann")
            states = [house.fleet.nodes[node.id].state.value for node in nodes]

        assert ["deleting", "ready", "in-use", "building", "ready"] == states

    async def test_passes_over_what_is_not_known_to_be_good(self, autojump_clock):
        uploads = promoted(1), withdrawn(2), an_upload(3), promoted(4)
        async with a_house(*uploads, run=False) as house:
            await house.acts.rollback(IMAGE, "alpha", None, "ann")

            assert 1 == house.stable()

    async def test_twice_goes_back_twice(self, autojump_clock):
        async with a_house(promoted(1), promoted(2), promoted(3), run=False) as house:
            await house.acts.rollback(IMAGE, "alpha", None, "ann")
            await house.acts.rollback(IMAGE, "alpha", None, "ann")

            assert 1 == house.stable()

    async def test_to_a_build_withdraws_all_that_served_since(self, autojump_clock):
        uploads = promoted(1), promoted(2), promoted(3), an_upload(4)
        async with a_house(*uploads, run=False) as house:
            await house.acts.rollback(IMAGE, "alpha", build_id(IMAGE, 1), "ann")

            standings = [house.upload(number).standing.value for number in (1, 2, 3, 4)]
            assert ["promoted", "withdrawn", "withdrawn", "canary"] == standings

    async def test_to_a_build_whose_upload_is_gone_waits_for_it(self, autojump_clock):
        async with a_house(a_build(1), promoted(2), run=False) as house:
            await house.acts.rollback(IMAGE, "alpha", None, "ann")

            assert house.stable() is None
            assert house.choice.why_missing("alpha", IMAGE) == (
                "image debian is pinned to build debian-0000000001 by ann, which is not uploaded "
                "there yet"
            )

    async def test_at_all_providers_is_one_word(self, autojump_clock):
        uploads = [promoted(n, name) for n in (1, 2) for name in ("alpha", "beta")]
        async with a_house(*uploads, run=False) as house:
            revision = house.store.revision
            await house.acts.rollback(IMAGE, None, None, "ann")

            assert (1, 1) == (house.stable("alpha"), house.stable("beta"))
            assert revision + 1 == house.store.revision

    async def test_one_that_cannot_go_back_holds_up_no_other(self, autojump_clock):
        async with a_house(promoted(1), promoted(2), promoted(2, "beta"), run=False) as house:
            await house.acts.rollback(IMAGE, None, None, "ann")

            assert (1, 2) == (house.stable("alpha"), house.stable("beta"))

    @pytest.mark.parametrize(
        "records",
        [
            (promoted(2),),
            (promoted(2), withdrawn(1), a_build(1)),
            (promoted(2), a_build(1, artifacts=(GONE_FILE,))),
            (promoted(2), a_build(3)),
        ],
        ids=["nothing", "only-what-was-bad", "files-deleted", "only-newer"],
    )
    async def test_is_refused_with_nothing_to_go_back_to(self, autojump_clock, records):
        async with a_house(*records, run=False) as house:
            with pytest.raises(RefusedError, match="nothing of a build before") as refused:
                await house.acts.rollback(IMAGE, "alpha", None, "ann")

            assert "trellis image show debian" in refused.value.remedy
            assert 2 == house.stable()

    async def test_to_what_serves_is_refused(self, autojump_clock):
        async with a_house(promoted(1), promoted(2), run=False) as house:
            with pytest.raises(RefusedError, match="is what launches boot from"):
                await house.acts.rollback(IMAGE, "alpha", build_id(IMAGE, 2), "ann")

    async def test_each_step_is_an_event(self, autojump_clock):
        uploads = [promoted(n, name) for n in (1, 2) for name in ("alpha", "beta")]
        async with a_house(*uploads, run=False) as house:
            first = house.store.last_event
            await house.acts.rollback(IMAGE, None, None, "ann", "bad")
            found = []
            async for event in house.store.watch(first):
                found.append((event.type, event.why, event.data.get("provider")))
                if event.id == house.store.last_event:
                    break

        why = "rolled back by ann: bad"
        kinds = ("image.pinned", "upload.withdrawn")
        assert sorted(found) == [(k, why, p) for k in kinds for p in ("alpha", "beta")]


class TestPin:
    async def test_holds_a_build_at_one_provider(self, autojump_clock):
        uploads = [promoted(n, name) for n in (1, 2) for name in ("alpha", "beta")]
        async with a_house(*uploads, run=False) as house:
            await house.acts.pin(IMAGE, build_id(IMAGE, 1), "beta", "ann", "a customer's wish")

            assert (2, 1) == (house.stable("alpha"), house.stable("beta"))
            assert Standing.PROMOTED is house.upload(2, "beta").standing

    async def test_is_refused_where_nothing_of_the_build_is_left(self, autojump_clock):
        records = a_build(1, artifacts=(GONE_FILE,)), promoted(1), promoted(2, "beta")
        async with a_house(*records, run=False) as house:
            with pytest.raises(RefusedError, match="is left for beta"):
                await house.acts.pin(IMAGE, build_id(IMAGE, 1), None, "ann")
            await house.acts.pin(IMAGE, build_id(IMAGE, 1), "alpha", "ann")

            assert 1 == house.stable()

    @pytest.mark.parametrize(
        "act",
        [
            lambda acts: acts.pin(IMAGE, build_id(IMAGE, 1), "alpha", "ann"),
            lambda acts: acts.rollback(IMAGE, "alpha", None, "ann"),
        ],
        ids=["pin", "rollback"],
    )
    @pytest.mark.parametrize(
        "gone",
        [
            lambda build: build.became(BuildState.DELETING, NOW),
            lambda build: attrs.evolve(build, artifacts=(GONE_FILE,)),
        ],
        ids=["build", "files"],
    )
    async def test_is_refused_while_its_deletion_is_on_its_way_to_the_log(
        self, autojump_clock, gone, act
    ):
        """The book tells what is durable; what was decided just before counts too."""
        build = a_build(1)
        async with a_house(build, promoted(2), run=False) as house:
            house.store.stage([Change(build, gone(build))])

            with pytest.raises(RefusedError, match="is left"):
                await act(house.acts)

    async def test_is_refused_for_a_build_that_never_was(self, autojump_clock):
        async with a_house(promoted(1), run=False) as house:
            with pytest.raises(UnknownIdError, match="has no build debian-0000000009"):
                await house.acts.pin(IMAGE, build_id(IMAGE, 9), "alpha", "ann")

    async def test_ends_with_unpin(self, autojump_clock):
        async with a_house(promoted(1), promoted(2), a_place(pin=a_pin(1)), run=False) as house:
            await house.acts.unpin(IMAGE, None, "ann")

            assert 2 == house.stable()

    async def test_of_a_provider_that_is_gone_ends_too(self, autojump_clock):
        async with a_house(a_place("gamma", pin=a_pin(1)), run=False) as house:
            await house.acts.unpin(IMAGE, "gamma", "ann")

            assert house.record.place("gamma").pin is None

    async def test_to_unpin_what_is_not_pinned_is_fine(self, autojump_clock):
        async with a_house(promoted(1), run=False) as house:
            await house.acts.unpin(IMAGE, None, "ann")

            assert 1 == house.stable()
