"""What stands behind the servers of served clouds: the one interface of all back ends."""

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Final, Protocol

import trio

from trellis.sim.cloud import SimCloud

NOWHERE: Final = IPv4Network("100.64.0.0/10")
"""Addresses that are nobody's on the Internet (RFC 6598)."""


class Machines(Protocol):
    """A back end: lets something answer at the addresses that the clouds' servers show.

    Used by one process once, in this order: `prepare`, then `subnet`, then `run`.
    """

    @property
    def subnet(self) -> IPv4Network:
        """Where the addresses lie; every region of every cloud is given an equal part of it."""
        ...

    @property
    def reachable(self) -> bool:
        """Whether SSH answers there: host keys can be read."""
        ...

    @property
    def boots_images(self) -> bool:
        """Whether the files of uploaded images are wanted, to boot servers from them."""
        ...

    @property
    def run_within(self) -> tuple[str, ...]:
        """Words to put before a command that is to reach the machines; empty if none are needed."""
        ...

    def prepare(self) -> None:
        """Get ready before anything listens; the one place where the process itself may change.

        Raises:
            ConfigError: something is missing; says what, and what to do.
        """
        ...

    async def run(  # noqa: ASYNC114 - it is started by `serve_clouds` alone
        self, clouds: Sequence[SimCloud], *, task_status: trio.TaskStatus[int]
    ) -> None:
        """Run until cancelled, and then leave nothing behind.

        `SimCloud.machines` says what is up at any moment.

        Args:
            clouds: whose servers they are.
            task_status: started with the SSH port, once a server that boots would be reached.

        Raises:
            ConfigError: it cannot begin; says what is missing and what to do.
        """
        ...


class NoMachines:
    """Nothing behind the servers: they have addresses, and nothing answers there."""

    subnet = NOWHERE
    reachable = False
    boots_images = False
    run_within = ()

    def prepare(self) -> None:
        """Nothing is needed."""

    async def run(  # noqa: ASYNC114 - it is started by `serve_clouds` alone
        self, clouds: Sequence[SimCloud], *, task_status: trio.TaskStatus[int]
    ) -> None:
        """Do nothing until cancelled."""
        del clouds
        task_status.started(22)
        await trio.sleep_forever()
