"""Which address is which, on clouds of every kind."""

import msgspec
import pytest
from canned import SAMPLES

from trellis.model.node import Addresses
from trellis.openstack.compute import ServerRow
from trellis.openstack.quirks import STOCK, Quirks
from trellis.providers.addresses import choose_addresses, is_routed


def a_row(addresses, **kwargs) -> ServerRow:
    return msgspec.convert({"id": "s", "addresses": addresses, **kwargs}, ServerRow)


def v4(addr, kind="", mac=""):
    return {
        "version": 4,
        "addr": addr,
        "OS-EXT-IPS:type": kind,
        "OS-EXT-IPS-MAC:mac_addr": mac,
    }


def v6(addr):
    return {"version": 6, "addr": addr}


RACKSPACE = {
    "public": [v4("203.0.113.43"), v6("2001:db8:7::43")],
    "private": [v4("10.176.0.43")],
}
OVH = {"Ext-Net": [v4("198.51.100.50", "fixed"), v6("2001:db8:302:2200::50")]}
HP = {"private": [v4("10.0.0.51"), v4("198.51.100.51")]}


def test_server_with_a_floating_ip_is_reached_at_it():
    """As the recorded cloud shows it: under the private network's name."""
    row = msgspec.convert(SAMPLES["server with floating ip"]["server"], ServerRow)

    assert choose_addresses(row, STOCK) == Addresses(
        interface_ip="203.0.113.210", public_ipv4="203.0.113.210", private_ipv4="10.42.0.176"
    )


def test_server_with_a_private_address_has_no_public_one():
    """It is reached at the private one unless somebody gives it another."""
    row = msgspec.convert(SAMPLES["server ACTIVE"]["server"], ServerRow)

    assert choose_addresses(row, STOCK) == Addresses(
        interface_ip="10.42.0.176", private_ipv4="10.42.0.176"
    )


@pytest.mark.parametrize("addresses", [{}, {"net": []}])
def test_server_without_addresses_has_none(addresses):
    """ACTIVE without an address happens; it is no verdict."""
    assert choose_addresses(a_row(addresses), STOCK) is None


@pytest.mark.parametrize(
    ("addresses", "quirks", "expected"),
    [
        (RACKSPACE, STOCK, ("203.0.113.43", "10.176.0.43", "2001:db8:7::43")),
        (OVH, STOCK, ("198.51.100.50", None, "2001:db8:302:2200::50")),
        (OVH, Quirks(shows_unusable_ipv6=True), ("198.51.100.50", None, None)),
        (HP, STOCK, ("198.51.100.51", "10.0.0.51", None)),
    ],
)
def test_public_and_private_are_told_apart(addresses, quirks, expected):
    """By network name, type, or for want of both by the look of the address."""
    found = choose_addresses(a_row(addresses), quirks)

    assert found is not None
    assert (found.public_ipv4, found.private_ipv4, found.public_ipv6) == expected
    assert found.interface_ip == expected[0]


def test_address_the_cloud_names_itself_comes_first():
    """``accessIPv4`` is what the vendor's own automation sets (RackConnect)."""
    found = choose_addresses(a_row(RACKSPACE, accessIPv4="192.0.2.9"), STOCK)

    assert found is not None
    assert found.interface_ip == "192.0.2.9"


def test_external_network_is_public_whatever_its_addresses_look_like():
    """A site's own cloud may use RFC 1918 addresses outside."""
    row = a_row({"inner": [v4("10.1.0.5")], "campus": [v4("10.9.0.5")]})

    found = choose_addresses(row, STOCK, external=("campus",))

    assert found is not None
    assert (found.interface_ip, found.private_ipv4) == ("10.9.0.5", "10.1.0.5")


def test_private_network_is_private_whatever_its_addresses_look_like():
    """Where the API shows no difference, the profile says it."""
    row = a_row({"inner": [v4("198.51.100.7")], "outer": [v4("203.0.113.7")]})

    found = choose_addresses(row, Quirks(private_networks=("inner",)))

    assert found is not None
    assert found.interface_ip == "203.0.113.7"


def test_private_address_is_the_one_behind_the_floating_ip():
    """Some clouds show a stale second private address."""
    row = a_row(
        {
            "net": [
                v4("10.0.0.8", "fixed", "fa:00"),
                v4("10.0.0.9", "fixed", "fa:01"),
                v4("203.0.113.9", "floating", "fa:01"),
            ]
        }
    )

    found = choose_addresses(row, STOCK)

    assert found is not None
    assert found.private_ipv4 == "10.0.0.9"


def test_node_is_reached_by_ipv6_where_nothing_else_works():
    """Limestone, OSIC: IPv4 only through NAT."""
    row = a_row({"net": [v4("10.0.0.8"), v6("2001:db8::8")]})

    found = choose_addresses(row, Quirks(reaches_only_ipv6=True))

    assert found is not None
    assert found.interface_ip == "2001:db8::8"


def test_server_with_ipv6_only_is_reached_there():
    """No IPv4 at all is no reason to wait for one."""
    found = choose_addresses(a_row({"net": [v6("fe80::1"), v6("2001:db8::8")]}), STOCK)

    assert found == Addresses(interface_ip="2001:db8::8", public_ipv6="2001:db8::8")


@pytest.mark.parametrize(
    ("address", "routed"),
    [
        ("172.31.255.255", False),
        ("172.32.0.1", True),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("203.0.113.1", True),
        ("fd00::1", False),
        ("2001:db8::1", True),
        ("no address", False),
    ],
)
def test_address_is_judged_by_its_block(address, routed):
    """RFC 1918, shared, link-local; the documentation blocks count as routed."""
    assert is_routed(address) is routed
