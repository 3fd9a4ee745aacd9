"""The troubles of calls in the built-in story: everywhere a little, and outages of each kind."""

from collections.abc import Mapping
from typing import Any, Final

from trellis.sim.cloud.spec import Outage, OutageKind

EVERYWHERE: Final[Mapping[str, Any]] = {
    "lose_answer": 0.02,
    "lose_request": 0.01,
    "appear_late": 0.3,
    "appear_late_s": (20.0, 110.0),
    "server_error": 0.02,
    "cut_answer": 0.003,
    "html_answer": 0.002,
    "reset": 0.004,
    "hang_call": 0.001,
    "trickle": 0.001,
    "endless_answer": 0.0003,
    "huge_answer": 0.0001,
    "short_answer": 0.002,
    "odd_answer": 0.003,
    "garbage_headers": 0.005,
    "redirect": 0.0005,
    "refuse_token": 0.002,
    "revoke_tokens": 0.0005,
}
"""Chances that hold in every cloud while there are faults at all."""

_OUTAGES: Final[Mapping[str, tuple[tuple[float, float, OutageKind], ...]]] = {
    "beta": (
        (115.0, 140.0, OutageKind.BURST),
        (205.0, 300.0, OutageKind.LOCKED),
    ),
    "gamma": (
        (60.0, 150.0, OutageKind.HANG),
        (190.0, 230.0, OutageKind.REFUSE),
        (270.0, 310.0, OutageKind.GATEWAY),
    ),
    "delta": (
        (20.0, 50.0, OutageKind.SLOW),
        (240.0, 330.0, OutageKind.MOVED),
    ),
    "epsilon": ((110.0, 190.0, OutageKind.PROJECT),),
}


def outages(cloud: str) -> tuple[Outage, ...]:
    """When one cloud of the story is down, and how."""
    return tuple(
        Outage(start=start, end=end, kind=kind) for start, end, kind in _OUTAGES.get(cloud, ())
    )
