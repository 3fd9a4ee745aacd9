"""What makes small bootable images here, and what it leaves."""

import os
import shutil
import subprocess
from pathlib import Path

MINIVM = Path(__file__).parents[1] / "minivm"
CREATE = MINIVM / "mini-image-create"
RUN_DIB = MINIVM / "run-dib"
_TOOLS = {
    "busybox": "busybox-static", "cpio": "cpio", "depmod": "kmod", "dropbear": "dropbear-bin",
    "dropbearkey": "dropbear-bin", "mcopy": "mtools", "mkfs.vfat": "dosfstools",
    "qemu-img": "qemu-utils", "syslinux": "syslinux",
}  # fmt: skip
_DIB_TOOLS = {
    "debootstrap": "debootstrap", "git": "git", "mkfs.ext4": "e2fsprogs", "parted": "parted",
    "pgrep": "procps", "qemu-img": "qemu-utils", "sfdisk": "fdisk", "sgdisk": "gdisk",
    "mkfs.vfat": "dosfstools", "kpartx": "kpartx",
}  # fmt: skip


def _absent(tools):
    path = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin"))
    packages = sorted({tools[name] for name in tools if shutil.which(name, path=path) is None})
    return [f"as root: apt-get install {' '.join(packages)}"] if packages else []


def lacking():
    """What is missing to make a small image; empty if nothing."""
    return _absent(_TOOLS)


def lacking_dib():
    """What is missing to run diskimage-builder; empty if nothing."""
    return _absent(_DIB_TOOLS)


def create(*words, folder, **environment):
    """Run the build command."""
    return subprocess.run(
        [CREATE, *words], env={**os.environ, "TMP_DIR": str(folder), **environment},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def _loop_devices():
    found = set()
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found.add((file.parts[3], file.read_text().strip()))
        except OSError:
            continue  # let go meanwhile
    return found


def _machines():
    found = set()
    for process in Path("/proc").iterdir():
        try:
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if line.split(b"\0")[0].endswith(b"qemu-system-x86_64"):
            found.add(process.name)
    return found


class Traces:
    """What images and nodes leave on a machine, if they leave anything.

    Args:
        folder: mounts and loop devices that have to do with it are looked at; those of others,
            who may work on the same machine, are not.
        prefix: of network namespaces.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder, self._prefix = str(folder), prefix

    def found(self) -> dict[str, object]:
        """What is there now, by kind; empty if nothing."""
        named = Path("/run/netns")
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        run = Path("/run").glob(f"trellis-namespaces-{self._prefix}*")
        kinds = {
            "machines": self.machines(),
            "loop devices": [row for row in _loop_devices() if self._folder in row[1]],
            "mounts": [row for row in mounts if self._folder in row],
            "namespaces": [
                path.name for path in (named.iterdir() if named.exists() else ())
                if path.name.startswith(self._prefix)
            ],
            "folders": [str(path) for path in run],
        }  # fmt: skip
        return {kind: rows for kind, rows in kinds.items() if rows}

    def machines(self) -> list[str]:
        """The machines of ours that run."""
        return [m for m in _machines() if self._ours(m)]

    def _ours(self, process: str) -> bool:
        try:
            line = Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:
            return False
        return f"/trellis-namespaces-{self._prefix}/".encode() in line
