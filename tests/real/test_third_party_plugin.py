"""A plugin that somebody else has made, in an environment of his own, on the real OpenStack."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.real.daemon import Daemon, Requestor, judge
from tests.real.project import CLOUD, FLAVOR, IMAGE, NETWORK

ROOT = Path(__file__).parents[2]
DEPLOYMENT = "third-party"
CONFIGURATION = f"""
deployment: {DEPLOYMENT}
labels: [{{name: small}}]
providers:
  - name: real
    type: elsewhere
    cloud: {CLOUD}
    pools:
      - name: main
        networks: [{NETWORK}]
        auto-floating-ip: false
        host-key-checking: false
        labels: [{{name: small, cloud-image: {IMAGE}, flavor-name: {FLAVOR}}}]
"""
LIVE = (
    "test_server_becomes_active_with_addresses or test_tag_survives_a_round_trip "
    "or test_delete_may_be_repeated or test_inventory or test_limits or test_home"
)


def run(*command, folder, **environment):
    """Run a program; its stdout. A failure shows all that it said."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder, capture_output=True, text=True, check=False, env={**clean(), **environment},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def clean():
    """Our environment without what would lead Python to this checkout."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A fresh environment with Trellis as a wheel from this checkout, and its test kit."""
    folder = tmp_path_factory.mktemp("elsewhere")
    pip = ("-m", "pip", "--disable-pip-version-check")
    quiet = ("--quiet", "--no-deps", "--no-build-isolation")
    run(sys.executable, *pip, "wheel", *quiet, "--wheel-dir", folder, ROOT, folder=folder)
    (wheel,) = folder.glob("trellis_ci-*.whl")
    run(sys.executable, "-m", "venv", folder / "venv", folder=folder)
    pins = ROOT / "requirements" / "dev.txt"
    wanted = (f"{wheel}[testing]", "hatchling", "ruff", "mypy")
    run(folder / "venv/bin/python", *pip, "install", "--quiet", "-c", pins, *wanted, folder=folder)
    return folder


def edited(path, *changes):
    """Change a file as its author would."""
    text = path.read_text()
    for old, new in changes:
        assert old in text, f"{path}: {old}"
        text = text.replace(old, new)
    path.write_text(text)


def test_a_plugin_of_somebody_else_launches_a_node(elsewhere, project, tmp_path):
    """Written by ``trellis plugin new``, fitted to the cloud, tested, installed, found, used."""
    home, bin_ = tmp_path / "trellis-elsewhere", elsewhere / "venv/bin"
    run(bin_ / "trellis", "plugin", "new", "elsewhere", folder=tmp_path)
    assert not home.is_relative_to(ROOT)
    pip = (bin_ / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--no-deps", "--no-build-isolation", ".", folder=home)
    run(bin_ / "pytest", "-q", folder=home)

    # What he knows of his cloud, in the place of the examples.
    region = project.own.config.get_region_name()
    regions = ("region-1", region)
    edited(home / "trellis_elsewhere/profile.py", regions, ('("zone-1",)', '("nova",)'))
    edited(home / "tests/twin.py", regions, ('"zone-1"', '"nova"'))
    edited(home / "tests/test_quirks.py", ('"zone-1"', '"nova"'))
    run(*pip, "--no-deps", "--no-build-isolation", "--force-reinstall", ".", folder=home)
    run(bin_ / "ruff", "check", ".", folder=home)
    run(bin_ / "mypy", folder=home)
    run(bin_ / "pytest", "-q", folder=home)

    found = json.loads(run(bin_ / "trellis", "plugin", "list", "-o", "json", folder=home))
    (mine,) = [one for one in found if one["name"] == "elsewhere"]
    assert (mine["state"], mine["origin"]) == ("active", "trellis-elsewhere"), mine
    assert mine["registered"] == ["provider type 'elsewhere'"]
    env = {**clean(), "OS_CLIENT_CONFIG_FILE": str(project.clouds_yaml)}
    where = run(
        bin_ / "python", "-c", "import trellis; print(trellis.__file__)", folder=home
    ).strip()
    assert Path(where).is_relative_to(elsewhere), "that is the checkout, and not what was installed"

    # The same conformance tests, on the cloud itself.
    live = ("--live", CLOUD, "--live-image", IMAGE, "--live-flavor", FLAVOR)
    network = ("--live-network", NETWORK)
    said = run(
        bin_ / "pytest", "-q", "tests/test_conformance.py", *live, *network, "-k", LIVE,
        folder=home, OS_CLIENT_CONFIG_FILE=str(project.clouds_yaml),
    )  # fmt: skip
    assert "6 passed" in said, said

    with Daemon(tmp_path, env, CONFIGURATION, python=bin_ / "python") as daemon:
        job = Requestor(daemon.url, "job", ["small"])
        job.start()
        job.join(600)
        assert job.crash is None, f"{job.crash!r}\n{daemon.log()}"
        assert job.answer.get("state") == "fulfilled", f"{job.answer}\n{daemon.log()}"
        (node,) = job.nodes
        assert (node["provider"], node["az"]) == ("real", "nova")
        (shown,) = daemon.get("/providers")["items"]
        assert shown["type"] == "elsewhere"
        daemon.wait_for(
            "nothing of ours is left",
            lambda: judge("ours", DEPLOYMENT, env=env, cloud=CLOUD)[0] == 0,
        )
        assert daemon.stop() == 0
    assert yaml.safe_load(project.clouds_yaml.read_text())["clouds"][CLOUD]["auth"]["auth_url"]
