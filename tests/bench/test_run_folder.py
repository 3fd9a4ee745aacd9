"""What a bench or a soak leaves on the disk: nothing that nobody will look at."""

import tempfile

import attrs
import pytest
import trio

from tests.bench import __main__ as bench
from tests.bench.outcome import Outcome
from tests.bench.running import run_folder
from tests.soak import __main__ as soak
from tests.soak.kills import Kills


@attrs.frozen
class Played:
    """A workload that writes a log and ends as it is told to."""

    faults: tuple[str, ...] = ()

    async def run(self, folder):
        await trio.lowlevel.checkpoint()
        folder.mkdir(parents=True)
        (folder / "daemon.log").write_text("said")
        return Outcome(faults=list(self.faults))


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where new folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


def left(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def play_bench(monkeypatch, *faults):
    monkeypatch.setattr(bench, "SHORT", {"played": Played(faults)})


def play_soak(monkeypatch, *breaches):
    async def kill_often(*, folder, **_):
        folder.mkdir(parents=True)
        (folder / "daemon.log").write_text("said")
        await trio.lowlevel.checkpoint()
        return Kills(breaches=list(breaches))

    monkeypatch.setattr(soak, "kill_often", kill_often)


class TestBench:
    def test_folder_of_its_own_goes_when_all_was_well(self, temporary, monkeypatch):
        play_bench(monkeypatch)

        assert 0 == bench.main(["--short"])
        assert [] == list(temporary.iterdir())

    def test_folder_of_a_broken_run_stays_and_is_named(self, temporary, monkeypatch, capsys):
        play_bench(monkeypatch, "a server was left")

        assert 1 == bench.main(["--short"])
        (kept,) = temporary.iterdir()
        assert ["daemon.log"] == left(kept)
        assert f"kept in {kept}" in capsys.readouterr().err

    def test_folder_that_was_asked_for_stays(self, temporary, monkeypatch, tmp_path):
        play_bench(monkeypatch)

        assert 0 == bench.main(["--short", "--folder", str(tmp_path / "mine")])
        assert ["daemon.log"] == left(tmp_path / "mine")
        assert [] == list(temporary.iterdir())


class TestSoak:
    def test_folder_of_its_own_goes_when_every_promise_was_held(self, temporary, monkeypatch):
        play_soak(monkeypatch)

        assert 0 == soak.main(["kills"])
        assert [] == list(temporary.iterdir())

    def test_folder_of_a_breach_stays_and_is_named(self, temporary, monkeypatch, capsys):
        play_soak(monkeypatch, "two requests were given one node")

        assert 1 == soak.main(["kills"])
        (kept,) = temporary.iterdir()
        assert ["daemon.log"] == left(kept)
        assert f"kept in {kept}" in capsys.readouterr().err


def test_folder_stays_when_the_run_crashes(temporary):
    with pytest.raises(ZeroDivisionError), run_folder(None, "trellis-bench-"):
        raise ZeroDivisionError
    assert 1 == len(list(temporary.iterdir()))
