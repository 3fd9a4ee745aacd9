"""What went over the road: calls and seconds, by kind. Read by whoever exports metrics."""

import attrs


@attrs.frozen(kw_only=True, order=True)
class CallKey:
    """A kind of call with its outcome.

    Attributes:
        outcome: the class of the status, as ``2xx``; or ``unreachable`` or ``lost``.
    """

    service: str
    method: str
    path_label: str
    outcome: str


@attrs.frozen(kw_only=True)
class CallCount:
    """How many tries of a kind were made, and the seconds they took together.

    Each try counts; the waits for a turn and between tries do not.
    """

    calls: int = 0
    seconds: float = 0.0

    def and_one(self, seconds: float) -> "CallCount":
        """The count after one more try."""
        return CallCount(calls=self.calls + 1, seconds=self.seconds + seconds)
