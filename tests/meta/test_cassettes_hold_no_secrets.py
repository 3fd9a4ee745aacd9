"""Every cassette of the repository is free of secrets, and says where it is from."""

from pathlib import Path

import pytest

from trellis.testing.cassette import read_provenance
from trellis.testing.secrets import find_secrets

ROOT = Path(__file__).parents[2]


def cassettes_under(folder):
    """All files that may hold recorded exchanges: the name is no filter, a folder is."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and "cassettes" in p.parts)


def secrets_under(folder):
    """What looks like a secret, as ``file:line: what``."""
    return [
        f"{path.relative_to(folder)}:{finding.line}: {finding.what}"
        for path in cassettes_under(folder)
        for finding in find_secrets(path.read_text(encoding="utf-8", errors="replace"))
    ]


@pytest.mark.parametrize("folder", ["cassettes", "plugins", "tests"])
def test_no_cassette_holds_a_secret(folder):
    """Ours, and those of the plugins, were scrubbed before they were committed."""
    assert secrets_under(ROOT / folder) == []


def test_there_are_cassettes_to_look_at():
    """The check above looks in the right place."""
    assert [p for p in cassettes_under(ROOT / "cassettes") if p.suffix == ".yaml"]


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, id=str(p.relative_to(ROOT))) for p in (ROOT / "cassettes").rglob("*.yaml")],
)
def test_every_cassette_says_where_it_is_from(path):
    """Story, source, cloud, date and how to record it again stand at its head."""
    assert read_provenance(path).story


def test_a_planted_token_is_found(tmp_path):
    """The check finds what it is for, with file and line."""
    folder = tmp_path / "cassettes" / "openstack"
    folder.mkdir(parents=True)
    (folder / "clean.yaml").write_text("X-Auth-Token:\n- scrubbed-token-1\n")
    (folder / "leaky.txt").write_text("a: b\nbody: gAAAAABn" + "q7" * 20 + "\n")

    assert secrets_under(tmp_path) == ["cassettes/openstack/leaky.txt:2: a Fernet token"]
