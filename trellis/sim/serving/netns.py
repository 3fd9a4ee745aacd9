"""Network namespaces by the commands of iproute2, and the step of this process into one.

A batch of `ip` commands is one process, which is the cheap way. Knows nothing of sshd and clouds.
"""

import ctypes
import errno
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Final

import trio

from trellis.errors import ConfigError, TrellisError

NAMED: Final = Path("/run/netns")
"""Where ``ip netns`` keeps the namespaces that have a name (ip-netns(8))."""
BRIDGE: Final = "br0"
MOST_PORTS: Final = 1000
"""A bridge of Linux has room for 1,023 (BR_MAX_PORTS in net/bridge/br_private.h)."""
ALL_IPV6: Final = IPv6Network("2001:db8::/32")
"""What the IPv6 addresses of simulated clouds are of."""

_CLONE_NEWNET: Final = 0x40000000
_SBIN: Final = ("/usr/sbin", "/sbin", "/usr/local/sbin")
_PREFIX: Final = re.compile(r"[a-z][a-z0-9-]{0,29}")


class CommandFailedError(TrellisError):
    """A program that changes the machine ended with an error; the message has its words."""


def program(name: str) -> str | None:
    """The path of a program, looked for also where only root's PATH leads; None without it."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *_SBIN)))


def faults_of_prefix(prefix: str) -> list[str]:
    """What is wrong with a prefix for the names of namespaces; empty if nothing is."""
    if _PREFIX.fullmatch(prefix) and not prefix.endswith("-"):
        return []
    return [
        f"the prefix {prefix!r} cannot begin the names of network namespaces: "
        "give up to 30 of a-z, 0-9 and '-', a letter first"
    ]


def port_of(number: int) -> str:
    """The bridge's end of a node's cable. Linux allows 15 characters (IFNAMSIZ)."""
    return f"n{number}"


def mac_of(address: str) -> str:
    """The hardware address that goes with an IP address.

    So the next owner of an address has its hardware address too, and no ARP cache is out of date.
    """
    low = int(ip_address(address)) & 0xFFFF_FFFF
    return ":".join(("52", "54", *(f"{low >> shift & 255:02x}" for shift in (24, 16, 8, 0))))


def with_length(address: str, subnet: IPv4Network) -> str:
    """An address with the length of its network, as ``ip addr add`` wants it."""
    length = ALL_IPV6.prefixlen if ":" in address else subnet.prefixlen
    return f"{address}/{length}"


def bridge_lines(subnet: IPv4Network) -> list[str]:
    """What makes the bridge, in the namespace that it is to be in.

    It has the first address of each network, which no server gets.
    """
    return [
        f"link add {BRIDGE} type bridge",
        f"addr add {subnet[1]}/{subnet.prefixlen} dev {BRIDGE}",
        f"addr add {ALL_IPV6[1]}/{ALL_IPV6.prefixlen} dev {BRIDGE} nodad",
        f"link set {BRIDGE} up",
    ]


def cable_lines(namespace: str, number: int, address: str) -> list[str]:
    """What makes a node's namespace and its cable, in the bridge's namespace."""
    port = port_of(number)
    return [
        f"netns add {namespace}",
        f"link add {port} type veth peer name eth0 address {mac_of(address)} netns {namespace}",
        f"link set {port} master {BRIDGE} up",
    ]


def address_lines(addresses: Sequence[str], subnet: IPv4Network) -> list[str]:
    """What gives a node its addresses, in the node's namespace."""
    return [
        f"addr add {with_length(address, subnet)} dev eth0" + (" nodad" if ":" in address else "")
        for address in addresses
    ]


async def run(*command: str, given: str = "") -> None:
    """Run a program to its end. Cancelled, it is killed.

    Raises:
        CommandFailedError: it could not be started, or did not end with 0.
    """
    capture = partial(
        trio.run_process, stdin=given.encode(), capture_stdout=True, capture_stderr=True
    )
    try:
        done = await capture(command, check=False)
    except OSError as error:
        raise CommandFailedError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        said = (done.stderr + done.stdout).decode(errors="replace").strip().replace("\n", "; ")
        raise CommandFailedError(f"{' '.join(command)} ended with {done.returncode}: {said}")


async def ip(lines: Sequence[str], *, namespace: str | None = None, force: bool = False) -> None:
    """Run `ip` commands, in this process's namespace or a named one; *force* goes on after errors.

    Raises:
        CommandFailedError: one of them failed.
    """
    where = ("-n", namespace) if namespace else ()
    on = ("-force",) if force else ()
    await run("ip", *where, *on, "-batch", "-", given="\n".join(lines) + "\n")


async def processes_in(namespace: str) -> list[int]:
    """The processes in a named namespace; none if there is no such namespace.

    Without those that have ended since, of which the command that looks may be one.
    """
    done = await trio.run_process(
        ["ip", "netns", "pids", namespace],
        capture_stdout=True, capture_stderr=True, check=False,
    )  # fmt: skip
    return [pid for word in done.stdout.split() if _runs(pid := int(word))]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def end_all_in(namespace: str) -> None:
    """Kill whatever runs in a namespace of ours, and wait until it is gone."""
    await end_all(partial(processes_in, namespace))


async def end_all(those: Callable[[], Awaitable[Sequence[int]]]) -> None:
    """Kill processes of ours until none is found any more.

    Args:
        those: looks which there are.
    """
    with trio.fail_after(10.0):
        while pids := await those():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            await trio.sleep(0.01)


def enter(namespace: str) -> None:
    """Take this thread, and so those it starts, into a namespace: the named one, else a fresh one.

    A fresh one has no name yet (`name_own` gives it one) and ends with the process.

    Raises:
        ConfigError: the kernel does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    path = NAMED / namespace
    if path.exists():
        with path.open("rb") as file:
            failed = libc.setns(file.fileno(), _CLONE_NEWNET)
    else:
        failed = libc.unshare(_CLONE_NEWNET)
    if failed:
        code = ctypes.get_errno()
        raise ConfigError(
            [
                f"this process cannot enter a network namespace: {os.strerror(code)}. "
                + (
                    "Root is not enough in a container: give it CAP_SYS_ADMIN and CAP_NET_ADMIN"
                    if code == errno.EPERM
                    else f"Look at {path}: `ip netns delete {namespace}` removes one that is broken"
                )
            ]
        )
    # Without it nobody could listen at 127.0.0.1 here.
    command = [program("ip") or "ip", "link", "set", "lo", "up"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigError([f"`{' '.join(command)}` failed: {done.stderr.strip()}"])


def has_interface(name: str) -> bool:
    """Whether the namespace that this thread is in has an interface of this name."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


async def name_own(namespace: str) -> None:
    """Give the namespace that this process is in a name, unless it has it.

    Raises:
        CommandFailedError: iproute2 could not do it.
    """
    path = NAMED / namespace
    if not await trio.Path(path).exists():
        await run("ip", "netns", "attach", namespace, str(os.getpid()))
