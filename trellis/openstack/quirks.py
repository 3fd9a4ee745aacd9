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


@attrs.frozen(kw_only=True)
class Quirks:
    """How one cloud deviates from stock behaviour.

    Attributes:
        compute_microversion: asked of nova with every call; None asks for none, since shapes
            change with it.
        needs_config_drive: the guest learns its network or name from a config drive only, so
            servers get one unless the label says otherwise.
        hides_zones: availability zones must neither be asked for nor named.
        zones: the zones to choose from unless the pool names some: others are shown and fail.
        metadata_most: so many items of metadata a server may have; None is as many as are wanted.
        passed_over_flavors: patterns of flavors that a label by ``min-ram`` does not mean.
        ready_waits: what the vendor does to a server after it is ACTIVE, in this order; before
            that is over the server is building, and its addresses may change.
        miscounts_use: what the cloud says is used is wrong; only its limits are believed.
        ignores_changes_since: ``changes-since`` is not understood, lists are always full.
        lacks_neutron: there is no usable network service, whatever the catalog says: networks
            are named by id, there are no floating IPs.
        lacks_security_groups: ``security_groups`` must not be sent.
        gives_public_addresses: servers have public addresses of their own and floating IPs are
            never used.
        public_networks: names of networks whose addresses are public whatever they look like.
        private_networks: names of networks whose addresses are private whatever they look like.
        shows_unusable_ipv6: the API shows IPv6 addresses that the guest does not have.
        reaches_only_ipv6: nodes are reached at their IPv6 address.
        floating_ip_delete_may_lie: a delete of a floating IP that was answered with success may
            not happen; it is told again until the cloud answers 404.
    """

    compute_microversion: str | None = quirk(
        None, section="2.1", stock="Nova 2.1 and no header: what every cloud with versions has."
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
    ready_waits: tuple[ReadyWait, ...] = quirk(
        (), section="7", stock="A server that is ACTIVE is left alone by the vendor."
    )
    miscounts_use: bool = quirk(False, section="5", stock="What the cloud says is used is used.")
    ignores_changes_since: bool = quirk(
        False, section="2.9", stock="Lists show what changed since a time, deleted servers too."
    )
    lacks_neutron: bool = quirk(
        False, section="1.5", stock="The catalog's network service is neutron, and answers."
    )
    lacks_security_groups: bool = quirk(
        False, section="3.5", stock="Security groups are neutron's; a create may name them."
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


STOCK: Final = Quirks()
"""A cloud as upstream has it."""
