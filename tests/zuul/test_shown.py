"""Which requests' nodes may have been shown in the tree is known, and is cheap to know."""

from trellis_zuul.resume import Shown

from tests.zuul.node_stage import EPOCH, SOURCE
from trellis.model.request import RequestState
from trellis.testing.builders import a_request


def fulfilled(number, **parts):
    return a_request(number, ["small"], source=SOURCE, state=RequestState.FULFILLED, **parts)


def test_one_fulfilled_before_the_start_is_in_doubt_whatever_the_clock_has_done():
    """A clock that was an hour ahead, and was set back."""
    before, after = fulfilled(1, state_at=EPOCH + 3600.0), fulfilled(2, state_at=EPOCH)

    shown = Shown([before])

    assert not shown.surely_not(before)
    assert shown.surely_not(after)


def test_one_that_waited_at_the_start_is_not_in_doubt():
    request = a_request(1, ["small"], source=SOURCE, state=RequestState.PENDING)

    assert Shown([request]).surely_not(request)


def test_the_live_requests_are_not_gone_through_at_each_fulfilment():
    shown, live, looks = Shown([]), [fulfilled(number) for number in range(5000)], 0

    def looked():
        nonlocal looks
        looks += 1
        return live

    for request in live:
        shown.note(request.id, looked)

    assert not any(shown.surely_not(request) for request in live)
    assert looks < 5


def test_those_that_are_over_are_forgotten():
    shown, first = Shown([]), fulfilled(1)
    shown.note(first.id, list)
    for number in range(2, 1003):
        request = fulfilled(number)
        shown.note(request.id, lambda last=request: [last])

    assert shown.surely_not(first)
