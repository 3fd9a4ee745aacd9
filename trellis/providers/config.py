"""What the configuration file says of an OpenStack provider, its pools and their labels."""

from collections.abc import Mapping
from typing import Final, Literal

import attrs

from trellis.spi.config import (
    NOT_OF_THE_NODE,
    PoolConfig,
    PoolLabelConfig,
    ProviderConfig,
    at_least,
)

_USER_DATA_MOST: Final = 65535 // 4 * 3
"""Nova takes 65535 bytes of base64 (nova/api/openstack/compute/schemas/servers.py)."""
_METADATA_MOST: Final = 255


def _fits_user_data(_instance: object, _field: object, value: str | None) -> None:
    if value is not None and (size := len(value.encode())) > _USER_DATA_MOST:
        raise ValueError(f"must be at most {_USER_DATA_MOST} bytes, not {size}")


def _fits_metadata(_instance: object, _field: object, value: Mapping[str, str]) -> None:
    for key, text in value.items():
        if not key or len(key) > _METADATA_MOST or len(text) > _METADATA_MOST:
            raise ValueError(
                f"key and value may have {_METADATA_MOST} characters at most: {key[:60]!r}"
            )
        if key.startswith("trellis_"):
            raise ValueError(f"{key!r}: keys that begin with trellis_ are Trellis's own")


def _names_a_file(_instance: object, _field: object, value: str | None) -> None:
    if value is not None and (
        "{file}" not in value or not value.startswith(("http://", "https://"))
    ):
        raise ValueError("must be a URL with {file} in it, as https://builder.example/{file}")


@attrs.frozen(kw_only=True)
class OpenStackLabelConfig(PoolLabelConfig):
    """A label that a pool offers: an image, a flavor, and what a server is created with.

    Attributes:
        name: the label, one of the top-level ``labels``.
        image: the image, one of the top-level ``images``, built here and uploaded.
        cloud_image: name or id of an image the cloud has already, instead of ``image``; of
            several of one name the newest is taken.
        flavor_name: name or id of the flavor; with ``min-ram``, a part of its name.
        min_ram: least memory in MiB: the smallest flavor that has it is taken.
        key_name: the keypair whose public key goes into the server.
        userdata: text handed to cloud-init or its like.
        config_drive: whether the server gets a config drive; what the cloud needs if left out.
        instance_properties: metadata of the server.
        networks: names or ids of the networks; the pool's if left out.
        boot_from_volume: whether a server boots from a volume made of the image, which is
            deleted with it; for flavors without a disk, and clouds whose disks are volumes. What
            the cloud needs if left out.
        volume_size: size of that volume in GiB; 50 if left out, or what is usual at the cloud.
        username: the user to log in as.
        connection_type: how to connect: ``ssh`` unless the image has something else.
        connection_port: the port to connect to.
        python_path: the Python of the image; ``auto`` lets the requestor find it.
        shell_type: the shell of the image, for requestors that must know it.
        max_servers: most nodes of the label in this pool at a time; no limit if left out.
        host_key_checking: whether to connect and read host keys before a node is ready; the
            pool's setting if left out.
    """

    cloud_image: str | None = None
    flavor_name: str | None = None
    min_ram: int | None = attrs.field(default=None, validator=at_least(1))
    key_name: str | None = None
    userdata: str | None = attrs.field(default=None, repr=False, validator=_fits_user_data)
    config_drive: bool | None = None
    instance_properties: Mapping[str, str] = attrs.field(factory=dict, validator=_fits_metadata)
    networks: tuple[str, ...] = ()
    boot_from_volume: bool | None = None
    volume_size: int | None = attrs.field(default=None, validator=at_least(1))

    def __attrs_post_init__(self) -> None:
        if (self.image is None) == (self.cloud_image is None):
            raise ValueError(
                f"label {self.name!r} needs one of image (built here) and cloud-image "
                "(the cloud has it), and not both"
            )
        if self.flavor_name is None and self.min_ram is None:
            raise ValueError(f"label {self.name!r} needs flavor-name, min-ram, or both")


@attrs.frozen(kw_only=True)
class OpenStackPoolConfig(PoolConfig):
    """A slice of a provider, with networks, zones and limits of its own.

    Attributes:
        name: name of the pool, unique in its provider.
        labels: the labels it offers.
        networks: names or ids of the networks of its servers; the cloud's choice if left out.
        security_groups: names or ids; the project's default group if left out.
        availability_zones: zones to choose from; all the cloud shows if left out.
        auto_floating_ip: whether a server without a public address gets a floating IP.
        max_servers: most servers at a time; no limit if left out, and 0 launches nothing.
        max_cores: most cores at a time.
        max_ram: most memory at a time, in MiB.
        ignore_provider_quota: True where the cloud's own quota figures are wrong.
        host_key_checking: whether to connect to nodes and read their host keys before they are
            ready. False hands nodes out unproved.
        node_attributes: handed on with each node, as they are.
    """

    labels: tuple[OpenStackLabelConfig, ...] = attrs.field(default=(), metadata=NOT_OF_THE_NODE)
    networks: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    availability_zones: tuple[str, ...] = attrs.field(default=(), metadata=NOT_OF_THE_NODE)
    auto_floating_ip: bool = True


@attrs.frozen(kw_only=True)
class OpenStackProviderConfig(ProviderConfig):
    """One region of one OpenStack account, and what may be launched there.

    Attributes:
        name: name of the provider, unique in the file; nodes and records carry it.
        type: kind of the provider, as a plugin registers it (``trellis plugin list``).
        cloud: name of the cloud in ``clouds.yaml``.
        region_name: region of the cloud; may be left out where the cloud has only one.
        pools: slices of the provider.
        floating_network: name or id of the external network that floating IPs come from; the
            one behind the project's router if left out.
        boot_timeout: longest time from active to answering.
        launch_timeout: longest time of one launch, from the create to ready.
        launch_retries: launches that may fail for one slot of a request before the request is
            planned elsewhere; those refused for quota or capacity do not count.
        create_settle: how long a create without an answer stays in doubt.
        sweep: what is done about leaks: ``report`` or ``delete``.
        api_timeout: longest time of one call to the cloud, with its tries.
        max_concurrency: most launches at a time; as many as are needed if left out.
        upload_workers: images uploaded at the same time.
        image_upload_timeout: longest time of one upload; 0 goes by its size and by how fast
            uploads went there lately.
        image_upload: how images are uploaded: ``put``, ``import``, ``web-download`` or ``task``;
            what the cloud needs if left out.
        image_format: format of the images; what suits the cloud if left out.
        image_download_url: for ``web-download``: where the cloud finds the files of
            ``images-dir``, with ``{file}`` in place of a file's name. Never shown, as it may
            hold credentials.
        image_properties: properties of the images uploaded there, over those of the images.
        limits: how fast the cloud's API may be called; learnt from its answers if left out.
    """

    pools: tuple[OpenStackPoolConfig, ...] = attrs.field(default=(), metadata=NOT_OF_THE_NODE)
    floating_network: str | None = None
    image_upload: Literal["put", "import", "web-download", "task"] | None = attrs.field(
        default=None, metadata=NOT_OF_THE_NODE
    )
    image_format: str | None = attrs.field(default=None, metadata=NOT_OF_THE_NODE)
    image_download_url: str | None = attrs.field(
        default=None, validator=_names_a_file, repr=False, metadata=NOT_OF_THE_NODE
    )
    image_properties: Mapping[str, str] = attrs.field(factory=dict, metadata=NOT_OF_THE_NODE)

    def __attrs_post_init__(self) -> None:
        if self.image_upload == "web-download" and self.image_download_url is None:
            raise ValueError(
                "image-upload: web-download needs image-download-url: where the cloud finds the "
                "files of images-dir, as https://builder.example/images/{file}"
            )

    def find_pool(self, name: str) -> OpenStackPoolConfig | None:
        """The pool of this name, if there is one."""
        return next((pool for pool in self.pools if pool.name == name), None)

    def find_label(self, pool: str, label: str) -> OpenStackLabelConfig | None:
        """The label of a pool, if both are there."""
        found = self.find_pool(pool)
        return next((x for x in found.labels if x.name == label), None) if found else None
