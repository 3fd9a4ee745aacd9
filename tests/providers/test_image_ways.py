"""Uploads to simulated clouds by each way: step by step, begun again, refused, broken, deleted."""

import attrs
import httpx
import pytest
import trio
from image_cloud import NAME, NOTHING, TAG, Source, an_intent, at_cloud

from trellis.errors import (
    AnswerLostError,
    MisconfiguredError,
    QuotaExceededError,
    RejectedError,
    UploadBrokenError,
)
from trellis.sim.cloud import CloudSpec, Faults
from trellis.sim.cloud.behaviour import Behaviour
from trellis.sim.cloud.transport import SimWire
from trellis.spi.image import CloudImageState, UploadProgress
from trellis.spi.provider import Gone

CREATED = "created"


def stock(**changes):
    return CloudSpec(name="acme", **changes)


async def begun(at, intent, source):
    """The image is made, and has no data yet."""
    return await at.images.upload_step(intent, NOTHING, source)


class TestPut:
    """``put``: create, send, look."""

    async def test_image_is_what_was_sent(self, autojump_clock):
        source = Source()
        intent = an_intent(source, properties={"os_distro": "debian"}, visibility="private")
        async with at_cloud(image_properties={"hw_disk_bus": "scsi"}) as at:
            steps = await at.upload(intent, source)

            (image,) = at.there()
            assert image.stored.sha256 == intent.artifact.sha256
            assert [step.stage for step in steps] == ["created", "sent", "active"]
            assert {step.external_id for step in steps} == {image.id}
            assert (image.status, image.visibility) == ("active", "private")
            assert image.properties == {
                "os_distro": "debian",
                "hw_disk_bus": "scsi",
                "owner_specified.openstack.md5": intent.artifact.md5,
                "owner_specified.openstack.sha256": intent.artifact.sha256,
                "owner_specified.openstack.object": f"images/{NAME}",
                "trellis_deployment": "d",
                "trellis_image": "debian-12",
                "trellis_build": "debian-12-0000000003",
                "trellis_upload": "debian-12-0000000003.7",
                "trellis_origin": "o1",
            }

    async def test_each_step_makes_one_change(self, autojump_clock):
        source = Source()
        async with at_cloud() as at:
            await at.upload(an_intent(source), source)

            assert [call for call in at.image_calls if not call.startswith("GET")] == [
                "POST /RegionOne/image/v2/images",
                "PUT /RegionOne/image/v2/images/ID/file",
            ]

    async def test_sending_asked_for_again_after_it_ended_sends_nothing(self, autojump_clock):
        """The daemon was killed before it could record the step."""
        source, again = Source(), Source()
        intent = an_intent(source)
        async with at_cloud() as at:
            created = await begun(at, intent, source)
            await at.images.upload_step(intent, created, source)
            progress = await at.images.upload_step(intent, created, again)

            assert (progress.done, again.opened) == (True, 0)

    @pytest.mark.parametrize("stuck", ["saving", "killed"])
    async def test_image_that_is_half_written_is_broken(self, autojump_clock, stuck):
        """Nothing can be sent a second time."""
        source = Source()
        intent = an_intent(source)
        async with at_cloud() as at:
            created = await begun(at, intent, source)
            (image,) = at.there()
            image.spec = attrs.evolve(image.spec, status=stuck)

            with pytest.raises(UploadBrokenError, match=stuck):
                await at.images.upload_step(intent, created, source)

    async def test_image_that_is_not_there_any_more_is_broken(self, autojump_clock):
        """A person deleted it."""
        source = Source()
        intent = an_intent(source)
        async with at_cloud() as at:
            created = await begun(at, intent, source)
            await at.images.glance.delete(created.external_id)

            with pytest.raises(UploadBrokenError, match="not there any more"):
                await at.images.upload_step(intent, created, source)

    async def test_image_that_is_stored_wrong_is_broken(self, autojump_clock):
        """Its hash is compared."""
        source = Source()
        async with at_cloud(stock(faults=Faults(image_corrupted=1.0))) as at:
            with pytest.raises(UploadBrokenError, match="not what was sent"):
                await at.upload(an_intent(source), source)

    async def test_answer_lost_after_the_last_byte_is_looked_for(self, autojump_clock):
        """A proxy has less patience than glance."""
        source = Source()
        async with at_cloud() as at:
            at.after = lambda request: (
                httpx.Response(504, text="Gateway Time-out") if request.method == "PUT" else None
            )
            steps = await at.upload(an_intent(source), source)

            assert [step.stage for step in steps] == ["created", "sent, answer lost", "active"]
            assert source.opened == 1

    async def test_connection_that_broke_is_the_callers_to_try_again(self, autojump_clock):
        """Nothing says that it arrived, so it is not taken for sent."""
        source = Source()
        intent = an_intent(source)
        async with at_cloud() as at:
            at.before = lambda request: (
                httpx.WriteError("broken pipe") if request.method == "PUT" else None
            )
            created = await begun(at, intent, source)
            with pytest.raises(AnswerLostError):
                await at.images.upload_step(intent, created, source)
            at.before = None
            steps = await at.upload(intent, source, created)

            assert steps[-1].done

    async def test_file_that_cannot_be_read_breaks_the_upload(self, autojump_clock):
        """It says that it is here, not in the cloud."""
        source = Source(b"x" * (3 << 20), fails_after=1 << 20)
        intent = an_intent(source)
        async with at_cloud() as at:
            created = await begun(at, intent, source)
            with pytest.raises(RejectedError, match=r"cannot be read here: .*Input/output error"):
                await at.images.upload_step(intent, created, source)

            assert source.open_now == 0

    async def test_no_room_for_images_is_a_quota(self, autojump_clock):
        """At the create; nothing is made."""
        source = Source()
        async with at_cloud(stock(faults=Faults(image_quota_full=True))) as at:
            with pytest.raises(QuotaExceededError):
                await begun(at, an_intent(source), source)

            assert at.there() == []

    async def test_front_that_takes_no_large_bodies_is_a_quota(self, autojump_clock):
        """It answers with a page, before the body has come."""
        source = Source(b"x" * (3 << 20))
        intent = an_intent(source)
        async with at_cloud(stock(behaviour=Behaviour(front_mib_most=2))) as at:
            created = await begun(at, intent, source)
            with pytest.raises(QuotaExceededError):
                await at.images.upload_step(intent, created, source)

    async def test_put_that_is_refused_becomes_an_import(self, autojump_clock):
        """Where the cloud has one."""
        source = Source()
        async with at_cloud() as at:
            at.before = lambda request: (
                httpx.Response(403, json={"message": "Not allowed", "code": "403 Forbidden"})
                if request.url.path.endswith("/file")
                else None
            )
            steps = await at.upload(an_intent(source), source)

            assert [step.stage for step in steps[:3]] == [
                "created", "created, to be staged", "staged",
            ]  # fmt: skip
            assert steps[-1].done

    async def test_put_that_is_refused_stays_so_without_imports(self, autojump_clock):
        source = Source()
        intent = an_intent(source)
        async with at_cloud(stock(behaviour=Behaviour(import_methods=()))) as at:
            at.before = lambda request: (
                httpx.Response(403, json={"message": "Not allowed", "code": "403 Forbidden"})
                if request.url.path.endswith("/file")
                else None
            )
            created = await begun(at, intent, source)
            with pytest.raises(RejectedError, match="Not allowed"):
                await at.images.upload_step(intent, created, source)

    async def test_image_that_stays_saving_is_waited_for(self, autojump_clock):
        """Until the core's patience ends."""
        source = Source()
        async with at_cloud(stock(faults=Faults(image_stuck_saving=1.0))) as at:
            with trio.move_on_after(3600.0) as scope:
                await at.upload(an_intent(source), source)

            assert scope.cancelled_caught

    async def test_stage_of_no_way_is_broken(self, autojump_clock):
        """A record of a later release."""
        source = Source()
        async with at_cloud() as at:
            with pytest.raises(UploadBrokenError, match="another way"):
                await at.images.upload_step(
                    an_intent(source), UploadProgress(stage="by post"), source
                )


class TestImport:
    """``import`` and ``web-download``."""

    async def test_what_was_staged_is_imported(self, autojump_clock):
        source = Source()
        intent = an_intent(source)
        async with at_cloud(image_upload="import") as at:
            steps = await at.upload(intent, source)

            (image,) = at.there()
            assert image.stored.sha256 == intent.artifact.sha256
            assert [call for call in at.image_calls if not call.startswith("GET")] == [
                "POST /RegionOne/image/v2/images",
                "PUT /RegionOne/image/v2/images/ID/stage",
                "POST /RegionOne/image/v2/images/ID/import",
            ]
            assert steps[-1].done

    @pytest.mark.parametrize("stage", ["created, to be staged", "staged", "importing"])
    async def test_each_step_asked_for_again_goes_on(self, autojump_clock, stage):
        """It looks before it does anything a second time."""
        source = Source()
        intent = an_intent(source)
        async with at_cloud(image_upload="import") as at:
            progress = await begun(at, intent, source)
            while progress.stage != stage:
                progress = await at.images.upload_step(intent, progress, source)
            await at.images.upload_step(intent, progress, source)
            steps = await at.upload(intent, source, progress)

            assert steps[-1].done
            assert len([call for call in at.image_calls if call.endswith("/stage")]) == 1
            assert len([call for call in at.image_calls if call.endswith("/import")]) == 1

    async def test_import_that_fails_is_broken(self, autojump_clock):
        source = Source()
        spec = stock(faults=Faults(import_fails=1.0))
        async with at_cloud(spec, image_upload="import") as at:
            with pytest.raises(UploadBrokenError, match="is queued"):
                await at.upload(an_intent(source), source)

    async def test_cloud_fetches_the_file_where_it_is_published(self, autojump_clock):
        """By the address that was configured, with the file's name in it."""
        source = Source()
        intent = an_intent(source)
        url = "https://builder.example/images/{file}"
        async with at_cloud(image_upload="web-download", image_download_url=url) as at:
            asked = []

            def note(request):
                if request.url.path.endswith("/import"):
                    asked.append(request.content)

            at.before = note
            created = await begun(at, intent, source)
            await at.images.upload_step(intent, created, source)

            assert f"https://builder.example/images/{NAME}.qcow2".encode() in asked[0]
            assert source.opened == 0

    @pytest.mark.parametrize("when", ["at once", "later"])
    async def test_credentials_of_the_download_url_are_in_no_fault(self, autojump_clock, when):
        """Clouds quote the URL that they were given; a fault is seen by all."""
        source = Source()
        intent = an_intent(source)
        url = "https://me:first-word@builder.example/{file}?sig=second-word"
        quoted = url.replace("{file}", f"{NAME}.qcow2")

        def refuse(request):
            if when == "at once" and request.url.path.endswith("/import"):
                return httpx.Response(400, json={"message": f"no URI that passes: {quoted}"})
            if request.url.path.endswith("/tasks"):
                rows = [{"id": "1", "status": "failure", "message": f"404 for {quoted}"}]
                return httpx.Response(200, json={"tasks": rows})
            return None

        async with at_cloud(image_upload="web-download", image_download_url=url) as at:
            at.before = refuse
            with pytest.raises(UploadBrokenError, match=f"//builder.example/{NAME}") as broken:
                await at.upload(intent, source)
            assert "-word" not in repr(at.provider.config)
        assert "-word" not in str(broken.value)


class TestLooking:
    """``find``, ``get`` and ``list``."""

    async def test_image_is_found_by_its_tag_among_others_of_its_name(self, autojump_clock):
        source = Source()
        intent = an_intent(source)
        other = attrs.evolve(intent, tag=attrs.evolve(TAG, origin="o2"))
        async with at_cloud() as at:
            theirs = await begun(at, other, source)
            mine = await begun(at, intent, source)

            found = await at.images.find(TAG, NAME)
            listed = await at.images.list("d")

            assert (found.external_id, found.state) == (mine.external_id, CloudImageState.PENDING)
            assert {one.external_id for one in listed} == {theirs.external_id, mine.external_id}
            assert {one.tag.origin for one in listed} == {"o1", "o2"}
            assert await at.images.list("e") == ()

    async def test_image_of_a_stranger_with_our_tag_is_none_of_ours(self, autojump_clock):
        """Anybody may write a tag into a public image."""
        source = Source()
        intent = an_intent(source)
        async with at_cloud() as at:
            await begun(at, intent, source)
            images = at.images.glance.images

            async def of_another(filters):
                return [attrs.evolve(row, owner="somebody") for row in await images(filters)]

            at.images.glance = type("Glance", (), {"images": staticmethod(of_another)})()

            assert await at.images.find(TAG, NAME) is None
            assert await at.images.list("d") == ()

    async def test_image_that_is_not_there_is_gone(self, autojump_clock):
        async with at_cloud() as at:
            assert (await at.images.get("no-such")).state is CloudImageState.GONE

    async def test_image_not_found_in_another_project_is_not_gone(self, autojump_clock):
        """The token leads elsewhere since."""
        source = Source()
        async with at_cloud() as at:
            homes = [await at.provider.home(), attrs.evolve(await at.provider.home(), region="x")]

            async def home():
                return homes.pop(0) if len(homes) > 1 else homes[0]

            at.provider._place.home = home
            with pytest.raises(MisconfiguredError, match="project changed"):
                await at.images.get("no-such")
            homes[:] = [homes[0], attrs.evolve(homes[0], region="y")]
            with pytest.raises(MisconfiguredError, match="project changed"):
                await at.images.delete_step(
                    an_intent(source), UploadProgress(stage=CREATED, external_id="no-such")
                )


class TestDeleting:
    """``delete_step``."""

    @pytest.mark.parametrize("steps", [1, 2, 3])
    async def test_image_is_gone_from_each_stage(self, autojump_clock, steps):
        """By its id."""
        source = Source()
        intent = an_intent(source)
        async with at_cloud() as at:
            progress = NOTHING
            for _ in range(steps):
                progress = await at.images.upload_step(intent, progress, source)

            assert await at.delete(intent, progress) == 2
            assert [one for one in at.there() if one.ended is None] == []

    async def test_image_in_doubt_is_found_by_its_tag(self, autojump_clock):
        """The create was sent and its answer lost."""
        source = Source()
        intent = an_intent(source)
        async with at_cloud() as at:
            await begun(at, intent, source)

            assert await at.delete(intent, NOTHING) == 2
            assert await at.images.list("d") == ()

    async def test_nothing_is_deleted_of_another_upload(self, autojump_clock):
        source = Source()
        intent = an_intent(source)
        other = attrs.evolve(intent, tag=attrs.evolve(TAG, upload_id="debian-12-0000000003.8"))
        async with at_cloud() as at:
            await begun(at, other, source)

            assert await at.images.delete_step(intent, NOTHING) is Gone.DONE
            assert len(await at.images.list("d")) == 1

    async def test_image_that_a_server_boots_from_is_told_again(self, autojump_clock):
        """Ceph keeps it until then."""
        source = Source()
        intent = an_intent(source)
        faults = Faults(image_undeletable=1.0, image_undeletable_s=60.0)
        async with at_cloud(stock(faults=faults)) as at:
            steps = await at.upload(intent, source)

            assert await at.images.delete_step(intent, steps[-1]) is Gone.AGAIN
            assert await at.delete(intent, steps[-1]) > 2

    async def test_protected_image_is_never_touched(self, autojump_clock):
        """It says what to do."""
        source = Source()
        intent = an_intent(source)
        async with at_cloud() as at:
            steps = await at.upload(intent, source)
            (image,) = at.there()
            image.protected = True

            with pytest.raises(RejectedError, match="--unprotected"):
                await at.images.delete_step(intent, steps[-1])
            assert not [call for call in at.calls if call.startswith("DELETE")]


class TestTroubles:
    """What befalls an upload on its way, by the wire of a simulation."""

    async def test_connection_dropped_at_90_percent_leaves_no_half_image(self, autojump_clock):
        """Glance throws away what it had, and the next try sends all of it."""
        source = Source(b"x" * (3 << 20))
        intent = an_intent(source)
        spec = stock(faults=Faults(upload_dropped=1.0))
        async with at_cloud(spec, wires=SimWire) as at:
            created = await begun(at, intent, source)
            for _ in range(2):
                with pytest.raises(AnswerLostError):
                    await at.images.upload_step(intent, created, source)
            (image,) = at.there()

            assert (image.status, image.stored) == ("queued", None)
            assert (source.opened, source.open_now) == (2, 0)
            assert await at.delete(intent, created) == 2

    async def test_cloud_that_takes_nothing_any_more_leaves_no_open_file(self, autojump_clock):
        """Who waits for it gives up; the next process finds it half written."""
        source = Source(b"x" * (3 << 20))
        intent = an_intent(source)
        spec = stock(faults=Faults(upload_hangs=1.0))
        async with at_cloud(spec, wires=SimWire) as at:
            created = await begun(at, intent, source)
            with trio.move_on_after(10.0) as scope:
                await at.images.upload_step(intent, created, source)

            assert scope.cancelled_caught
            assert source.open_now == 0
            with pytest.raises(UploadBrokenError, match="saving"):
                await at.images.upload_step(intent, created, source)

    async def test_create_whose_answer_is_lost_is_found_by_its_tag(self, autojump_clock):
        """And goes on from there."""
        source = Source()
        intent = an_intent(source)
        spec = stock(faults=Faults(image_create_lost=1.0))
        async with at_cloud(spec, wires=SimWire) as at:
            with pytest.raises(AnswerLostError):
                await begun(at, intent, source)
            found = await at.images.find(TAG, NAME)
            steps = await at.upload(intent, source, UploadProgress(external_id=found.external_id))

            assert steps[-1].done
            assert len(at.there()) == 1
