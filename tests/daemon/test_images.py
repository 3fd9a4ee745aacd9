"""Images of a whole daemon: built, uploaded, booted from, and gone once nobody needs them."""

import pytest
import trio

from tests.daemon.built_stage import CONFIGURATION, HOUR, IMAGE, BuiltStage
from tests.daemon.stage import MINUTE
from trellis.control.images.choice import Choice
from trellis.control.images.image_sweep import ImageSweep
from trellis.control.images.uploading import Uploading
from trellis.model.image import BuildState, UploadState
from trellis.model.node import NodeState
from trellis.model.records import Change
from trellis.model.status import Health


def first(number):
    return f"{IMAGE}-{number:010d}"


async def served_from(stage, provider):
    """The node that a request to a provider is given."""
    served = await stage.served(await stage.ask(provider), within_s=HOUR)
    return served, stage.node_of(served.nodes[0])


async def test_a_build_is_uploaded_booted_from_and_replaced_by_the_next(tmp_path, autojump_clock):
    """What servers were made from stays until the last of them is gone."""
    stage = BuiltStage(tmp_path)
    async with stage.running():
        served, node = await served_from(stage, "alpha")
        assert stage.ready("alpha") == stage.ready("beta") == [1]
        (upload,) = stage.at("alpha")
        assert (node.shape.image_id, node.shape.image_name) == (upload.external_id, first(1))
        assert node.login.username == "ci"

        await trio.sleep(HOUR)
        await stage.until(lambda: stage.ready("beta") == [2], "replaced where nobody needs it")
        await stage.until(lambda: 2 in stage.ready("alpha"), "the second build at alpha")
        await trio.sleep(10 * MINUTE)
        assert stage.ready("alpha") == [2, 1]
        assert [one.number for one in stage.builds] == [2, 1]

        _, newer = await served_from(stage, "alpha")
        assert newer.shape.image_name == first(2)

        await stage.release(served)
        await stage.gone(node.id)
        await stage.until(lambda: [one.number for one in stage.builds] == [2], "the first gone")
        assert stage.ready("alpha") == [2]
        assert stage.in_cloud("alpha") == stage.in_cloud("beta") == [first(2)]
        assert [name.rpartition("/")[2] for name in stage.disk.files] == [f"{first(2)}.qcow2"]


@pytest.mark.parametrize("stopped_at_s", [1, 60, 134.758, 134.9, 134.97, 135.1, 135.15, 200])
@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
async def test_a_restart_at_any_step_changes_nothing_of_the_end(
    tmp_path, autojump_clock, stopped_at_s, killed
):
    """One image at each cloud, one file here, and none that no record claims."""
    stage = BuiltStage(tmp_path)
    await stage.ran_for(stopped_at_s, killed=killed)
    async with stage.running() as core:
        await stage.until(lambda: stage.ready("alpha") and stage.ready("beta"), "uploaded")
        _, node = await served_from(stage, "alpha")
        await trio.sleep(10 * MINUTE)

        assert node.state is NodeState.IN_USE
        assert len(stage.in_cloud("alpha")) == len(stage.in_cloud("beta")) == 1
        assert len(stage.disk.files) == 1
        assert not core.operator.leaks()
        assert sum(one.state is BuildState.READY for one in stage.builds) == 1


@pytest.mark.parametrize("stopped_after_s", [0.005, 100, 155.43, 155.7, 155.95, 156.1, 156.35, 157])
async def test_a_restart_while_it_is_replaced_loses_nobody_the_image(
    tmp_path, autojump_clock, stopped_after_s
):
    """From when the second build is due: whatever is under way then."""
    stage = BuiltStage(tmp_path)
    async with stage.running():
        served, node = await served_from(stage, "alpha")
        (build,) = stage.builds
        await trio.sleep(HOUR - (stage.wall() - build.ready_at) + stopped_after_s)
    async with stage.running():
        await stage.until(lambda: stage.ready("beta") in ([2], [3]), "replaced at beta")
        assert stage.ready("alpha")[-1] == 1
        await stage.release(served)
        await stage.gone(node.id)
        await stage.until(lambda: len(stage.ready("alpha")) == 1, "the first gone")
        await trio.sleep(10 * MINUTE)

        assert len(stage.in_cloud("alpha")) == len(stage.in_cloud("beta")) == 1
        assert len(stage.disk.files) == 1


async def test_an_image_out_of_the_configuration_goes_once_its_nodes_have(tmp_path, autojump_clock):
    stage = BuiltStage(tmp_path)
    async with stage.running():
        served, node = await served_from(stage, "alpha")
        other = CONFIGURATION.replace("image: debian,", "cloud-image: tiny,")
        await stage.take_up(other[: other.index("images:")] + other[other.index("providers:") :])

        await stage.until(lambda: not stage.in_cloud("beta"), "gone where nobody needs it")
        assert stage.in_cloud("alpha") == [first(1)]
        await stage.release(served)
        await stage.gone(node.id)
        await stage.until(lambda: not stage.builds and not stage.at(), "gone everywhere")
        assert not stage.in_cloud("alpha")
        assert not stage.disk.files


async def test_a_dropped_provider_loses_its_images_by_its_last_configuration(
    tmp_path, autojump_clock
):
    """Also where it is dropped while the daemon is down."""
    stage = BuiltStage(tmp_path)
    async with stage.running():
        await stage.until(lambda: stage.ready("alpha") and stage.ready("beta"), "uploaded")
    stage.configuration = CONFIGURATION[: CONFIGURATION.index("  - {name: beta")]
    async with stage.running() as core:
        await stage.until(lambda: not stage.in_cloud("beta"), "gone from beta")
        await trio.sleep(MINUTE)

        assert [one.name for one in core.operator.providers()] == ["alpha"]
        assert stage.ready("alpha") == [1]


async def test_a_provider_added_later_gets_the_build_there_is(tmp_path, autojump_clock):
    stage = BuiltStage(tmp_path, CONFIGURATION[: CONFIGURATION.index("  - {name: beta")])
    async with stage.running():
        await stage.until(lambda: stage.ready("alpha") == [1], "uploaded")
        await stage.take_up(CONFIGURATION)
        await stage.until(lambda: stage.ready("beta") == [1], "uploaded there too")

        _, node = await served_from(stage, "beta")
        assert node.shape.image_name == first(1)
        assert [one.number for one in stage.builds] == [1]


async def test_another_recipe_is_built_at_once_and_disturbs_no_idle_node(tmp_path, autojump_clock):
    ready = CONFIGURATION.replace("{name: small}", "{name: small, min-ready: 1}", 1)
    stage = BuiltStage(tmp_path, ready)
    async with stage.running() as core:
        await stage.until(
            lambda: any(node.idle for node in core.fleet.nodes.values()), "one kept ready"
        )
        (idle,) = core.fleet.nodes.values()
        await stage.take_up(ready.replace("takes: 2m", "takes: 3m"))
        await stage.until(lambda: stage.ready("alpha")[:1] == [2], "built anew")

        assert core.fleet.nodes[idle.id].idle
        assert stage.builds[0].why == "its recipe has changed"


async def test_a_launch_is_not_sent_from_an_image_that_is_gone(tmp_path, autojump_clock):
    """Somebody deletes it in the cloud: it is uploaded anew, and the request is served."""
    stage = BuiltStage(tmp_path)
    async with stage.running():
        await stage.until(lambda: stage.ready("alpha") and stage.ready("beta"), "uploaded")
        (upload,) = stage.at("alpha")
        stage.alpha.remove_image(upload.external_id)

        _, node = await served_from(stage, "alpha")

        assert node.shape.image_id != upload.external_id
        assert node.shape.image_id == stage.at("alpha")[0].external_id
        assert [one.number for one in stage.builds] == [1]


async def test_a_crash_in_images_leaves_launches_alone(tmp_path, autojump_clock, monkeypatch):
    """It is started again, and launches go on meanwhile."""
    stage = BuiltStage(tmp_path)
    async with stage.running() as core:
        await stage.until(lambda: stage.ready("alpha") and stage.ready("beta"), "uploaded")

        def crash(_self):
            raise RuntimeError("planted")

        monkeypatch.setattr(type(core.images), "snapshot", crash)
        core.images.nudge()
        _, node = await served_from(stage, "alpha")
        crashes = [one for one in stage.events if one["event"] == "task_crashed"]
        monkeypatch.undo()

        assert node.state is NodeState.IN_USE
        assert [one["task"] for one in crashes]
        await trio.sleep(HOUR + 10 * MINUTE)
        assert stage.ready("beta") == [2]


@pytest.mark.parametrize("part", [Uploading, ImageSweep], ids=["uploads", "sweep"])
async def test_a_crash_in_uploads_ends_no_launch_of_their_provider(
    tmp_path, autojump_clock, monkeypatch, part
):
    """It is started again by itself: the provider goes on with what it has."""
    stage = BuiltStage(tmp_path)
    run = part.run

    async def crash(_self):
        raise RuntimeError("planted")

    async with stage.running() as core:
        await stage.until(lambda: stage.ready("alpha") and stage.ready("beta"), "uploaded")
        monkeypatch.setattr(part, "run", crash)
        await stage.take_up(stage.configuration.replace("max-servers: 10", "max-servers: 9"))
        _, node = await served_from(stage, "alpha")
        crashed = {one["task"] for one in stage.events if one["event"] == "task_crashed"}
        monkeypatch.setattr(part, "run", run)

        assert node.state is NodeState.IN_USE
        assert crashed
        assert not crashed & set(stage.clouds)
        assert core.operator.provider("alpha").health is Health.AVAILABLE


async def test_no_node_is_made_from_an_image_whose_deletion_is_on_its_way(
    tmp_path, autojump_clock, monkeypatch
):
    """The launch is overtaken, and decided anew once the image is there again."""
    stage = BuiltStage(tmp_path)
    async with stage.running() as core:
        await stage.until(lambda: stage.ready("alpha") and stage.ready("beta"), "uploaded")
        (first_upload,) = stage.at("alpha")
        chosen = Choice.for_launch

        def overtaken(self, provider, image, node_id):
            upload = chosen(self, provider, image, node_id)
            if upload is not None and upload.id == first_upload.id:
                gone = upload.became(UploadState.DELETING, stage.wall())
                core.store.stage([Change(upload, gone)])
            return upload

        monkeypatch.setattr(Choice, "for_launch", overtaken)
        _, node = await served_from(stage, "alpha")

        assert node.shape.image_id == stage.at("alpha")[0].external_id
        assert node.shape.image_id != first_upload.external_id
        assert list(core.fleet.nodes) == [node.id] == ["0000000001"]
