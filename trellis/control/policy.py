"""What the configuration says about everything but the providers themselves."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import attrs

from trellis.config import Configuration, label_hashes, recipe_of
from trellis.model.quota import Limits
from trellis.spi.config import ImageConfig
from trellis.spi.demand import OfferedPool


@attrs.frozen(kw_only=True)
class LabelPolicy:
    """What the configuration says of a label."""

    name: str
    min_ready: int
    max_ready_age_s: float
    host_key_checking: bool
    max_servers: int | None


@attrs.frozen(kw_only=True)
class TenantPolicy:
    """What the configuration says of a tenant."""

    name: str
    limits: Limits
    share: float | None


@attrs.frozen(kw_only=True)
class ImagePolicy:
    """What the configuration says of images.

    Attributes:
        configs: those that are built, by name, in the order of the file; abstract ones are not.
        recipes: hash of what each of them is made of.
        folder: where their files are kept.
        logs: where the logs of their builds are kept.
        logs_kept: so many of each image.
        elements_dirs: folders with elements of the site's own.
        workers: images built at the same time.
    """

    configs: Mapping[str, ImageConfig] = attrs.field(factory=dict)
    recipes: Mapping[str, str] = attrs.field(factory=dict)
    folder: Path = Path("images")
    logs: Path = Path("images")
    logs_kept: int = 7
    elements_dirs: tuple[Path, ...] = ()
    workers: int = 1

    @classmethod
    def of(cls, configuration: Configuration) -> Self:
        """What a configuration says of images."""
        configs = {image.name: image for image in configuration.images if not image.abstract}
        elements = configuration.elements_dir
        return cls(
            configs=configs,
            recipes={name: recipe_of(image) for name, image in configs.items()},
            folder=configuration.images_dir,
            logs=configuration.build_log_dir or configuration.images_dir,
            logs_kept=configuration.build_log_retention,
            elements_dirs=() if elements is None else (elements,),
            workers=configuration.build_workers,
        )


@attrs.frozen(kw_only=True)
class Policy:
    """What a configuration comes to.

    Attributes:
        labels: by name, in the order of the file.
        offered: the labels that each provider's pools offer.
        hashes: for provider, pool and label, what its nodes are made from.
        label_limits: most nodes of a label over all providers, where there is a limit.
        pools: of all providers; that one is paused the configuration does not say.
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
    alarm_age_s: float
    tenants: Mapping[str, TenantPolicy]
    label_limits: Mapping[str, int]
    images: ImagePolicy = attrs.field(factory=ImagePolicy)
    pools: tuple[OfferedPool, ...] = ()

    @classmethod
    def of(cls, configuration: Configuration) -> Self:
        """The policy of a configuration."""
        labels = {
            label.name: LabelPolicy(
                name=label.name,
                min_ready=label.min_ready,
                max_ready_age_s=label.max_ready_age,
                host_key_checking=label.host_key_checking,
                max_servers=label.max_servers,
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
            alarm_age_s=configuration.alarm_age,
            tenants={
                tenant.name: TenantPolicy(
                    name=tenant.name,
                    limits=Limits(
                        instances=tenant.max_servers,
                        cores=tenant.max_cores,
                        ram_mib=tenant.max_ram,
                    ),
                    share=tenant.share,
                )
                for tenant in configuration.tenants
            },
            label_limits={
                x.name: x.max_servers for x in labels.values() if x.max_servers is not None
            },
            images=ImagePolicy.of(configuration),
            pools=tuple(_pools(configuration)),
        )


def _pools(configuration: Configuration) -> Iterator[OfferedPool]:
    checked = {label.name for label in configuration.labels if label.host_key_checking}
    for provider in configuration.providers:
        for pool in provider.pools:
            yield OfferedPool(
                provider=provider.name,
                pool=pool.name,
                labels=frozenset(label.name for label in pool.labels),
                priority=provider.priority if pool.priority is None else pool.priority,
                paused=False,
                max_servers=pool.max_servers,
                shut=frozenset(x.name for x in pool.labels if not pool.launches(x)),
                unchecked=frozenset(
                    label.name
                    for label in pool.labels
                    if label.name not in checked or not pool.login(label).host_key_checking
                ),
                attributes=pool.node_attributes,
            )


@attrs.define(eq=False)
class InForce:
    """The policy in force: all who go by it see a change of the configuration at once."""

    policy: Policy
