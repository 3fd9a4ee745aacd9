"""What holds for every plan, whatever there is and whatever is asked for."""

from collections import Counter

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.properties.model import LABELS, SIZES, PoolSpec, ProviderSpec, World, WorldSpec, worlds
from tests.properties.model import asks as ask_parts
from trellis.control.policy import TenantPolicy
from trellis.model.node import NodeState
from trellis.model.quota import Limits
from trellis.model.request import RequestState
from trellis.scheduler.decisions import Fulfil, Place, Recheck, Refill, Retire
from trellis.scheduler.plan import plan

thorough = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
waves = st.lists(st.lists(ask_parts, min_size=1, max_size=4), max_size=3)
happenings = st.lists(st.sampled_from(["boot", "fail", "release", "delete", "wait"]), max_size=8)


def happen(world, what, some):
    """Let something happen in the clouds or at the requestors, chosen by *some*."""
    nodes = list(world.fleet.nodes.values())
    building = [node for node in nodes if node.state is NodeState.BUILDING]
    match what:
        case "boot":
            world.boot(building[: some % 3])
        case "fail" if building:
            world.fail(building[some % len(building)])
        case "release" if world.fleet.lease_of:
            world.release(sorted(world.fleet.lease_of)[some % len(world.fleet.lease_of)])
        case "delete":
            world.delete()
        case _:
            world.now += 30.0 * some


@given(spec=worlds(), waves=waves, story=happenings, some=st.integers(0, 9))
@thorough
def test_no_limit_is_ever_exceeded(spec, waves, story, some):
    """Pools, quotas, tenants, labels, launches under way, launches a minute."""
    world = World(spec)
    before = world.excesses()
    for number, wave in enumerate(waves):
        for ask in wave:
            world.ask(**ask)
        world.step()
        happen(world, story[number % len(story)] if story else "boot", some + number)
        world.step()

        after = world.excesses()
        worse = {k: v for k, v in after.items() if v > max(0, before.get(k, 0))}
        assert worse == {}


@given(spec=worlds(), waves=waves, some=st.integers(0, 9))
@thorough
def test_no_node_is_used_twice_and_sets_stay_together(spec, waves, some):
    """In one pass, and over all that is handed out; each set on one provider and in one zone."""
    world = World(spec)
    world.settle()
    for number, wave in enumerate(waves):
        world.boot()
        for ask in wave:
            world.ask(**ask)
        found = plan(world.snapshot())

        used = [node.id for d in found.decisions if isinstance(d, Place) for _, node in d.take]
        used += [d.node.id for d in found.decisions if isinstance(d, Retire)]
        assert max(Counter(used).values(), default=0) <= 1
        for place in (d for d in found.decisions if isinstance(d, Place)):
            where = {(launch.provider, launch.az) for launch in place.launch}
            if len(place.request.ask.labels) > 1:
                where |= {(node.provider, node.az) for _, node in place.take}
            assert len(where) <= 1
            assert {node.provider for _, node in place.take} <= {place.provider}
            slots = [slot for slot, _ in place.take] + [launch.slot for launch in place.launch]
            assert sorted(slots) == list(range(len(place.request.ask.labels)))
        world.step()
        happen(world, "boot", some + number)
    world.settle()

    handed_out = [node for nodes in world.handed_out.values() for node in nodes]
    assert len(handed_out) == len(set(handed_out))


@given(spec=worlds(), asks=st.lists(ask_parts, max_size=6))
@thorough
def test_the_same_world_gives_the_same_plan(spec, asks):
    """Nothing but the snapshot decides."""
    one, other = World(spec), World(spec)
    for world in (one, other):
        for ask in asks:
            world.ask(**ask)

    for _ in range(3):
        assert plan(one.snapshot()) == plan(one.snapshot())
        assert str(one.step()) == str(other.step())
        for world in (one, other):
            world.boot()


@given(spec=worlds(), asks=st.lists(ask_parts, max_size=8), some=st.integers(0, 9))
@thorough
def test_a_plan_that_is_carried_out_leaves_nothing_to_decide(spec, asks, some):
    """Passes end: what is decided a second time, with nothing new, would be decided for ever."""
    world = World(spec)
    for number, ask in enumerate(asks):
        world.ask(**ask)
        if number % 3 == some % 3:
            world.settle()
            happen(world, "boot", 0)
    world.settle(most=3)

    assert world.step().decisions == ()


@given(spec=worlds(), asks=st.lists(ask_parts, min_size=1, max_size=6))
@thorough
def test_whoever_waits_is_told_why_and_whoever_fails_too(spec, asks):
    """Each queue that is left has a reason for every provider, and each failure names one."""
    world = World(spec)
    for ask in asks:
        world.ask(**ask)
    world.settle()
    found = plan(world.snapshot())

    for shape, queue in world.fleet.queues.items():
        assert len(queue) == 0 or set(found.waits[shape]) == set(spec.providers)
        assert all(found.waits[shape].values())
    assert all(world.failed.values())


SMALL = SIZES["small"]


def closed_world(instances, **parts):
    """Two providers that share nothing, each with so many places."""
    pool = PoolSpec(limits=Limits(instances=instances), labels=dict.fromkeys(LABELS))
    return WorldSpec(
        providers={
            "alpha": ProviderSpec(quota="q1", pools=(pool,)),
            "beta": ProviderSpec(quota="q2", pools=(pool,)),
        },
        quotas={"q1": Limits(), "q2": Limits()},
        **parts,
    )


@given(
    places=st.integers(3, 6),
    large=st.integers(2, 3),
    shelf=st.integers(0, 3),
    label_limit=st.one_of(st.none(), st.integers(3, 8)),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=30, deadline=None)
def test_nobody_starves(places, large, shelf, label_limit, order):
    """One place comes free at a time and many want it: a set is served all the same."""
    label_limits = {} if label_limit is None else {"small": label_limit}
    spec = closed_world(places, min_ready={"small": shelf}, label_limits=label_limits)
    world = World(spec)
    for _ in range(3 * places):
        world.ask(["small"], priority=100)
    world.settle()
    world.boot()
    patient = world.ask(["small"] * large)

    for _ in range(60):
        world.now += 60.0
        world.ask(["small"], priority=200)
        world.step()
        world.boot()
        world.step()
        if patient in world.handed_out:
            return
        if world.fleet.lease_of:
            world.release(order.choice(sorted(world.fleet.lease_of)))
        world.delete()

    raise AssertionError(world.scheduling.would_do())


def test_shares_divide_what_there_is():
    """Of ten places a tenant with three shares holds about three times as many as the other."""
    shares = {"acme": 3.0, "zeta": 1.0}
    tenants = {
        name: TenantPolicy(name=name, limits=Limits(), share=share)
        for name, share in shares.items()
    }
    world = World(closed_world(6, tenants=tenants))
    for _ in range(30):
        world.ask(["small"], tenant="zeta")
    for _ in range(30):
        world.ask(["small"], tenant="acme")

    world.settle()

    held = {name: size.instances for name, size in world.fleet.tallies.held.items()}
    assert held == {"acme": 9, "zeta": 3}


def test_a_placed_request_is_refilled_inside_of_its_tenants_limit():
    """A node that failed counts no longer; its replacement does."""
    limits = Limits(instances=2)
    tenants = {"acme": TenantPolicy(name="acme", limits=limits, share=None)}
    world = World(closed_world(6, tenants=tenants))
    world.ask(["small", "small"], tenant="acme")
    world.settle()
    world.fail(next(iter(world.fleet.nodes.values())))

    (found,) = world.settle()

    assert [type(decision) for decision in found.decisions] == [Refill]
    assert world.fleet.tallies.held["acme"].instances == 2
    assert attrs.asdict(world.fleet.tallies.held["acme"])["ports"] == 2


def test_what_is_handed_out_is_handed_out_once():
    """One Fulfil for each request, with as many nodes as labels."""
    world = World(closed_world(6))
    requests = [world.ask(["small"] * 2) for _ in range(3)]
    world.settle()
    world.boot()

    (found,) = world.settle()

    assert Counter(type(d) for d in found.decisions) == {Fulfil: 3}
    assert not any(isinstance(d, Recheck) for d in found.decisions)
    assert sorted(world.handed_out) == sorted(requests)
    assert all(world.fleet.requests[x].state is RequestState.FULFILLED for x in world.handed_out)
