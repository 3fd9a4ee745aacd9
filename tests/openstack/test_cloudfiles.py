"""Files of clouds are understood once, however often they are read, and never when outdated."""

import copy
from pathlib import Path

import pytest

from trellis.errors import ConfigError
from trellis.openstack import cloudfiles
from trellis.openstack.clouds import read_clouds

MANY = 15
ENTRY = """
  c{n}:
    regions: [R1, {{name: R2, values: {{networks: [{{name: net}}]}}}}]
    auth: {{auth_url: "https://c{n}.test/v3", username: ci, password: pw{n}, project_name: ci}}
"""


@pytest.fixture
def parsed(monkeypatch):
    """The paths of files that were understood anew, one for each time."""
    seen: list[Path] = []
    real = cloudfiles._parse

    def parse(path, text):
        seen.append(path)
        return real(path, text)

    monkeypatch.setattr(cloudfiles, "_parse", parse)
    monkeypatch.setattr(cloudfiles, "_latest", {})
    return seen


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "clouds.yaml"
    file.write_text("clouds:" + "".join(ENTRY.format(n=n) for n in range(MANY)))
    return file


def read(path, name="c0", region="R1"):
    return read_clouds({"OS_CLIENT_CONFIG_FILE": str(path)}, cwd=path.parent).get(name, region)


def test_a_file_is_understood_once_for_all_its_clouds(path, parsed):
    """Fifteen providers each read their own: with fifteen readings the start took half a second."""
    found = [read(path, f"c{n}") for n in range(MANY)]

    assert parsed == [path]
    assert [cloud.auth["password"] for cloud in found] == [f"pw{n}" for n in range(MANY)]


def test_a_file_that_has_changed_is_understood_anew(path, parsed):
    """By what stands in it: its time may be the same."""
    before = read(path)
    path.write_text(path.read_text().replace("pw0", "other"))

    assert (before.auth["password"], read(path).auth["password"]) == ("pw0", "other")
    assert len(parsed) == 2


def test_what_was_read_changes_nothing_of_what_will_be(path, parsed):
    """Region, profile and credentials are laid over copies."""
    first = read(path, "c1", "R2")
    kept = copy.deepcopy(cloudfiles._latest[path][1].values)

    for _ in range(3):
        assert read(path, "c1", "R2") == first
        read(path, "c2", "R1")

    assert cloudfiles._latest[path][1].values == kept


def test_a_file_with_a_fault_is_refused_each_time(path, parsed):
    """And what it was before is not taken for what it is."""
    read(path)
    path.write_text("clouds: [")

    for _ in range(2):
        with pytest.raises(ConfigError):
            read(path)


def test_only_the_latest_files_are_kept(path, parsed):
    """They hold secrets, and tests and tools may read many."""
    for number in range(3 * cloudfiles.MOST_KEPT):
        other = path.with_name(f"clouds{number}.yaml")
        other.write_text(path.read_text())
        read(other)

    assert len(cloudfiles._latest) == cloudfiles.MOST_KEPT
