"""Who gets how much, where several providers can take a request."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.properties.model import LABELS, PoolSpec, ProviderSpec, World, WorldSpec
from trellis.control.tracks import LATELY_S
from trellis.model.node import NodeState
from trellis.model.quota import Limits
from trellis.scheduler.decisions import Place
from trellis.scheduler.plan import plan

NAMES = ("alpha", "beta", "gamma")
quick = settings(max_examples=40, deadline=None)


def world_of(*, weights=(None, None), priorities=(100, 100), rooms=(None, None), zones=()):
    """Providers that share nothing; each with its weight, priority and room."""
    parts = list(zip(NAMES, weights, priorities, rooms, strict=False))
    return World(
        WorldSpec(
            providers={
                name: ProviderSpec(
                    quota=name,
                    pools=(PoolSpec(limits=Limits(), labels=dict.fromkeys(LABELS), zones=zones),),
                    priority=priority,
                    weight=weight,
                )
                for name, weight, priority, _ in parts
            },
            quotas={name: Limits(instances=room) for name, _, _, room in parts},
        )
    )


def nodes_of(world):
    return Counter(node.provider for node in world.fleet.nodes.values())


def fail_all(world, provider):
    """Every launch of a provider under way fails, and is gone at once."""
    for node in list(world.fleet.nodes.values()):
        if node.provider == provider and node.state is NodeState.BUILDING:
            world.fail(node)
    world.delete()


@given(
    weights=st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, 5.0]), min_size=2, max_size=3),
    many=st.integers(1, 80),
)
@quick
def test_nodes_follow_the_weights(weights, many):
    """To within one node for each provider, at any number of requests."""
    world = world_of(weights=weights, priorities=[100] * 3, rooms=[None] * 3)

    for _ in range(many):
        world.ask(["small"])
    world.settle(most=many + 5)

    held = nodes_of(world)
    for name, weight in zip(NAMES, weights, strict=False):
        assert abs(held[name] - many * weight / sum(weights)) <= len(weights)


@given(rooms=st.tuples(st.integers(1, 40), st.integers(1, 40)), some=st.floats(0.1, 1.0))
@quick
def test_without_weights_each_is_filled_alike(rooms, some):
    """Twice the room, twice the nodes: what is left is left in proportion, too."""
    world = world_of(rooms=rooms)

    for _ in range(many := max(1, int(sum(rooms) * some))):
        world.ask(["small"])
    world.settle(most=many + 5)

    held = nodes_of(world)
    for name, room in zip(NAMES, rooms, strict=False):
        assert abs(held[name] - many * room / sum(rooms)) <= 1.0


@given(room=st.integers(1, 20), more=st.integers(1, 20), weight=st.sampled_from([None, 9.0]))
@quick
def test_lower_priority_numbers_are_filled_first(room, more, weight):
    """To the last place, whatever the weights are; the other gets what is left."""
    world = world_of(priorities=(200, 50), rooms=(None, room), weights=(weight, None))

    for _ in range(room + more):
        world.ask(["small"])
    world.settle(most=room + more + 5)

    assert nodes_of(world) == {"beta": room, "alpha": more}


@given(size=st.integers(2, 4), weights=st.tuples(*[st.sampled_from([1.0, 2.0, 7.0])] * 2))
@quick
def test_a_set_stays_together_whatever_the_weights_are(size, weights):
    """All its nodes on one provider and in one zone (P9)."""
    world = world_of(weights=weights, zones=("a", "b"))
    for _ in range(12):
        world.ask(["small"] * size)

    places = [d for d in plan(world.snapshot()).decisions if isinstance(d, Place)]

    assert len(places) == 12
    for place in places:
        assert len({(x.provider, x.az) for x in place.launch}) == 1
    assert len({place.provider for place in places}) == 2


@given(weights=st.sampled_from([(None, None), (1.0, 1.0)]), waves=st.integers(3, 8))
@quick
def test_a_cloud_that_fails_gets_less_and_its_share_again_when_it_has_recovered(weights, waves):
    """Though it is always the emptiest one, as all that is launched there is gone at once."""
    world = world_of(weights=weights, rooms=(1000, 1000))
    tried = Counter()
    for _ in range(waves):
        for _ in range(6):
            world.ask(["small"])
        for pass_ in world.settle(most=20):
            tried += Counter(d.provider for d in pass_.decisions if isinstance(d, Place))
        fail_all(world, "alpha")
        world.boot()
        world.settle()
        world.now += 10.0
    assert 0 < tried["alpha"] < tried["beta"] / 2
    world.boot()
    world.settle()

    world.now += LATELY_S + 1.0
    for _ in range(100):
        world.ask(["small"])
    world.settle(most=20)

    assert abs(nodes_of(world)["alpha"] - nodes_of(world)["beta"]) <= 1


def test_a_faster_cloud_gets_more_but_not_all():
    """A launch that takes three minutes there and one here halves its share, and no more."""
    world = world_of(weights=(1.0, 1.0))
    for name, took_s in (("alpha", 20.0), ("beta", 600.0)):
        for _ in range(4):
            world.ask(["small"], provider=name)
        world.settle()
        world.now += took_s
        world.boot()
        world.settle()
    before = nodes_of(world)

    for _ in range(90):
        world.ask(["small"])
    world.settle(most=20)

    total = nodes_of(world)
    assert before == {"alpha": 4, "beta": 4}
    assert abs(total["alpha"] - 2 * total["beta"]) <= 3


@given(some=st.integers(0, 5), weights=st.tuples(*[st.sampled_from([None, 1.0, 4.0])] * 2))
@quick
def test_each_choice_says_what_it_was_chosen_over(some, weights):
    """The reason names the one that came second, and says something of it."""
    world = world_of(weights=weights, rooms=(10, 10))
    for _ in range(some):
        world.ask(["small"], provider="beta")
    world.settle()
    world.ask(["small"])

    (place,) = (d for d in plan(world.snapshot()).decisions if isinstance(d, Place))

    other = {"alpha": "beta", "beta": "alpha"}[place.provider]
    assert place.reason.startswith(f"{place.provider}: 0 ready, 1 to launch, because ")
    assert f"; {other} less: " in place.reason
