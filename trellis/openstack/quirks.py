"""The ways in which clouds differ, as data: one frozen record with the values of a stock cloud.

A name says what the cloud does, so that True reads as a sentence. A cloud without quirks is
keystone v3, nova 2.1, neutron and glance v2 as upstream has them. What a cloud's values are, and
how that is known, stands in its `trellis.openstack.profile.CloudProfile`.
"""

from typing import Any, Final

import attrs


def quirk(default: Any, *, section: str, stock: str) -> Any:
    """A field of `Quirks`: where the survey of clouds speaks of it, and what stock does.

    Args:
        default: the stock value.
        section: of the project's survey of clouds, part 1.
        stock: what a cloud with that value does, as a sentence.
    """
    return attrs.field(default=default, metadata={"section": section, "stock": stock})


@attrs.frozen(kw_only=True)
class ReadyWait:
    """A wait for the vendor's own work on a server that is ACTIVE, told in its metadata.

    Attributes:
        key: of the metadata.
        done: values with which the work is over; any other means that it goes on.
        failed: values with which it is over, and the server will never be as it should.
        awaited: whether a server that does not have the key yet is waited for.
    """

    key: str
    done: tuple[str, ...]
    failed: tuple[str, ...] = ()
    awaited: bool = False

    def __str__(self) -> str:
        """As people are shown it."""
        return f"{self.key} until it is {' or '.join(self.done)}"


@attrs.frozen(kw_only=True)
class VolumeBoot:
    """Where servers boot from a volume unless their label says otherwise.

    Attributes:
        size_gib: of the volume, unless the label says otherwise.
        regions: in which it is so; empty is in all.
    """

    size_gib: int
    regions: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As people are shown it: ``80 GiB in sjc1``."""
        return f"{self.size_gib} GiB" + (f" in {', '.join(self.regions)}" if self.regions else "")

    def holds(self, region: str) -> bool:
        """Whether it is so in this region."""
        return not self.regions or region in self.regions


@attrs.frozen(kw_only=True)
class Quirks:
    """How one cloud deviates from stock behaviour.

    Attributes:
        compute_microversion: asked of nova with every call; None asks for none, since shapes
            change with it.
        missing_region: what a customer does about a region that his catalog lacks, as a sentence
            to follow the one that says so.
        needs_config_drive: the guest learns its network or name from a config drive only, so
            servers get one unless the label says otherwise.
        hides_zones: availability zones must neither be asked for nor named.
        zones: the zones to choose from unless the pool names some: others are shown and fail.
        metadata_most: so many items of metadata a server may have; None is as many as are wanted.
        passed_over_flavors: patterns of flavors that a label by ``min-ram`` does not mean.
        boots_from_volume: servers boot from a volume unless the label says otherwise.
        default_networks: names of the networks of a pool that names none, as far as they are
            there.
        ready_waits: what the vendor does to a server after it is ACTIVE, in this order; before
            that is over the server is building, and its addresses may change.
        miscounts_use: what the cloud says is used is wrong; only its limits are believed.
        ignores_changes_since: ``changes-since`` is not understood, lists are always full.
        reads_images_through_nova: glance has no version 2; what images there are, nova tells.
        refused_image_properties: beginnings of names of image properties that are refused: they
            are left out.
        lacks_neutron: there is no usable network service, whatever the catalog says: networks
            are named by id, there are no floating IPs.
        lacks_security_groups: ``security_groups`` must not be sent.
        servers_per_network: so many servers a network with its router carries; of the networks
            that a pool names each server gets one, the one with the fewest.
        lacks_quota_details: neutron tells its limits, and not what is used of them: that is
            counted from its lists.
        gives_public_addresses: servers have public addresses of their own and floating IPs are
            never used.
        public_networks: names of networks whose addresses are public whatever they look like.
        private_networks: names of networks whose addresses are private whatever they look like.
        shows_unusable_ipv6: the API shows IPv6 addresses that the guest does not have.
        reaches_only_ipv6: nodes are reached at their IPv6 address.
        floating_ip_delete_may_lie: a delete of a floating IP that was answered with success may
            not happen; it is told again until the cloud answers 404.
        floating_ips_lack_descriptions: they carry no mark of ours: a node's is found by the port
            that it leads to.
    """

    compute_microversion: str | None = quirk(
        None, section="2.1", stock="Nova 2.1 and no header: what every cloud with versions has."
    )
    missing_region: str = quirk(
        "", section="1.5", stock="The catalog shows every region that there is."
    )
    needs_config_drive: bool = quirk(
        False, section="2.2", stock="DHCP and the metadata service tell the guest all it needs."
    )
    hides_zones: bool = quirk(
        False, section="2.3", stock="Zones are listed, and a create may name one."
    )
    zones: tuple[str, ...] = quirk((), section="2.3", stock="Every zone that is shown works.")
    metadata_most: int | None = quirk(
        None, section="2.5", stock="128 items, which no label comes near."
    )
    passed_over_flavors: tuple[str, ...] = quirk(
        (), section="2.7", stock="The smallest flavor with enough memory is as good as any."
    )
    boots_from_volume: VolumeBoot | None = quirk(  # noqa: RUF009 - it is frozen
        None, section="2.8", stock="Servers boot from their flavor's own disk."
    )
    default_networks: tuple[str, ...] = quirk(
        (), section="3.4", stock="Nova takes the project's only network where none is named."
    )
    ready_waits: tuple[ReadyWait, ...] = quirk(
        (), section="7", stock="A server that is ACTIVE is left alone by the vendor."
    )
    miscounts_use: bool = quirk(False, section="5", stock="What the cloud says is used is used.")
    ignores_changes_since: bool = quirk(
        False, section="2.9", stock="Lists show what changed since a time, deleted servers too."
    )
    reads_images_through_nova: bool = quirk(False, section="4.1", stock="Glance has version 2.")
    refused_image_properties: tuple[str, ...] = quirk(
        (), section="4.3", stock="An image may have any property that is not glance's own."
    )
    lacks_neutron: bool = quirk(
        False, section="1.5", stock="The catalog's network service is neutron, and answers."
    )
    lacks_security_groups: bool = quirk(
        False, section="3.5", stock="Security groups are neutron's; a create may name them."
    )
    servers_per_network: int | None = quirk(
        None,
        section="3.4",
        stock="A network carries as many servers as it has addresses; a server is on all that "
        "its pool names.",
    )
    lacks_quota_details: bool = quirk(
        False, section="5", stock="Neutron tells what is used of its quota, by one call."
    )
    gives_public_addresses: bool = quirk(
        False,
        section="3.1",
        stock="Servers have private addresses; neutron gives floating IPs.",
    )
    public_networks: tuple[str, ...] = quirk(
        ("public",), section="3.2", stock="Public are the external networks, and one called public."
    )
    private_networks: tuple[str, ...] = quirk(
        (), section="3.2", stock="Private is what lies in RFC 1918's ranges."
    )
    shows_unusable_ipv6: bool = quirk(
        False, section="3.6", stock="An IPv6 address that the API shows is the guest's."
    )
    reaches_only_ipv6: bool = quirk(
        False, section="3.6", stock="Nodes are reached at their IPv4 address."
    )
    floating_ip_delete_may_lie: bool = quirk(
        False, section="2.10", stock="Neutron deletes it in the transaction it answers for."
    )
    floating_ips_lack_descriptions: bool = quirk(
        False, section="3.1", stock="A floating IP carries a description, and is found by it."
    )


STOCK: Final = Quirks()
"""A cloud as upstream has it."""
