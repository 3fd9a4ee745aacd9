"""One namespace node: the steps by which it comes to be, follows its server, and goes."""

import shutil
import subprocess
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

import attrs
import structlog
import trio

from trellis.sim.cloud import Machine
from trellis.sim.serving import netns
from trellis.sim.serving.bridge import Step
from trellis.sim.serving.sshd import HostKeys, furnish, init_command

log = structlog.get_logger()

_TAIL: Final = 200


@attrs.define(eq=False, kw_only=True)
class NamespaceNode:
    """A namespace with an sshd in it. Each step may be repeated after it failed.

    Attributes:
        number: its own among all of this run.
        namespace: its name.
        folder: stands for it on disk from before it is until after it was.
        subnet: the network that the bridge has.
        host_keys: where its own come from.
        authorized: the key that may log in besides its keypair's.
        machine: the server as its cloud has it now.
        wanted: whether the server is up.
        busy: a step is under way.
        made: its network is there.
    """

    number: int
    namespace: str
    folder: Path
    subnet: IPv4Network
    host_keys: HostKeys
    authorized: str
    machine: Machine
    wanted: bool = True
    busy: bool = False
    made: bool = False
    _addresses: tuple[str, ...] = ()
    _process: trio.Process | None = None
    _died: bool = False

    def next_step(self, *, booted: bool) -> Step | None:
        """What is to be done now for this node; None if it is as it should be.

        Args:
            booted: whether the server's guest answers.
        """
        if not self.wanted:
            return self.remove
        if not self.made:
            return self._make
        if self._addresses != self.machine.addresses:
            return self._readdress
        if booted and self._process is None:
            return self._boot
        self._tell_if_died()
        return None

    def kill(self) -> None:
        """End all that runs in it; `gone` waits until it has ended."""
        if self._process is not None:
            self._process.kill()

    async def gone(self) -> None:
        """Wait until nothing runs in it any more."""
        if self._process is not None:
            await self._process.wait()

    # -------------------------------------------------------------------------- the steps

    async def _make(self) -> None:
        await self._remove_remains()  # of an attempt that failed
        # Before the namespace: what a killed run leaves is known by its folder.
        public_keys = [self.authorized, self.machine.public_key or ""]
        furnish(self.folder, public_keys)
        await self.host_keys.put(self.machine.host_key, self.folder / "node")
        first = self.machine.addresses[0]
        await netns.ip(netns.cable_lines(self.namespace, self.number, first))
        addresses = self.machine.addresses
        inside = ["link set lo up", *netns.address_lines(addresses, self.subnet)]
        await netns.ip([*inside, "link set eth0 up"], namespace=self.namespace)
        self._addresses = addresses
        self.made = True

    async def _readdress(self) -> None:
        addresses = self.machine.addresses
        # The old ones go last: connections at those that stay go on.
        new = [address for address in addresses if address not in self._addresses]
        lines = netns.address_lines(new, self.subnet)
        for old in self._addresses:
            if old not in addresses:
                lines.append(f"addr del {netns.with_length(old, self.subnet)} dev eth0")
        if lines:
            await netns.ip(lines, namespace=self.namespace)
        self._addresses = addresses

    async def _boot(self) -> None:
        with (self.folder / "node" / "sshd.log").open("ab") as out:
            self._process = await trio.lowlevel.open_process(
                init_command(self.namespace, self.machine.name, self.folder),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for the command, not for its nodes
            )

    async def remove(self) -> None:
        """Leave nothing of it: processes, cable, namespace, folder.

        Raises:
            CommandFailedError: iproute2 could not do it; nothing is forgotten.
        """
        self.kill()
        await self.gone()
        if self.made:
            # The cable first: at its namespace's death the kernel would take its time for it.
            lines = [f"link delete {netns.port_of(self.number)}"]
            await netns.ip([*lines, f"netns delete {self.namespace}"])
            self.made = False
        await self._remove_remains()

    async def _remove_remains(self) -> None:
        if await trio.Path(netns.NAMED, self.namespace).exists():
            await netns.end_all_in(self.namespace)
            await netns.run("ip", "netns", "delete", self.namespace)
        if await trio.Path(self.folder).exists():
            shutil.rmtree(self.folder)

    def _tell_if_died(self) -> None:
        if self._process is None or self._died or self._process.poll() is None:
            return
        self._died = True
        last = (self.folder / "node" / "sshd.log").read_bytes()[-_TAIL:].decode(errors="replace")
        log.warning("node_died", namespace=self.namespace, server=self.machine.name, last=last)
