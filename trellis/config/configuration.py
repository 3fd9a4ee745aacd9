"""What stands in ``trellis.yaml``, as frozen values."""

import re
from pathlib import Path
from typing import Final, Protocol, TypeVar

import attrs

from trellis.config.addresses import ListenAddress, StoreAddress
from trellis.spi.config import (
    NOT_OF_THE_NODE,
    DemandSourceConfig,
    ImageConfig,
    ProviderConfig,
    Seconds,
    above_zero,
    at_least,
    not_empty,
)

_DEPLOYMENT: Final = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR


def _deployment(_instance: object, _field: object, value: str) -> None:
    if not _DEPLOYMENT.match(value):
        raise ValueError(
            "must be 1 to 64 letters, digits and dashes: it stands on every tag in the clouds"
        )


@attrs.frozen(kw_only=True)
class WebConfig:
    """The web face: API, dashboard, metrics.

    Attributes:
        listen: loopback address and port to listen on.
    """

    listen: ListenAddress = attrs.field(default=ListenAddress(host="127.0.0.1", port=8480))


@attrs.frozen(kw_only=True)
class LabelConfig:
    """A label: the name by which nodes are asked for.

    Attributes:
        name: the label.
        min_ready: idle nodes to keep ready, over all providers together.
        max_ready_age: idle nodes older than this are replaced; 0 keeps them.
        max_servers: most nodes of it at a time, over all providers together; no limit if left
            out, and 0 launches none.
        host_key_checking: false skips the readiness check, and no host keys are read.
    """

    name: str = attrs.field(validator=not_empty)
    min_ready: int = attrs.field(default=0, validator=at_least(0), metadata=NOT_OF_THE_NODE)
    max_ready_age: Seconds = attrs.field(
        default=Seconds(0), validator=at_least(0), metadata=NOT_OF_THE_NODE
    )
    max_servers: int | None = attrs.field(
        default=None, validator=at_least(0), metadata=NOT_OF_THE_NODE
    )
    host_key_checking: bool = True


@attrs.frozen(kw_only=True)
class TenantConfig:
    """A tenant: on whose behalf requests are made, and what it may hold at a time.

    A node counts from when it is launched for a request of the tenant, or given to one, until
    its lease ends; one that is kept ready belongs to nobody.

    Attributes:
        name: the tenant, as requests name it.
        max_servers: most nodes at a time, over all providers; no limit if left out, and 0 has
            its requests wait.
        max_cores: most cores at a time.
        max_ram: most memory at a time, in MiB.
        share: its weight where requests of one priority wait and there is not room for all: who
            holds the least for its share is served first. Where no tenant has one, the oldest
            request is; where some have, all others count 1.
    """

    name: str = attrs.field(validator=not_empty)
    max_servers: int | None = attrs.field(default=None, validator=at_least(0))
    max_cores: int | None = attrs.field(default=None, validator=at_least(0))
    max_ram: int | None = attrs.field(default=None, validator=at_least(0))
    share: float | None = attrs.field(default=None, validator=above_zero)


@attrs.frozen(kw_only=True)
class Configuration:
    """All of ``trellis.yaml``.

    Attributes:
        deployment: whose nodes these are: it is on every tag, and what carries another one is
            never touched. Letters, digits and dashes, at most 64; must not change.
        store: where records are kept: ``sqlite:PATH``, relative to this file's folder.
        web: the web face.
        labels: the names by which nodes are asked for.
        tenants: what each of those on whose behalf requests are made may hold; others have no
            limits.
        images: images that are built here.
        images_dir: where their files are kept, relative to this file's folder.
        elements_dir: folder with elements of the site's own, for diskimage-builder.
        build_log_dir: where the logs of builds are kept; beside the files if left out.
        build_log_retention: so many logs of each image are kept.
        build_workers: images built at the same time; of one image there is one build at a time.
        providers: regions of clouds in which nodes are launched.
        demand_sources: where demand comes from, beside the REST face, which is always there.
        launch_budget: most launches in a minute, over all providers; bounds what a bug can do.
        starve_after: a request that has waited this long gets room reserved on one provider.
        lease_ttl: how long a lease lasts without being renewed, if its request does not say.
        max_lease_age: how long a lease can last at most, however often it is renewed.
        max_hold_age: held nodes are deleted when older than this; 0 keeps them.
        alarm_age: a request not served, or a node that does not move on, for longer than this is
            told as overdue; 0 tells of none.
        history_age: how long what is gone can still be explained.
        disabled_plugins: plugins that are not loaded; ``TRELLIS_DISABLED_PLUGINS`` adds to it.
    """

    deployment: str = attrs.field(validator=_deployment)
    store: StoreAddress = attrs.field(default=StoreAddress(path=Path("trellis.db")))
    web: WebConfig = attrs.field(factory=WebConfig)
    labels: tuple[LabelConfig, ...] = ()
    tenants: tuple[TenantConfig, ...] = ()
    images: tuple[ImageConfig, ...] = ()
    images_dir: Path = attrs.field(default=Path("images"))
    elements_dir: Path | None = None
    build_log_dir: Path | None = None
    build_log_retention: int = attrs.field(default=7, validator=at_least(1))
    build_workers: int = attrs.field(default=1, validator=at_least(1))
    providers: tuple[ProviderConfig, ...] = ()
    demand_sources: tuple[DemandSourceConfig, ...] = ()
    launch_budget: int = attrs.field(default=3000, validator=at_least(1))
    starve_after: Seconds = attrs.field(default=Seconds(600), validator=above_zero)
    lease_ttl: Seconds = attrs.field(default=Seconds(_HOUR), validator=at_least(60))
    max_lease_age: Seconds = attrs.field(default=Seconds(_DAY), validator=at_least(60))
    max_hold_age: Seconds = attrs.field(default=Seconds(0), validator=at_least(0))
    alarm_age: Seconds = attrs.field(default=Seconds(_HOUR), validator=at_least(0))
    history_age: Seconds = attrs.field(default=Seconds(7 * _DAY), validator=at_least(_HOUR))
    disabled_plugins: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.lease_ttl > self.max_lease_age:
            raise ValueError("lease-ttl must not be longer than max-lease-age")

    def label(self, name: str) -> LabelConfig | None:
        """The label of this name, or None."""
        return _named(self.labels, name)

    def image(self, name: str) -> ImageConfig | None:
        """The image of this name, or None."""
        return _named(self.images, name)

    def provider(self, name: str) -> ProviderConfig | None:
        """The provider of this name, or None."""
        return _named(self.providers, name)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_N = TypeVar("_N", bound=_Named)


def _named(things: tuple[_N, ...], name: str) -> _N | None:
    return next((thing for thing in things if thing.name == name), None)
