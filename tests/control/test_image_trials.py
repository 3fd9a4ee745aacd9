"""Trials of uploads: what counts, what is recorded, what is decided and what follows from it."""

from random import Random

import pytest
import trio

from tests.control.image_house import (
    IMAGE,
    a_build,
    a_house,
    an_upload,
    promoted,
    withdrawn,
)
from trellis.control.images.trials import LOOK_EVERY_S
from trellis.images.canary import PROBE_EVERY_S, PROBE_FAILING_S
from trellis.model.image import ImagePlace, ImageRecord, Pin, Standing, Trial
from trellis.model.node import NodeState
from trellis.store.simulated import SimulatedLog
from trellis.testing.builders import NOW, a_node, a_shape

HOUR = 3600.0


def pinned(number):
    pin = Pin(build_id=a_build(number).id, by="ann", reason="", at=NOW)
    return ImageRecord(name=IMAGE).with_place(ImagePlace(provider="alpha", pin=pin))


def counts(upload):
    trial = upload.trial or Trial(since=0.0)
    return trial.ready, trial.failed, trial.before_ready, trial.before_failed


async def become_ready(house, number, times, provider="alpha"):
    for _ in range(times):
        await house.ready(await house.launch_from(number, provider))


async def fail(house, number, times, provider="alpha"):
    for _ in range(times):
        await house.failed(await house.launch_from(number, provider))


class TestCounting:
    async def test_both_ends_of_both_uploads_are_recorded(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2)) as house:
            await become_ready(house, 2, 2)
            await fail(house, 2, 1)
            await become_ready(house, 1, 3)
            await fail(house, 1, 1)
            await house.settled()

            assert (2, 1, 3, 1) == counts(house.upload(2))
            assert house.upload(1).trial is None

    async def test_the_window_begins_with_the_upload(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2, ready_at=NOW + 5.0)) as house:
            early = await house.launch_from(1)
            await trio.sleep(10)
            await become_ready(house, 1, 1)
            await house.ready(early)
            await house.settled()

            assert (0, 0, 1, 0) == counts(house.upload(2))
            assert NOW + 5.0 == house.upload(2).trial.since

    @pytest.mark.parametrize("state", [NodeState.ABORTED, NodeState.DELETING], ids=str)
    async def test_refused_and_cancelled_launches_say_nothing(self, autojump_clock, state):
        async with a_house(promoted(1), an_upload(2)) as house:
            for number in (1, 2):
                await house.ended(await house.launch_from(number), state)
            await house.settled()

            assert house.upload(2).trial is None

    async def test_a_create_that_was_not_answered_says_nothing(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2)) as house:
            await house.failed(await house.launch_from(2), in_doubt=True)
            await house.settled()

            assert house.upload(2).trial is None

    async def test_a_failure_where_the_cloud_fails_says_nothing(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2)) as house:
            house.at_fault = "nothing comes up there"
            await fail(house, 2, 5)
            await become_ready(house, 2, 1)
            await house.settled()

            assert (1, 0, 0, 0) == counts(house.upload(2))

    async def test_each_provider_counts_its_own(self, autojump_clock):
        uploads = promoted(1), an_upload(2), promoted(1, "beta"), an_upload(2, "beta")
        async with a_house(*uploads) as house:
            await become_ready(house, 2, 1)
            await become_ready(house, 1, 1, "beta")
            await house.settled()

            assert (1, 0, 0, 0) == counts(house.upload(2, "alpha"))
            assert (0, 0, 1, 0) == counts(house.upload(2, "beta"))

    async def test_after_the_verdict_nothing_is_written_any_more(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2)) as house:
            await become_ready(house, 2, 3)
            await house.settled()
            revision = house.book.revision
            await become_ready(house, 2, 5)
            await become_ready(house, 1, 5)
            await house.settled()

            assert revision == house.book.revision

    async def test_it_goes_on_after_a_restart(self, autojump_clock):
        log = SimulatedLog(Random(1))
        async with a_house(promoted(1), an_upload(2), log=log) as house:
            await become_ready(house, 2, 2)
            await house.settled()
        async with a_house(log=log.reopen()) as house:
            await become_ready(house, 2, 1)
            await house.settled()

            assert Standing.PROMOTED is house.upload(2).standing
            assert 2 == house.stable()


class TestVerdicts:
    async def test_a_good_one_is_promoted_and_serves(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2)) as house:
            await become_ready(house, 2, 3)
            await house.settled()

            assert (2, None) == (house.stable(), house.canary())
            assert "3 of 3 launches from it became ready" in house.upload(2).standing_why
            assert house.changes

    async def test_a_bad_one_is_withdrawn_with_the_figures(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2)) as house:
            await become_ready(house, 1, 30)
            await fail(house, 2, 2)
            await house.settled()

            assert (1, None) == (house.stable(), house.canary())
            events = [x async for x in _events(house, "upload.withdrawn")]

        assert [an_upload(2).id] == [event.subject for event in events]
        assert "0 of 2 launches from it became ready; 30 of 30 from the image" in events[0].why

    async def test_where_both_fail_nobody_is_blamed(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2)) as house:
            await fail(house, 1, 30)
            await fail(house, 2, 10)
            await house.settled()

            assert (1, 2) == (house.stable(), house.canary())
            assert "looks like the cloud" in house.trials.verdict(an_upload(2).id).why

    async def test_the_only_one_serves_nothing_when_it_fails(self, autojump_clock):
        async with a_house(an_upload(1)) as house:
            await fail(house, 1, 3)
            await house.settled()

            assert Standing.CANARY is house.upload(1).standing
            words = house.choice.why_missing("alpha", IMAGE)
            assert "its only image fails: 3 of 3 launches" in words

    async def test_the_only_one_serves_again_once_its_probes_work(self, autojump_clock):
        async with a_house(an_upload(1)) as house:
            await fail(house, 1, 3)
            await become_ready(house, 1, 1)
            await house.settled()

            assert "" == house.choice.why_missing("alpha", IMAGE)

    async def test_without_a_trial_it_is_promoted_at_once(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2), canary_share=0.0) as house:
            await house.settled()

            assert 2 == house.stable()

    async def test_a_pinned_image_is_not_judged(self, autojump_clock):
        records = promoted(1), an_upload(2), pinned(1)
        async with a_house(*records, canary_share=0.0) as house:
            await house.settled()

            assert Standing.CANARY is house.upload(2).standing

    async def test_an_image_that_is_configured_no_longer_is_not_judged(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2)) as house:
            house.configs = {}
            await become_ready(house, 2, 5)
            await house.settled()

            assert Standing.CANARY is house.upload(2).standing


class TestIdleNodes:
    async def test_of_what_is_withdrawn_are_deleted(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2), canary_nodes=5) as house:
            await become_ready(house, 1, 40)
            await become_ready(house, 2, 1)
            await fail(house, 2, 3)
            await house.settled()

            assert Standing.WITHDRAWN is house.upload(2).standing
            states = {n.state for n in _nodes_of(house, 2)}
            assert {NodeState.DELETING, NodeState.FAILED} == states
            assert {NodeState.READY} == {n.state for n in _nodes_of(house, 1)}

    async def test_also_those_that_become_ready_later(self, autojump_clock):
        async with a_house(promoted(1), withdrawn(2)) as house:
            node = await house.ready(await house.launch_from(2))
            await house.settled()

            assert NodeState.DELETING is house.fleet.nodes[node.id].state

    async def test_also_those_that_were_ready_before_a_restart(self, autojump_clock):
        node = a_node(1, shape=a_shape(image_id="alpha-image-2"))
        async with a_house(promoted(1), withdrawn(2), node) as house:
            await house.settled()

            assert NodeState.DELETING is house.fleet.nodes[node.id].state

    async def test_of_what_was_withdrawn_and_is_pinned_stay_until_it_is_unpinned(
        self, autojump_clock
    ):
        """Or they would be made and deleted without end."""
        async with a_house(promoted(1), withdrawn(2), pinned(2)) as house:
            node = await house.ready(await house.launch())
            await house.settled()

            assert "alpha-image-2" == node.shape.image_id
            assert NodeState.READY is house.fleet.nodes[node.id].state
            await house.acts.unpin(IMAGE, "alpha", "ann")
            await house.settled()
            assert NodeState.DELETING is house.fleet.nodes[node.id].state

    async def test_those_that_are_somebodys_stay(self, autojump_clock):
        leased = a_node(1, state=NodeState.IN_USE, shape=a_shape(image_id="alpha-image-2"))
        awaited = a_node(2, allocated_to="r", shape=a_shape(image_id="alpha-image-2"))
        async with a_house(promoted(1), withdrawn(2), leased, awaited) as house:
            await house.settled()

            assert NodeState.IN_USE is house.fleet.nodes[leased.id].state
            assert NodeState.READY is house.fleet.nodes[awaited.id].state


class TestProbes:
    async def test_none_while_the_canary_has_its_time(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2), canary_quiet=HOUR) as house:
            await trio.sleep(HOUR - LOOK_EVERY_S)

            assert () == house.trials.probes()

    async def test_of_the_canary_of_a_quiet_label_until_it_is_promoted(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2), canary_quiet=HOUR) as house:
            launched = 0
            await trio.sleep(HOUR + LOOK_EVERY_S)
            while probes := house.trials.probes():
                (probe,) = probes
                assert ("alpha", an_upload(2).id) == (probe.provider, probe.upload)
                assert ["alpha-image-2"] == [x.shape.image_id for x in probe.offers]
                assert "not decided after 1 h" in probe.reason
                await become_ready(house, 2, 1)
                launched += 1
                await trio.sleep(PROBE_EVERY_S + LOOK_EVERY_S)

            assert (3, 2) == (launched, house.stable())

    async def test_one_at_a_time(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2), canary_quiet=HOUR) as house:
            await trio.sleep(HOUR + LOOK_EVERY_S)
            await house.launch_from(2)
            await trio.sleep(HOUR)

            assert () == house.trials.probes()

    async def test_not_again_at_once_whatever_became_of_the_last(self, autojump_clock):
        """One that is refused each time would be launched without end."""
        async with a_house(promoted(1), an_upload(2), canary_quiet=HOUR) as house:
            await trio.sleep(HOUR + LOOK_EVERY_S)
            await house.ended(await house.launch_from(2), NodeState.ABORTED)
            await house.settled()

            assert () == house.trials.probes()
            await trio.sleep(PROBE_EVERY_S)
            assert 1 == len(house.trials.probes())

    async def test_of_the_one_before_where_it_had_no_launches(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2)) as house:
            await fail(house, 2, 2)
            await house.settled()

            (probe,) = house.trials.probes()

            assert promoted(1).id == probe.upload

    async def test_of_an_only_one_that_fails_now_and_then(self, autojump_clock):
        async with a_house(an_upload(1)) as house:
            await fail(house, 1, 3)
            await house.settled()

            assert () == house.trials.probes()
            await trio.sleep(PROBE_FAILING_S)
            assert 1 == len(house.trials.probes())

    async def test_the_planner_is_told(self, autojump_clock):
        async with a_house(promoted(1), an_upload(2), canary_quiet=HOUR) as house:
            await trio.sleep(HOUR - 1)
            before = house.changes
            await trio.sleep(1 + LOOK_EVERY_S)

            assert house.changes > before


def _nodes_of(house, number):
    image = house.upload(number).external_id
    return [node for node in house.fleet.nodes.values() if node.shape.image_id == image]


async def _events(house, kind):
    last = house.store.last_event
    async for event in house.store.watch(0):
        if event.type == kind:
            yield event
        if event.id == last:
            return
