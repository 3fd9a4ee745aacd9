"""The logs of builds: masked, written as they come, followed to their end."""

import base64
from pathlib import Path
from urllib.parse import quote

import pytest
import trio

from trellis.control.images.build_ground import BuildGround
from trellis.control.images.build_log import LAST_LINES, BuildLogs
from trellis.control.images.masking import MASK, MOST_SHOWN, Mask
from trellis.model.names import BuildId

BUILD = BuildId("debian-12-0000000007")


class TestMask:
    @pytest.mark.parametrize(
        "coded",
        [
            lambda secret: secret,
            lambda secret: quote(secret, safe=""),
            lambda secret: secret.replace("'", "'\\''"),
            lambda secret: base64.b64encode(secret.encode()).decode(),
        ],
        ids=["plain", "url", "shell", "base64"],
    )
    def test_secret_is_masked_however_it_is_written(self, coded):
        secret = "p@ss'word/1"

        shown = Mask([secret])(f"+ login --password={coded(secret)} --user=me")

        assert coded(secret).rstrip("=") not in shown
        assert shown.startswith(f"+ login --password={MASK}")
        assert shown.endswith("--user=me")

    def test_each_line_of_a_key_is_masked_by_itself(self):
        key = "-----BEGIN-----\nbase64-of-the-key\nmore-of-the-key\n-----END-----\n"

        shown = [Mask([key])(line) for line in key.splitlines()]

        assert [MASK] * 4 == shown

    def test_the_longer_of_two_goes_whole(self):
        assert f"x {MASK} y" == Mask(["hunter", "hunter22"])("x hunter22 y")

    def test_characters_of_patterns_mean_themselves(self):
        assert f"{MASK} abcd" == Mask(["a.c*"])("a.c* abcd")

    def test_without_secrets_nothing_is_masked(self):
        assert "as it is" == Mask([])("as it is")

    @pytest.mark.parametrize("shift", range(1, 12))
    def test_no_beginning_of_a_secret_is_left_where_a_line_is_cut(self, shift):
        """The raw line was cut in the middle of it, so that it is not found as a whole."""
        secret = "0123456789abcdef"
        line = "x" * (MOST_SHOWN - shift) + secret[:14] + "-no-more"

        shown = Mask([secret])(line)

        assert len(shown) <= MOST_SHOWN + len(MASK) + 2
        if shift >= 4:
            assert secret[:4] not in shown


class SlowGround(BuildGround):
    """A disk whose writes wait until the test lets them."""

    def __init__(self):
        self.go = trio.Event()
        self.fault = None

    async def append(self, log, text):
        await self.go.wait()
        if self.fault is not None:
            raise self.fault
        await super().append(log, text)


@pytest.fixture
def ground():
    return SlowGround()


@pytest.fixture
def building():
    return {BUILD}


@pytest.fixture
def logs(ground, building):
    return BuildLogs(ground, building.__contains__)


async def followed(logs, path, lines=None):
    return [line async for line in logs.follow(BUILD, path, lines)]


class TestWriting:
    async def test_lines_are_in_the_file_when_the_block_ends(self, logs, ground, tmp_path):
        ground.go.set()
        path = tmp_path / "logs" / "x.log"

        async with logs.writing(BUILD, path, Mask(["hunter22"])) as live:
            live.line("one hunter22")
            live.line("two")

        assert f"one {MASK}\ntwo\n" == path.read_text()

    async def test_also_when_the_daemon_is_being_ended(self, logs, ground, tmp_path):
        path = tmp_path / "x.log"
        with trio.CancelScope() as scope:
            async with logs.writing(BUILD, path, Mask([])) as live:
                live.line("before")
                scope.cancel()
                live.line("after")
                ground.go.set()
                await trio.lowlevel.checkpoint()

        assert "before\nafter\n" == path.read_text()

    async def test_disk_that_cannot_be_written_ends_no_build(self, logs, ground, tmp_path):
        ground.fault = OSError(28, "No space left on device")
        ground.go.set()

        async with logs.writing(BUILD, tmp_path / "x.log", Mask([])) as live:
            live.line("one")

        assert ["one"] == list(live.last)

    async def test_disk_that_hangs_takes_no_memory_without_bound(
        self, logs, ground, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("trellis.control.images.build_log.MOST_WAITING", 1000)
        path = tmp_path / "x.log"
        async with logs.writing(BUILD, path, Mask([])) as live:
            for _ in range(1000):
                live.line("x" * 100)
            ground.go.set()

        lines = path.read_text().splitlines()
        assert 12 == len(lines)
        assert "(989 lines are left out: there are too many)" == lines[-1]

    async def test_last_lines_are_kept_and_empty_ones_are_not(self, logs, ground, tmp_path):
        ground.go.set()
        async with logs.writing(BUILD, tmp_path / "x.log", Mask([])) as live:
            for number in range(20):
                live.line(str(number))
                live.line("  ")

        assert [str(x) for x in range(20 - LAST_LINES, 20)] == list(live.last)


class TestFollowing:
    async def test_lines_come_as_they_are_written_until_the_build_ends(
        self, logs, ground, building, tmp_path
    ):
        ground.go.set()
        path, came = tmp_path / "x.log", []

        async def reader():
            async for line in logs.follow(BUILD, path):
                came.append(line)

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reader)
                async with logs.writing(BUILD, path, Mask([])) as live:
                    for number in range(3):
                        live.line(f"line {number}")
                        while len(came) <= number:  # noqa: ASYNC110
                            await trio.sleep(0.01)
                    building.clear()
                    live.line("last")

        assert ["line 0", "line 1", "line 2", "last"] == came

    async def test_it_waits_for_a_build_that_has_not_begun(self, logs, ground, building, tmp_path):
        ground.go.set()
        path, came = tmp_path / "x.log", []
        async with trio.open_nursery() as nursery:

            async def reader():
                came.extend(await followed(logs, path))

            nursery.start_soon(reader)
            await trio.testing.wait_all_tasks_blocked(0.05)
            async with logs.writing(BUILD, path, Mask([])) as live:
                building.clear()
                live.line("first")

        assert ["first"] == came

    async def test_log_of_an_ended_build_is_read_and_that_is_all(self, logs, building, tmp_path):
        building.clear()
        path = tmp_path / "x.log"
        path.write_text("one\ntwo\nno end")

        assert ["one", "two", "no end"] == await followed(logs, path)
        assert [] == await followed(logs, tmp_path / "none.log")


class TestTail:
    @pytest.mark.parametrize("lines", [1, 2, 5, 9999, 10_000, 20_000])
    async def test_last_lines_over_many_blocks(self, logs, tmp_path, lines):
        path = tmp_path / "x.log"
        written = [f"line {number} " + "x" * (number % 90) for number in range(10_000)]
        path.write_text("\n".join(written) + "\n")

        assert written[-lines:] == (await logs.tail(path, lines)).splitlines()

    async def test_all_of_it_and_what_is_not_there(self, logs, tmp_path):
        path: Path = tmp_path / "x.log"
        path.write_text("one\ntwo\n")

        assert "one\ntwo\n" == await logs.tail(path, None)
        assert "" == await logs.tail(tmp_path / "none.log", 5)
