"""Images of ours that no upload on record claims, as the whole daemon deals with them."""

import attrs
import trio

from tests.daemon.built_stage import CONFIGURATION, BuiltStage
from tests.daemon.stage import MINUTE
from trellis.model.image import Upload, UploadState
from trellis.model.records import Change
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Store

DELETES = CONFIGURATION.replace("cloud: alpha", "cloud: alpha\n    sweep: delete")


async def uploaded(stage):
    """Both clouds have the image."""
    async with stage.running():
        await stage.until(lambda: stage.ready("alpha") and stage.ready("beta"), "uploaded")
        return stage.at("alpha")[0]


async def forgotten(stage, upload):
    """The record says that it is gone, and the image is there."""
    log = stage.log
    async with Store.open(log, deployment="stage", wall=stage.wall) as store:
        before = store.get(Upload, upload.id)
        gone = attrs.evolve(before, state=UploadState.GONE)
        await store.commit([Change(before, gone, archive=True)])
    stage.log = log.reopen()


def leaked(core):
    return [(leak.kind, leak.external_id) for leak in core.operator.leaks()]


async def test_forgotten_image_is_reported_and_goes_by_a_persons_word(tmp_path, autojump_clock):
    """As leaked servers do, and it is the only one that goes."""
    stage = BuiltStage(tmp_path)
    upload = await uploaded(stage)
    await forgotten(stage, upload)

    async with stage.running() as core:
        await stage.until(lambda: stage.ready("alpha"), "uploaded anew")
        await trio.sleep(15 * MINUTE)
        assert leaked(core) == [("image", upload.external_id)]
        assert len(stage.in_cloud("alpha")) == 2

        await core.operator.delete_leak(f"alpha:{upload.external_id}")
        await stage.until(lambda: leaked(core) == [], "deleted")

        (left,) = stage.at("alpha")
        assert [one.id for one in stage.alpha.images() if one.name == left.name] == [
            left.external_id
        ]


async def test_forgotten_image_is_deleted_where_the_sweep_deletes(tmp_path, autojump_clock):
    """After it was seen twice."""
    stage = BuiltStage(tmp_path, configuration=DELETES)
    upload = await uploaded(stage)
    await forgotten(stage, upload)

    async with stage.running() as core:
        await stage.until(lambda: stage.ready("alpha"), "uploaded anew")
        await trio.sleep(MINUTE)
        await stage.until(lambda: len(stage.in_cloud("alpha")) == 1, "deleted")
        await stage.until(lambda: leaked(core) == [], "proved gone")

        assert stage.at("alpha")[0].external_id in [one.id for one in stage.alpha.images()]


async def test_images_that_an_empty_store_meets_stay_and_stop_the_sweep(tmp_path, autojump_clock):
    """Another daemon may have made them, or this one before its store was lost (rule 1)."""
    stage = BuiltStage(tmp_path, configuration=DELETES)
    upload = await uploaded(stage)
    stage.log = SimulatedLog(stage.log._random)  # the store is lost
    stage.disk.files.clear()

    async with stage.running() as core:
        await stage.until(lambda: stage.ready("alpha"), "built and uploaded anew")
        await trio.sleep(30 * MINUTE)

        assert upload.external_id in [one.id for one in stage.alpha.images()]
        assert "never began" in stage.status().sweep
        assert ("image", upload.external_id) in leaked(core)

        await core.operator.adopt_leak(f"alpha:{upload.external_id}")
        await stage.until(lambda: ("image", upload.external_id) not in leaked(core), "deleted")
        assert stage.status().sweep == "delete"
