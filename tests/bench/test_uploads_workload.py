"""Uploads beside curl, on real processes and a small file. No time is asserted."""

import shutil
from pathlib import Path

import pytest
import trio

from tests.bench.child import BrokenRunError
from tests.bench.workloads.uploads import Uploads

pytestmark = pytest.mark.slow


def large_in(folder: Path) -> list[str]:
    """The files of a MiB and more; the smallest image of these tests has two."""
    return sorted(
        path.name for path in folder.rglob("*") if path.is_file() and path.stat().st_size >= 1 << 20
    )


async def test_an_image_is_sent_to_three_clouds_and_measured_beside_curl(tmp_path: Path):
    """Every figure of the table is there, and the daemon held little of the file in memory."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl, which uploads are measured beside")

    outcome = await Uploads(mib=32).run(tmp_path)

    assert outcome.faults == []
    assert large_in(tmp_path) == []
    assert {"of_curl", "upload_mib_per_s", "grown_mib", "block_ms", "block_cpu_ms"} <= set(
        outcome.figures
    )
    assert outcome.figures["of_curl"] > 0
    assert outcome.figures["grown_mib"] < 100


async def test_a_file_that_is_not_what_was_promised_breaks_the_run(tmp_path: Path, monkeypatch):
    """The words are the daemon's own."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl, which uploads are measured beside")
    written = Uploads.run.__globals__["_write"]

    def write(path: Path, mib: int) -> str:
        written(path, mib)
        return "0" * 64

    monkeypatch.setitem(Uploads.run.__globals__, "_write", write)

    with pytest.raises(BrokenRunError, match="sha256"):
        await Uploads(mib=2).run(tmp_path)

    assert large_in(tmp_path) == []


async def test_a_run_that_is_interrupted_leaves_no_large_file(tmp_path: Path, monkeypatch):
    """Interrupted when the daemon has a file of its own beside the one that it was made of."""
    seen = []

    async def uploaded(*_):
        until = trio.current_time() + 60
        while not list((tmp_path / "images").glob("*.raw")):  # noqa: ASYNC110 - files tell nobody
            assert trio.current_time() < until
            await trio.sleep(0.05)
        seen.extend(large_in(tmp_path))
        scope.cancel()
        await trio.lowlevel.checkpoint()

    async def curls(*_):
        await trio.lowlevel.checkpoint()
        return 1.0

    monkeypatch.setitem(Uploads.run.__globals__, "_uploaded", uploaded)
    monkeypatch.setitem(Uploads.run.__globals__, "_curls", curls)

    with trio.CancelScope() as scope:
        await Uploads(mib=2).run(tmp_path)

    assert scope.cancelled_caught
    assert ["large-0000000001.raw", "source.raw"] == seen
    assert large_in(tmp_path) == []
