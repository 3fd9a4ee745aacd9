"""Uploads through the file store and a task, to Rackspace's twin."""

from contextlib import asynccontextmanager

import attrs
import httpx
import pytest
import trio
from image_cloud import NAME, NOTHING, Source, an_intent, at_cloud
from image_source import TAG

from trellis.errors import MisconfiguredError, RejectedError, UploadBrokenError
from trellis.providers.image_task import CONTAINER
from trellis.sim.cloud import Faults
from trellis.sim.cloud.disk_files import vhd_footer
from trellis.sim.clouds.rackspace import rackspace
from trellis.spi.image import UploadProgress
from trellis.spi.provider import Gone

AGENT = {"vm_mode": "hvm", "xenapi_use_agent": "False", "img_config_drive": "mandatory"}
SETTINGS = {
    "image_api_use_tasks": True, "image_format": "vhd", "disable_vendor_agent": AGENT,
}  # fmt: skip


def a_vhd(**kwargs):
    return Source(b"v" * 4096 + vhd_footer(**kwargs))


def a_vhd_intent(source, **kwargs):
    return an_intent(source, format="vhd", **kwargs)


def at_rackspace(faults=None, **kwargs):
    spec = rackspace()
    ways = attrs.evolve(spec.behaviour, imports_by_task=True, vhd_creator="tap")
    spec = attrs.evolve(spec, object_storage=True, behaviour=ways)
    if faults is not None:
        spec = attrs.evolve(spec, faults=faults)
    return at_cloud(spec, settings=SETTINGS, auth_type="v2password", **kwargs)


def objects(at):
    """Names of all that is in the file store."""
    stores = [region.objects for region in at.cloud._regions.values()]
    return [
        f"{container}/{name}"
        for store in stores
        for container, there in store.containers.items()
        for name in there
    ]


async def until(at, intent, source, stage):
    progress = NOTHING
    while progress.stage != stage:
        progress = await at.images.upload_step(intent, progress, source)
        await trio.sleep(progress.wait_s)
    return progress


async def test_image_is_imported_marked_and_its_object_gone(autojump_clock):
    """Properties come after the import: with any but a name it fails."""
    source = a_vhd()
    intent = a_vhd_intent(source, properties={"os_distro": "debian"})
    async with at_rackspace() as at:
        steps = await at.upload(intent, source)

        (image,) = at.there()
        assert at.images.formats == ("vhd",)
        assert (image.name, image.status, image.id) == (NAME, "active", steps[-1].external_id)
        assert {key: image.properties[key] for key in AGENT} == AGENT
        assert image.properties["os_distro"] == "debian"
        assert image.properties["trellis_upload"] == intent.tag.upload_id
        assert list(dict.fromkeys(step.stage for step in steps)) == [
            "begun", "container made", "object stored", "task runs", "imported", "marked", "proved",
            "active",
        ]  # fmt: skip
        assert objects(at) == []


STAGES = ["begun", "container made", "object stored", "task runs", "imported", "marked", "proved"]


@pytest.mark.parametrize("stage", STAGES)
async def test_each_step_asked_for_again_makes_nothing_twice(autojump_clock, stage):
    """The daemon was killed after the step and before its record."""
    source = a_vhd()
    intent = a_vhd_intent(source)
    async with at_rackspace() as at:
        progress = await until(at, intent, source, stage)
        await at.images.upload_step(intent, progress, source)
        steps = await at.upload(intent, source, progress)

        assert steps[-1].done
        assert len(at.there()) == 1
        assert objects(at) == []


@pytest.mark.parametrize("stage", ["", *STAGES])
@pytest.mark.parametrize("lost", [False, True], ids=["recorded", "unrecorded"])
async def test_nothing_is_left_of_an_upload_deleted_at_any_stage(autojump_clock, stage, lost):
    """Also where the step after it was taken and never recorded."""
    source = a_vhd()
    intent = a_vhd_intent(source)
    async with at_rackspace() as at:
        progress = await until(at, intent, source, stage)
        if lost:
            await at.images.upload_step(intent, progress, source)
        await at.delete(intent, progress)

        assert [one for one in at.there() if one.ended is None] == []
        assert objects(at) == []


async def test_task_that_fails_with_396_is_begun_again(autojump_clock):
    """It may be transient."""
    source = a_vhd()
    async with at_rackspace(Faults(task_fails_once=1.0)) as at:
        steps = await at.upload(a_vhd_intent(source), source)

        assert steps[-1].done
        assert steps[-1].things["tasks tried"] == "2"
        assert len([c for c in at.calls if c.startswith("POST") and c.endswith("/tasks")]) == 2


async def test_task_that_fails_with_396_for_ever_is_broken(autojump_clock):
    """A file that is no VHD fails so too; the object goes with the upload."""
    source = a_vhd()
    intent = a_vhd_intent(source)
    async with at_rackspace(Faults(task_fails=1.0)) as at:
        with pytest.raises(UploadBrokenError, match="396"):
            await at.upload(intent, source)

        assert len([c for c in at.calls if c.startswith("POST") and c.endswith("/tasks")]) == 3
        await at.delete(intent, UploadProgress(stage="object stored"))
        assert objects(at) == []


async def test_task_that_fails_otherwise_says_why(autojump_clock):
    """Not again: it would fail again."""
    source = a_vhd(kind=4)
    async with at_rackspace() as at:
        with pytest.raises(UploadBrokenError, match=r"ended with failure: .*Error code"):
            await at.upload(a_vhd_intent(source), source)

        assert len([c for c in at.calls if c.startswith("POST") and c.endswith("/tasks")]) <= 3


async def test_object_that_arrived_otherwise_is_refused(autojump_clock):
    """The store compares it with the MD5 that goes along."""
    source = a_vhd()
    intent = a_vhd_intent(source)
    wrong = attrs.evolve(intent, artifact=attrs.evolve(intent.artifact, md5="0" * 32))
    async with at_rackspace() as at:
        progress = await until(at, wrong, source, "container made")
        with pytest.raises(RejectedError):
            await at.images.upload_step(wrong, progress, source)


async def test_large_file_goes_in_segments(autojump_clock):
    """Each of them is a step that is not taken again; all are gone in the end."""
    source = Source(bytes(range(256)) * 20 + vhd_footer())
    intent = a_vhd_intent(source)
    async with at_rackspace() as at:
        task = attrs.evolve(at.images._task, most=4096, segment=2048)
        at.images._steps.update(task.steps())
        at.images._task = task
        steps = await at.upload(intent, source)

        (image,) = at.there()
        assert image.stored.md5 in ("", intent.artifact.md5)
        assert len([step for step in steps if step.stage == "container made"]) == 1 + 3
        assert objects(at) == []


async def test_what_lies_before_a_segment_is_read_before_there_is_a_connection(autojump_clock):
    """The store hangs up on who sends nothing for a minute."""
    source = Pieces(bytes(range(256)) * 20 + vhd_footer())
    async with at_rackspace() as at:
        task = attrs.evolve(at.images._task, most=4096, segment=2048)
        at.images._steps.update(task.steps())
        read = []
        at.before = lambda request: read.append(source.read) if is_file(request) else None
        await at.upload(a_vhd_intent(source), source)

        assert read == [0, 2048, 4096]


async def test_segment_that_arrived_otherwise_is_broken(autojump_clock):
    """Of a segment the store knows no MD5 beforehand, and tells its own."""
    source = Source(bytes(range(256)) * 20 + vhd_footer())
    intent = a_vhd_intent(source)
    async with at_rackspace() as at:
        task = attrs.evolve(at.images._task, most=4096, segment=2048)
        at.images._steps.update(task.steps())
        at.after = lambda request: (
            httpx.Response(201, headers={"Etag": "0" * 32}) if is_file(request) else None
        )
        with pytest.raises(UploadBrokenError, match="segment"):
            await at.upload(intent, source)


def is_file(request):
    return request.headers.get("content-type") == "application/octet-stream"


class Pieces(Source):
    """A file in pieces of 1 KiB, of which it tells how much was read since it was opened last."""

    read = 0

    @asynccontextmanager
    async def open(self):
        self.read = 0
        yield self

    async def __anext__(self):
        await trio.lowlevel.checkpoint()
        piece = self.data[self.read : self.read + 1024]
        self.read += len(piece)
        if not piece:
            raise StopAsyncIteration
        return piece


async def test_parts_of_a_large_file_are_deleted_with_it(autojump_clock):
    """Without a manifest, and without a record of the last of them."""
    source = Source(bytes(range(256)) * 20 + vhd_footer())
    intent = a_vhd_intent(source)
    async with at_rackspace() as at:
        task = attrs.evolve(at.images._task, most=4096, segment=2048)
        at.images._steps.update(task.steps())
        at.images._task = task
        progress = await until(at, intent, source, "container made")
        progress = await at.images.upload_step(intent, progress, source)
        await at.images.upload_step(intent, progress, source)
        assert len(objects(at)) == 2

        await at.delete(intent, progress)

        assert objects(at) == []


async def test_task_in_progress_is_waited_for_before_its_upload_is_gone(autojump_clock):
    """It would make an image that nobody knows of."""
    source = a_vhd()
    intent = a_vhd_intent(source)
    async with at_rackspace() as at:
        progress = await until(at, intent, source, "task runs")

        assert await at.images.delete_step(intent, progress) is Gone.AGAIN
        await at.delete(intent, progress)
        assert [one for one in at.there() if one.ended is None] == []


async def test_task_whose_answer_was_lost_is_not_begun_twice(autojump_clock):
    """It is found by its object."""
    source = a_vhd()
    intent = a_vhd_intent(source)
    async with at_rackspace() as at:
        at.after = lambda request: (
            httpx.ReadError("reset")
            if request.method == "POST" and request.url.path.endswith("/tasks")
            else None
        )
        progress = await until(at, intent, source, "object stored")
        with pytest.raises(Exception, match="lost"):
            await at.images.upload_step(intent, progress, source)
        at.after = None
        steps = await at.upload(intent, source, progress)

        assert steps[-1].done
        assert len(at.there()) == 1


async def test_what_other_tasks_were_given_is_asked_once(autojump_clock):
    """Lists leave it out, and a nightly build at a cloud of fifty tasks would ask fifty times."""
    source = a_vhd()
    async with at_rackspace() as at:
        intents = [
            a_vhd_intent(source, tag=attrs.evolve(TAG, upload_id=f"{TAG.build_id}.{number}"))
            for number in range(10, 17)
        ]
        for intent in intents[:6]:
            await at.upload(intent, source)

        def asked():
            return len([c for c in at.calls if c.startswith("GET") and "/tasks/" in c])

        before, progress = asked(), await until(at, intents[6], source, "object stored")
        await at.images.upload_step(intents[6], progress, source)
        assert asked() - before == 1, "of the task that is new since the last look"
        # One whose record was lost is found in the same list, which says nothing else is new.
        found = await at.images.upload_step(intents[6], progress, source)
        assert asked() - before <= 3
        assert found.things["task"]


async def test_upload_without_a_file_store_says_so_and_is_gone_at_once(autojump_clock):
    """Nothing can have been made."""
    source = a_vhd()
    intent = a_vhd_intent(source)
    async with at_cloud(settings=SETTINGS) as at:
        with pytest.raises(MisconfiguredError, match="object-store"):
            await at.upload(intent, source)
        for progress in (NOTHING, UploadProgress(stage="begun")):
            assert await at.images.delete_step(intent, progress) is Gone.DONE


def test_objects_are_in_a_container_of_our_own():
    """Nobody else's things are there to be written over."""
    assert CONTAINER == "trellis-images"
