"""Which changes of a provider's record are steps that are told."""

import attrs

from trellis.model.provider import Ceiling, Pause, ProviderRecord
from trellis.model.records import Change, event_of

BEFORE = ProviderRecord(name="alpha")
LEARNT = (Ceiling(quota="q", resource="instances", most=5, told=None, at=1.0),)


def test_what_is_learnt_of_a_quota_is_no_step_of_anybodys():
    """Else it would be told as a person's decision."""
    assert event_of(Change(BEFORE, attrs.evolve(BEFORE, ceilings=LEARNT)), 1, 2.0) is None


def test_a_pause_is_told_whatever_else_changes_with_it():
    """Only a change of nothing but ceilings is passed over."""
    pause = Pause(by="ann", reason="upgrade", since=1.0)
    event = event_of(Change(BEFORE, attrs.evolve(BEFORE, ceilings=LEARNT, pause=pause)), 1, 2.0)
    assert event is not None
    assert event.type == "provider.paused"
