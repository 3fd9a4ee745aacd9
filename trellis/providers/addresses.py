"""Which address of a server is which: pure rules over one row.

The order of the rules is that of the clouds' own clients (``openstack/cloud/meta.py`` of
openstacksdk: accessIPv4, floating, external network, *public*, then whatever is not RFC 1918).
"""

import ipaddress
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Final

from trellis.model.node import Addresses
from trellis.openstack.compute import ServerAddress, ServerRow
from trellis.openstack.quirks import Quirks

_NOT_ROUTED: Final = tuple(
    ipaddress.ip_network(block)
    for block in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "127.0.0.0/8",
    )
)
_NOT_ROUTED_6: Final = tuple(ipaddress.ip_network(block) for block in ("fe80::/10", "fc00::/7"))


def choose_addresses(
    row: ServerRow, quirks: Quirks, external: Collection[str] = ()
) -> Addresses | None:
    """Sort out a server's addresses.

    Args:
        external: names of the networks that lead outside by themselves.

    Returns:
        None while there is none that can be used. Without a public address, the private one is
        ``interface_ip``.
    """
    if not row.addresses and not row.access_ipv4 and not row.access_ipv6:
        return None  # as of every server that is only just being built
    floating = next((a for _, a in _of(row, 4) if a.type == "floating"), None)
    public = _public_ipv4(row, quirks, external, floating)
    private = _private_ipv4(row, public, floating)
    public6 = _public_ipv6(row, quirks)
    order = (public6, public, private) if quirks.reaches_only_ipv6 else (public, private, public6)
    reached = next((address for address in order if address is not None), None)
    if reached is None:
        return None
    return Addresses(
        interface_ip=reached, public_ipv4=public, private_ipv4=private, public_ipv6=public6
    )


def _of(row: ServerRow, version: int) -> Iterator[tuple[str, ServerAddress]]:
    """The addresses of one version with their networks' names, in the cloud's order."""
    for network, addresses in row.addresses.items():
        for address in addresses:
            if address.version == version:
                yield network, address


def _public_ipv4(
    row: ServerRow, quirks: Quirks, external: Collection[str], floating: ServerAddress | None
) -> str | None:
    if row.access_ipv4:
        return row.access_ipv4
    if floating is not None:
        return floating.addr
    candidates = [
        (network, address.addr)
        for network, address in _of(row, 4)
        if network not in quirks.private_networks
    ]
    for names in (external, quirks.public_networks):
        for network, address in candidates:
            if network in names:
                return address
    return next((address for _, address in candidates if is_routed(address)), None)


def _private_ipv4(row: ServerRow, public: str | None, floating: ServerAddress | None) -> str | None:
    fixed = [a for _, a in _of(row, 4) if a.type != "floating" and a.addr != public]
    if floating is not None and floating.mac:
        # The address the floating one leads to: some clouds show a stale second one (Cleura).
        behind = next((a.addr for a in fixed if a.mac == floating.mac), None)
        if behind is not None:
            return behind
    return next((a.addr for a in fixed if not is_routed(a.addr)), None) or next(
        (a.addr for a in fixed), None
    )


def _public_ipv6(row: ServerRow, quirks: Quirks) -> str | None:
    if quirks.shows_unusable_ipv6:
        return None
    if row.access_ipv6:
        return row.access_ipv6
    return next((a.addr for _, a in _of(row, 6) if is_routed(a.addr)), None)


@lru_cache(maxsize=65536)
def is_routed(address: str) -> bool:
    """Whether an address can be reached from outside by its looks; False for what is none."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    blocks = _NOT_ROUTED if parsed.version == 4 else _NOT_ROUTED_6
    return not any(parsed in block for block in blocks)
