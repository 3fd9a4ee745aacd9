"""VM nodes: behind each simulated server a virtual machine that boots the image it was made from.

That very file, as it came by the image API: what an upload got wrong does not boot. By qemu
without hardware that helps, so that it runs anywhere, slowly: 5 to 9 s of a CPU for the smallest
Linux, 90 s and more for a real distribution's. Each takes 200 to 600 MB of memory, so there are few
at once.

Nodes are on the bridge of `trellis.sim.serving.bridge`. A server's console is the machine's own.
"""

from collections.abc import Collection, Sequence
from typing import Final

import structlog
import trio

from trellis.sim.cloud import Machine, SimCloud
from trellis.sim.serving import qemu
from trellis.sim.serving.bridge import OnBridge, missing_of
from trellis.sim.serving.qemu_node import QemuNode, iso_writer

log = structlog.get_logger()

MOST: Final = 4
"""Machines at once; each more adds 3 s to the boot of all of them on two cores."""
_NEEDS: Final = {
    "ip": "iproute2", "ssh-keygen": "openssh-client", qemu.EMULATOR: "qemu-system-x86",
}  # fmt: skip


def missing() -> list[str]:
    """What VM nodes lack here, and what to do about it; empty if nothing."""
    needs = _NEEDS if iso_writer() else {**_NEEDS, "genisoimage": "genisoimage"}
    faults = missing_of("VM nodes", needs)
    if why := qemu.can_have_tap():
        faults.append(f"VM nodes need a tap device: {why}; load the kernel module `tun`")
    if faults:
        faults.append("`--nodes namespaces` needs no qemu, and `--nodes stub` needs none of this")
    return faults


class Vms(OnBridge[QemuNode]):
    """The back end; of several at once on a machine, each has a prefix of its own.

    Args:
        prefix: begins the name of its network namespace.
        key: a private SSH key, made if it is not there; who has it may log in to every guest that
            takes its keys from a config drive, as may the owner of its server's keypair.
    """

    boots_images = True

    async def run(self, clouds: Sequence[SimCloud], *, task_status: trio.TaskStatus[int]) -> None:  # noqa: ASYNC114, ASYNC128 - by `serve_clouds` alone; it starts what started it
        """Boot every server that is up, until cancelled; then remove all that was made.

        Raises:
            ConfigError: the prefix is in use.
            CommandFailedError: iproute2 could not make the bridge.
        """
        for cloud in clouds:
            cloud.show_consoles(self._console)
        await super().run(clouds, task_status=task_status)

    def _console(self, server_id: str) -> str:
        node = self._nodes.get(server_id)
        return "" if node is None else node.console

    def _missing(self) -> list[str]:
        return missing()

    def _room(self) -> bool:
        return len(self._nodes) < MOST

    def _tell_full(self, machine: Machine) -> None:
        log.warning("machines_full", most=MOST, waiting=machine.name)

    def _new_node(self, number: int, machine: Machine) -> QemuNode:
        return QemuNode(
            number=number,
            folder=self._folder / "nodes" / f"n{number}",
            subnet=self.subnet,
            authorized=self._authorized,
            machine=machine,
        )

    async def _remove_all(self, nodes: Collection[QemuNode]) -> None:
        del nodes  # what has ended has left nothing but its folder
