"""One breaker by itself: when it opens, who is its probe, and when it closes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trellis.control.breaker import JITTER, Breaker, Row, Rule
from trellis.model.breaker import BreakerState, Stage

RULE = Rule(after=3, first_s=30.0, most_s=600.0)
PROBE_S = 700.0


def opened(rule: Rule = RULE) -> Breaker:
    """One that has just opened, at 0 s."""
    breaker = Breaker(rule=rule)
    for number in range(rule.after):
        breaker.failed(0.0, f"b{number}", Stage.READY, "no")
    return breaker


def fail_a_probe(breaker: Breaker, name: str) -> float:
    """Let the next probe go as soon as it may, and fail; returns when."""
    now = breaker.due_at
    assert breaker.take(now, name, PROBE_S)
    assert breaker.failed(now, name, Stage.READY, "no")
    return now


def test_it_opens_after_failures_in_a_row():
    """One success between them begins the row anew."""
    breaker = Breaker(rule=RULE)

    breaker.failed(0.0, "a", Stage.READY, "no")
    breaker.failed(0.0, "b", Stage.READY, "no")
    breaker.passed(0.0, "c", Stage.READY)
    breaker.failed(0.0, "d", Stage.READY, "no")
    breaker.failed(0.0, "e", Stage.READY, "no")

    assert breaker.closed
    assert breaker.failed(0.0, "f", Stage.READY, "no")
    assert BreakerState.OPEN is breaker.state(0.0)


def test_a_success_short_of_what_fails_ends_no_row():
    """Servers that become active and never answer do not excuse each other."""
    breaker = Breaker(rule=RULE)

    for name in ("a", "b", "c"):
        breaker.passed(0.0, name, Stage.ACTIVE)
        breaker.failed(0.0, name, Stage.READY, "does not answer")

    assert not breaker.closed


def test_each_probe_that_fails_doubles_the_wait_up_to_the_most():
    """30, 60, 120, … 600 and never more."""
    breaker, waits = opened(), []

    for number in range(8):
        waits.append(breaker.wait_s)
        fail_a_probe(breaker, f"probe-{number}")

    assert waits == [30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0, 600.0]


def test_after_it_closed_the_first_wait_is_short_again():
    """A success forgets the past."""
    breaker = opened()
    now = fail_a_probe(breaker, "first")
    breaker.take(breaker.due_at, "second", PROBE_S)

    assert breaker.passed(breaker.due_at, "second", Stage.READY)

    assert breaker.idle
    for name in ("a", "b", "c"):
        breaker.failed(now, name, Stage.READY, "no")
    assert breaker.wait_s == RULE.first_s


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_chance_makes_a_wait_shorter_and_never_longer(chance):
    """What broke for many is not tried by all in one moment."""
    breaker = Breaker(rule=RULE, chance=lambda: chance)
    breaker.trip(100.0, 3, "a", Stage.READY, "no")

    assert breaker.due_at == pytest.approx(100.0 + 30.0 * (1.0 - JITTER * chance))


def test_an_older_launch_that_fails_changes_nothing():
    """It is of the same occasion; a hundred of them do not open it for hours."""
    breaker = opened()
    due_at = breaker.due_at

    again = [breaker.failed(1.0, f"a{n}", Stage.READY, "no") for n in range(100)]

    assert not any(again)
    assert (breaker.due_at, breaker.failures) == (due_at, RULE.after)


def test_a_launch_sent_after_all_that_failed_closes_it():
    """It was sent before it opened, and yet knows better: what failed before it was chance."""
    breaker = opened()

    assert breaker.passed(5.0, "b9", Stage.READY)

    assert breaker.idle


def test_a_launch_of_which_later_ones_failed_does_not():
    """A cloud that has just become full: the first ones came up, and all since did not."""
    breaker = opened()
    breaker.failed(1.0, "c1", Stage.READY, "no")

    assert not breaker.passed(5.0, "b9", Stage.READY)

    assert not breaker.closed


def test_an_older_launch_that_works_lets_the_probe_go_at_once():
    """It proves little, as it was sent before: so one is tried, not all."""
    breaker = opened()

    closed = breaker.passed(5.0, "a", Stage.READY)

    assert not closed
    assert BreakerState.HALF_OPEN is breaker.state(5.0)
    assert breaker.take(5.0, "probe", PROBE_S)
    assert not breaker.turn(5.0)


def test_a_probe_that_ends_without_proof_gives_its_turn_back():
    """Cancelled, refused for quota, aborted: the next one goes, without a longer wait."""
    breaker = opened()
    breaker.take(30.0, "cancelled", PROBE_S)

    breaker.give_back("somebody else")
    assert not breaker.turn(31.0)
    breaker.give_back("cancelled")

    assert breaker.turn(31.0)
    assert breaker.wait_s == 30.0


def test_a_probe_that_hangs_loses_its_turn():
    """What becomes of it later counts no more."""
    breaker = opened()
    breaker.take(30.0, "hangs", PROBE_S)
    assert not breaker.turn(30.0 + PROBE_S - 1)

    assert breaker.take(30.0 + PROBE_S, "next", PROBE_S)

    assert not breaker.failed(30.0 + PROBE_S, "hangs", Stage.READY, "late")
    assert breaker.holder(30.0 + PROBE_S) == "next"


def test_a_reset_during_a_probe_closes_it_whatever_the_probe_does():
    """The probe's failure is then the first of a new row."""
    breaker = opened()
    breaker.take(30.0, "probe", PROBE_S)

    breaker.reset()
    opens = breaker.failed(31.0, "probe", Stage.READY, "no")

    assert not opens
    assert (breaker.closed, breaker.failures) == (True, 1)


@given(st.lists(st.sampled_from("abcd"), max_size=30))
def test_a_row_is_shared_only_when_no_single_kind_explains_it(kinds):
    """However many failures one kind has, a single failure of another is chance."""
    row = Row()
    for kind in kinds:
        row.failed(kind)

    others = len(kinds) - max((kinds.count(kind) for kind in kinds), default=0)

    assert row.shared(3) == (len(kinds) >= 3 and others >= 2)


class AnyHistory(RuleBasedStateMachine):
    """Any order of launches, endings and time: what a breaker promises holds in all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = Breaker(rule=RULE, chance=random.Random(1).random)
        self.sent: dict[str, float] = {}
        self.turns: dict[str, float] = {}
        """Launches that were told to go as the probe and have not ended, and until when."""
        self.serial = 0

    @rule(seconds=st.floats(0.0, 900.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def launch(self) -> None:
        """A launch is decided upon: only if it may go."""
        if not self.breaker.turn(self.now):
            return
        self.serial += 1
        name = f"{self.serial:06d}"
        self.sent[name] = self.now
        if self.breaker.take(self.now, name, PROBE_S):
            alive = [n for n, until in self.turns.items() if until > self.now]
            assert not alive, f"{name} and {alive} are probes at once"
            self.turns[name] = self.now + PROBE_S

    def _some(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.sent)))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), stage=st.sampled_from(Stage))
    def fails(self, data: st.DataObject, stage: Stage) -> None:
        name = self._some(data)
        holder = self.breaker.holder(self.now)
        was = self.breaker.wait_s
        self.breaker.failed(self.now, name, stage, "no")
        if holder == name:
            assert not self.breaker.turn(self.now), "a failed probe lets the next one go at once"
            assert self.breaker.wait_s >= was
        self._over(name)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def works(self, data: st.DataObject) -> None:
        name = self._some(data)
        known = self.breaker.holder(self.now) == name or name > self.breaker.last
        tripped = not self.breaker.closed
        self.breaker.passed(self.now, name, Stage.READY)
        if known or not tripped:
            assert self.breaker.idle, "the probe worked, or what is newer than all that failed"
            self.turns.clear()
        self._over(name)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def ends_without_proof(self, data: st.DataObject) -> None:
        self._over(self._some(data))

    def _over(self, name: str) -> None:
        self.breaker.give_back(name)
        del self.sent[name]
        self.turns.pop(name, None)

    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        self.turns.clear()

    @invariant()
    def a_probe_may_go_in_time(self) -> None:
        """If nothing more happens, a probe goes within the longest wait, or a hung one's turn."""
        latest = self.now + RULE.most_s
        if self.breaker.holder(self.now) is not None:
            latest = max(latest, self.now + PROBE_S)
        assert self.breaker.turn(latest)

    @invariant()
    def the_wait_is_bounded(self) -> None:
        assert self.breaker.closed or RULE.first_s <= self.breaker.wait_s <= RULE.most_s


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
