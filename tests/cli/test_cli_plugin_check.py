"""`trellis plugin check`: a table of what a plugin finds, and an exit code."""

import json
import time
from random import Random

import pytest
import yaml

import trellis.http
from trellis.sim.cloud import CloudSpec, Latency, Lognormal, SimCloud, SimTransport
from trellis.sim.entries import cloud_entry
from trellis.spi.registry import ProviderRegistry

NOW = Lognormal(0.0001, 0.0001)


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    """A cloud without any delay, in place of all wires; its entry is *mycloud*."""
    spec = CloudSpec(name="mycloud", regions=("GRA1", "BHS1"), latency=Latency.of(NOW))
    cloud = SimCloud(spec, clock=time.monotonic, wall=time.time, random=Random(1))
    file = tmp_path / "clouds.yaml"
    file.write_text(yaml.safe_dump({"clouds": {"mycloud": cloud_entry(cloud, ProviderRegistry())}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    monkeypatch.delenv("OS_CLOUD", raising=False)
    monkeypatch.setattr(trellis.http, "lane_transports", lambda: lambda _: SimTransport(cloud))
    return file


def test_a_table_of_what_there_is(cloud, run):
    """One line for each thing, and the region that was looked at."""
    result = run("plugin", "check", "openstack", "--cloud", "mycloud", "--region", "BHS1")

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["WHAT", "VERDICT", "FOUND"]
    assert "mycloud, region BHS1" in result.stdout
    assert any(line.startswith("catalog network") and " ok " in line for line in lines)
    assert "sim-password" not in result.output


def test_what_fails_ends_with_1_and_an_arrow_to_the_remedy(cloud, run):
    """The rest of the table is printed all the same."""
    cloud.write_text(cloud.read_text().replace("sim-password", "another"))

    result = run("plugin", "check", "openstack", "--cloud", "mycloud")

    assert result.exit_code == 1
    assert "auth" in result.stdout
    assert "fail" in result.stdout
    assert "→ Check user, secret and project of mycloud" in result.stdout


def test_data_for_a_program(cloud, run):
    """The verdict of all, and each finding with its figures."""
    result = run("plugin", "check", "openstack", "--cloud", "mycloud", "-o", "json")

    shown = json.loads(result.stdout)
    assert (result.exit_code, shown["verdict"]) == (0, "ok")
    by_name = {row["what"]: row for row in shown["findings"]}
    assert by_name["entry"]["data"]["regions"] == ["GRA1", "BHS1"]
    assert yaml.safe_load(
        run("plugin", "check", "openstack", "--cloud", "mycloud", "-o", "yaml").stdout
    )["findings"]


def test_without_a_cloud_the_plugins_themselves_are_looked_at(run, monkeypatch):
    """Every type that is registered has a line; nobody is called."""
    monkeypatch.setattr(trellis.http, "lane_transports", None)

    result = run("plugin", "check")

    assert result.exit_code == 0
    assert "type openstack" in result.stdout
    assert "profile cleura" in result.stdout
    alone = run("plugin", "check", "cleura").stdout
    assert "type cleura" in alone
    assert "type openstack" not in alone


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("openstac",), "did you mean openstack"),
        (("--cloud", "mycloud"), "need TYPE"),
        (("openstack", "--region", "GRA1"), "--region needs --cloud"),
    ],
    ids=["unknown-type", "no-type", "no-cloud"],
)
def test_a_wrong_command_line_ends_with_2(run, words, said):
    """And says what is missing."""
    result = run("plugin", "check", *words)

    assert result.exit_code == 2
    assert said in result.stderr
