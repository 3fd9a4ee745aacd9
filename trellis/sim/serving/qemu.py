"""A small virtual machine by qemu, without hardware that helps: its command line and its end.

Knows nothing of clouds. The network card is a tap device that this process opens and qemu
inherits, and the disk is written to in a file that has no name: both end with qemu, however it
ends.
"""

import fcntl
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
import trio

from trellis.sim.serving.netns import program

EMULATOR: Final = "qemu-system-x86_64"
_MEMORY_MIB: Final = 512
"""Taken from the machine only as the guest touches it."""
_CODE_CACHE_MIB: Final = 64
"""Of translated code; without a bound qemu takes a gigabyte for a guest of half of one."""
_QUIT_AT_MOST_S: Final = 3.0
_DRIVERS: Final = {"vhd": "vpc"}
_DISK: Final = "if=virtio,snapshot=on,cache=unsafe"
"""What is written goes into a file without a name."""

# linux/if_tun.h
_TUNSETIFF: Final = 0x400454CA
_TAP_FLAGS: Final = 0x0002 | 0x1000 | 0x4000  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR


@attrs.frozen(kw_only=True)
class Vm:
    """What a machine is made of.

    Attributes:
        folder: of its own; it may hold a socket, so that its path must be short.
        disk: the file it boots from, which is left as it is.
        disk_format: as Glance calls it.
        drive: its config drive.
        mac: of its network card.
    """

    folder: Path
    disk: Path
    disk_format: str
    drive: Path
    mac: str

    @property
    def console(self) -> Path:
        """What it writes to its serial line."""
        return self.folder / "console.log"

    @property
    def monitor(self) -> Path:
        """Its monitor's socket."""
        return self.folder / "qmp.sock"

    def command(self, tap: int) -> list[str]:
        """What runs it.

        Args:
            tap: descriptor of its network card's other end.
        """
        driver = _DRIVERS.get(self.disk_format, self.disk_format)
        return [
            program(EMULATOR) or EMULATOR,
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-accel", f"tcg,tb-size={_CODE_CACHE_MIB}", "-cpu", "max", "-smp", "1",
            "-m", str(_MEMORY_MIB),
            "-serial", f"file:{self.console}",
            "-qmp", f"unix:{self.monitor},server=on,wait=off",
            "-device", "virtio-rng-pci",
            "-netdev", f"tap,id=net0,fd={tap}",
            "-device", f"virtio-net-pci,netdev=net0,mac={self.mac},romfile=",
            "-drive", f"file={_quoted(self.disk)},format={driver},{_DISK}",
            "-drive", f"file={_quoted(self.drive)},format=raw,if=virtio,readonly=on",
        ]  # fmt: skip


@contextmanager
def tap_device(name: str) -> Iterator[int]:
    """Have a tap device in the network namespace of this thread; its descriptor.

    The device is there as long as a process has the descriptor; one that inherits it keeps it.

    Raises:
        OSError: the kernel gives none.
    """
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP_FLAGS))
        yield descriptor
    finally:
        os.close(descriptor)


async def power_off(monitor: Path) -> None:
    """Tell a machine by its monitor to end at once, as by pulling the plug.

    Returns after a few seconds also where the monitor does not answer: what ends the process by
    its id comes after.
    """
    with trio.move_on_after(_QUIT_AT_MOST_S):  # noqa: ASYNC912 - opening is one
        try:
            async with await trio.open_unix_socket(str(monitor)) as stream:
                for word in ("qmp_capabilities", "quit"):
                    await _line(stream)
                    await stream.send_all(json.dumps({"execute": word}).encode() + b"\n")
                await _line(stream)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return


async def _line(stream: trio.SocketStream) -> None:
    while data := await stream.receive_some(4096):
        if data.endswith(b"\n"):
            return


async def processes_of(folder: Path) -> list[int]:
    """The processes whose command line names a machine's folder: what a killed run left of it."""
    await trio.lowlevel.checkpoint()
    monitor = os.fsencode(f"unix:{folder / 'qmp.sock'},")
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if any(word.startswith(monitor) for word in line.split(b"\0")):
            found.append(int(entry.name))
    return found


def can_have_tap() -> str | None:
    """Why there can be no tap device here; None if there can."""
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return f"/dev/net/tun: {error.strerror}"
    return None


def _quoted(path: Path) -> str:
    """A path in a list of options, where a comma would end it."""
    return str(path).replace(",", ",,")
