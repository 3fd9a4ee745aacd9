"""IP addresses of a simulated network."""

import ipaddress
from collections.abc import Iterator

from trellis.sim.cloud.spec import CloudSpec


def cidrs_of(spec: CloudSpec, region: int) -> tuple[str, ...]:
    """The IPv4 ranges of a region's networks: their own, or equal parts of the region's.

    What is reached from outside lies in the cloud's ``outside`` range for the region; by default
    in 100.64.0.0/10, which is nobody's on the Internet and is not RFC 1918.
    """
    block = (spec.number * 4 + region) % 64
    given = bool(spec.outside)
    outside = spec.outside[region] if given else f"100.{64 + block}.0.0/16"
    is_outside = [net.external or (given and net.reachable) for net in spec.networks]
    public = _parts(outside, sum(is_outside))
    private = _parts(f"10.{64 + block}.0.0/16", len(is_outside) - sum(is_outside))
    own = [next(public if outer else private) for outer in is_outside]
    return tuple(net.cidr or cidr for net, cidr in zip(spec.networks, own, strict=True))


def _parts(cidr: str, count: int) -> Iterator[str]:
    """So many equal parts of a range, as large as can be."""
    deeper = max(0, count - 1).bit_length()
    return map(str, ipaddress.IPv4Network(cidr).subnets(prefixlen_diff=deeper))


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
