"""What a build leaves: which mounts and loop devices are its own, and in what order they go."""

import shutil
import subprocess
from pathlib import Path

import trio

from trellis.builders import tools
from trellis.builders.leftovers import Loop, clear, loops_below, mounts_below

SCRATCH = Path("/srv/images/.scratch/debian-12-0000000007")

TABLE = """\
/dev/vda1 / ext4 rw 0 0
proc /proc proc rw 0 0
/dev/loop0 /srv/images/.scratch/debian-12-0000000007/tmp/dib.x/mnt ext4 rw 0 0
udev /srv/images/.scratch/debian-12-0000000007/tmp/dib.x/mnt/dev devtmpfs rw 0 0
devpts /srv/images/.scratch/debian-12-0000000007/tmp/dib.x/mnt/dev/pts devpts rw 0 0
tmpfs /srv/images/.scratch/debian-12-0000000007/a\\040b tmpfs rw 0 0
tmpfs /srv/images/.scratch/debian-12-00000000071 tmpfs rw 0 0
/dev/vda1 /srv/images/.scratch/debian-12-0000000007/tmp/dib.x/mnt/dev/pts ext4 rw 0 0
"""


def test_mounts_of_a_build_go_deepest_first_and_no_others():
    found = [str(path.relative_to(SCRATCH)) for path in mounts_below(SCRATCH, TABLE)]

    assert [
        "tmp/dib.x/mnt/dev/pts",
        "tmp/dib.x/mnt/dev/pts",
        "tmp/dib.x/mnt/dev",
        "tmp/dib.x/mnt",
        "a b",
    ] == found


def test_loop_devices_on_loop_devices_go_first():
    """So are partitions shown where the kernel has no device-mapper."""
    loops = [
        Loop("/dev/loop0", f"{SCRATCH}/tmp/image0.raw"),
        Loop("/dev/loop1", "/var/lib/other.img"),
        Loop("/dev/loop2", f"{SCRATCH}-other/image0.raw"),
        Loop("/dev/loop32", "/dev/loop0"),
        Loop("/dev/loop33", "/dev/loop1"),
    ]

    found = [loop.device for loop in loops_below(SCRATCH, loops)]

    assert ["/dev/loop32", "/dev/loop0"] == found


async def test_large_folder_on_a_slow_disk_is_removed_all_the_same(
    monkeypatch, tmp_path, autojump_clock
):
    """It takes two minutes; what is not removed now is removed by nobody."""

    async def slow(words, **_kwargs):
        await trio.sleep(120)
        shutil.rmtree(words[-1])
        return subprocess.CompletedProcess(words, 0, b"", b"")

    monkeypatch.setattr(tools.trio, "run_process", slow)
    scratch = tmp_path / "debian-12-0000000007"
    scratch.mkdir()

    assert () == await clear(scratch)

    assert not scratch.exists()
