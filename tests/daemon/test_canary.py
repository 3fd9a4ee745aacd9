"""New uploads in a whole daemon: tried by a few launches, then promoted, or withdrawn by itself."""

import pytest
import trio

from tests.daemon.image_stage import CONFIGURATION, IMAGE, ImageStage
from tests.daemon.stage import MINUTE
from trellis.model.image import Standing, build_id
from trellis.model.node import NodeState
from trellis.model.status import Health

pytestmark = pytest.mark.slow
HOUR = 60 * MINUTE
GOOD, NEW, BAD = Standing.PROMOTED, Standing.CANARY, Standing.WITHDRAWN


@pytest.fixture
def stage(tmp_path):
    return ImageStage(tmp_path)


def both(number, standing):
    return ("alpha", number, standing), ("beta", number, standing)


def shown(core, number, provider="alpha"):
    """What people are told of an upload."""
    (place,) = [x for x in core.operator.images.one(IMAGE).places if x.provider == provider]
    build = build_id(IMAGE, number)
    return next(one.words for one in place.uploads if one.upload.build_id == build)


async def test_a_good_one_is_promoted_and_serves_all(stage, autojump_clock):
    await stage.recorded(*both(1, GOOD), *both(2, NEW))
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        await stage.demand(70)

        assert GOOD is stage.upload(2).standing
        assert "5 of 5 launches from it became ready" in stage.upload(2).standing_why
        tried = [number for cloud, number in stage.booted if cloud == "alpha"][:40]
        assert 0 < tried.count(2) <= 4, "no more than its share before it was promoted"
        stage.booted.clear()
        await stage.demand(10)
        assert {("alpha", 2)} == set(stage.booted)
        # Nothing was launched at the other provider: what is known of it there is nothing.
        assert NEW is stage.upload(2, "beta").standing


async def test_a_bad_one_costs_a_few_of_a_thousand_launches(stage, autojump_clock):
    """Withdrawn at the provider where it is bad, promoted at the other, with no request lost."""
    stage.failing = {("alpha", 2)}
    await stage.recorded(*both(1, GOOD), *both(2, NEW))
    async with stage.running() as core:
        for name in ("alpha", "beta"):
            await stage.becomes(Health.AVAILABLE, name)
        async with trio.open_nursery() as nursery:
            for name in ("alpha", "beta"):
                nursery.start_soon(lambda name=name: stage.demand(500, at_once=20, provider=name))

        assert BAD is stage.upload(2).standing
        assert GOOD is stage.upload(2, "beta").standing
        cost = stage.booted.count(("alpha", 2))
        assert 2 <= cost <= 5, "those under way with the second that failed are all"
        ((subject, why),) = await stage.events_of("upload.withdrawn")
        assert stage.upload(2).id == subject
        assert "clearly worse than the image before it" in why
        assert (GOOD, GOOD) == (stage.upload(1).standing, stage.upload(1, "beta").standing)
        # Its failures are nobody else's trouble.
        assert () == core.operator.breakers()
        assert [] == await stage.events_of("breaker.opened")


async def test_when_the_cloud_is_bad_nobody_is_blamed(stage, autojump_clock):
    """Nothing comes up for an hour: neither upload is withdrawn, and it goes on afterwards."""
    stage.failing = {("alpha", 1), ("alpha", 2)}
    await stage.recorded(*both(1, GOOD), *both(2, NEW))
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        asked = [await stage.ask("alpha") for _ in range(30)]
        await trio.sleep(HOUR)

        assert (GOOD, NEW) == (stage.upload(1).standing, stage.upload(2).standing)
        assert [] == await stage.events_of("upload.withdrawn")
        assert "looks like the cloud and not the image" in shown(core, 2)
        stage.failing.clear()
        for request_id in asked:
            await stage.release(await stage.served(request_id, within_s=HOUR))
        await stage.demand(100)
        assert GOOD is stage.upload(2).standing


async def test_a_quiet_label_is_probed_and_nothing_stays(stage, autojump_clock):
    """Nobody asks for anything: after two hours the daemon tries it by launches of its own."""
    await stage.recorded(*both(1, GOOD), *both(2, NEW))
    async with stage.running() as core:
        await trio.sleep(2 * HOUR - MINUTE)
        assert [] == stage.booted
        await trio.sleep(HOUR)

        assert (GOOD, GOOD) == (stage.upload(2).standing, stage.upload(2, "beta").standing)
        assert sorted(stage.booted) == [("alpha", 2)] * 5 + [("beta", 2)] * 5
        assert {} == dict(core.fleet.nodes), "probes that nobody wanted are deleted soon"


async def test_a_bad_one_of_a_quiet_label_is_found_out_by_probes(stage, autojump_clock):
    """The one before is tried as well, as nothing else could be compared with."""
    stage.failing = {("alpha", 2)}
    await stage.recorded(*both(1, GOOD), *both(2, NEW))
    async with stage.running():
        await trio.sleep(4 * HOUR)

        assert (BAD, GOOD) == (stage.upload(2).standing, stage.upload(2, "beta").standing)
        assert stage.booted.count(("alpha", 1)) + stage.booted.count(("alpha", 2)) <= 12
        # Nothing else came up between its failures, and they are its own all the same.
        assert [] == await stage.events_of("breaker.opened")


async def test_a_probe_that_somebody_wants_is_used(stage, autojump_clock):
    await stage.recorded(*both(1, GOOD), *both(2, NEW))
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        while not stage.idle():
            assert trio.current_time() < 3 * HOUR
            await trio.sleep(5.0)
        (probe,) = stage.idle()
        request = await stage.served(await stage.ask("alpha"), within_s=5.0)

        assert (probe.id,) == request.nodes


async def test_an_only_image_that_fails_stops_serving_and_is_tried_again(stage, autojump_clock):
    stage.failing = {("alpha", 1)}
    await stage.recorded(("alpha", 1, NEW))
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        request_id = await stage.ask("alpha")
        await trio.sleep(2 * HOUR)

        words = (await core.port.explain_request(request_id)).words
        assert "its only image fails" in words
        assert NEW is stage.upload(1).standing
        launched = len(stage.booted)
        assert launched <= 25, "an hour costs a few launches, not one a minute"
        stage.failing.clear()
        await stage.served(request_id, within_s=HOUR)


async def test_a_bad_first_image_costs_no_more_than_its_canary_nodes(stage, autojump_clock):
    """Sixty requests at once: five launches, then one each ten minutes, and all are told why."""
    stage.failing = {("alpha", 1)}
    await stage.recorded(("alpha", 1, NEW))
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        asked = [await stage.ask("alpha") for _ in range(60)]
        await trio.sleep(1.0)
        words = (await core.port.explain_request(asked[-1])).words
        assert "it is not known yet whether build debian-0000000001 boots" in words
        await trio.sleep(9 * MINUTE)
        words = (await core.port.explain_request(asked[-1])).words
        assert "its only image fails: 5 of 5 launches" in words
        assert 5 == len(stage.booted)
        await trio.sleep(HOUR)
        assert len(stage.booted) <= 5 + 7, "a probe each ten minutes"


async def test_a_good_first_image_serves_all_once_one_node_is_ready(stage, autojump_clock):
    """The first few show that it boots; the others wait no longer than that takes."""
    await stage.recorded(("alpha", 1, NEW))
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        began = trio.current_time()
        asked = [await stage.ask("alpha") for _ in range(40)]
        await trio.sleep(5.0)
        assert 5 == len(stage.booted)
        for request_id in asked:
            await stage.served(request_id, within_s=MINUTE)

        assert 40 == len(stage.booted)
        assert trio.current_time() - began < 40.0, "two boots of 11 s, one after the other"
        assert GOOD is stage.upload(1).standing


async def test_a_set_of_more_nodes_than_canary_nodes_is_launched_whole(stage, autojump_clock):
    """Atomic requests hold: two sets of eight, of which the second waits for the first."""
    await stage.recorded(("alpha", 1, NEW))
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        asked = [await stage.ask("alpha", labels=("small",) * 8) for _ in range(2)]
        await trio.sleep(5.0)
        assert 8 == len(stage.booted)
        for request_id in asked:
            await stage.served(request_id, within_s=MINUTE)


async def test_a_rollback_holds_until_it_is_unpinned(tmp_path, autojump_clock):
    """Its idle nodes are replaced, its leased one stays, and the other provider goes on."""
    text = CONFIGURATION.replace("{name: small}", "{name: small, min-ready: 4}")
    stage = ImageStage(tmp_path, text)
    await stage.recorded(*both(1, GOOD), *both(2, GOOD))
    async with stage.running() as core:
        for name in ("alpha", "beta"):
            await stage.becomes(Health.AVAILABLE, name)
        leased = await stage.served(await stage.ask("alpha"))
        await trio.sleep(2 * MINUTE)
        assert stage.idle("alpha")
        assert stage.idle("beta")
        await core.operator.images.rollback(IMAGE, "alpha", None, "ann", "ssh is slow")
        await trio.sleep(2 * MINUTE)

        (in_use,) = leased.nodes
        assert [in_use] == [node.id for node in stage.nodes_of(2)]
        assert NodeState.IN_USE is core.fleet.nodes[in_use].state
        assert {2} == {stage.number_of("beta", n.shape.image_id) for n in stage.idle("beta")}
        stage.booted.clear()
        await stage.demand(30)
        assert {("alpha", 1)} == {one for one in stage.booted if one[0] == "alpha"}
        await core.operator.images.unpin(IMAGE, "alpha", "ann", "")
        stage.booted.clear()
        await stage.demand(10)
        there = {one for one in stage.booted if one[0] == "alpha"}
        assert {("alpha", 1)} == there, "the bad one does not come back by itself"


async def test_a_trial_goes_on_after_a_restart(stage, autojump_clock):
    await stage.recorded(*both(1, GOOD), *both(2, NEW))
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        await stage.demand(25)
        before = stage.upload(2).trial
        assert before.ready
        assert NEW is stage.upload(2).standing
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        assert before == stage.upload(2).trial
        await stage.demand(45)

        assert GOOD is stage.upload(2).standing


async def test_a_label_waits_with_the_reason_while_its_image_is_withdrawn(stage, autojump_clock):
    """There at one provider only: at the other it is served."""
    await stage.recorded(("alpha", 1, BAD), ("beta", 1, GOOD))
    async with stage.running() as core:
        for name in ("alpha", "beta"):
            await stage.becomes(Health.AVAILABLE, name)
        waits = await stage.ask("alpha")
        await stage.served(await stage.ask())

        words = (await core.port.explain_request(waits)).words
        assert f"build {build_id(IMAGE, 1)} was withdrawn" in words
