"""A seed carries the version of the simulation that it belongs to."""

import pytest

from trellis.sim import version
from trellis.sim.version import Replay, simulation_version


def test_it_names_the_release_and_the_code():
    """The digest is of the code of Trellis, and is the same when asked again."""
    release, _, digest = simulation_version().partition("+")

    assert release == "0.1.0"
    assert len(digest) == 8
    assert simulation_version() == simulation_version()


def test_other_code_is_another_version(tmp_path, monkeypatch):
    """One byte more in any module, or a module of another name, is enough."""
    (tmp_path / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(version, "_PACKAGE", tmp_path)
    found = []
    for name, text in (("a.py", "x = 1\n"), ("a.py", "x = 2\n"), ("b.py", "")):
        (tmp_path / name).write_text(text)
        simulation_version.cache_clear()
        found.append(simulation_version())
    simulation_version.cache_clear()

    assert len(set(found)) == 3


def test_a_seed_of_this_version_replays():
    """There is no doubt about it."""
    replay = Replay.parse(f"{simulation_version()}:105")

    assert (replay.seed, replay.doubt) == (105, "")
    assert Replay.parse(str(replay)) == replay


def test_a_seed_of_another_version_may_not_replay():
    """Both versions are named."""
    doubt = Replay.parse("0.0.9+12345678:105").doubt

    assert "seed 105 was found by version 0.0.9+12345678" in doubt
    assert simulation_version() in doubt
    assert "may not replay" in doubt


@pytest.mark.parametrize("text", ["", "105", ":105", "0.1.0:", "0.1.0:x", "0.1.0:-1", "0.1.0:٣"])
def test_what_is_no_version_and_seed_is_refused(text):
    """The error says what is expected."""
    with pytest.raises(ValueError, match="expected VERSION:SEED"):
        Replay.parse(text)
