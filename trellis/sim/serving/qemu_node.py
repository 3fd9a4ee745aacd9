"""One VM node: a virtual machine that boots the very image its server was created from."""

import shutil
import subprocess
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

import attrs
import structlog
import trio

from trellis.sim.cloud import Machine
from trellis.sim.serving import config_drive, netns, qemu
from trellis.sim.serving.bridge import Step
from trellis.sim.serving.sshd import hostname_of

log = structlog.get_logger()

_TAIL: Final = 400
_ISO_WRITERS: Final = ("genisoimage", "xorrisofs", "mkisofs")


def iso_writer() -> str | None:
    """The path of a program that writes an ISO 9660 disk; None without one."""
    return next((path for name in _ISO_WRITERS if (path := netns.program(name))), None)


@attrs.define(eq=False, kw_only=True)
class QemuNode:
    """A virtual machine on the bridge. Each step may be repeated after it failed.

    It keeps the addresses that its server had when it was started: what a floating IP leads to
    later is not moved.

    Attributes:
        number: its own among all of this run.
        folder: stands for it on disk from before it is until after it was.
        subnet: the network that the bridge has.
        authorized: the key that may log in besides its keypair's.
        machine: the server as its cloud has it now.
        wanted: whether the server is up.
        busy: a step is under way.
        made: the machine was started.
    """

    number: int
    folder: Path
    subnet: IPv4Network
    authorized: str
    machine: Machine
    wanted: bool = True
    busy: bool = False
    made: bool = False
    _process: trio.Process | None = None
    _told: bool = False

    def next_step(self, *, booted: bool) -> Step | None:
        """What is to be done now for this node; None if it is as it should be.

        Args:
            booted: not asked; the guest answers when it has booted.
        """
        del booted
        if not self.wanted:
            return self.remove
        if not self.made and not self._lacks_image():
            return self._start
        self._tell_if_died()
        return None

    @property
    def console(self) -> str:
        """What the guest has written to its serial line so far."""
        try:
            return self._vm.console.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def kill(self) -> None:
        """End the machine; `gone` waits until it has ended."""
        if self._process is not None:
            self._process.kill()

    async def gone(self) -> None:
        """Wait until it does not run any more."""
        if self._process is not None:
            await self._process.wait()

    # -------------------------------------------------------------------------- the steps

    async def _start(self) -> None:
        await self._remove_remains()  # of an attempt that failed
        # Before the machine: what a killed run leaves is known by its folder.
        self.folder.mkdir(mode=0o700)
        vm, server = self._vm, self.machine
        guest = config_drive.Guest(
            uuid=server.server_id,
            name=server.name,
            hostname=hostname_of(server.name),
            mac=vm.mac,
            addresses=server.addresses,
            subnet=self.subnet,
            public_keys=tuple(
                key.strip() for key in (server.public_key, self.authorized) if key is not None
            ),
        )
        program = iso_writer() or _ISO_WRITERS[0]
        await config_drive.write(guest, self.folder / "drive", vm.drive, program=[program])
        port = netns.port_of(self.number)
        with qemu.tap_device(port) as tap, (self.folder / "qemu.log").open("ab") as out:
            await netns.ip([f"link set {port} master {netns.BRIDGE} up"])
            self._process = await trio.lowlevel.open_process(
                vm.command(tap),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=(tap,),
                start_new_session=True,  # Ctrl-C is for the command, not for its nodes
            )
        self.made = True

    async def remove(self) -> None:
        """Leave nothing of it: process, network card, folder.

        Raises:
            OSError: its folder cannot be removed; nothing is forgotten.
        """
        if self._process is not None and self._process.poll() is None:
            await qemu.power_off(self._vm.monitor)
        self.kill()
        await self.gone()
        self.made = False
        await self._remove_remains()

    async def _remove_remains(self) -> None:
        if await trio.Path(self.folder).exists():
            shutil.rmtree(self.folder)

    # ----------------------------------------------------------------------------- its parts

    @property
    def _vm(self) -> qemu.Vm:
        file = self.machine.image_file
        return qemu.Vm(
            folder=self.folder,
            disk=Path() if file is None else file,
            disk_format=self.machine.image_format,
            drive=self.folder / "config.iso",
            mac=netns.mac_of(self.machine.address),
        )

    def _lacks_image(self) -> bool:
        if self.machine.image_file is not None:
            return False
        if not self._told:
            self._told = True
            log.warning(
                "nothing_to_boot",
                server=self.machine.name,
                why="its image has no content: only uploaded ones have",
            )
        return True

    def _tell_if_died(self) -> None:
        if self._process is None or self._told or self._process.poll() is None:
            return
        self._told = True
        said = (self.folder / "qemu.log").read_text(errors="replace") + self.console
        log.warning(
            "node_died", node=self.folder.name, server=self.machine.name, last=said[-_TAIL:]
        )
