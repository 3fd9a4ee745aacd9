"""The troubles inside the clouds of the built-in story: everywhere a little, and by windows."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from trellis.sim.cloud.spec import Faults, FaultWindow

EVERYWHERE: Final[Mapping[str, Any]] = {
    "image_error": 0.003,
    "flavor_error": 0.003,
    "zone_error": 0.003,
    "late_fault": 0.3,
    "late_fault_s": 4.0,
    "no_address": 0.003,
    "active_error": 0.01,
    "active_stop": 0.01,
    "deleted_by_person": 0.005,
    "renamed_by_person": 0.005,
    "rebuilt_by_person": 0.003,
    "port_deleted_by_person": 0.003,
    "floating_ip_deleted_by_person": 0.02,
    "mishap_s": (1.0, 200.0),
    "endless_delete": 0.003,
    "endless_delete_s": 900.0,
    "delete_conflict": 0.01,
    "delete_conflict_s": 90.0,
    "delete_vanish": 0.005,
    "delete_vanish_s": 100.0,
    "come_back": 0.003,
    "come_back_s": 400.0,
    "deleted_row_archived": 0.02,
    "deleted_row_never": 1.0,
    "updated_back": 0.01,
    "updated_back_s": 120.0,
    "leak_port": 0.01,
    "leak_unseen_volume": 0.2,
    "floating_ip_delete_lies": 0.02,
    "floating_ip_delete_missing": 0.01,
    "floating_ip_delete_conflict": 0.03,
}
"""Chances and durations that hold in every cloud while there are faults at all."""

_WINDOWS: Final[Mapping[str, tuple[tuple[float, float, Mapping[str, Any]], ...]]] = {
    "alpha": (
        (40.0, 90.0, {"flavor_gone": ("ci-1c-1g",)}),
        (130.0, 180.0, {"zone_gone": ("az1",)}),
        (220.0, 300.0, {"zone_dead": ("az2",)}),
        (310.0, 360.0, {"quota_changed": 0.4}),
        (380.0, 450.0, {"clock_skew_s": 600.0}),
    ),
    "beta": (
        (50.0, 110.0, {"changes_since_refused": True}),
        (150.0, 200.0, {"image_inactive": ("tiny",)}),
        (320.0, 440.0, {"quota_too_low": True}),
    ),
    "gamma": (
        (20.0, 55.0, {"image_gone": ("tiny",)}),
        (315.0, 400.0, {"down_cell_unknown": True}),
        (410.0, 450.0, {"quota_unlimited": True}),
    ),
    "delta": (
        (60.0, 160.0, {"down_cell_skipped": True}),
        (200.0, 300.0, {"clock_skew_s": -600.0}),
        (330.0, 380.0, {"quota_too_high": True}),
        (390.0, 440.0, {"quota_refused": True}),
    ),
    "epsilon": (
        (30.0, 75.0, {"network_gone": ("public",)}),
        (85.0, 228.0, {"changes_since_ignored": True}),
        (230.0, 330.0, {"quota_stuck": 8}),
        (350.0, 430.0, {"quota_missing": True}),
    ),
}


def windows(cloud: str, everywhere: Faults, end: float) -> tuple[FaultWindow, ...]:
    """The windows of one cloud of the story: those of its own, and *everywhere*'s until *end*."""
    own = tuple(
        FaultWindow(start=start, end=until, faults=attrs.evolve(everywhere, **faults))
        for start, until, faults in _WINDOWS.get(cloud, ())
    )
    return (*own, FaultWindow(start=0.0, end=end, faults=everywhere))
