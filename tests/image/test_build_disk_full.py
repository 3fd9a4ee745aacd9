"""A disk that fills while an image is built: a small one in memory, which root may mount."""

import hashlib
import os
import subprocess

import pytest

from tests.builders.workshop import TAKE_ARGUMENTS, Heard, an_order, assert_nothing_left
from tests.control.build_stage import a_stage
from trellis.builders.artifact import ArtifactBuilder, ArtifactConfig
from trellis.builders.tools import system_path
from trellis.errors import BuildError
from trellis.model.image import BuildState


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 2 MiB."""
    if os.geteuid() != 0:
        pytest.fail("needs root, to mount a small disk", pytrace=False)
    folder = tmp_path / "small"
    folder.mkdir()
    environment = {**os.environ, "PATH": system_path()}
    options = ["-t", "tmpfs", "-o", "size=2m", "none", folder]
    subprocess.run(["mount", *options], check=True, env=environment)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True, env=environment)


async def test_build_that_fills_the_disk_says_so_and_gives_the_room_back(small_disk):
    """Its log cannot be written to the end either, and that is no crash."""
    script = TAKE_ARGUMENTS + 'head -c 50000000 /dev/zero > "$out.qcow2"'
    async with a_stage(small_disk) as stage:
        stage.image("debian-12", script)

        build = await stage.built("debian-12")
        again = await stage.built("debian-12")

    assert BuildState.FAILED is build.state is again.state
    assert "the disk is full. Make room where `images-dir` is" in build.fault
    assert [] == stage.files()
    free = os.statvfs(small_disk)
    assert free.f_bavail * free.f_frsize > 1_500_000


async def test_file_that_is_too_large_to_fetch_says_so(small_disk, tmp_path):
    content = os.urandom(4 << 20)
    (tmp_path / "x.raw").write_bytes(content)
    config = ArtifactConfig(
        name="x", url=f"file://{tmp_path}/x.raw", sha256=hashlib.sha256(content).hexdigest()
    )

    with pytest.raises(BuildError, match=r"No space left on device\. Make room"):
        await ArtifactBuilder(config).build(an_order(small_disk, "raw"), Heard())

    assert_nothing_left(an_order(small_disk))
