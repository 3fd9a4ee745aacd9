"""Namespace nodes: behind each simulated server a real sshd in a network namespace of its own.

One namespace, ``PREFIX-net``, holds a bridge; the served clouds listen there, and whatever is to
reach them or the nodes runs there too (``ip netns exec PREFIX-net …``). So the machine's own
network is left as it is. Each node has a namespace ``PREFIX-nNUMBER``, whose eth0 is a port of the
bridge, with the very addresses that the simulated Nova reports; hostname, mounts, process ids and
host keys of its own; and the rest of this machine's file system.

Costs 30 ms of CPU and about 4 MB of memory a node. A folder below /run, made before the namespace
it stands for, tells the next run what a killed one left behind.
"""

import fcntl
import os
import shutil
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Final

import structlog
import trio

from trellis.errors import ConfigError
from trellis.sim.cloud import Machine, SimCloud
from trellis.sim.serving import netns
from trellis.sim.serving.machines import NOWHERE
from trellis.sim.serving.namespace_node import NamespaceNode, Step
from trellis.sim.serving.sshd import HostKeys, login_key

log = structlog.get_logger()

_NEEDS: Final = {
    "ip": "iproute2", "sshd": "openssh-server", "ssh-keygen": "openssh-client",
    "unshare": "util-linux", "mount": "mount",
}  # fmt: skip
_LOOK_EVERY_S: Final = 0.1
_AT_ONCE: Final = 4
_AGAIN_AFTER_S: Final = 5.0
_END_AT_MOST_S: Final = 60.0
_SSH: Final = 22


def missing() -> list[str]:
    """What namespace nodes lack here, and what to do about it; empty if nothing."""
    faults = []
    if os.geteuid() != 0:
        faults.append("namespace nodes need root: run the command with sudo")
    absent = [name for name in _NEEDS if netns.program(name) is None]
    if absent:
        packages = " ".join(sorted({_NEEDS[name] for name in absent}))
        verb = "is" if len(absent) == 1 else "are"
        faults.append(
            f"namespace nodes need {', '.join(absent)}, which {verb} not installed: "
            f"on Debian, as root: apt-get install {packages}"
        )
    if faults:
        faults.append("`--nodes stub` needs none of this: its servers only show an SSH host key")
    return faults


class Namespaces:
    """The back end; of several at once on a machine, each has a prefix of its own.

    Args:
        prefix: begins the names of its namespaces.
        key: a private SSH key, made if it is not there; who has it may log in everywhere as root,
            as may the owner of the keypair that a server was created with.
    """

    subnet = NOWHERE
    reachable = True

    def __init__(self, *, prefix: str, key: Path) -> None:
        self._prefix = prefix
        self._key = key
        self._net = f"{prefix}-net"
        self._folder = Path(f"/run/trellis-namespaces-{prefix}")
        self._authorized = ""
        self._host_keys = HostKeys()
        self._nodes: dict[str, NamespaceNode] = {}
        self._numbers = count(1)
        self._slots = trio.CapacityLimiter(_AT_ONCE)
        self._held: dict[str, float] = {}
        self._full = False

    @property
    def run_within(self) -> tuple[str, ...]:
        """What a daemon that is to reach these clouds and nodes has to be started with."""
        return "ip", "netns", "exec", self._net

    def prepare(self) -> None:
        """Take the process into the network namespace of the bridge; makes nothing with a name.

        Raises:
            ConfigError: something is missing; says what, and what to do.
        """
        faults = netns.faults_of_prefix(self._prefix) + missing()
        if not faults and (netns.NAMED / self._net).exists() and not self._folder.is_dir():
            faults.append(
                f"there is a network namespace {self._net} that `trellis cloud` has not made: "
                f"remove it with `ip netns delete {self._net}`, or choose another --prefix"
            )
        if faults:
            raise ConfigError(faults)
        self._authorized = login_key(self._key)
        netns.enter(self._net)

    async def run(self, clouds: Sequence[SimCloud], *, task_status: trio.TaskStatus[int]) -> None:  # noqa: ASYNC114 - by `serve_clouds` alone
        """Give every server that is up its node, until cancelled; then remove all that was made.

        First it removes what a killed run of the same prefix left.

        Raises:
            ConfigError: the prefix is in use.
            CommandFailedError: iproute2 could not make the bridge.
        """
        lock = self._lock()
        try:
            left = os.listdir(self._folder / "nodes")
            if left:
                log.warning("removing_what_a_killed_run_left", nodes=len(left))
            await self._clear()
            await self._make_bridge()
            async with trio.open_nursery() as nursery:
                task_status.started(_SSH)
                while True:
                    self._look(clouds, nursery)
                    await trio.sleep(_LOOK_EVERY_S)
        finally:
            with trio.move_on_after(_END_AT_MOST_S, shield=True):
                await self._end()
            os.close(lock)

    # ------------------------------------------------------------------ beginning and end

    def _lock(self) -> int:
        """Claim the prefix; the kernel gives it back when this process ends, however it ends."""
        while True:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise ConfigError(
                    [
                        "another `trellis cloud` has namespace nodes with the prefix "
                        f"{self._prefix!r}: stop it, or choose another --prefix"
                    ]
                ) from None
            if self._folder.exists() and self._folder.stat().st_ino == os.fstat(descriptor).st_ino:
                (self._folder / "nodes").mkdir(exist_ok=True)
                return descriptor
            os.close(descriptor)  # its last owner has just removed it

    async def _make_bridge(self) -> None:
        await netns.name_own(self._net)
        if not netns.has_interface(netns.BRIDGE):
            await netns.ip(netns.bridge_lines(self.subnet))

    async def _clear(self) -> None:
        """Remove the nodes that are left: those that have a folder of ours, and nothing else."""
        for folder in sorted((self._folder / "nodes").iterdir()):
            namespace = f"{self._prefix}-{folder.name}"
            if await trio.Path(netns.NAMED, namespace).exists():
                await netns.end_all_in(namespace)
                await netns.run("ip", "netns", "delete", namespace)
            shutil.rmtree(folder)

    async def _end(self) -> None:
        """Remove everything: the many that are whole at once, the others one by one."""
        for node in self._nodes.values():
            node.kill()
        for node in self._nodes.values():
            await node.gone()
        whole = [node for node in self._nodes.values() if node.made and not node.busy]
        if whole:
            await netns.ip([f"netns delete {node.namespace}" for node in whole])
        for node in whole:
            shutil.rmtree(node.folder)
        await self._clear()
        inside = [pid for pid in await netns.processes_in(self._net) if pid != os.getpid()]
        if inside:
            log.warning("still_inside", namespace=self._net, pids=inside)
        if await trio.Path(netns.NAMED, self._net).exists():  # not, if it could not be made
            await netns.run("ip", "netns", "delete", self._net)
        shutil.rmtree(self._folder)

    # ------------------------------------------------------------------------- the nodes

    def _look(self, clouds: Sequence[SimCloud], nursery: trio.Nursery) -> None:
        """Compare what the clouds have with what there is, and begin what is to be done."""
        booted: set[str] = set()
        for node in self._nodes.values():
            node.wanted = False
        for cloud in clouds:
            now = cloud.now
            for machine in cloud.machines():
                found = self._node_of(machine)
                if found is not None:
                    found.machine, found.wanted = machine, True
                    if machine.ssh_at <= now:
                        booted.add(machine.server_id)
        for id, node in self._nodes.items():
            if node.busy or trio.current_time() < self._held.get(id, 0.0):
                continue
            step = node.next_step(booted=id in booted)
            if step is not None:
                node.busy = True
                nursery.start_soon(self._take, id, node, step)

    def _node_of(self, machine: Machine) -> NamespaceNode | None:
        """The node of a server, begun now if need be; None if the bridge has no port left."""
        node = self._nodes.get(machine.server_id)
        if node is not None:
            return node
        if len(self._nodes) >= netns.MOST_PORTS:
            if not self._full:
                self._full = True
                log.warning("bridge_full", most=netns.MOST_PORTS, unreachable=machine.name)
            return None
        self._full = False
        number = next(self._numbers)
        node = self._nodes[machine.server_id] = NamespaceNode(
            number=number,
            namespace=f"{self._prefix}-n{number}",
            folder=self._folder / "nodes" / f"n{number}",
            subnet=self.subnet,
            host_keys=self._host_keys,
            authorized=self._authorized,
            machine=machine,
        )
        return node

    async def _take(self, id: str, node: NamespaceNode, step: Step) -> None:
        """Take one step for a node; one that fails is taken again after a while."""
        try:
            async with self._slots:
                await step()
        except (netns.CommandFailedError, OSError) as error:
            log.warning("node_step_failed", namespace=node.namespace, error=str(error))
            self._held[id] = trio.current_time() + _AGAIN_AFTER_S
        else:
            self._held.pop(id, None)
            if not node.wanted and step == node.remove:
                del self._nodes[id]
        node.busy = False
