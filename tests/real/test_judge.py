"""The judge finds what is ours and notices what happens to strangers, or it is no judge."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.project import CLOUD, FLAVOR, IMAGE, NETWORK

JUDGE = Path(__file__).parent / "judge.py"
OURS = "judged"


@pytest.fixture
def judge(project):
    """Run the judge as it is run in earnest: as another process."""

    def judge(*args):
        done = subprocess.run(
            [sys.executable, JUDGE, "--cloud", CLOUD, *map(str, args)],
            env={**os.environ, "OS_CLIENT_CONFIG_FILE": str(project.clouds_yaml)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, json.loads(done.stdout)

    return judge


def make_server(project, node_id):
    own = project.own
    server = own.compute.create_server(
        name=f"np{node_id}",
        image_id=own.image.find_image(IMAGE, ignore_missing=False).id,
        flavor_id=own.compute.find_flavor(FLAVOR, ignore_missing=False).id,
        networks=[{"uuid": own.network.find_network(NETWORK, ignore_missing=False).id}],
        metadata={"trellis_deployment": OURS, "trellis_node_id": node_id},
    )
    return own.compute.wait_for_server(server, wait=180, interval=0.3)


def test_strangers_are_not_ours_and_are_missed_when_gone(project, judge, tmp_path):
    """Planted things are nobody's leak; each that changes or goes is reported by its id."""
    planted = tmp_path / "strangers.json"
    _, seen = judge("plant", planted)

    assert judge("ours", OURS) == (0, {})
    assert judge("untouched", planted) == (0, {})

    [keypair] = seen["keypairs"]
    project.own.compute.delete_keypair(keypair)
    _, second = seen["servers"]
    project.own.compute.set_server_metadata(second, touched="yes")
    [address] = seen["floating_ips"]
    project.own.network.delete_ip(address)
    status, changed = judge("untouched", planted)

    assert status == 1
    assert changed["keypairs"][keypair]["is"] is None
    assert changed["floating_ips"][address]["is"] is None
    assert changed["servers"][second]["is"][2]["touched"] == "yes"

    judge("remove", planted)
    assert judge("ours", "somebody-else") == (0, {})


def test_all_that_is_ours_is_found(project, judge):
    """A server with its port, a floating IP alone, a keypair and an image are found."""
    server = make_server(project, "0000000007")
    own = project.own
    outside = own.network.find_network("public", ignore_missing=False)
    mark = f"trellis:{OURS}:0000000007"
    address = own.network.create_ip(floating_network_id=outside.id, description=mark)
    own.compute.create_keypair(name=f"trellis-{OURS}-1")
    image = own.create_image(
        "ours", data=b"\0", disk_format="raw", container_format="bare", wait=True,
        meta={"trellis_deployment": OURS},
    )  # fmt: skip

    status, found = judge("ours", OURS)

    assert status == 1
    assert [row["id"] for row in found["servers"]] == [server.id]
    assert [row["device_id"] for row in found["ports"]] == [server.id]
    assert [row["id"] for row in found["floating_ips"]] == [address.id]
    assert [row["id"] for row in found["images"]] == [image.id]
    assert found["keypairs"] == [{"id": f"trellis-{OURS}-1"}]


def test_two_servers_of_one_node_are_found_though_one_is_deleted(project, judge):
    """Servers made are counted with those that are gone."""
    make_server(project, "0000000008")
    project.wait_empty()
    make_server(project, "0000000008")
    make_server(project, "0000000009")

    status, seen = judge("made", OURS, "2020-01-01T00:00:00Z")

    assert status == 1
    assert seen["twice"] == ["np0000000008"]
    assert len(seen["made"]) == 3
