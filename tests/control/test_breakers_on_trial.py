"""Launches that try a new image: what they fail of is put down to nothing else."""

from random import Random

import pytest
import trio

from trellis.control.breakers import Breakers, Cause, Everywhere
from trellis.model.breaker import Scope, Stage
from trellis.model.node import NodeState
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Store
from trellis.testing.builders import NOW, a_node, a_shape
from trellis.world import World


def wall():
    return NOW + trio.current_time()


async def scopes_after(steps):
    """What is left alone after launches at three providers that fail or come up, by their image.

    Args:
        steps: provider, image, and how it fails or None.
    """
    async with Store.open(SimulatedLog(Random(1)), deployment="test", wall=wall) as store:
        world = World(wall=wall, random=Random(1), transport=lambda _: None)
        everywhere = Everywhere(store, world, lambda _: True)
        at = {
            name: Breakers(
                name,
                store=store,
                world=world,
                everywhere=everywhere,
                building=lambda _: True,
                probe_s=lambda: 700.0,
                changed=lambda: None,
                on_trial=lambda node: node.shape.image_id == "canary",
            )
            for name in ("alpha", "beta", "gamma")
        }
        for number, (provider, image, cause) in enumerate(steps, 1):
            shape = a_shape(image_id=image, image_name=image)
            node = a_node(number, state=NodeState.BUILDING, provider=provider, shape=shape)
            at[provider].launched(node)
            if cause is None:
                for stage in Stage:
                    at[provider].passed(node, stage)
            else:
                at[provider].failed(node, cause, "no")
            at[provider].ended(node.id)
        wide = {one.scope for one in everywhere.book.statuses()}
        return wide | {one.scope for each in at.values() for one in each.statuses()}


@pytest.mark.parametrize("cause", [Cause.BOOT, Cause.REJECTED], ids=str)
async def test_a_bad_canary_everywhere_closes_nothing(autojump_clock, cause):
    """Where labels are quiet nothing else comes up between its failures."""
    steps = [(name, "canary", cause) for name in ("alpha", "beta", "gamma")] * 5

    assert set() == await scopes_after(steps)


async def test_it_does_not_make_a_region_look_dead(autojump_clock):
    """One image that fails is that image's breaker, canary or not."""
    steps = [("alpha", "stable", Cause.BOOT), ("alpha", "canary", Cause.BOOT)] * 3

    assert {Scope.IMAGE} == await scopes_after(steps)


async def test_what_the_cloud_has_no_room_for_counts_as_ever(autojump_clock):
    steps = [("alpha", "canary", Cause.CAPACITY)] * 2

    assert {Scope.CAPACITY} == await scopes_after(steps)


async def test_creates_that_are_not_answered_count_as_ever(autojump_clock):
    steps = [("alpha", "canary", Cause.CREATE)] * 3

    assert {Scope.REGION} == await scopes_after(steps)


async def test_a_canary_that_comes_up_shows_that_the_region_works(autojump_clock):
    failing = [("alpha", image, Cause.BOOT) for image in ("a", "b", "c")]

    assert {Scope.REGION} == await scopes_after(failing)
    assert set() == await scopes_after([*failing, ("alpha", "canary", None)])
