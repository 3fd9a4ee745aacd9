"""Bad builds in a whole daemon that builds, uploads and tries them by itself."""

import attrs
import pytest
import trio

from tests.daemon.built_stage import CONFIGURATION, HOUR, IMAGE, BuiltStage
from tests.daemon.stage import MINUTE
from trellis.model.image import Standing, build_id, upload_order
from trellis.model.status import Health

pytestmark = pytest.mark.slow
TRIED = CONFIGURATION.replace(
    "canary-share: 0,", "canary-share: 0.1, canary-nodes: 3, canary-quiet: 5m,"
)


def standings(stage, provider):
    """Of the ready uploads at a provider, by the number of their build."""
    return {upload_order(one)[0]: one.standing.value for one in stage.at(provider)}


def bad_at(stage, cloud, *numbers):
    """Servers of these builds never come up at a cloud."""
    sim = stage.clouds[cloud]
    names = tuple(build_id(IMAGE, number) for number in numbers)
    faults = attrs.evolve(sim.spec.faults, bad_images=names, bad_image=1.0, bad_image_error=1.0)
    sim.change(faults=faults)


async def test_two_bad_builds_never_evict_the_last_good_one(tmp_path, autojump_clock):
    """Of a label nobody asks for: probes find them out, and it is kept though one is to be."""
    stage = BuiltStage(tmp_path, TRIED)
    bad_at(stage, "alpha", 2, 3)
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        await stage.until(lambda: standings(stage, "alpha") == {1: "promoted"}, "the first good")
        for number in (2, 3):
            await stage.until(
                lambda n=number: standings(stage, "alpha").get(n) == "withdrawn",
                "found out",
                2 * HOUR,
            )
        await stage.until(lambda: standings(stage, "beta").get(3) == "promoted", "good at beta")
        assert "promoted" == standings(stage, "alpha")[1]
        served = await stage.served(await stage.ask("alpha"))
        assert build_id(IMAGE, 1) == stage.node_of(served.nodes[0]).shape.image_name
        await stage.release(served)

        await stage.until(lambda: standings(stage, "alpha").get(4) == "promoted", "good", 2 * HOUR)
        await stage.until(lambda: 1 not in standings(stage, "alpha"), "one too many now")


async def test_a_pinned_build_is_uploaded_again_where_it_is_gone(tmp_path, autojump_clock):
    """The label waits for it, with the reason, and is served by nothing else."""
    text = TRIED.replace("keep-builds: 1", "keep-builds: 3")
    stage = BuiltStage(tmp_path, text)
    async with stage.running() as core:
        await stage.until(lambda: standings(stage, "alpha").get(2) == "promoted", "two", 2 * HOUR)
        await stage.until(lambda: 1 not in standings(stage, "alpha"), "the first gone")
        images = core.operator.images
        await images.pause(IMAGE, "alpha", "ann", "to see it wait")
        await images.rollback(IMAGE, "alpha", None, "ann", "ssh is slow")
        waits = await stage.ask("alpha")
        await trio.sleep(MINUTE)

        words = (await core.port.explain_request(waits)).words
        assert f"is pinned to build {build_id(IMAGE, 1)} by ann" in words
        await images.resume(IMAGE, "alpha", "ann")
        served = await stage.served(waits)
        assert build_id(IMAGE, 1) == stage.node_of(served.nodes[0]).shape.image_name
        assert Standing.WITHDRAWN is next(
            one.standing for one in stage.at() if upload_order(one)[0] == 2
        )
