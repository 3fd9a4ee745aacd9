"""IP addresses of a simulated network."""

import ipaddress

from trellis.sim.cloud.spec import NetworkSpec


def cidr_of(network: NetworkSpec, block: int) -> str:
    """The IPv4 range of a network: its own, or the one of its cloud's block.

    External ones lie in 100.64.0.0/10, which is nobody's on the Internet and is not RFC 1918.
    """
    if network.cidr is not None:
        return network.cidr
    return f"100.{64 + block}.0.0/16" if network.external else f"10.{64 + block}.0.0/16"


class AddressPool:
    """The addresses of one subnet, handed out in turn, so that a freed one returns late."""

    def __init__(self, cidr: str) -> None:
        self.network = ipaddress.IPv4Network(cidr)
        self._first = int(self.network.network_address)
        self._size = self.network.num_addresses
        self._next = 2
        self._used: dict[int, None] = {}

    @property
    def gateway(self) -> str:
        """The first address, which no server gets."""
        return str(self.network[1])

    @property
    def bounds(self) -> tuple[str, str]:
        """The first and the last address that servers get."""
        return str(self.network[2]), str(self.network[-2])

    def take(self) -> str | None:
        """A free address, or None when there is none."""
        room = self._size - 3
        if len(self._used) >= room:
            return None
        while self._next in self._used:
            self._turn()
        number = self._next
        self._used[number] = None
        self._turn()
        value = self._first + number
        return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"

    def give_back(self, address: str) -> None:
        """Free an address; fine for one that is free."""
        self._used.pop(int(ipaddress.IPv4Address(address)) - self._first, None)

    def _turn(self) -> None:
        self._next = self._next + 1 if self._next + 1 < self._size - 1 else 2
