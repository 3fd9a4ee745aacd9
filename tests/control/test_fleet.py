"""The indexes of the fleet: right after every change, and what of a change the planner reads."""

from random import Random

import attrs
import pytest

from trellis.control.fleet import Fleet
from trellis.model.node import NODE_TRANSITIONS, Addresses, Node, NodeState, ResourceKind
from trellis.model.provider import ProviderRecord
from trellis.model.records import Change
from trellis.model.request import RequestState
from trellis.testing.builders import NOW, a_home, a_node, a_request, a_server, placed

ADDRESSES = Addresses(interface_ip="100.64.0.9")


def told(fleet: Fleet, *changes: Change) -> tuple[bool, bool]:
    """What a commit tells the planner: news, and room that has become free."""
    fleet.seen()
    fleet.apply(changes)
    return fleet.news, fleet.freed


def a_fleet(*records: object) -> Fleet:
    fleet = Fleet()
    fleet.load(records)
    fleet.seen()
    return fleet


def a_step(node: Node, chance: Random) -> Node | None:
    """Some change that may befall a node; None if it is gone."""
    ways = sorted(NODE_TRANSITIONS[node.state], key=lambda state: state.value)
    choice = chance.randrange(9)
    if choice == 0 and ways:
        after = node.became(chance.choice(ways), NOW)
        return None if after.state is NodeState.GONE else after
    if choice == 1:
        return attrs.evolve(node, resources=(a_server(int(node.id)),))
    if choice == 2:
        address = f"100.64.0.{chance.randrange(5)}"
        return attrs.evolve(node, addresses=Addresses(interface_ip=address))
    if choice == 3:
        return attrs.evolve(node, home=a_home(project_id=f"p{chance.randrange(2)}"))
    if choice == 4:
        owner = a_request(chance.randrange(1, 4)).id if chance.random() < 0.7 else None
        return attrs.evolve(node, allocated_to=owner, slot=None if owner is None else 0)
    if choice == 5:
        return attrs.evolve(node, az=f"az{chance.randrange(2)}")
    if choice == 6:
        return attrs.evolve(node, tenant=f"t{chance.randrange(2)}")
    if choice == 7:
        return attrs.evolve(
            node, lease_id=f"l{chance.randrange(2)}" if chance.random() < 0.5 else None
        )
    return attrs.evolve(node, fault="something")


def shown(fleet: Fleet) -> dict[str, object]:
    """All indexes that follow from the nodes, without what has come to nothing."""

    def counted(values: dict[object, object]) -> dict[object, object]:
        full = {
            key: counted(value) if isinstance(value, dict) else value
            for key, value in values.items()
        }
        return {key: value for key, value in full.items() if value not in (0, {}, None)}

    names = (
        "nodes", "by_provider", "slots", "idle", "warming", "label_states", "provider_states",
        "zone_nodes", "by_external", "by_address",
    )  # fmt: skip
    indexes = {name: counted(getattr(fleet, name)) for name in names}
    for name in ("quota_used", "quota_freeing", "pool_used", "pool_freeing"):
        sizes = getattr(fleet, name).items()
        indexes[name] = {key: size for key, size in sizes if any(attrs.astuple(size))}
    return indexes


@pytest.mark.parametrize("seed", range(20))
def test_indexes_after_many_changes_are_those_of_a_fresh_start(seed):
    """However a node changed, it is counted and found as if it had been read just now."""
    chance = Random(seed)
    nodes = {
        node.id: node
        for node in (a_node(number, state=NodeState.BUILDING) for number in range(1, 7))
    }
    fleet = a_fleet(*nodes.values())
    for _ in range(200):
        if not nodes:
            break
        before = chance.choice(list(nodes.values()))
        after = a_step(before, chance)
        if after is None:
            gone = before.became(NodeState.GONE, NOW)
            fleet.apply([Change(before, gone, archive=True)])
            del nodes[before.id]
        else:
            fleet.apply([Change(before, after)])
            nodes[after.id] = after

        assert shown(fleet) == shown(a_fleet(*nodes.values()))


class TestNews:
    """What of a commit the planner is called for; the rest must not cost a pass."""

    def test_steps_of_a_launch_are_none(self):
        """Intent, id, address: nothing can be decided by them."""
        request = placed(a_request(1))
        node = a_node(1, state=NodeState.BUILDING, allocated_to=request.id, slot=0)
        fleet = a_fleet(request, node)
        made = attrs.evolve(node, resources=(a_server(1),), home=a_home())
        active = attrs.evolve(made, addresses=ADDRESSES, active_at=NOW)

        assert told(fleet, Change(node, made)) == (False, False)
        assert told(fleet, Change(made, active)) == (False, False)

    def test_last_node_of_a_set_is_news(self):
        """The first of two that become ready changes nothing; with the second it is whole."""
        request = placed(a_request(1, labels=("small", "small")))
        nodes = [
            a_node(number, state=NodeState.BUILDING, allocated_to=request.id, slot=number - 1)
            for number in (1, 2)
        ]
        fleet = a_fleet(request, *nodes)
        first, second = (node.became(NodeState.READY, NOW, ready_at=NOW) for node in nodes)

        assert told(fleet, Change(nodes[0], first)) == (False, True)
        assert told(fleet, Change(nodes[1], second))[0]

    @pytest.mark.parametrize("state", [NodeState.FAILED, NodeState.ABORTED])
    def test_launch_that_came_to_nothing_is_news(self, state):
        """Its slot has to be filled anew."""
        request = placed(a_request(1))
        node = a_node(1, state=NodeState.BUILDING, allocated_to=request.id, slot=0)
        fleet = a_fleet(request, node)

        assert told(fleet, Change(node, node.became(state, NOW)))[0]

    def test_new_request_is_news(self):
        """It has to be placed."""
        assert told(a_fleet(), Change(None, a_request(1)))[0]

    def test_request_behind_others_of_its_shape_is_none(self):
        """It waits as the first of its queue does."""
        assert not told(a_fleet(a_request(1)), Change(None, a_request(2)))[0]

    def test_request_ahead_of_others_of_its_shape_is_news(self):
        """It is the first of its queue from now on."""
        assert told(a_fleet(a_request(2)), Change(None, a_request(1)))[0]

    def test_request_that_came_while_the_one_ahead_was_being_placed_is_news(self):
        """No pass has seen it, and what it stood behind waits no longer."""
        first, second = a_request(1), a_request(2)
        fleet = a_fleet(first)
        node = a_node(1, state=NodeState.BUILDING, allocated_to=first.id, slot=0)
        fleet.apply([Change(None, second)])
        assert not fleet.news

        fleet.apply([Change(first, placed(first)), Change(None, node)])

        assert fleet.news

    def test_cancelled_request_that_waited_is_news(self):
        """It may have held up those behind it."""
        request = a_request(1)
        cancelled = request.became(RequestState.CANCELLED, NOW)
        fleet = a_fleet(request)

        assert told(fleet, Change(request, cancelled, archive=True))[0]

    def test_placing_with_its_launch_is_none(self):
        """What a pass has decided calls for no other one, while its nodes are built."""
        request = a_request(1)
        fleet = a_fleet(request)
        node = a_node(1, state=NodeState.BUILDING, allocated_to=request.id, slot=0)

        assert told(fleet, Change(request, placed(request)), Change(None, node)) == (False, False)

    def test_placing_with_ready_nodes_is_news(self):
        """It can be handed out at once."""
        request, idle = a_request(1), a_node(1)
        fleet = a_fleet(request, idle)
        taken = attrs.evolve(idle, allocated_to=request.id, slot=0)

        assert told(fleet, Change(request, placed(request)), Change(idle, taken))[0]

    def test_idle_node_that_is_deleted_is_news(self):
        """Another one has to be kept ready in its stead."""
        idle = a_node(1)

        assert told(a_fleet(idle), Change(idle, idle.became(NodeState.DELETING, NOW)))[0]

    def test_room_that_becomes_free_is_told_apart(self):
        """It is worth a pass only where somebody waits for room."""
        used = a_node(1, state=NodeState.USED, resources=(a_server(1),))
        fleet = a_fleet(used)
        deleting = used.became(NodeState.DELETING, NOW)
        gone = attrs.evolve(
            deleting.became(NodeState.GONE, NOW), resources=(a_server(1, gone_at=NOW),)
        )

        assert told(fleet, Change(used, deleting)) == (False, False)
        assert told(fleet, Change(deleting, gone, archive=True)) == (False, True)
        assert gone.resource(ResourceKind.SERVER) is None

    def test_use_that_ends_makes_no_room_yet(self):
        """The server is still there, and nothing that is idle could go to join its room."""
        leased = a_node(1, state=NodeState.IN_USE)
        change = Change(leased, leased.became(NodeState.USED, NOW))

        assert told(a_fleet(leased), change) == (False, False)

    def test_use_that_ends_gives_its_tenant_room(self):
        """What is being deleted is not held by the tenant any more."""
        leased = a_node(1, state=NodeState.IN_USE, tenant="t1")
        change = Change(leased, leased.became(NodeState.USED, NOW))

        assert told(a_fleet(leased), change) == (False, True)

    def test_use_that_ends_may_have_idle_nodes_go(self):
        """Its room and theirs together may be enough for whom neither alone would do."""
        leased = a_node(1, state=NodeState.IN_USE)
        change = Change(leased, leased.became(NodeState.USED, NOW))

        assert told(a_fleet(leased, a_node(2)), change) == (False, True)

    def test_word_about_a_provider_is_news(self):
        """A pause changes where launches may go."""
        assert told(a_fleet(), Change(None, ProviderRecord(name="alpha")))[0]
