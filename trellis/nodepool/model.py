"""What stands in a nodepool.yaml, as frozen values: the keys of Nodepool 11.0.0 and their types.

A value is None where its key is left out, so that what was written can be told from a default.
The classes follow the schemas of `nodepool/cmd/config_validator.py`, `nodepool/driver/__init__.py`
and `nodepool/driver/openstack/config.py`, and what these files read beside their schemas.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from trellis.spi.config import at_least, at_most, not_empty


def _not_empty(instance: object, field: object, value: str | None) -> None:
    if value is not None:
        not_empty(instance, field, value)


def _path(_instance: object, _field: object, value: str | None) -> None:
    if value and (not value.startswith("/") or "//" in value):
        raise ValueError(f"must be a path from / on, as /nodepool, and not {value[:60]!r}")


def _one_tree(_instance: object, _field: object, value: "Servers") -> None:
    if len(trees := {server.tree for server in value or () if server.tree}) > 1:
        raise ValueError(f"one chroot holds for all servers, not {' and '.join(sorted(trees))}")


def _name() -> Any:
    return attrs.field(validator=not_empty)


def _named() -> Any:
    return attrs.field(default=None, validator=_not_empty)


def _port() -> Any:
    return attrs.field(default=None, validator=(at_least(1), at_most(65535)))


@attrs.frozen(kw_only=True)
class Label:
    """One of the top-level ``labels``; ages are in seconds."""

    name: str = _name()
    min_ready: int | None = None
    max_ready_age: int | None = None


@attrs.frozen(kw_only=True)
class DiskImage:
    """One of the top-level ``diskimages``; ages and time-outs are in seconds."""

    name: str = _name()
    abstract: bool | None = None
    parent: str | None = None
    dib_cmd: str | None = None
    pause: bool | None = None
    elements: tuple[str, ...] | None = None
    formats: tuple[str, ...] | None = None
    keep_formats: tuple[str, ...] | None = None
    delete_after_upload: bool | None = None
    release: str | int | float | None = None
    rebuild_age: int | None = None
    build_timeout: int | None = None
    env_vars: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    username: str | None = None
    python_path: str | None = None
    shell_type: str | None = None
    metadata: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class ProviderImage:
    """One of a provider's ``diskimages``: an image built here that it gets."""

    name: str = _name()
    pause: bool | None = None
    meta: Mapping[str, Any] | None = None
    config_drive: bool | None = None
    connection_type: str | None = None
    connection_port: int | None = _port()


@attrs.frozen(kw_only=True)
class CloudImage:
    """One of a provider's ``cloud-images``: an image that the cloud has already."""

    name: str = _name()
    image_id: str | None = _named()
    image_name: str | None = _named()
    config_drive: bool | None = None
    username: str | None = None
    python_path: str | None = None
    shell_type: str | None = None
    connection_type: str | None = None
    connection_port: int | None = _port()

    def __attrs_post_init__(self) -> None:
        if self.image_id is not None and self.image_name is not None:
            raise ValueError(f"cloud image {self.name!r} has both image-id and image-name")

    @property
    def external(self) -> str:
        """How the cloud calls it: its id if that is given, or its name."""
        return self.image_id or self.image_name or self.name


@attrs.frozen(kw_only=True)
class PoolLabel:
    """A label that a pool offers; memory in MiB, volumes in GiB."""

    name: str = _name()
    diskimage: str | None = _named()
    cloud_image: str | None = _named()
    min_ram: int | None = None
    flavor_name: str | None = _named()
    key_name: str | None = None
    console_log: bool | None = None
    boot_from_volume: bool | None = None
    volume_size: int | None = None
    instance_properties: Mapping[str, Any] | None = None
    dynamic_instance_properties: Mapping[str, Any] | None = None
    userdata: str | None = attrs.field(default=None, repr=False)
    networks: tuple[str, ...] | None = None
    host_key_checking: bool | None = None

    def __attrs_post_init__(self) -> None:
        if (self.diskimage is None) == (self.cloud_image is None):
            raise ValueError(f"label {self.name!r} needs one of diskimage and cloud-image")
        if self.flavor_name is None and self.min_ram is None:
            raise ValueError(f"label {self.name!r} needs flavor-name, min-ram, or both")


@attrs.frozen(kw_only=True)
class Pool:
    """A pool of an OpenStack provider; memory in MiB, volumes in GiB."""

    name: str = _name()
    max_servers: int | None = None
    max_cores: int | None = None
    max_ram: int | None = None
    max_volumes: int | None = None
    max_volume_gb: int | None = None
    priority: int | None = None
    node_attributes: Mapping[str, Any] | None = None
    ignore_provider_quota: bool | None = None
    availability_zones: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    security_groups: tuple[str, ...] | None = None
    auto_floating_ip: bool | None = None
    host_key_checking: bool | None = None
    labels: tuple[PoolLabel, ...] | None = None


@attrs.frozen(kw_only=True)
class OpenStackProvider:
    """A provider of the driver ``openstack``; times are in seconds."""

    name: str = _name()
    driver: str | None = None
    cloud: str = _name()
    region_name: str | None = _named()
    max_concurrency: int | None = None
    priority: int | None = None
    boot_timeout: int | None = None
    launch_timeout: int | None = None
    launch_retries: int | None = None
    image_upload_timeout: int | None = None
    rate: float | str | None = None
    image_name_format: str | None = None
    post_upload_hook: str | None = None
    clean_floating_ips: bool | None = None
    port_cleanup_interval: int | None = None
    nodepool_id: str | None = None
    diskimages: tuple[ProviderImage, ...] | None = None
    cloud_images: tuple[CloudImage, ...] | None = None
    pools: tuple[Pool, ...] | None = None


@attrs.frozen(kw_only=True)
class ZooKeeperServer:
    """One of ``zookeeper-servers``."""

    host: str = _name()
    port: int | None = _port()
    chroot: str | None = attrs.field(default=None, validator=_path)

    @property
    def tree(self) -> str:
        """The path of its tree; "" is the root."""
        return (self.chroot or "").rstrip("/")


Servers = tuple[ZooKeeperServer, ...] | None


@attrs.frozen(kw_only=True)
class ZooKeeperTls:
    """The files of ``zookeeper-tls``."""

    cert: str = _name()
    key: str = _name()
    ca: str = _name()


@attrs.frozen(kw_only=True)
class Configuration:
    """All of a nodepool.yaml; providers are read one by one, by their drivers."""

    labels: tuple[Label, ...] | None = None
    diskimages: tuple[DiskImage, ...] | None = None
    providers: Any = None
    max_hold_age: int | None = None
    tenant_resource_limits: Any = None
    webapp: Any = None
    zookeeper_servers: tuple[ZooKeeperServer, ...] | None = attrs.field(
        default=None, validator=_one_tree
    )
    zookeeper_tls: ZooKeeperTls | None = None
    zookeeper_timeout: float | None = None
    elements_dir: str | None = _named()
    images_dir: str | None = _named()
    build_log_dir: str | None = _named()
    build_log_retention: int | None = None


@attrs.frozen(kw_only=True)
class SecureImage:
    """What a secure file says of an image."""

    name: str = _name()
    env_vars: Mapping[str, str] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Secure:
    """All of a secure file."""

    zookeeper_servers: tuple[ZooKeeperServer, ...] | None = attrs.field(
        default=None, validator=_one_tree
    )
    zookeeper_tls: ZooKeeperTls | None = None
    diskimages: tuple[SecureImage, ...] | None = None
