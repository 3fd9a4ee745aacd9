"""What the configured labels come to in a cloud: flavor, image, networks, groups, zones."""

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from trellis.errors import MisconfiguredError, NotFoundError, RejectedError
from trellis.model.node import Shape
from trellis.model.quota import Resources
from trellis.openstack.compute import Compute, FlavorRow
from trellis.openstack.image import Image, ImageRow
from trellis.openstack.network import Network, SecurityGroupRow
from trellis.openstack.quirks import Quirks, VolumeBoot
from trellis.providers.config import (
    OpenStackLabelConfig,
    OpenStackPoolConfig,
    OpenStackProviderConfig,
)
from trellis.providers.lookup import MissingError, by_name_or_id, near
from trellis.providers.networks import NetworkFacts
from trellis.providers.rows import OUR_METADATA
from trellis.spi.provider import Offer

VOLUME_GIB: Final = 50
"""Size of a volume to boot from, where neither the label nor the cloud has another."""
_NOT_SHOWN: Final = frozenset({400, 403, 404, 405, 501})
"""How clouds answer that do not let projects see their zones, or have no such call."""


@attrs.frozen(kw_only=True)
class PoolPlace:
    """What a pool came down to.

    Attributes:
        zones: to choose from; empty means: name none.
        floats: whether its servers need a floating IP to be reached.
    """

    networks: tuple[str, ...]
    security_groups: tuple[str, ...]
    zones: tuple[str, ...]
    floats: bool


@attrs.frozen(kw_only=True)
class Resolved:
    """A label of a pool, found in the cloud.

    Attributes:
        networks: ids for the create; the label's own, or the pool's.
    """

    offer: Offer
    networks: tuple[str, ...]
    security_groups: tuple[str, ...]


SelectFlavor = Callable[[OpenStackLabelConfig, Sequence[FlavorRow]], FlavorRow]
"""Chooses the flavor of a label; raises MissingError if there is none."""


@attrs.define(eq=False)
class Resolver:
    """Looks up every configured label once; asks the cloud only for kinds that are named.

    Args:
        select_flavor: the provider's.
        volume_boot: of the region; None where servers boot from their flavor's disk.
        lacks_volumes: why the cloud has no block storage; "" if it has, or none is wanted.
        takes_images: whether images can be uploaded there.
    """

    config: OpenStackProviderConfig
    quirks: Quirks
    compute: Compute
    image: Image
    network: Network
    facts: NetworkFacts
    project_id: str
    select_flavor: SelectFlavor
    volume_boot: VolumeBoot | None = None
    lacks_volumes: str = ""
    takes_images: bool = True
    missing: dict[tuple[str, str], str] = attrs.field(factory=dict)
    found: dict[tuple[str, str], Resolved] = attrs.field(factory=dict)
    _images: dict[str, ImageRow | None] = attrs.field(factory=dict)

    async def run(self) -> None:
        """Fill `found` and `missing`; what is missing costs only its own label.

        Raises:
            CloudError: as the calls do; nothing can be said then.
        """
        if not any(pool.labels for pool in self.config.pools):
            return
        flavors = await self.compute.flavors()
        zones = await self._zones()
        groups = await self._groups()
        keys = await self._keys()
        for pool in self.config.pools:
            try:
                place = self._place(pool, zones, groups)
            except MissingError as error:
                self.missing.update({(pool.name, label.name): str(error) for label in pool.labels})
                continue
            for label in pool.labels:
                key = pool.name, label.name
                try:
                    self.found[key] = await self._label(pool, label, place, flavors, keys)
                except MissingError as error:
                    self.missing[key] = str(error)

    # -------------------------------------------------------------- what is asked of the cloud

    async def _zones(self) -> list[str] | None:
        """The zones that are available; None where the cloud does not show any."""
        if self.quirks.hides_zones:
            return None
        try:
            rows = await self.compute.zones()
        except (NotFoundError, RejectedError, MisconfiguredError) as refused:
            # A redirect or a wrong entry is no word about zones: taken for one, the nodes of a set
            # would be spread over zones that nobody named.
            if refused.status not in _NOT_SHOWN:
                raise
            return None
        return [row.name for row in rows if row.state.available] if rows else None

    async def _groups(self) -> list[SecurityGroupRow] | None:
        named = any(pool.security_groups for pool in self.config.pools)
        if not named or not self.facts.usable or self.quirks.lacks_security_groups:
            return None
        return await self.network.security_groups(project_id=self.project_id)

    async def _keys(self) -> list[str] | None:
        """Keypairs belong to the user and one region: a missing one fails each create."""
        if not any(label.key_name for pool in self.config.pools for label in pool.labels):
            return None
        try:
            return await self.compute.keypair_names()
        except (NotFoundError, RejectedError, MisconfiguredError):
            return None

    async def _image(self, label: OpenStackLabelConfig) -> ImageRow | None:
        """The cloud's own image; None for one that is built here, chosen anew by each launch."""
        if label.image is not None and not self.takes_images:
            raise MissingError(
                f"image {label.image!r} cannot be uploaded there: its image service takes none; "
                "name a cloud-image instead"
            )
        if label.image is not None:
            return None
        name = label.cloud_image or ""
        if name not in self._images:
            self._images[name] = await self.image.find(name)
        image = self._images[name]
        if image is None:
            names = [row.name or "" for row in await self.image.images()]
            raise MissingError(f"no active image {name!r}{near(name, names)}")
        return image

    # ------------------------------------------------------------------- what it comes down to

    def _place(
        self,
        pool: OpenStackPoolConfig,
        zones: Sequence[str] | None,
        groups: Sequence[SecurityGroupRow] | None,
    ) -> PoolPlace:
        networks = self.facts.resolve(pool.networks) or self._default_networks()
        security_groups = pool.security_groups
        if groups is not None:
            security_groups = tuple(
                by_name_or_id("security group", name, groups).id for name in pool.security_groups
            )
        if self.quirks.lacks_security_groups:
            security_groups = ()
        return PoolPlace(
            networks=networks,
            security_groups=security_groups,
            zones=_pool_zones(pool, zones, self.quirks.zones),
            floats=self._floats(pool, networks),
        )

    def _default_networks(self) -> tuple[str, ...]:
        """Those of a pool that names none; none of them may be there."""
        there = {network.name for network in self.facts.networks}
        return self.facts.resolve([n for n in self.quirks.default_networks if n in there])

    def _floats(self, pool: OpenStackPoolConfig, networks: Sequence[str]) -> bool:
        wanted = pool.auto_floating_ip and not self.quirks.gives_public_addresses
        if wanted and self.facts.doubt:
            raise MissingError(self.facts.doubt)
        return wanted and self.facts.floating is not None and self.facts.leads_inside(networks)

    async def _label(
        self,
        pool: OpenStackPoolConfig,
        label: OpenStackLabelConfig,
        place: PoolPlace,
        flavors: Sequence[FlavorRow],
        keys: Sequence[str] | None,
    ) -> Resolved:
        self._check_metadata(label)
        flavor = self.select_flavor(label, flavors)
        image = await self._image(label)
        volume_gib = self._volume_gib(label)
        disk_gib = volume_gib or flavor.disk
        if image is not None:
            _check_size(flavor, image, volume_gib)
        if label.key_name and keys is not None and label.key_name not in keys:
            raise MissingError(f"no keypair {label.key_name!r}{near(label.key_name, keys)}")
        networks, floats = place.networks, place.floats
        if label.networks:
            networks = self.facts.resolve(label.networks)
            floats = self._floats(pool, networks)
        shape = Shape(
            flavor_id=flavor.id,
            flavor_name=flavor.name,
            image_id="" if image is None else image.id,
            image_name=label.image or "" if image is None else image.name or image.id,
            resources=Resources(
                instances=1,
                cores=flavor.vcpus,
                ram_mib=flavor.ram,
                floating_ips=1 if floats else 0,
                ports=self._ports(networks),
                volumes=1 if volume_gib else 0,
                volume_gib=volume_gib,
            ),
            disk_gib=disk_gib,
        )
        offer = Offer(
            pool=pool.name,
            label=label.name,
            shape=shape,
            image=label.image,
            zones=place.zones,
            login=pool.login(label),
        )
        return Resolved(offer=offer, networks=networks, security_groups=place.security_groups)

    def _ports(self, networks: Sequence[str]) -> int:
        """Nova makes one for each network, and chooses one where none is named."""
        if not self.facts.usable:
            return 0
        return 1 if self.quirks.servers_per_network else max(1, len(networks))

    def _check_metadata(self, label: OpenStackLabelConfig) -> None:
        most, own = self.quirks.metadata_most, len(label.instance_properties)
        # The network that a server was put on is written into it as well.
        ours = OUR_METADATA + (self.quirks.servers_per_network is not None)
        if most is not None and own + ours > most:
            raise MissingError(
                f"instance-properties has {own} entries; the cloud takes {most} for a server, of "
                f"which Trellis needs {ours}"
            )

    def _volume_gib(self, label: OpenStackLabelConfig) -> int:
        """The size of the volume it boots from; 0 boots from the flavor's own disk."""
        usual = self.volume_boot
        if not boots_from_volume(label, usual):
            return 0
        if self.lacks_volumes:
            # Nova would make volumes all the same, perhaps, and nobody could delete those it left.
            raise MissingError(f"boot-from-volume needs block storage: {self.lacks_volumes}")
        return label.volume_size or (VOLUME_GIB if usual is None else usual.size_gib)


def _check_size(flavor: FlavorRow, image: ImageRow, volume_gib: int) -> None:
    disk_gib = volume_gib or flavor.disk
    if flavor.ram < image.min_ram or 0 < disk_gib < image.min_disk:
        disk = f"volume-size {volume_gib}" if volume_gib else f"{flavor.disk}"
        raise MissingError(
            f"flavor {flavor.name!r} ({flavor.ram} MiB, {disk} GiB) is too small for "
            f"image {image.name!r} ({image.min_ram} MiB, {image.min_disk} GiB)"
        )


def boots_from_volume(label: OpenStackLabelConfig, usual: VolumeBoot | None) -> bool:
    """Whether servers of a label boot from a volume, which is *usual* in the region or not."""
    chosen = label.boot_from_volume
    return usual is not None if chosen is None else chosen


def _pool_zones(
    pool: OpenStackPoolConfig, zones: Sequence[str] | None, usable: Sequence[str]
) -> tuple[str, ...]:
    """The configured zones that are there, else all *usable*; zones nobody shows are trusted."""
    if not pool.availability_zones:
        if zones is None:
            return tuple(usable)
        return tuple(zone for zone in zones if not usable or zone in usable)
    if zones is None:
        return pool.availability_zones
    there = tuple(zone for zone in pool.availability_zones if zone in zones)
    if not there:
        wanted = pool.availability_zones[0]
        raise MissingError(f"no available zone {wanted!r}{near(wanted, zones)}")
    return there
