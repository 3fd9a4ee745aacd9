"""Uploads beside curl, on real processes and a small file. No time is asserted."""

import shutil
from pathlib import Path

import pytest

from tests.bench.child import BrokenRunError
from tests.bench.workloads.uploads import Uploads

pytestmark = pytest.mark.slow


async def test_an_image_is_sent_to_three_clouds_and_measured_beside_curl(tmp_path: Path):
    """Every figure of the table is there, and the daemon held little of the file in memory."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl, which uploads are measured beside")

    outcome = await Uploads(mib=32).run(tmp_path)

    assert outcome.faults == []
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
