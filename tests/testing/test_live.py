"""The conformance tests with ``--live``: over HTTP, in real time, by an entry of clouds.yaml."""

import json
import os
import subprocess
import sys
import urllib.request

import pytest

from tests.docs.reader import reading

pytestmark = pytest.mark.slow

CLOUD = """
clouds:
  - name: mycloud
    networks: [{name: net}, {name: public, external: true, attachable: false}]
    flavors: [{name: m1.small, cores: 1, ram-mib: 2048}, {name: m1.tiny, cores: 1, ram-mib: 512}]
    images: [{name: debian-12}]
    boot: {median: 0.2, p95: 0.3}
    guest: {median: 0.05, p95: 0.1}
    delete: {median: 0.1, p95: 0.2}
"""
TEST = """
from trellis.testing import CloudSpec, ProviderConformance


class TestMine(ProviderConformance):
    type = "openstack"
    twin = CloudSpec(name="twin")

    async def test_that_fails(self, trial_clock, trial):
        await trial.create(await trial.intent())
        raise AssertionError("on purpose")
"""
CHOSEN = "test_that_fails or floating_ip_is_attached or unknown or limits or quota or reached"


def looked_at(url):
    """What the control face of the clouds answers."""
    with urllib.request.urlopen(url, timeout=10) as answered:
        return json.load(answered)


def test_live_runs_on_the_cloud_that_is_named_and_cleans_up(tmp_path):
    """Also behind a test that fails; what a live cloud cannot be told to do is skipped."""
    (tmp_path / "cloud.yaml").write_text(CLOUD)
    (tmp_path / "test_it.py").write_text(TEST)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\ntrio_mode = true\n")
    with reading(tmp_path) as reader:
        cloud = reader.start("trellis cloud cloud.yaml -o json")
        told = json.loads(cloud.log.read_text().splitlines()[0])

        done = subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider",
                "-k", CHOSEN, "--live", "mycloud", "--live-image", "debian-12",
                "--live-network", "net", "test_it.py",
            ],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "OS_CLIENT_CONFIG_FILE": told["clouds_yaml"]},
        )  # fmt: skip
        servers = looked_at(f"{told['control']}/mycloud/servers")["servers"]
        calls = looked_at(f"{told['control']}/mycloud/calls")["calls"]

    assert "1 failed, 3 passed, 2 skipped" in done.stdout, done.stdout
    assert "on purpose" in done.stdout
    assert "a live cloud cannot be told to be full" in done.stdout
    assert "connected to with --live-connect only" in done.stdout
    assert calls["POST compute /servers"] == 2
    assert servers == []
