"""The whole daemon on the real OpenStack, killed in the middle of all, judged from outside."""

import json
import os
import time
from datetime import UTC, datetime
from functools import partial

import pytest
import yaml

from tests.real.daemon import PATIENCE_S, Daemon, Requestor, judge
from tests.real.holding_proxy import HoldingProxy
from tests.real.project import CLOUD, FLAVOR, IMAGE, NETWORK, TOO_BIG

DEPLOYMENT = "real-test"
JUDGED = "judged"
CONFIGURATION = f"""
deployment: {DEPLOYMENT}
labels: [{{name: small}}, {{name: slow}}, {{name: lingering}}, {{name: public}}, {{name: huge}}]
providers:
  - name: real
    type: openstack
    cloud: {CLOUD}
    pools:
      - name: main
        networks: [{NETWORK}]
        auto-floating-ip: false
        host-key-checking: false
        labels:
          - {{name: small, cloud-image: {IMAGE}, flavor-name: {FLAVOR}}}
          - {{name: huge, cloud-image: {IMAGE}, flavor-name: {TOO_BIG}}}
          - name: slow
            cloud-image: {IMAGE}
            flavor-name: {FLAVOR}
            instance-properties: {{realcloud_build_seconds: "60"}}
          - name: lingering
            cloud-image: {IMAGE}
            flavor-name: {FLAVOR}
            instance-properties: {{realcloud_delete_seconds: "60"}}
      - name: reachable
        networks: [{NETWORK}]
        host-key-checking: false
        labels:
          - {{name: public, cloud-image: {IMAGE}, flavor-name: {FLAVOR}}}
"""
BULK = [
    ["small"], ["small", "small"], ["small"], ["small", "small", "small"], ["small"],
    ["public"], ["small", "small"], ["small"], ["small"], ["small", "small"],
    ["small", "small", "small"], ["small"], ["small"], ["small", "public"], ["small"],
]  # fmt: skip
CANCELLED = {4, 8, 12}


@pytest.fixture
def slow_nova(project):
    """A nova whose answers to creates can be held back; the judge's entry goes past it."""
    clouds = yaml.safe_load(project.clouds_yaml.read_text())
    with HoldingProxy(project.own.compute.get_endpoint()) as proxy:
        clouds["clouds"][JUDGED] = dict(clouds["clouds"][CLOUD])
        clouds["clouds"][CLOUD]["compute_endpoint_override"] = proxy.url
        project.clouds_yaml.write_text(yaml.safe_dump(clouds))
        yield proxy


@pytest.fixture
def env(project, slow_nova):
    """The environment of daemon and judge."""
    return {**os.environ, "OS_CLIENT_CONFIG_FILE": str(project.clouds_yaml)}


@pytest.fixture
def strangers(env, tmp_path):
    """Servers, addresses, ports, keys and images of somebody else, planted in the project."""
    planted = str(tmp_path / "strangers.json")
    judge("plant", planted, env=env, cloud=JUDGED)
    yield planted
    judge("remove", planted, env=env, cloud=JUDGED)


@pytest.fixture
def daemon(env, tmp_path):
    """The daemon, running on an empty store."""
    with Daemon(tmp_path, env, CONFIGURATION) as running:
        yield running


def of_ours(project):
    """What the cloud shows of our servers now, unfiltered by anything of ours but the tag."""
    return [
        server
        for server in project.own.compute.servers(details=True)
        if server.metadata.get("trellis_deployment") == DEPLOYMENT
    ]


def test_twenty_requests_survive_a_kill_in_the_middle_of_everything(
    project, slow_nova, env, strangers, daemon
):
    """P1, P2, P3, P9, P10 on real services: fulfilled or explained, leases kept, nothing left."""
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    requestor = partial(Requestor, daemon.url)
    keeper = requestor("keeper", ["small", "small"], keeps=True)
    leaver = requestor("leaver", ["lingering"], keeps=True)
    builder = requestor("builder", ["slow"])
    over = requestor("over", ["huge"])
    bulk = [requestor(f"job-{n}", labels, cancel=n in CANCELLED) for n, labels in enumerate(BULK)]
    late = requestor("late", ["slow", "small"])
    everybody = [keeper, leaver, builder, over, *bulk, late]
    assert len(everybody) == 20

    # Each step waits for a fact, so that all of them hold at once on a machine of any speed.
    for first in (keeper, leaver, over):
        first.start()
    daemon.wait_for("two leases", lambda: keeper.leased.is_set() and leaver.leased.is_set())
    builder.start()
    daemon.wait_for("a create answered", lambda: any(s.status == "BUILD" for s in of_ours(project)))
    daemon.wait_for("no create unanswered", lambda: not slow_nova.unanswered)
    slow_nova.hold()
    for one in (*bulk, late):
        one.start()
    daemon.wait_for("a create unanswered", lambda: slow_nova.unanswered)
    leaver.let_go.set()

    def everything_at_once():
        held_before = slow_nova.unanswered
        servers = of_ours(project)
        unanswered = held_before & {s.id for s in servers}
        seen = {
            "unanswered": sorted(unanswered),
            "building": [s.id for s in servers if s.status == "BUILD" and s.id not in held_before],
            "deleting": [s.id for s in servers if s.task_state == "deleting"],
            "leased": [node["external_id"] for node in keeper.nodes],
        }
        return seen if all(seen.values()) else None

    at_kill = daemon.wait_for("unanswered, building, deleting and leased", everything_at_once)
    daemon.kill()
    print("killed while the cloud showed", json.dumps(at_kill))
    slow_nova.let_go()
    daemon.start()

    # Whoever is leased stays so: the servers stand, the lease can be renewed.
    statuses = {s.id: s.status for s in of_ours(project)}
    assert [statuses[kept] for kept in at_kill["leased"]] == ["ACTIVE", "ACTIVE"]
    kept = daemon.get(f"/requests/{keeper.answer['id']}")
    assert kept["lease"]["id"] == keeper.lease
    assert [n["id"] for n in kept["nodes"]] == [n["id"] for n in keeper.nodes]
    renewed = daemon.post(f"/leases/{keeper.lease}/renew", {})
    assert renewed["expires_at"] > kept["lease"]["expires_at"]
    keeper.let_go.set()

    until = time.monotonic() + 2 * PATIENCE_S
    for one in everybody:
        one.join(max(0.0, until - time.monotonic()))
        assert one.crash is None, f"{one.name}: {one.crash!r}\n{daemon.log()}"
        assert not one.is_alive(), f"{one.name} waits for ever: {one.answer}\n{daemon.log()}"

    for one in everybody:
        if one is over:
            continue
        allowed = {"cancelled", "fulfilled"} if one.cancel else {"fulfilled"}
        assert one.answer["state"] in allowed, (one.name, one.answer)
        if one.answer["state"] == "fulfilled":
            assert [node["label"] for node in one.nodes] == one.labels
            assert len({(node["provider"], node["az"]) for node in one.nodes}) == 1
    assert any(one.answer["state"] == "cancelled" for one in everybody)
    handed_out = [node["external_id"] for one in everybody for node in one.nodes]
    assert len(handed_out) == len(set(handed_out))
    assert over.answer["state"] == "failed"
    why = daemon.get(f"/requests/{over.answer['id']}/explain")
    assert "80 cores" in why["words"], why

    daemon.wait_for(
        "nothing of ours is left",
        lambda: judge("ours", DEPLOYMENT, env=env, cloud=JUDGED)[0] == 0,
    )
    status, made = judge("made", DEPLOYMENT, since, env=env, cloud=JUDGED)
    assert status == 0, made["twice"]
    # What was made without an answer was found and used, or found and deleted: never forgotten.
    # Nova keeps no row of a server deleted before a cell had it: only the call tells of that one.
    kept_rows = {row["id"] for row in made["made"]}
    assert set(at_kill["unanswered"]) - kept_rows <= slow_nova.deleted
    status, touched = judge("untouched", strangers, env=env, cloud=JUDGED)
    assert status == 0, touched
    assert daemon.get("/leaks")["items"] == []
    log = daemon.log(10_000)
    assert not [secret for secret in project.secrets if secret in log]
    assert "Traceback" not in log, log
    assert daemon.stop() == 0
