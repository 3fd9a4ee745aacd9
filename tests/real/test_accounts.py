"""Two entries of clouds.yaml as two providers of one daemon, and one whose password is wrong."""

import os
import re
import time

import pytest
import yaml

from tests.real.conftest import STATE
from tests.real.daemon import Daemon, judge
from tests.real.project import APPCRED, CLOUD, FLAVOR, IMAGE, NETWORK

DEPLOYMENT = "real-accounts"
KEYSTONE_LOG = STATE / "log" / "keystone-api.log"
REFUSED_LOGIN = re.compile(r"POST /v3/auth/tokens => .*\(HTTP/1\.1 401\)")


def a_provider(name, cloud):
    return f"""
  - name: {name}
    type: openstack
    cloud: {cloud}
    pools:
      - name: main
        networks: [{NETWORK}]
        auto-floating-ip: false
        host-key-checking: false
        labels: [{{name: small, cloud-image: {IMAGE}, flavor-name: {FLAVOR}}}]"""


CONFIGURATION = f"""
deployment: {DEPLOYMENT}
labels: [{{name: small}}]
providers:{a_provider("by-password", CLOUD)}{a_provider("by-appcred", APPCRED)}
"""


class SecureYaml:
    """The password's file, which an operator keeps beside clouds.yaml."""

    def __init__(self, project, path):
        clouds = yaml.safe_load(project.clouds_yaml.read_text())
        self.right = clouds["clouds"][CLOUD]["auth"].pop("password")
        project.clouds_yaml.write_text(yaml.safe_dump(clouds))
        self.path = path
        self.write(self.right)

    def write(self, password):
        """Replace it in one step, as editors do."""
        entry = {"clouds": {CLOUD: {"auth": {"password": password}}}}
        fresh = self.path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(yaml.safe_dump(entry))
        fresh.rename(self.path)


@pytest.fixture
def secure_yaml(project, tmp_path):
    return SecureYaml(project, tmp_path / "secure.yaml")


@pytest.fixture
def env(project, secure_yaml):
    return {
        **os.environ,
        "OS_CLIENT_CONFIG_FILE": str(project.clouds_yaml),
        "OS_CLIENT_SECURE_FILE": str(secure_yaml.path),
    }


def ask(daemon, provider):
    """File a request that insists on a provider, and return it with its nodes."""
    made = daemon.post(
        "/requests", {"labels": ["small"], "requestor": "test", "provider": provider}
    )

    def ended():
        answer = daemon.get(f"/requests/{made['id']}?wait_s=10")
        return answer if answer["state"] not in ("requested", "pending") else None

    return daemon.wait_for(f"a node of {provider}", ended)


def nothing_left(daemon, env):
    daemon.wait_for(
        "nothing of ours is left",
        lambda: judge("ours", DEPLOYMENT, env=env, cloud=APPCRED)[0] == 0,
    )


def refused_logins(since):
    """How many logins keystone has refused since its log had this size."""
    with KEYSTONE_LOG.open("rb") as log:
        log.seek(since)
        return len(REFUSED_LOGIN.findall(log.read().decode(errors="replace")))


def test_password_and_application_credential_serve_side_by_side(project, env, tmp_path):
    """Each entry makes a node in its one project, and neither takes the other's for a leak."""
    with Daemon(tmp_path, env, CONFIGURATION) as daemon:
        fulfilled = [ask(daemon, name) for name in ("by-password", "by-appcred")]
        nodes = [answer["nodes"][0] for answer in fulfilled]

        assert [node["provider"] for node in nodes] == ["by-password", "by-appcred"]
        statuses = {s.id: s.status for s in project.own.compute.servers(details=True)}
        assert statuses == {node["external_id"]: "ACTIVE" for node in nodes}

        # The first list after a start is a full one, and shows each what the other has made.
        daemon.kill()
        daemon.start()
        for name in ("by-password", "by-appcred"):
            daemon.wait_for(
                f"a full list of {name}",
                lambda name=name: any(
                    "/servers/detail" in call
                    for call in daemon.get(f"/providers/{name}")["api_calls"]
                ),
            )
        assert daemon.get("/leaks")["items"] == []

        for answer in fulfilled:
            daemon.release(answer["lease"]["id"])
        nothing_left(daemon, env)
        assert daemon.stop() == 0


def test_wrong_password_closes_one_provider_until_the_file_is_corrected(
    project, secure_yaml, env, tmp_path
):
    """It says which entry, asks keystone once a back-off, disturbs nobody, recovers by itself."""
    secure_yaml.write("wrong-and-not-to-be-shown")
    log_size = KEYSTONE_LOG.stat().st_size
    began = time.monotonic()
    with Daemon(tmp_path, env, CONFIGURATION) as daemon:

        def by_password():
            return daemon.get("/providers/by-password")

        refused = daemon.wait_for(
            "unavailable", lambda: by_password() if by_password()["health"] == "unavailable" else 0
        )
        assert CLOUD in refused["reason"], refused["reason"]
        assert "401" in refused["reason"], refused["reason"]

        served = ask(daemon, "by-appcred")
        assert served["state"] == "fulfilled"
        waits = daemon.post(
            "/requests", {"labels": ["small"], "requestor": "test", "provider": "by-password"}
        )
        daemon.wait_for(
            "the request's reason names the entry",
            lambda: CLOUD in daemon.get(f"/requests/{waits['id']}/explain")["words"],
        )

        daemon.wait_for("a third login, after two back-offs", lambda: refused_logins(log_size) >= 3)
        tries, took_s = refused_logins(log_size), time.monotonic() - began
        # Back-offs are 5 s, 10 s, 20 s and so on; four logins need at least 35 s.
        assert took_s >= 15 - 1
        assert tries <= (3 if took_s < 34 else 4 if took_s < 74 else 5)
        counted = by_password()["api_calls"]
        assert sum(n for call, n in counted.items() if "auth/tokens" in call) in (tries, tries + 1)
        log = daemon.log(1000)
        assert log.count("health=unavailable") == 1, log
        assert secure_yaml.right not in log
        assert "wrong-and-not-to-be-shown" not in log

        secure_yaml.write(secure_yaml.right)
        daemon.wait_for("available again", lambda: by_password()["health"] == "available")
        fulfilled = daemon.wait_for(
            "the request that waited is served",
            lambda: (
                answer
                if (answer := daemon.get(f"/requests/{waits['id']}?wait_s=10"))["state"]
                == "fulfilled"
                else None
            ),
        )
        assert fulfilled["nodes"][0]["provider"] == "by-password"

        for answer in (served, fulfilled):
            daemon.release(answer["lease"]["id"])
        nothing_left(daemon, env)
        assert daemon.stop() == 0
