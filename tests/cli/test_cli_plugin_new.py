"""``trellis plugin new``: a project that passes its own checks at once, and can fail them."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from trellis.cli.plugin_new import write_project
from trellis.spi.provider import SPI_VERSION


def python(*args, folder, path=()):
    """Run a module in the project's folder, with more on Python's path."""
    found = [*map(str, path), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-m", *args],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(found)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project, and where it is installed: without its dependencies, which are here."""
    folder = tmp_path_factory.mktemp("new") / "trellis-my-cloud"
    write_project("my-cloud", folder)
    site = folder.parent / "site"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    done = python("pip", "--disable-pip-version-check", "install", *options, ".", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder, site


@pytest.mark.slow
def test_the_project_passes_its_own_tests(project):
    """Conformance on its twin, a story for each quirk, found by its entry point."""
    folder, site = project

    done = python("pytest", "-q", "-p", "no:cacheprovider", folder=folder, path=[site])

    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert int(passed[1]) >= 30, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("module", ["ruff format --check", "ruff check", "mypy"])
def test_the_project_passes_its_own_checks(project, module):
    """Form, lint and types, with the settings that it brings itself."""
    folder, site = project
    name, *options = module.split()
    places = [] if name == "mypy" else ["."]

    done = python(name, *options, *places, folder=folder, path=[site])

    assert done.returncode == 0, done.stdout + done.stderr


MISTAKES = {
    "a quirk that the cloud does not have": (
        "trellis_my_cloud/profile.py",
        'value=("zone-1",)',
        'value=("zone-2",)',
        "test_story_holds[zones]",
    ),
    "a quirk that is not needed": (
        "tests/twin.py",
        "guest=Lognormal(240.0, 300.0)",
        "guest=Lognormal(1.0, 1.0)",
        "test_story_fails_without_its_quirk[default.boot-timeout]",
    ),
    "a quirk without a reason": (
        "trellis_my_cloud/profile.py",
        'evidence="example: a ticket, or the date of a try"',
        'evidence=""',
        "quirk zones: evidence is missing",
    ),
    "another version of the interface": (
        "trellis_my_cloud/plugin.py",
        f"trellis_spi_version = {SPI_VERSION}",
        f"trellis_spi_version = {SPI_VERSION + 1}",
        "upgrade trellis-ci",
    ),
    "a story that nobody tells": (
        "tests/test_quirks.py",
        '@STORIES.of("zones")',
        "",
        "test_every_quirk_has_a_story",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_project_fails_its_tests(mistake, tmp_path):
    """Whatever is planted, and its tests say where."""
    place, right, wrong, words = MISTAKES[mistake]
    write_project("my-cloud", tmp_path)
    file = tmp_path / place
    text = file.read_text()
    assert right in text
    file.write_text(text.replace(right, wrong))

    chosen = ("-k", "quirk or story or limits", "-p", "no:cacheprovider")
    done = python("pytest", "-q", *chosen, folder=tmp_path)

    assert done.returncode == 1, done.stdout
    assert words in done.stdout


def test_what_is_written_is_listed(run, tmp_path, monkeypatch):
    """On stdout the files, on stderr what to do next."""
    monkeypatch.chdir(tmp_path)

    result = run("plugin", "new", "mycloud")

    assert result.exit_code == 0
    written = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert written == sorted(result.stdout.split())
    assert "cd trellis-mycloud && python3 -m venv .venv" in result.stderr
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or not re.search(r"@[A-Z]+@", file.read_text()), file


def test_the_metadata_name_the_plugin(tmp_path):
    """Distribution, package, entry point and class, of a name with dashes too."""
    write_project("my-2nd-cloud", tmp_path)

    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    assert project["name"] == "trellis-my-2nd-cloud"
    assert project["entry-points"] == {"trellis": {"my-2nd-cloud": "trellis_my_2nd_cloud.plugin"}}
    assert "trellis-ci[testing]" in project["optional-dependencies"]["testing"]
    assert "class TestMy2ndCloud(" in (tmp_path / "tests/test_conformance.py").read_text()
    ci = yaml.safe_load((tmp_path / ".github/workflows/ci.yml").read_text())
    assert [step["run"] for step in ci["jobs"]["test"]["steps"][2:]] == [
        "python -m pip install -e '.[testing]'",
        "ruff format --check .", "ruff check .", "mypy", "pytest",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My_Cloud", "'My_Cloud' is no name of a provider type: it begins with a letter and has at "
         "most 40 lower-case letters, digits and single dashes; my-cloud would do"),
        ("my--cloud", "my-cloud would do"),
        ("-cloud-", "No such option"),
        ("9lives", "it begins with a letter"),
        ("", "it begins with a letter"),
        ("../up", "up would do"),
        ("a" * 41, "at most 40"),
        ("wölkchen", "lower-case letters"),
        ("trellis-mine", "trellis plugin new mine"),
        ("openstack", "there is a plugin openstack already, from built-in"),
        ("cleura", "plugin vendors registers the provider type cleura already"),
        ("ci", "trellis-ci is Trellis itself"),
        ("on", "'on' means something else in YAML unless it is in quotes"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_bad_name_is_refused(run, tmp_path, monkeypatch, name, words):
    """With one that would do; nothing is written."""
    monkeypatch.chdir(tmp_path)

    result = run("plugin", "new", name)

    assert result.exit_code in (1, 2)
    assert words in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_refused(run, tmp_path):
    """Nothing of anybody's is overwritten."""
    (tmp_path / "mine.txt").write_text("mine")

    result = run("plugin", "new", "mycloud", "--folder", str(tmp_path))

    assert result.exit_code == 1
    assert f"{tmp_path} has something in it: name another one with --folder" in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_taken(run, tmp_path):
    """As made by somebody who has the repository already."""
    assert run("plugin", "new", "mycloud", "--folder", str(tmp_path)).exit_code == 0
    assert (tmp_path / "pyproject.toml").is_file()


def test_a_folder_that_cannot_be_made_is_refused(run, tmp_path):
    """With the reason."""
    (tmp_path / "file").write_text("")

    result = run("plugin", "new", "mycloud", "--folder", str(tmp_path / "file" / "in-it"))

    assert result.exit_code == 1
    assert "cannot be written: Not a directory" in result.stderr


def test_the_template_is_part_of_the_package():
    """What a wheel leaves out, an installed `trellis plugin new` would miss."""
    import trellis

    template = Path(trellis.__file__).parent / "plugin_template"
    assert len(list(template.rglob("*.tmpl"))) >= 12
