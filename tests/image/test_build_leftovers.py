"""What a killed build leaves mounted and attached is undone; root and loop devices are needed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from trellis.builders.leftovers import attached_loops, clear, loops_below, mounts_below
from trellis.builders.tools import system_path


@pytest.fixture(scope="module")
def root():
    """This machine lets the tests mount things; never a skip."""
    lacks = [
        tool
        for tool in ("losetup", "mkfs.ext4", "mount")
        if shutil.which(tool, path=system_path()) is None
    ]
    if os.geteuid() != 0 or lacks:
        pytest.fail(f"needs root and {', '.join(lacks) or 'nothing else'}", pytrace=False)


@pytest.fixture
def scratch(root, tmp_path):
    """A scratch folder; what a failed test leaves mounted in it is taken away."""
    folder = tmp_path / ".scratch" / "debian-12-0000000001"
    folder.mkdir(parents=True)
    yield folder
    for place in mounts_below(folder, Path("/proc/self/mounts").read_text()):
        subprocess.run(["umount", "-l", place], check=False)
    for loop in loops_below(folder, attached_loops()):
        subprocess.run(["losetup", "-d", loop.device], check=False)


def run(*words):
    environment = {**os.environ, "PATH": system_path()}
    ended = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
    return ended.stdout.strip()


def an_image_mounted(scratch, name="built"):
    """A file system in a file, on a loop device, mounted, with others mounted inside it."""
    image = scratch / f"{name}.raw"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    run("mkfs.ext4", "-q", "-F", str(image))
    device = run("losetup", "--find", "--show", str(image))
    mount = scratch / name
    mount.mkdir()
    run("mount", device, str(mount))
    return device, mount


async def test_mounts_loop_devices_and_the_folder_are_gone(scratch):
    device, mount = an_image_mounted(scratch, "with space")
    inside = mount / "proc"
    inside.mkdir()
    run("mount", "-t", "tmpfs", "none", str(inside))

    assert () == await clear(scratch)

    assert not scratch.exists()
    assert device not in [loop.device for loop in attached_loops()]
    assert str(scratch) not in Path("/proc/self/mounts").read_text()


async def test_what_is_mounted_from_elsewhere_is_not_deleted(scratch, tmp_path):
    """diskimage-builder shows its cache in the image; deleting the folder must not empty it."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "kept").write_text("a package")
    (scratch / "apt").mkdir()
    run("mount", "--bind", str(cache), str(scratch / "apt"))

    assert () == await clear(scratch)

    assert "a package" == (cache / "kept").read_text()
    assert not scratch.exists()


async def test_processes_in_the_image_are_ended_first(scratch):
    """They keep it from being unmounted, and have the mark of the build no more."""
    _, mount = an_image_mounted(scratch)
    for folder in ("bin", "lib", "lib64", "usr"):
        if Path("/", folder).exists():
            (mount / folder).mkdir()
            run("mount", "--bind", f"/{folder}", str(mount / folder))
    sleeper = subprocess.Popen(  # noqa: ASYNC220
        [shutil.which("chroot", path=system_path()), mount, "/bin/sleep", "1000"],
        env={},
        start_new_session=True,
    )

    assert () == await clear(scratch)

    assert -9 == sleeper.wait(10)
    assert not scratch.exists()
    assert Path("/usr/bin/env").exists()


async def test_busy_mount_stays_and_is_told_and_nothing_in_it_is_deleted(scratch, tmp_path):
    """A process of somebody else is in there: it is neither ended nor robbed."""
    _, mount = an_image_mounted(scratch)
    (mount / "kept").write_text("x")
    stranger = subprocess.Popen(["sleep", "1000"], cwd=mount)  # noqa: ASYNC220
    try:
        left = await clear(scratch)

        assert 2 == len(left)
        assert f"mount {mount}" in left[0]
        assert "busy" in left[0]
        assert "loop device" in left[1]
        assert "x" == (mount / "kept").read_text()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()

    assert () == await clear(scratch)
    assert not scratch.exists()


async def test_nothing_left_is_fine(scratch):
    scratch.rmdir()

    assert () == await clear(scratch)
