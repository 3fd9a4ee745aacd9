"""Images that were built elsewhere: fetched, checked, unpacked, converted."""

import gzip
import hashlib
import lzma
import os
import shutil
from pathlib import Path

import httpx
import pytest
import trio

from tests.builders.workshop import Heard, an_order, assert_nothing_left
from tests.http.scripted import Scripted
from trellis.builders.artifact import ArtifactBuilder, ArtifactConfig
from trellis.errors import BuildError
from trellis.spi.image import SizedBuilder

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
QEMU_IMG = shutil.which("qemu-img", path=PATH)
ZSTD = shutil.which("zstd", path=PATH)
RAW = b"a bootable image".ljust(512, b".") * 4 + bytes(3 << 20) + b"its end".ljust(512, b".")


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def a_builder(url, content, transport=None, **changes):
    values = {"url": url, "sha256": sha256(content), **changes}
    config = ArtifactConfig(name="debian-12", **values)
    factory = None if transport is None else (lambda _settings: transport)
    return ArtifactBuilder(config, factory, {"PATH": PATH})


async def fetched(folder, name, content, *formats, **changes):
    """Build of a local file; returns the artifacts and the watch."""
    path = folder / name
    path.write_bytes(content)
    heard = Heard()
    builder = a_builder(f"file://{path}", content, **changes)
    return await builder.build(an_order(folder, *(formats or ("raw",))), heard), heard


async def refused(folder, name, content, *formats, **changes):
    with pytest.raises(BuildError) as raised:
        await fetched(folder, name, content, *formats, **changes)
    assert_nothing_left(an_order(folder))
    return str(raised.value)


class TestFetching:
    async def test_file_over_http_is_checked_while_it_comes(self, tmp_path):
        async def answer(_request):
            await trio.lowlevel.checkpoint()
            return httpx.Response(200, content=RAW)

        builder = a_builder("https://ci.test/debian.raw", RAW, Scripted(answer))
        heard = Heard()

        (made,) = await builder.build(an_order(tmp_path, "raw"), heard)

        assert RAW == Path(made.path).read_bytes()
        assert (sha256(RAW), len(RAW)) == (made.sha256, made.size)
        assert ["fetching", "checksums"] == heard.phases
        assert not an_order(tmp_path).scratch.exists()

    async def test_wrong_checksum_is_refused_and_both_are_shown(self, tmp_path):
        wrong = "0" * 64

        text = await refused(tmp_path, "x.raw", RAW, sha256=wrong)

        assert sha256(RAW) in text
        assert wrong in text

    async def test_server_that_refuses_is_told_without_secrets(self, tmp_path):
        async def answer(_request):
            await trio.lowlevel.checkpoint()
            return httpx.Response(403)

        url = "https://me:hunter22@ci.test/debian.raw?sig=abcdef"
        builder = a_builder(url, RAW, Scripted(answer))

        with pytest.raises(BuildError, match=r"https://ci\.test/debian\.raw: .* 403") as raised:
            await builder.build(an_order(tmp_path, "raw"), Heard())

        assert "hunter22" not in str(raised.value)
        assert {"hunter22", "sig=abcdef"} == set(builder.secrets())
        assert_nothing_left(an_order(tmp_path))

    async def test_file_that_is_not_there_is_named(self, tmp_path):
        builder = a_builder(f"file://{tmp_path}/no.raw", RAW)

        with pytest.raises(BuildError, match=r"no\.raw: No such file.*`url`"):
            await builder.build(an_order(tmp_path, "raw"), Heard())

    async def test_cancelled_while_it_comes_nothing_is_left(self, tmp_path):
        async with trio.open_nursery() as nursery:

            async def answer(_request):
                nursery.cancel_scope.cancel()
                await trio.sleep_forever()

            builder = a_builder("https://ci.test/debian.raw", RAW, Scripted(answer))
            nursery.start_soon(builder.build, an_order(tmp_path, "raw"), Heard())

        assert_nothing_left(an_order(tmp_path))


class TestRoom:
    async def room(self, folder, name, content, *formats, **changes):
        path = folder / name
        path.write_bytes(content)
        builder = a_builder(f"file://{path}", content, **changes)
        assert isinstance(builder, SizedBuilder)
        told = await builder.room(an_order(folder, *(formats or ("raw",))))
        assert_nothing_left(an_order(folder))
        return told

    async def test_local_file_needs_its_own_size_and_little_more(self, tmp_path):
        told = await self.room(tmp_path, "x.raw", RAW)

        assert len(RAW) < told < len(RAW) + (32 << 20)

    async def test_each_format_that_is_made_of_it_needs_as_much(self, tmp_path):
        one = await self.room(tmp_path, "x.raw", RAW)
        two = await self.room(tmp_path, "x.raw", RAW, "raw", "qcow2")

        assert len(RAW) <= two - one <= 1.1 * len(RAW)

    async def test_what_is_packed_or_grows_is_not_told(self, tmp_path):
        packed = await self.room(tmp_path, "x.raw", gzip.compress(RAW))
        grows = await self.room(tmp_path, "x.qcow2", RAW, "raw", "qcow2")

        assert (packed, grows) == (None, None)

    async def test_nothing_is_told_of_what_is_not_there_or_has_no_format(self, tmp_path):
        gone = a_builder(f"file://{tmp_path}/no.raw", RAW)
        nameless = await self.room(tmp_path, "nameless", RAW)

        assert (await gone.room(an_order(tmp_path, "raw")), nameless) == (None, None)

    @pytest.mark.parametrize(
        ("url", "status", "told"),
        [
            ("https://ci.test/debian.raw", 200, True),
            ("https://ci.test/debian.raw", 404, False),
            ("https://ci.test/debian.raw.xz", 200, False),
        ],
        ids=["said", "not_there", "packed"],
    )
    async def test_server_is_asked_for_the_size(self, tmp_path, url, status, told):
        async def answer(request):
            await trio.lowlevel.checkpoint()
            assert "HEAD" == request.method
            return httpx.Response(status, headers={"content-length": str(5 << 30)})

        builder = a_builder(url, RAW, Scripted(answer), source_format="raw")

        found = await builder.room(an_order(tmp_path, "raw"))

        assert ((found or 0) >= 5 << 30) == told
        assert (found is None) != told


class TestUnpacking:
    @pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gzip", "xz"])
    async def test_what_is_packed_is_unpacked_whatever_its_name(self, tmp_path, pack):
        (made,), heard = await fetched(tmp_path, "x.raw", pack(RAW))

        assert RAW == Path(made.path).read_bytes()
        assert heard.phases[1].startswith("unpacking")

    @pytest.mark.skipif(ZSTD is None, reason="no zstd: install zstd")
    async def test_zstd_by_its_program(self, tmp_path):
        packing = await trio.run_process([ZSTD, "-c"], stdin=RAW, capture_stdout=True)
        packed = packing.stdout

        (made,), _ = await fetched(tmp_path, "x.raw.zst", packed)

        assert RAW == Path(made.path).read_bytes()

    async def test_zstd_without_its_program_says_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setattr("trellis.builders.unpacking.find_program", lambda *_: None)

        text = await refused(tmp_path, "x.raw.zst", b"\x28\xb5\x2f\xfd" + bytes(100))

        assert "`zstd` is not in PATH" in text
        assert "install it" in text

    async def test_room_is_taken_only_by_what_is_not_zero(self, tmp_path):
        content = b"x" * 4096 + bytes(16 << 20)

        (made,), _ = await fetched(tmp_path, "x.raw", gzip.compress(content))

        status = Path(made.path).stat()
        assert len(content) == status.st_size
        assert status.st_blocks * 512 < 2 << 20

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (gzip.compress(RAW)[:-20], "gzip is broken"),
            (lzma.compress(RAW)[:-20], "xz is broken"),
            (gzip.compress(RAW)[:50] + b"damage" + gzip.compress(RAW)[56:], "gzip is broken"),
        ],
        ids=["gzip-cut", "xz-cut", "gzip-damaged"],
    )
    async def test_broken_packing_is_told(self, tmp_path, content, told):
        assert told in await refused(tmp_path, "x.raw", content)

    @pytest.mark.skipif(ZSTD is None, reason="no zstd: install zstd")
    async def test_broken_zstd_is_told_in_its_words(self, tmp_path):
        text = await refused(tmp_path, "x.raw.zst", b"\x28\xb5\x2f\xfd" + bytes(100))

        assert "cannot be unpacked" in text


class TestFormats:
    @pytest.mark.skipif(QEMU_IMG is None, reason="no qemu-img: install qemu-utils")
    async def test_all_wanted_formats_are_made_of_one_file(self, tmp_path):
        made, heard = await fetched(tmp_path, "x.img", RAW, "qcow2", "vhd", "raw")

        heads = {one.format: Path(one.path).read_bytes()[:8] for one in made}
        assert b"QFI\xfb" == heads["qcow2"][:4]
        assert b"conectix" == heads["vhd"]
        assert RAW[:8] == heads["raw"]
        assert "converting to vhd" in heard.phases

    @pytest.mark.parametrize(
        ("content", "name", "told"),
        [
            (b"QFI\xfb" + bytes(1000), "x.raw", "said to be raw, and the file is qcow2"),
            (RAW, "x.qcow2", "said to be qcow2, and the file is raw"),
            (b"QFI\xfb\0\0\0\3" + b"\0" * 7 + b"\x68" + bytes(1000), "x.qcow2", "backing file"),
            (
                b"QFI\xfb\0\0\0\3" + bytes(64) + b"\0" * 7 + b"\4" + bytes(1000),
                "x.qcow2",
                "data in another file",
            ),
        ],
        ids=["qcow2-as-raw", "raw-as-qcow2", "backing", "external-data"],
    )
    async def test_file_that_is_not_what_it_should_be_is_refused(
        self, tmp_path, content, name, told
    ):
        """The format is never guessed, and no other file of this host is read."""
        assert told in await refused(tmp_path, name, content, name.rpartition(".")[2])

    async def test_name_that_tells_no_format_asks_for_it(self, tmp_path):
        assert "give `source-format`" in await refused(tmp_path, "image", RAW)
        (made,), _ = await fetched(tmp_path, "image", RAW, source_format="raw")
        assert len(RAW) == made.size

    async def test_without_qemu_img_it_is_said_before_anything_is_fetched(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("trellis.builders.conversion.find_program", lambda *_: None)

        assert "takes `qemu-img`" in await refused(tmp_path, "x.raw", RAW, "qcow2")


class TestConfiguration:
    @pytest.mark.parametrize(
        ("values", "told"),
        [
            ({"sha256": "0" * 64}, "needs the key 'url'"),
            ({"url": "https://x.test/y"}, "needs the key 'sha256'"),
            ({"url": "http://x.test/y", "sha256": "0" * 64}, "only https"),
            ({"url": "https://x.test/y", "sha256": "abc"}, "64 hexadecimal digits"),
        ],
        ids=["url", "sha256", "http", "digits"],
    )
    def test_what_cannot_work_is_refused(self, values, told):
        with pytest.raises(ValueError, match=told):
            ArtifactConfig(name="x", **values)

    def test_abstract_one_and_one_with_a_parent_may_leave_it_to_others(self):
        assert ArtifactConfig(name="x", abstract=True).abstract
        assert ArtifactConfig(name="x", parent="y").parent

    async def test_nobody_gave_it_in_the_end(self, tmp_path):
        builder = ArtifactBuilder(ArtifactConfig(name="x", parent="y"))

        with pytest.raises(BuildError, match="needs the key 'url'"):
            await builder.build(an_order(tmp_path, "raw"), Heard())
