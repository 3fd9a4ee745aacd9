"""The footers of VHD files: made by hand, and those that qemu-img writes."""

import shutil
import subprocess

import pytest

from trellis.builders.vhd import as_tapdisk, claim_tapdisk
from trellis.errors import BuildError

QEMU_IMG = shutil.which("qemu-img")


def a_footer(creator=b"qem2"):
    """A footer as the specification has it, with its checksum."""
    footer = bytearray(512)
    footer[0:8] = b"conectix"
    footer[8:12] = (2).to_bytes(4, "big")
    footer[12:16] = (0x00010000).to_bytes(4, "big")
    footer[16:24] = (512).to_bytes(8, "big")
    footer[28:32] = creator
    footer[32:36] = (0x00050003).to_bytes(4, "big")
    footer[40:48] = footer[48:56] = (8 << 20).to_bytes(8, "big")
    footer[60:64] = (3).to_bytes(4, "big")
    footer[68:84] = bytes(range(16))
    footer[64:68] = checksum(footer).to_bytes(4, "big")
    return bytes(footer)


def checksum(footer):
    return ~sum(byte for place, byte in enumerate(footer) if not 64 <= place < 68) & 0xFFFFFFFF


def given_checksum(footer):
    return int.from_bytes(footer[64:68], "big")


def test_creator_is_xens_tools_and_the_checksum_is_right():
    footer = as_tapdisk(a_footer())

    assert b"tap\0" == footer[28:32]
    assert checksum(footer) == given_checksum(footer)


def test_version_is_one_that_has_no_map_of_blocks():
    """From 1.2 on Xen's library looks for a map that is not there."""
    assert 1 == int.from_bytes(as_tapdisk(a_footer())[32:36], "big")


def test_nothing_else_is_changed():
    before, after = a_footer(), as_tapdisk(a_footer())

    changed = {place for place in range(512) if before[place] != after[place]}
    assert changed <= {*range(28, 36), *range(64, 68)}


def test_footer_and_its_copy_are_both_written(tmp_path):
    path = tmp_path / "x.vhd"
    path.write_bytes(a_footer() + b"d" * 2048 + a_footer())

    claim_tapdisk(path)

    content = path.read_bytes()
    assert as_tapdisk(a_footer()) == content[:512] == content[-512:]
    assert b"d" * 2048 == content[512:-512]


def test_fixed_disk_has_no_copy(tmp_path):
    path = tmp_path / "x.vhd"
    path.write_bytes(b"d" * 2048 + a_footer())

    claim_tapdisk(path)

    assert b"d" * 2048 + as_tapdisk(a_footer()) == path.read_bytes()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no VHD"),
        (b"x" * 4096, "is no VHD"),
        (b"d" * 512 + a_footer()[:64] + b"\0\0\0\0" + a_footer()[68:], "checksum .* is wrong"),
        (a_footer(b"abcd") + b"d" * 512 + a_footer(), "differ"),
    ],
    ids=["empty", "other", "checksum", "copy"],
)
def test_what_is_no_vhd_is_refused_and_not_touched(tmp_path, content, told):
    path = tmp_path / "x.vhd"
    path.write_bytes(content)

    with pytest.raises(BuildError, match=told):
        claim_tapdisk(path)

    assert content == path.read_bytes()


@pytest.mark.skipif(QEMU_IMG is None, reason="no qemu-img: install qemu-utils")
def test_what_qemu_img_writes_is_marked_and_still_read_by_it(tmp_path):
    raw, vhd, back = tmp_path / "x.raw", tmp_path / "x.vhd", tmp_path / "back.raw"
    raw.write_bytes(b"boot" * 1024 + bytes(4 << 20))
    options = ["-O", "vpc", "-o", "subformat=dynamic,force_size=on"]
    subprocess.run([QEMU_IMG, "convert", "-f", "raw", *options, raw, vhd], check=True)

    claim_tapdisk(vhd)

    content = vhd.read_bytes()
    assert content[:512] == content[-512:]
    assert b"tap\0" == content[28:32]
    assert checksum(content[:512]) == given_checksum(content)
    subprocess.run([QEMU_IMG, "convert", "-f", "vpc", "-O", "raw", vhd, back], check=True)
    assert raw.read_bytes() == back.read_bytes()[: raw.stat().st_size]
