"""The stand-in for disk-image-create behaves as that does, and what it makes is an image."""

import hashlib
import json
import os
import subprocess

import pytest

from tests.image.mini import create


def info(path):
    """What qemu-img says of a disk."""
    words = ["qemu-img", "info", "--output=json", str(path)]
    return json.loads(subprocess.run(words, capture_output=True, check=True).stdout)


@pytest.fixture(scope="module")
def built(able, tmp_path_factory):
    """Every format, once, padded to 64 MiB."""
    folder = tmp_path_factory.mktemp("built")
    (scratch := folder / "scratch").mkdir()
    done = create(
        "-x", "-t", "qcow2,raw,vhd", "--checksum", "--no-tmpfs",
        "--qemu-img-options", "compat=0.10", "-o", str(folder / "mini-1"), "debian-minimal", "vm",
        folder=scratch, MINI_SIZE_MB="64", DIB_RELEASE="bookworm",
    )  # fmt: skip
    assert 0 == done.returncode, done.stdout + done.stderr
    return folder, done.stdout


@pytest.mark.parametrize(("suffix", "format"), [("qcow2", "qcow2"), ("raw", "raw"), ("vhd", "vpc")])
def test_every_format_is_what_it_says(built, suffix, format):
    """Of the same disk, with the size that was asked for."""
    folder, _ = built

    told = info(folder / f"mini-1.{suffix}")

    # qemu-img takes a disk that begins with code for raw, and needs no telling for the others.
    assert format == told["format"]
    assert 64 << 20 <= told["virtual-size"] < 66 << 20


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_checksums_stand_beside_the_files(built, kind):
    folder, _ = built
    for suffix in ("qcow2", "raw", "vhd"):
        file = folder / f"mini-1.{suffix}"

        told = (folder / f"mini-1.{suffix}.{kind}").read_text().split()

        assert [hashlib.new(kind, file.read_bytes()).hexdigest(), str(file)] == told


def test_its_manifests_say_what_it_was_made_of(built):
    folder, said = built
    manifests = folder / "mini-1.d/dib-manifests"

    assert "debian-minimal vm\n" == (manifests / "dib_arguments").read_text()
    assert "DIB_RELEASE=bookworm" in (manifests / "dib_environment").read_text()
    assert "Building elements: debian-minimal vm" in said


def test_nothing_temporary_is_left(built):
    folder, _ = built

    assert [] == os.listdir(folder / "scratch")
    assert not list(folder.glob("*-new"))


def test_told_to_fail_it_leaves_its_temporary_files(able, tmp_path):
    """As a builder that is killed does: who runs it has to clear up."""
    done = create("-t", "raw", "-o", str(tmp_path / "x"), "debian", folder=tmp_path, MINI_FAIL="7")

    assert 7 == done.returncode
    assert 1 == len(list(tmp_path.glob("dib_build.*/image0.raw")))
    assert not (tmp_path / "x.raw").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "/nowhere/x"), "At least one distribution root element"),
        (("debian",), "wants -o OUT"),
    ],
    ids=["no-elements", "no-output"],
)
def test_a_command_line_that_asks_for_no_image_is_refused(able, tmp_path, words, said):
    done = create(*words, folder=tmp_path)

    assert 1 == done.returncode
    assert said in done.stdout


def test_missing_tools_are_named_with_their_packages(able, tmp_path):
    """All at once, with what to type."""
    empty = tmp_path / "bin"
    empty.mkdir()
    for name in (
        "bash",
        "env",
        "dirname",
        "readlink",
        "getopt",
        "date",
        "mktemp",
        "basename",
        "rm",
    ):
        (empty / name).symlink_to(f"/usr/bin/{name}")

    done = create("-o", str(tmp_path / "x"), "debian", folder=tmp_path, PATH=str(empty))

    assert 0 != done.returncode
    for package in ("cpio", "mtools", "busybox-static"):
        assert package in done.stderr.split("apt-get install ")[1]
