"""Namespace nodes: behind each simulated server a real sshd in a network namespace of its own.

Each node has a namespace ``PREFIX-nNUMBER``, whose eth0 is a port of the bridge (see
`trellis.sim.serving.bridge`), with the very addresses that the simulated Nova reports; hostname,
mounts, process ids and host keys of its own; and the rest of this machine's file system.

Costs 30 ms of CPU and about 4 MB of memory a node.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Final

import structlog

from trellis.sim.cloud import Machine
from trellis.sim.serving import netns
from trellis.sim.serving.bridge import OnBridge, missing_of
from trellis.sim.serving.namespace_node import NamespaceNode
from trellis.sim.serving.sshd import HostKeys

log = structlog.get_logger()

_NEEDS: Final = {
    "ip": "iproute2", "sshd": "openssh-server", "ssh-keygen": "openssh-client",
    "unshare": "util-linux", "mount": "mount",
}  # fmt: skip


def missing() -> list[str]:
    """What namespace nodes lack here, and what to do about it; empty if nothing."""
    faults = missing_of("namespace nodes", _NEEDS)
    if faults:
        faults.append("`--nodes stub` needs none of this: its servers only show an SSH host key")
    return faults


class Namespaces(OnBridge[NamespaceNode]):
    """The back end; of several at once on a machine, each has a prefix of its own.

    Args:
        prefix: begins the names of its namespaces.
        key: a private SSH key, made if it is not there; who has it may log in everywhere as root,
            as may the owner of the keypair that a server was created with.
    """

    def __init__(self, *, prefix: str, key: Path) -> None:
        super().__init__(prefix=prefix, key=key)
        self._host_keys = HostKeys()

    def _missing(self) -> list[str]:
        return missing()

    def _room(self) -> bool:
        return len(self._nodes) < netns.MOST_PORTS

    def _tell_full(self, machine: Machine) -> None:
        log.warning("bridge_full", most=netns.MOST_PORTS, unreachable=machine.name)

    def _new_node(self, number: int, machine: Machine) -> NamespaceNode:
        return NamespaceNode(
            number=number,
            namespace=f"{self._prefix}-n{number}",
            folder=self._folder / "nodes" / f"n{number}",
            subnet=self.subnet,
            host_keys=self._host_keys,
            authorized=self._authorized,
            machine=machine,
        )

    async def _remove_all(self, nodes: Collection[NamespaceNode]) -> None:
        if nodes:
            await netns.ip([f"netns delete {node.namespace}" for node in nodes])
