"""`trellis plugin check` and `record` at a real OpenStack: what they find, and what they leave."""

import os
import time
from random import SystemRandom

import pytest
import trio

from tests.real.project import APPCRED, CLOUD, FLAVOR, NETWORK
from tests.real.record_clouds import record_all
from tests.real.topologies import TOPOLOGIES
from trellis.http import lane_transports
from trellis.inspection.cloud import look
from trellis.inspection.findings import Verdict
from trellis.plugin_host import load_plugins
from trellis.testing.recording import cassettes_under, tell_again

TYPES = load_plugins(environment={}).providers


@pytest.fixture
def clouds_yaml(project, monkeypatch):
    """The project's own entries."""
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(project.clouds_yaml))
    return project


@pytest.mark.parametrize("entry", [CLOUD, APPCRED])
async def test_a_check_finds_what_is_there(entry, clouds_yaml):
    """All but block storage, which this cloud does not have; nothing is made."""
    findings = await look(
        TYPES.get("openstack"), TYPES, cloud=entry, region=None, transports=lane_transports(),
        random=SystemRandom(), wall=time.time,
    )  # fmt: skip

    found = {f"{one.what} {one.subject}".strip(): one for one in findings}
    surprises = {name for name, one in found.items() if one.verdict is not Verdict.OK}
    assert surprises == {"catalog block-storage"}
    assert found["auth"].data["project_id"] == clouds_yaml.id
    assert found["limits"].data["instances"] == {"limit": 20, "used": 0}
    assert FLAVOR in {row["name"] for row in found["flavors"].data["flavors"]}
    assert found["images"].data["upload_formats"]
    assert found["images"].data["import_methods"]
    assert found["networks"].data["floating_ips_from"] == "public"
    assert NETWORK in {
        row["name"] for row in found["networks"].data["networks"] if row["attachable"]
    }
    assert list(clouds_yaml.own.compute.servers()) == []


async def test_a_wrong_secret_is_one_refused_login(clouds_yaml):
    """Nothing else is asked."""
    path = clouds_yaml.clouds_yaml
    path.write_text(path.read_text().replace(clouds_yaml.secrets[0], "wrong"))

    findings = await look(
        TYPES.get("openstack"), TYPES, cloud=CLOUD, region=None, transports=lane_transports(),
        random=SystemRandom(), wall=time.time,
    )  # fmt: skip

    assert [one.what for one in findings] == ["entry", "auth"]
    assert findings[1].data["status"] == 401


def test_a_plugin_is_recorded_and_leaves_nothing_behind(project, tmp_path):
    """OVH's, on a network as OVH's; the cassettes tell the same and hold no secret."""
    topology = TOPOLOGIES["ovh"]
    with topology.lays(project):
        trio.run(record_all, topology, project, tmp_path / "cassettes")
        servers = [server.status for server in project.own.compute.servers()]

    assert [status for status in servers if status != "DELETED"] == []
    found = cassettes_under(tmp_path / "cassettes")
    assert {path.stem for path in found} == set(topology.stories)
    for path in found:
        text = path.read_text()
        assert not [secret for secret in project.secrets if secret in text]
        assert project.name not in text
        assert project.id not in text
        assert os.environ["OS_CLIENT_CONFIG_FILE"] not in text


@pytest.fixture
def recorded(project, tmp_path):
    """Cassettes of one plugin, recorded just now."""
    topology = TOPOLOGIES["rackspaceflex"]
    with topology.lays(project):
        trio.run(record_all, topology, project, tmp_path / "cassettes")
    return cassettes_under(tmp_path / "cassettes")


async def test_what_was_recorded_just_now_is_told_again(recorded, autojump_clock):
    """The plugin asks in replay what it asked then, floating IP and all."""
    assert len(recorded) == len(TOPOLOGIES["rackspaceflex"].stories)
    for path in recorded:
        assert await tell_again(path, TYPES) is not None
