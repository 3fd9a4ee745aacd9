"""The guide *Add a cloud in an afternoon*, typed line by line; its files are those it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import blocks, commands
from tests.docs.reader import reading
from tests.docs.test_documents_run import ADD_A_CLOUD

pytestmark = pytest.mark.slow

PROJECT = "trellis-nimbus"
INSTALLS = ".venv/bin/python -m pip install"
"""What needs a package registry: here the plugin alone is installed, beside what is there."""


def files_shown():
    """The files that the page shows, by the path in their first line."""
    found = {}
    for block in blocks(ADD_A_CLOUD.read_text(encoding="utf-8")):
        if block.kind in {"python", "yaml"}:
            head, _, text = block.text.partition("\n")
            found[head.removeprefix("# ")] = text
    return found


class Typist:
    """A reader with a shell of his own, who has the plugin where his Python finds it."""

    def __init__(self, folder, reader):
        self.top = self.folder = folder
        self.site = folder / "site"
        self.reader = reader
        self.said = {}

    def type(self, line):
        """One line of the page."""
        print(line)
        if line.startswith("cd "):
            self.folder = self.folder / line.removeprefix("cd ")
        elif line.startswith("export "):
            name, value = line.removeprefix("export ").split("=")
            self.reader.environment[name] = value.replace("$PWD", str(self.folder))
        elif line == "python3 -m venv .venv":
            (self.folder / ".venv").symlink_to(sys.prefix)
        elif line.startswith(INSTALLS):
            self._install()
        else:
            self.said[line] = self._run(line.replace("--no-deps", "--no-deps --no-build-isolation"))

    def _install(self):
        options = "--quiet --no-deps --no-build-isolation --no-index --target"
        self._run(f"{sys.executable} -m pip install {options} {self.site} .")
        self.reader.environment["PYTHONPATH"] = str(self.site)

    def _run(self, line):
        venv = Path(sys.executable).parent
        environment = {**os.environ, **self.reader.environment}
        environment["PATH"] = f"{venv}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            line, shell=True, cwd=self.folder, env=environment, capture_output=True, text=True,
            timeout=400, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}: {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout


def test_the_guide_leads_from_an_entry_to_a_wheel(tmp_path):
    """Each command ends with 0, and what the page promises of it is seen."""
    shown = files_shown()
    (tmp_path / "nimbus.yaml").write_text(shown.pop("nimbus.yaml"))
    provider = yaml.safe_load(shown.pop("provider"))
    with reading(tmp_path) as reader:
        typist = Typist(tmp_path, reader)
        for command in commands(ADD_A_CLOUD):
            line = command.line
            if line.startswith("trellis cloud"):
                reader.start(line)
            elif re.search(r"\btrellis serve\b", line):
                write_configuration(typist.folder, provider)
                reader.folder = typist.folder
                reader.start(line)
            else:
                typist.type(line)
            if line == f"cd {PROJECT}":
                for path, text in shown.items():
                    (typist.folder / path).write_text(text)

        said = typist.said
        before = said["trellis plugin check openstack --cloud nimbus"]
        after = said[".venv/bin/trellis plugin check nimbus --cloud nimbus"]
        assert re.search(
            r"networks +warn +Outer-Net \(public\), inner \(private\), storage", before
        )
        assert re.search(r"networks +ok +Outer-Net \(public\)", after)
        assert " warn " not in after
        assert re.search(r"\b[4-9] passed", said[".venv/bin/pytest -k cassette"])
        assert "default_networks" in said["trellis provider show nimbus"]
        assert sorted(path.name for path in typist.folder.glob("cassettes/*/*.yaml")) == [
            "launch.yaml", "login.yaml", "offer.yaml",
        ]  # fmt: skip
        assert [path.suffix for path in typist.folder.glob("dist/*")] == [".whl"]


def write_configuration(folder, provider):
    """The page's provider, with what every trellis.yaml has."""
    written = yaml.safe_load((folder.parent / "nimbus-cloud/trellis.yaml").read_text())
    port = written["providers"][0]["pools"][0]["labels"][0]["connection-port"]
    for pool in provider["providers"][0]["pools"]:
        for label in pool["labels"]:
            label["connection-port"] = port
    document = {
        "deployment": "docs", "store": "sqlite:trellis.db", "web": {"listen": "127.0.0.1:0"},
        "labels": [{"name": "small"}], **provider,
    }  # fmt: skip
    (folder / "trellis.yaml").write_text(yaml.safe_dump(document))


def test_the_page_shows_the_files_of_the_project():
    """A file that the template does not know would stand beside it, unused."""
    assert set(files_shown()) == {
        "nimbus.yaml", "provider", "trellis_nimbus/profile.py", "tests/twin.py",
        "tests/test_quirks.py",
    }  # fmt: skip
