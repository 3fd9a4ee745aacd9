"""What went over the road: calls and seconds, by kind. Read by whoever exports metrics."""

import attrs


@attrs.frozen(order=True)
class CallKey:
    """A kind of call with its outcome.

    Attributes:
        outcome: the class of the status, as ``2xx``; or ``unreachable`` or ``lost``.
    """

    service: str
    method: str
    path_label: str
    outcome: str


@attrs.define(kw_only=True)
class CallCount:
    """How many tries of a kind were made, and the seconds they took together; grows.

    Each try counts; the waits for a turn and between tries do not.
    """

    calls: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one more try."""
        self.calls += 1
        self.seconds += seconds
