"""Which numbers a description of a simulated cloud may hold."""

import math
from collections.abc import Callable
from typing import Any

import attrs


def at_least(least: float) -> Callable[[Any, Any, Any], None]:
    """Refuse what is less than *least*, or endless; None passes."""

    def check(_instance: object, _field: object, value: float | None) -> None:
        if value is not None and not (value >= least and math.isfinite(value)):
            raise ValueError(f"must be at least {least:g}, not {value:g}")

    return check


def between(least: float, most: float) -> Callable[[Any, Any, Any], None]:
    """Refuse what is not from *least* to *most*."""

    def check(_instance: object, _field: object, value: float) -> None:
        if not least <= value <= most:
            raise ValueError(f"must be from {least:g} to {most:g}, not {value:g}")

    return check


def chance(_instance: object, _field: object, value: float) -> None:
    """Refuse what is no probability."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"is a probability: must be from 0 to 1, not {value:g}")


def rate() -> float:
    """The field of a fault's probability, which is 0 where it is left out."""
    field: float = attrs.field(default=0.0, validator=chance)
    return field


def span(_instance: object, _field: object, value: tuple[float, ...]) -> None:
    """Refuse what is no least and most number of seconds."""
    if len(value) != 2 or not 0.0 <= value[0] <= value[1]:
        raise ValueError("must be two numbers of seconds, the least and the most")
