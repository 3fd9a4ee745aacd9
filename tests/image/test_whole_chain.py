"""From elements to a login: built, uploaded, booted, used, deleted, and nothing of it stays."""

import json
import os
import subprocess

import pytest

from tests.image.chain import FORMATS, Chain
from tests.image.mini import CREATE, Traces
from tests.ssh.place import PATIENCE_S

BOOT_S = 120
MINI = {
    "elements": "[debian-minimal, vm]", "release": "bookworm", "build_command": CREATE,
    "username": "root", "build_room_mib": 256,
    "env_vars": "{MINI_LINES: '50', SOME_PASSWORD: swordfish-7, ELEMENTS_PATH: swordfish-7}",
}  # fmt: skip


@pytest.fixture
def chain(able, tmp_path):
    """Clouds with machines and a daemon; and what they leave is looked for at the end."""
    prefix = f"ti{os.getpid()}"
    with Chain(tmp_path, prefix, boot_s=BOOT_S, **MINI) as made:
        yield made
    assert {} == Traces(tmp_path, prefix).found()


def test_an_image_is_built_uploaded_booted_logged_in_to_and_gone(chain, tmp_path):
    """One build, two formats, two clouds: each boots the very file that it was sent."""
    build = "mini-0000000001"
    traces = Traces(tmp_path, chain.clouds.prefix)
    uploads = chain.wait_served(build)
    shown = next(one for one in chain.image()["builds"] if one["id"] == build)
    files = {one["format"]: one for one in shown["artifacts"]}
    assert set(FORMATS.values()) == files.keys()
    for provider, format in FORMATS.items():
        assert format == uploads[provider]["format"]
    assert sorted(file["sha256"] for file in files.values()) == chain.kept()
    log = chain.http("GET", f"http://127.0.0.1:8480/api/v1/images/mini/builds/{build}/log").text
    assert "Building elements: debian-minimal vm" in log
    assert "line 49" in log
    assert "ELEMENTS_PATH=********" in log, "the build command prints it"
    assert "swordfish-7" not in log

    requests = {label: chain.request(label) for label in FORMATS}
    for label, filed in requests.items():
        requests[label] = chain.fulfilled_now(filed)
    assert 2 == len(traces.machines())

    for label, request in requests.items():
        (node,) = request["nodes"]
        console = chain.wait_for("its host keys", lambda node=node: chain.keys_on_console(node))
        # Trellis read them over the network; the machine told them over its serial line.
        published = {" ".join(key.split()[:2]) for key in node["host_keys"]}
        assert console == published
        assert {"ssh-ed25519", "ecdsa-sha2-nistp256"} == {key.split()[0] for key in published}
        done = chain.ssh(node, chain.known_hosts(node), "hostname; cat /etc/image-name")
        assert [node["hostname"], build] == done.stdout.split(), done.stderr
        assert label == node["provider"]

    for request in requests.values():
        chain.release(request)
    chain.wait_for("no machine is left", lambda: not traces.machines())
    chain.wait_for("no node is left", lambda: not chain.api("GET", "/nodes")["items"])
    left = traces.found()
    assert {"namespaces", "folders"} == left.keys(), "of the clouds themselves, which go on"
    assert [] == os.listdir(f"/run/trellis-namespaces-{chain.clouds.prefix}/nodes")
    bridged = ["ip", "-n", chain.net, "-j", "link", "show", "master", "br0"]
    ports = json.loads(subprocess.run(bridged, capture_output=True, check=True).stdout or b"[]")
    assert [] == ports
    kept = {file.name for file in chain.images.iterdir()}
    assert {f"{build}.{format}" for format in FORMATS.values()} <= kept
    assert not [name for name in kept if not name.startswith((build, ".cache", ".scratch"))]
    assert [] == os.listdir(chain.images / ".scratch")
    assert "Traceback" not in chain.log()


def test_machines_outlive_a_killed_cloud_until_its_next_run(able, tmp_path):
    """As a killed run leaves them; the next one with that prefix ends them and begins anew."""
    prefix = f"tj{os.getpid()}"
    traces = Traces(tmp_path, prefix)
    with Chain(tmp_path, prefix, boot_s=BOOT_S, **MINI) as chain:
        chain.wait_served("mini-0000000001")
        chain.fulfilled("north")
        (machine,) = traces.machines()
        chain.kill_daemon()
        chain.clouds.kill()
        assert [machine] == traces.machines()

        chain.clouds.start()

        assert [] == traces.machines()
        assert 0 == chain.clouds.stop()
    assert {} == traces.found()


@pytest.fixture
def switched(able, tmp_path):
    """A build command that makes a broken image once a file is there."""
    command = tmp_path / "create"
    command.write_text(
        f'#!/bin/sh\n[ ! -e {tmp_path}/broken ] || export MINI_BROKEN=1\nexec {CREATE} "$@"\n'
    )
    command.chmod(0o755)
    image = {**MINI, "build_command": command, "canary_nodes": 1, "canary_share": 0.5}
    prefix = f"tk{os.getpid()}"
    with Chain(tmp_path, prefix, boot_s=45, **image) as made:
        yield made
    assert {} == Traces(tmp_path, prefix).found()


def test_an_image_in_which_nothing_answers_never_replaces_one_that_works(switched, tmp_path):
    """It is uploaded, and fails as a canary: every request gets a node of the good one."""
    chain, good, bad = switched, "mini-0000000001", "mini-0000000002"
    chain.wait_served(good)
    chain.release(chain.fulfilled("north"))
    (tmp_path / "broken").touch()
    chain.api("POST", "/images/mini/builds", json={"by": "test", "reason": "a bad night"})

    def tried():
        """The bad one's upload once a launch of it has failed; requests go on meanwhile."""
        request = chain.fulfilled("north")
        (node,) = request["nodes"]
        assert good == node["image"]
        chain.release(request)
        return next((one for one in uploads(bad) if (one["trial"] or {}).get("failed")), None)

    def uploads(build):
        place = next(one for one in chain.image()["places"] if one["provider"] == "north")
        return [one for one in place["uploads"] if one["build_id"] == build]

    upload = chain.wait_for("the bad one is tried", tried, seconds=2 * PATIENCE_S)

    assert not upload["serving"]
    assert upload["standing"] in ("canary", "withdrawn")
    assert 0 == upload["trial"]["ready"]
    request = chain.fulfilled("north")
    (node,) = request["nodes"]
    done = chain.ssh(node, chain.known_hosts(node), "cat /etc/image-name")
    assert good == done.stdout.strip(), done.stderr
    chain.release(request)
