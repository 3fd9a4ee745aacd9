"""Ports for processes that are told where to listen before they start."""

import random
import socket
from pathlib import Path
from typing import Final

_LOWEST: Final = 10_000
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES: Final = 1000


def free_port() -> int:
    """A port of loopback that nobody listens at, and that the system gives to nobody.

    It lies below those that the system gives out by itself: one of these could have become another
    process's by the time it is listened at, or the source port of the very connection that asks
    whether anybody listens.
    """
    above = int(_RANGE.read_text().split()[0])
    for _ in range(_TRIES):
        port = random.randrange(_LOWEST, above)
        with socket.socket() as sock:
            try:
                # At every address, as the servers of simulated clouds are listened for.
                sock.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise OSError(f"no port between {_LOWEST} and {above} is free")
