"""What servers cost: per flavor and hour, at each cloud."""

import math
from collections.abc import Mapping
from typing import Any, Final

import attrs

from trellis.sim.demand import between

HOUR_S: Final = 3600.0
OTHERS: Final = "other"
"""Stands in a cloud's prices for every flavor that is not named there."""


def _prices(_instance: object, _field: object, value: Mapping[str, Mapping[str, float]]) -> None:
    for cloud, by_flavor in value.items():
        for flavor, price in by_flavor.items():
            if not 0.0 <= price < math.inf:
                raise ValueError(f"{cloud}: {flavor} must cost 0 or more an hour, not {price:g}")


def _currency(_instance: object, _field: object, value: str) -> None:
    if not value.strip() or len(value) > 12:
        raise ValueError("must be a currency's short name or sign, as EUR")


@attrs.frozen(kw_only=True)
class Prices:
    """What a server costs, from its create until it is gone.

    Attributes:
        currency: what the prices are in, as ``EUR``.
        billed_by_s: what is charged at least and in steps of: 3600 is by hours begun.
        clouds: by cloud and flavor, the price of an hour; ``other`` is for every flavor that is
            not named.
    """

    currency: str = attrs.field(default="EUR", validator=_currency)
    billed_by_s: float = attrs.field(default=1.0, validator=between(0.001, 31 * 86_400.0))
    clouds: Mapping[str, Mapping[str, float]] = attrs.field(validator=_prices)

    def of(self, cloud: str, flavor: str, lasted_s: float) -> float | None:
        """What a server that lasted so long costs; None if its price is not known."""
        by_flavor: Mapping[str, Any] = self.clouds.get(cloud, {})
        price = by_flavor.get(flavor, by_flavor.get(OTHERS))
        if price is None:
            return None
        steps = max(1, math.ceil(lasted_s / self.billed_by_s - 1e-9))
        return float(price) * steps * self.billed_by_s / HOUR_S
