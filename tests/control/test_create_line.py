"""Whether the turns of creates come soon enough: what is let in, and what is taken back."""

import math

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trellis.control.create_line import (
    FIRST_WAITED_S,
    LET_IN_S,
    LOOK_EVERY_S,
    SLOW_S,
    TAKE_BACK_S,
    WAITED_S,
    CreateLine,
    InLine,
    admission,
    to_take_back,
)
from trellis.control.fleet import Fleet
from trellis.model.names import RequestId, node_id
from trellis.model.node import NodeState
from trellis.model.records import Change
from trellis.testing.builders import a_node, a_server


def a_line(count, **parts):
    return [
        InLine(node_id=node_id(number), **{"waited_s": 0.0, **parts}) for number in range(count)
    ]


def steadily(per_s, *, after_s=0.0):
    """So many turns a second, after a pause."""
    return lambda span_s: max(0.0, span_s - after_s) * per_s


def taken(line, within, in_line=None):
    return sorted(to_take_back(line, in_line=in_line or len(line), within=within))


class TestAdmission:
    def test_without_a_limit_all_are_let_in(self):
        """Nothing is known to hold creates back: none is counted."""
        found = admission(delay_s=0.0, soon=math.inf, unsent=5000, waited_s=1.0)

        assert (found.barred, found.turns_left) == ("", None)

    def test_as_many_as_have_their_turn_soon(self):
        """Those that are still to be sent have theirs first."""
        found = admission(delay_s=0.0, soon=30.7, unsent=12, waited_s=1.0)

        assert (found.barred, found.turns_left) == ("", 18)

    def test_a_line_that_is_too_long_lets_none_in(self):
        """It never becomes a debt."""
        assert admission(delay_s=0.0, soon=3.0, unsent=12, waited_s=1.0).turns_left == 0

    def test_in_a_long_pause_the_provider_is_barred(self):
        """The words say for how long."""
        found = admission(delay_s=540.0, soon=0.0, unsent=0, waited_s=0.0)

        assert found.barred == "its rate limit lets no create through for 9 min"

    def test_at_the_end_of_a_pause_it_is_open(self):
        """Who comes then waits no longer than elsewhere is thought right."""
        assert not admission(delay_s=LET_IN_S, soon=1.0, unsent=0, waited_s=0.0).barred

    def test_a_line_that_does_not_move_bars_whatever_is_expected(self):
        """No limit is known, and creates wait all the same."""
        found = admission(delay_s=0.0, soon=math.inf, unsent=9, waited_s=SLOW_S + 1.0)

        assert found.barred == "creates have waited for their turn for 90 s there"

    def test_the_slowest_cloud_gets_one_at_a_time(self):
        """Less than one turn a minute is no reason to leave it alone for ever."""
        assert admission(delay_s=50.0, soon=0.2, unsent=0, waited_s=0.0).turns_left == 1
        assert admission(delay_s=50.0, soon=0.2, unsent=1, waited_s=0.0).turns_left == 0


class TestTakingBack:
    def test_whose_turn_comes_soon_stays(self):
        """A turn a second: a line of a hundred is over in a hundred seconds."""
        assert taken(a_line(100), steadily(1.0)) == []

    def test_the_end_of_a_line_that_has_become_slow_goes(self):
        """A turn in ten seconds: twelve have theirs in time."""
        assert taken(a_line(20), steadily(0.1)) == [node_id(number) for number in range(12, 20)]

    def test_in_a_long_pause_all_go(self):
        """The cloud wants to be left alone for ten minutes: nobody waits there."""
        assert len(taken(a_line(3), steadily(10.0, after_s=600.0))) == 3

    def test_what_has_just_been_let_in_stays(self):
        """Between letting in and taking back lies a factor of two: nothing goes to and fro."""
        within = steadily(0.5, after_s=20.0)
        let_in = admission(delay_s=20.0, soon=within(LET_IN_S), unsent=0, waited_s=0.0).turns_left

        assert let_in == 20
        assert taken(a_line(let_in), steadily(0.5, after_s=20.0 + TAKE_BACK_S - LET_IN_S)) == []

    @given(
        per_s=st.floats(min_value=1 / 60, max_value=100.0),
        pause_s=st.floats(min_value=0.0, max_value=LET_IN_S),
        unsent=st.integers(min_value=0, max_value=50),
    )
    def test_nothing_goes_to_and_fro(self, per_s, pause_s, unsent):
        """Whatever is let in stays while nothing changes, and all that it was let in behind."""
        within = steadily(per_s, after_s=pause_s)
        found = admission(delay_s=pause_s, soon=within(LET_IN_S), unsent=unsent, waited_s=0.0)
        let_in = unsent + found.turns_left if found.turns_left else 0

        assert not found.barred
        assert taken(a_line(let_in), within) == []

    def test_other_providers_of_the_account_have_their_share(self):
        """Half of the line is theirs, and so is half of the turns."""
        assert len(taken(a_line(20), steadily(0.1), in_line=40)) == 14

    def test_a_set_goes_as_a_whole(self):
        """Its first node would have its turn in time, the other would not."""
        pair = {"request_id": RequestId("pair"), "size": 2}
        line = [*a_line(23), InLine(node_id="a", waited_s=0.0, **pair)]
        line += [InLine(node_id="b", waited_s=0.0, **pair)]

        assert "a" not in taken(line[:24], steadily(0.1))
        assert taken(line, steadily(0.1))[-2:] == ["a", "b"]

    def test_a_set_waits_for_its_turns_and_not_for_a_pause(self):
        """Half an hour in which nothing goes at all is no time that its many nodes need."""
        line = a_line(20, request_id=RequestId("twenty"), size=20)

        assert len(taken(line, steadily(1.0, after_s=1800.0))) == 20

    def test_a_set_is_given_the_turns_it_needs(self):
        """At a turn a minute five nodes need five minutes, wherever all clouds are like that."""
        line = a_line(5, request_id=RequestId("five"), size=5)

        assert taken(line, steadily(1 / 60)) == []

    def test_who_has_waited_for_long_goes_whatever_is_expected(self):
        """All but the first, which shows that turns come again."""
        line = a_line(3, waited_s=WAITED_S + 1.0)

        assert taken(line, steadily(math.inf)) == [node_id(1), node_id(2)]

    def test_the_first_has_a_deadline_too(self):
        """No wait is for ever (P4)."""
        assert len(taken(a_line(3, waited_s=FIRST_WAITED_S + 1.0), steadily(math.inf))) == 3


class Account:
    """The rate limits of an account that asks to be left alone for a while."""

    def __init__(self, paused_s):
        self.until = trio.current_time() + paused_s

    def create_delay_s(self):
        return max(0.0, self.until - trio.current_time())

    def creates_within(self, span_s):
        return steadily(1.0, after_s=self.create_delay_s())(span_s)

    def creates_in_line(self):
        return 0


class Stand:
    """A line of one provider, and whom it has taken back."""

    def __init__(self, nodes, paused_s):
        self.fleet, self.told = Fleet(), 0
        self.fleet.apply([Change(None, node) for node in nodes])
        self.account = Account(paused_s)
        self.line = CreateLine(
            nodes[0].provider, fleet=self.fleet, turns=lambda: self.account, taken_back=self.tell
        )

    def tell(self):
        self.told += 1


async def test_a_launch_is_taken_back_while_it_waits(nursery, autojump_clock):
    """At the next look, and nobody is told before."""
    node = a_node(state=NodeState.BUILDING)
    stand = Stand([node], paused_s=600.0)
    nursery.start_soon(stand.line.run)
    with stand.line.waiting(node.id):
        await trio.sleep(LOOK_EVERY_S - 1.0)
        early = stand.told, stand.line.against(node.id)
        await trio.sleep(2.0)

    assert early == (0, "")
    assert stand.told == 1
    assert (
        stand.line.against(node.id) == "the turn of its create would come in 2 min at the earliest"
    )


async def test_nobody_is_asked_about_an_empty_line(nursery, autojump_clock):
    """Who has left it is not taken back: its create is on its way."""
    node = a_node(state=NodeState.BUILDING)
    stand = Stand([node], paused_s=600.0)
    nursery.start_soon(stand.line.run)
    with stand.line.waiting(node.id):
        await trio.sleep(1.0)
    await trio.sleep(100.0)

    assert stand.told == 0


async def test_one_whose_create_is_refused_again_and_again_has_waited_all_along(autojump_clock):
    """Each time it comes back to the line its wait goes on where it was."""
    node = a_node(state=NodeState.BUILDING)
    stand = Stand([node], paused_s=0.0)
    for _ in range(4):
        with stand.line.waiting(node.id):
            await trio.sleep(30.0)
            barred = stand.line.admission().barred
        doubted = a_node(state=NodeState.BUILDING, resources=(a_server(external_id=None),))
        stand.line.note(node.id, doubted)
        stand.line.note(node.id, node)

    assert barred == "creates have waited for their turn for 2 min there"


async def test_what_it_waits_for_elsewhere_is_no_wait_in_the_line(autojump_clock):
    """It had its turn, and was then held back by a breaker while another launch was the probe."""
    node = a_node(state=NodeState.BUILDING)
    stand = Stand([node], paused_s=0.0)
    with stand.line.waiting(node.id):
        await trio.sleep(1.0)
    await trio.sleep(FIRST_WAITED_S)
    with stand.line.waiting(node.id):
        barred = stand.line.admission().barred

    assert barred == ""


@pytest.mark.parametrize(
    "after",
    [
        a_node(state=NodeState.BUILDING, resources=(a_server(),)),
        a_node(state=NodeState.ABORTED),
        None,
    ],
    ids=["created", "ended", "gone"],
)
async def test_what_is_sent_or_over_is_in_nobodys_way(after):
    """It has no turn to wait for any more."""
    node = a_node(state=NodeState.BUILDING)
    stand = Stand([node], paused_s=0.0)
    before = stand.line.admission().turns_left

    stand.line.note(node.id, after)

    assert (before, stand.line.admission().turns_left) == (59, 60)


async def test_one_that_somebody_ends_while_it_waits_is_in_nobodys_way(nursery, autojump_clock):
    """It leaves the line a step later than its record says so; who looks meanwhile sees both."""
    node = a_node(state=NodeState.BUILDING)
    stand = Stand([node], paused_s=600.0)
    with stand.line.waiting(node.id):
        stand.fleet.apply([Change(node, node, archive=True)])
        stand.line.note(node.id, None)
        nursery.start_soon(stand.line.run)
        await trio.sleep(2 * LOOK_EVERY_S)
        barred = stand.line.admission().barred

    assert barred.startswith("its rate limit lets no create through")
    assert (stand.told, stand.line.against(node.id)) == (0, "")
