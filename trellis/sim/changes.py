"""What operators do to a configuration while the daemon runs."""

from random import Random

import attrs

from trellis.config import Configuration
from trellis.spi.config import ApiLimits, ProviderConfig


def altered(original: Configuration, chance: Random) -> Configuration:
    """The configuration with one change to it; never all of its providers are dropped."""
    providers = list(original.providers)
    place = chance.randrange(len(providers))
    match chance.choice(("drop", "rename", "limit", "relabel", "rates", "region", "min-ready")):
        case "drop" if len(providers) > 1:
            del providers[place]
        case "rename":
            providers[place] = attrs.evolve(providers[place], name=f"{providers[place].name}-new")
        case "limit":
            providers[place] = _limited(providers[place], chance.randint(0, 40))
        case "relabel":
            providers[place] = _relabelled(providers[place])
        case "rates":
            limits = ApiLimits(calls_per_second=chance.choice((1.0, 5.0, 50.0)))
            providers[place] = attrs.evolve(providers[place], limits=limits)
        case "region" if len(providers) > 1:
            # There is none of this name: nothing can be done there until it is corrected.
            providers[place] = attrs.evolve(providers[place], region_name="RegionTypo")
        case _:
            labels = tuple(
                attrs.evolve(label, min_ready=chance.randint(0, 6)) for label in original.labels
            )
            return attrs.evolve(original, labels=labels)
    return attrs.evolve(original, providers=tuple(providers))


def _limited(config: ProviderConfig, most: int) -> ProviderConfig:
    pools = tuple(attrs.evolve(pool, max_servers=most) for pool in config.pools)
    return attrs.evolve(config, pools=pools)


def _relabelled(config: ProviderConfig) -> ProviderConfig:
    """Each label's nodes are made otherwise; what they come to stays."""
    pools = tuple(
        attrs.evolve(
            pool,
            labels=tuple(attrs.evolve(label, python_path="/opt/python") for label in pool.labels),
        )
        for pool in config.pools
    )
    return attrs.evolve(config, pools=pools)
