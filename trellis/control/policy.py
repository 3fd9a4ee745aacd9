"""What the configuration says about everything but the providers themselves."""

from collections.abc import Mapping
from typing import Self

import attrs

from trellis.config import Configuration, label_hashes


@attrs.frozen(kw_only=True)
class LabelPolicy:
    """What the configuration says of a label."""

    name: str
    min_ready: int
    max_ready_age_s: float
    host_key_checking: bool


@attrs.frozen(kw_only=True)
class Policy:
    """What a configuration comes to.

    Attributes:
        labels: by name, in the order of the file.
        offered: the labels that each provider's pools offer.
        hashes: for provider, pool and label, what its nodes are made from.
    """

    labels: Mapping[str, LabelPolicy]
    offered: Mapping[str, frozenset[str]]
    hashes: Mapping[tuple[str, str, str], str]
    min_ready: Mapping[str, int]
    max_ready_age_s: Mapping[str, float]
    starve_after_s: float
    launches_per_minute: int
    lease_ttl_s: int
    max_lease_age_s: float
    max_hold_age_s: float

    @classmethod
    def of(cls, configuration: Configuration) -> Self:
        """The policy of a configuration."""
        labels = {
            label.name: LabelPolicy(
                name=label.name,
                min_ready=label.min_ready,
                max_ready_age_s=label.max_ready_age,
                host_key_checking=label.host_key_checking,
            )
            for label in configuration.labels
        }
        return cls(
            labels=labels,
            offered={
                config.name: frozenset(x.name for pool in config.pools for x in pool.labels)
                for config in configuration.providers
            },
            hashes=label_hashes(configuration),
            min_ready={x.name: x.min_ready for x in labels.values() if x.min_ready},
            max_ready_age_s={x.name: x.max_ready_age_s for x in labels.values()},
            starve_after_s=configuration.starve_after,
            launches_per_minute=configuration.launch_budget,
            lease_ttl_s=round(configuration.lease_ttl),
            max_lease_age_s=configuration.max_lease_age,
            max_hold_age_s=configuration.max_hold_age,
        )


@attrs.define(eq=False)
class InForce:
    """The policy in force: all who go by it see a change of the configuration at once."""

    policy: Policy
