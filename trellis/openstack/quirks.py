"""The ways in which clouds differ, as data: one frozen record with the values of a stock cloud.

A name says what the cloud does, so that True reads as a sentence. A cloud without quirks is
keystone v3, nova 2.1, neutron and glance v2 as upstream has them.
"""

from typing import Final

import attrs


@attrs.frozen(kw_only=True)
class Quirks:
    """How one cloud deviates from stock behaviour.

    The numbers are those of the sections of the project's survey of clouds (dimensions 1 to 10).

    Attributes:
        compute_microversion: asked of nova with every call; None asks for none, which is 2.1 on
            every cloud that has microversions (2.1: a fixed one, since shapes change with it).
        needs_config_drive: the guest learns its network or name from a config drive only, so
            servers get one unless the label says otherwise (2.2: Rackspace, OVH, HP).
        hides_zones: availability zones must neither be asked for nor named (2.3: Rackspace).
        ignores_changes_since: ``changes-since`` is not understood, lists are always full
            (2.9, design rule 3).
        lacks_neutron: there is no usable network service, whatever the catalog says: networks
            are named by id, there are no floating IPs (1.5, 3.1: Rackspace classic).
        lacks_security_groups: ``security_groups`` must not be sent (3.5: Rackspace classic).
        gives_public_addresses: servers have public addresses of their own and floating IPs are
            never used (3.1: OVH, Vexxhost, Rackspace; ``floating_ip_source: None``).
        public_networks: names of networks whose addresses are public whatever they look like
            (3.2: a network called ``public``; OVH's ``Ext-Net``).
        private_networks: names of networks whose addresses are private whatever they look like
            (3.2: inap and OSIC show no difference between public and private).
        shows_unusable_ipv6: the API shows IPv6 addresses that the guest does not have
            (3.2, 3.6: OVH).
        reaches_only_ipv6: nodes are reached at their IPv6 address (3.6: Limestone, OSIC).
        floating_ip_delete_may_lie: a delete of a floating IP that was answered with success may
            not happen; it is told again until the cloud answers 404 (2.10). Stock neutron
            deletes it in the transaction it answers for.
    """

    compute_microversion: str | None = None
    needs_config_drive: bool = False
    hides_zones: bool = False
    ignores_changes_since: bool = False
    lacks_neutron: bool = False
    lacks_security_groups: bool = False
    gives_public_addresses: bool = False
    public_networks: tuple[str, ...] = ("public",)
    private_networks: tuple[str, ...] = ()
    shows_unusable_ipv6: bool = False
    reaches_only_ipv6: bool = False
    floating_ip_delete_may_lie: bool = False


STOCK: Final = Quirks()
"""A cloud as upstream has it."""
