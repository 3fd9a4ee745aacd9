"""Nodes on a bridge in a network namespace of its own: what back ends with real nodes share.

One namespace, ``PREFIX-net``, holds the bridge; the served clouds listen there, and whatever is to
reach them or the nodes runs there too (``ip netns exec PREFIX-net …``). So the machine's own
network is left as it is. Nodes have the very addresses that the simulated Nova reports.

A folder below /run, made before what it stands for, tells the next run what a killed one left
behind, whichever kind of nodes that had.
"""

import fcntl
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import structlog
import trio

from trellis.errors import ConfigError
from trellis.sim.cloud import Machine, SimCloud
from trellis.sim.serving import netns, qemu
from trellis.sim.serving.machines import NOWHERE
from trellis.sim.serving.sshd import login_key

log = structlog.get_logger()

_LOOK_EVERY_S: Final = 0.1
_AT_ONCE: Final = 4
_AGAIN_AFTER_S: Final = 5.0
_END_AT_MOST_S: Final = 60.0
_SSH: Final = 22

Step = Callable[[], Awaitable[None]]


class BridgeNode(Protocol):
    """One node. Each of its steps may be repeated after it failed.

    Attributes:
        folder: stands for it on disk from before it is until after it was.
        machine: the server as its cloud has it now.
        wanted: whether the server is up.
        busy: a step is under way.
        made: something of it is there besides the folder.
    """

    folder: Path
    machine: Machine
    wanted: bool
    busy: bool
    made: bool

    def next_step(self, *, booted: bool) -> Step | None:
        """What is to be done now for this node; None if it is as it should be.

        Args:
            booted: whether the server's guest answers.
        """
        ...

    def kill(self) -> None:
        """End all that runs in it; `gone` waits until it has ended."""
        ...

    async def gone(self) -> None:
        """Wait until nothing runs in it any more."""
        ...

    async def remove(self) -> None:
        """Leave nothing of it.

        Raises:
            CommandFailedError: it could not be done; nothing is forgotten.
        """
        ...


N = TypeVar("N", bound=BridgeNode)


def missing_of(kind: str, packages: Mapping[str, str]) -> list[str]:
    """What nodes on a bridge lack here, and what to do about it; empty if nothing.

    Args:
        kind: of the nodes, in words.
        packages: Debian's package by the program that is needed.
    """
    faults = []
    if os.geteuid() != 0:
        faults.append(f"{kind} need root: run the command with sudo")
    absent = [name for name in packages if netns.program(name) is None]
    if absent:
        wanted = " ".join(sorted({packages[name] for name in absent}))
        verb = "is" if len(absent) == 1 else "are"
        faults.append(
            f"{kind} need {', '.join(absent)}, which {verb} not installed: "
            f"on Debian, as root: apt-get install {wanted}"
        )
    return faults


class OnBridge(ABC, Generic[N]):
    """A back end; of several at once on a machine, each has a prefix of its own.

    Args:
        prefix: begins the names of its namespaces.
        key: a private SSH key, made if it is not there; who has it may log in everywhere,
            as may the owner of the keypair that a server was created with.
    """

    subnet = NOWHERE
    reachable = True
    boots_images = False

    def __init__(self, *, prefix: str, key: Path) -> None:
        self._prefix = prefix
        self._key = key
        self._net = f"{prefix}-net"
        self._folder = Path(f"/run/trellis-namespaces-{prefix}")
        self._authorized = ""
        self._nodes: dict[str, N] = {}
        self._numbers = count(1)
        self._slots = trio.CapacityLimiter(_AT_ONCE)
        self._held: dict[str, float] = {}
        self._full = False

    # --------------------------------------------------------------- what a kind of nodes is

    @abstractmethod
    def _missing(self) -> list[str]:
        """What is not there, and what to do about it; empty if nothing."""

    @abstractmethod
    def _new_node(self, number: int, machine: Machine) -> N:
        """The node of a server, of which nothing is made yet."""

    @abstractmethod
    def _room(self) -> bool:
        """Whether one node more can be had."""

    @abstractmethod
    def _tell_full(self, machine: Machine) -> None:
        """Log that a server gets no node for now; called once until there is room again."""

    @abstractmethod
    async def _remove_all(self, nodes: Collection[N]) -> None:
        """Remove nodes in which nothing runs any more and of which everything is made."""

    # ------------------------------------------------------------------------------ the run

    @property
    def run_within(self) -> tuple[str, ...]:
        """What a daemon that is to reach these clouds and nodes has to be started with."""
        return "ip", "netns", "exec", self._net

    def prepare(self) -> None:
        """Take the process into the network namespace of the bridge; makes nothing with a name.

        Raises:
            ConfigError: something is missing; says what, and what to do.
        """
        faults = netns.faults_of_prefix(self._prefix) + self._missing()
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
                        f"another `trellis cloud` has nodes with the prefix {self._prefix!r}: "
                        "stop it, or choose another --prefix"
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
            await netns.end_all(partial(qemu.processes_of, folder))
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
        await self._remove_all(whole)
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

    def _node_of(self, machine: Machine) -> N | None:
        """The node of a server, begun now if need be; None if there is no room for it."""
        node = self._nodes.get(machine.server_id)
        if node is not None:
            return node
        if not self._room():
            if not self._full:
                self._full = True
                self._tell_full(machine)
            return None
        self._full = False
        node = self._nodes[machine.server_id] = self._new_node(next(self._numbers), machine)
        return node

    async def _take(self, id: str, node: N, step: Step) -> None:
        """Take one step for a node; one that fails is taken again after a while."""
        try:
            async with self._slots:
                await step()
        except (netns.CommandFailedError, OSError) as error:
            log.warning("node_step_failed", node=node.folder.name, error=str(error))
            self._held[id] = trio.current_time() + _AGAIN_AFTER_S
        else:
            self._held.pop(id, None)
            if not node.wanted and step == node.remove:
                del self._nodes[id]
        node.busy = False
