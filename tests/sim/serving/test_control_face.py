"""The control face: it tells what is true, and what it changes holds from then on."""

import time

import pytest
import trio
from served import clouds_of, spec_of

from trellis.sim.cloud import Faults, FaultWindow, Lognormal, Quota, floating_networks


async def test_facts_tell_when_each_step_of_a_life_happened(tmp_path, mock_clock):
    """Create asked for, created, active, SSH, delete asked for, gone: each with the node's tag."""
    mock_clock.autojump_threshold = 0.01
    spec = spec_of(
        boot=Lognormal(10.0, 10.0), guest=Lognormal(3.0, 3.0), delete=Lognormal(2.0, 2.0)
    )
    async with clouds_of(tmp_path, spec) as clouds:
        clouds.http.timeout = None
        account = await clouds.account()
        server_id = await account.create("tagged")
        await trio.sleep(20.0)
        await account.call("DELETE", f"/compute/v2.1/servers/{server_id}")
        await trio.sleep(5.0)
        told = await clouds.look("one/facts?from=1")
        again = await clouds.look(f"one/facts?from={told['next']}")

    facts = {fact["what"]: fact for fact in told["facts"]}
    created, active = facts["server-created"], facts["server-active"]
    deleting, gone = facts["server-deleting"], facts["server-deleted"]
    assert all(f["metadata"] == {"node": "tagged"} for f in (created, active, deleting, gone))
    assert created["asked_at"] == pytest.approx(created["at"], abs=0.001)
    assert active["at"] - created["at"] == pytest.approx(10.0)
    assert active["ssh_at"] - active["at"] == pytest.approx(3.0)
    assert gone["at"] - deleting["asked_at"] == pytest.approx(2.0)
    assert (active["asked_at"], gone["asked_at"]) == (None, None)
    assert told["next"] == 1 + len(told["facts"])
    assert again["facts"] == []
    assert told["now"] >= gone["at"]


async def test_calls_are_counted_by_kind_and_status(tmp_path):
    """Ids are stars; the control face itself does not count."""
    async with clouds_of(tmp_path) as clouds:
        account = await clouds.account()
        await account.call("GET", "/compute/v2.1/servers/unknown")
        await clouds.look("clouds")
        told = await clouds.look("one/calls")

    assert told["calls"] == {"POST identity /v3/auth/tokens": 1, "GET compute /servers/*": 1}
    assert told["statuses"] == {"201": 1, "404": 1}
    assert told["total"] == 2
    assert told["utc"] == pytest.approx(time.time(), abs=30.0)


async def test_what_there_is_now_is_shown(tmp_path):
    """Servers with their addresses, ports, floating IPs, keypairs."""
    async with clouds_of(tmp_path, spec_of(networks=floating_networks())) as clouds:
        account = await clouds.account()
        server_id = await account.create()
        key = {"keypair": {"name": "k", "public_key": "ssh-ed25519 AAAA"}}
        await account.call("POST", "/compute/v2.1/os-keypairs", json=key)
        wanted = {"floating_network_id": await account.network("public"), "description": "mine"}
        await account.call("POST", "/network/v2.0/floatingips", json={"floatingip": wanted})
        (server,) = (await clouds.look("one/servers"))["servers"]
        (ip,) = (await clouds.look("one/floating_ips"))["floating_ips"]
        (keypair,) = (await clouds.look("one/keypairs"))["keypairs"]
        (port,) = (await clouds.look("one/ports"))["ports"]
        (listed,) = (await clouds.look("clouds"))["clouds"]

    assert (server["id"], server["metadata"]) == (server_id, {"node": "node"})
    assert (ip["description"], keypair["name"], port["server_id"]) == ("mine", "k", server_id)
    assert (listed["name"], listed["regions"]) == ("one", ["RegionOne"])


async def test_faults_begin_and_end_when_told(tmp_path):
    """The next server fails; after `{}` the one behind it does not, nor do windows come back."""
    windows = (FaultWindow(start=0.0, end=1e6, faults=Faults(no_valid_host=1.0)),)
    async with clouds_of(tmp_path, spec_of(fault_windows=windows)) as clouds:
        account = await clouds.account()
        await clouds.say("one/faults", **{"boot-error": 1.0})
        bad = await account.create("bad")
        await clouds.say("one/faults")
        good = await account.create("good")
        servers = (await clouds.look("one/servers"))["servers"]

    states = {server["id"]: server["status"] for server in servers}
    assert states == {bad: "ERROR", good: "ACTIVE"}


async def test_lists_begin_to_lag_when_told(tmp_path, mock_clock):
    """What was there before is still listed; what is new comes late, what is gone leaves late."""
    mock_clock.autojump_threshold = 0.01
    async with clouds_of(tmp_path) as clouds:
        clouds.http.timeout = None
        account = await clouds.account()

        async def listed() -> set[str]:
            shown = await account.call("GET", "/compute/v2.1/servers")
            return {row["name"] for row in shown.json()["servers"]}

        old = await account.create("old")
        await trio.sleep(60.0)
        await clouds.say("one/faults", list_lag_s=10.0)
        await trio.sleep(20.0)
        await account.create("new")
        await account.call("DELETE", f"/compute/v2.1/servers/{old}")
        at_once = await listed()
        await trio.sleep(11.0)
        later = await listed()

    assert (at_once, later) == ({"old"}, {"new"})


async def test_a_quota_is_changed_in_part(tmp_path):
    """What is not named stays; the next create is refused, and Nova's limits say why."""
    async with clouds_of(tmp_path, spec_of(quota=Quota(cores=7))) as clouds:
        account = await clouds.account()
        await clouds.say("one/quota", instances=0)
        with pytest.raises(AssertionError, match="Quota exceeded for instances"):
            await account.create()
        limits = (await account.call("GET", "/compute/v2.1/limits")).json()["limits"]["absolute"]

    assert (limits["maxTotalInstances"], limits["maxTotalCores"]) == (0, 7)


async def test_tokens_are_revoked(tmp_path):
    """The next call is refused with 401."""
    async with clouds_of(tmp_path) as clouds:
        account = await clouds.account()
        await clouds.say("one/revoke-tokens")
        refused = await account.call("GET", "/compute/v2.1/servers")

    assert refused.status_code == 401


@pytest.mark.parametrize(
    ("do", "state"),
    [("fail", "ERROR"), ("stop", "SHUTOFF"), ("remove", None), ("rebuild", "ACTIVE")],
)
async def test_a_server_is_made_to_fail(tmp_path, do, state):
    """As an operator of the cloud, or chance, would."""
    async with clouds_of(tmp_path) as clouds:
        account = await clouds.account()
        server_id = await account.create()
        await clouds.say(f"one/servers/{server_id}", do=do)
        servers = (await clouds.look("one/servers"))["servers"]

    assert [server["status"] for server in servers] == ([state] if state else [])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "two/calls", None, 404, "there is no cloud 'two', but one"),
        ("GET", "one/nothing", None, 404, "GET /_sim/NAME/calls"),
        ("GET", "one/faults", None, 405, "POST"),
        ("GET", "one/facts?from=x", None, 400, "from must be the number of a fact"),
        ("POST", "one/faults", '{"boot-eror": 1}', 400, "did you mean 'boot-error'"),
        ("POST", "one/faults", '{"boot-error": 2}', 400, "body:1:16"),
        ("POST", "one/faults", "[1]", 400, "must be an object"),
        ("POST", "one/faults", "{", 400, "no JSON"),
        ("POST", "one/outage", '{"kind": "sulk"}', 400, "kind"),
        ("POST", "one/quota", '{"instances": -5}', 400, "instances"),
        ("POST", "one/servers/unknown", '{"do": "fail"}', 404, "no server unknown"),
        ("POST", "one/servers/unknown", '{"do": "dance"}', 400, "fail, stop, remove, rebuild"),
    ],
)
async def test_a_wrong_call_is_told_what_is_wrong(tmp_path, method, path, body, status, words):
    """Nothing changes, and the answer says what to write."""
    async with clouds_of(tmp_path) as clouds:
        url = f"{clouds.served.control}/{path}"
        answered = await clouds.http.request(method, url, content=body)

    assert answered.status_code == status
    assert words in answered.json()["error"]


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}])
async def test_web_pages_are_kept_out(tmp_path, headers):
    """A page in a browser can reach loopback, and gives itself away."""
    async with clouds_of(tmp_path) as clouds:
        url = f"{clouds.served.control}/one/revoke-tokens"
        answered = await clouds.http.post(url, headers=headers)

    assert answered.status_code == 403


async def test_rate_limits_are_set_and_ended(tmp_path, mock_clock):
    """With the words in which refusals say how long to wait."""
    mock_clock.autojump_threshold = 0.01
    async with clouds_of(tmp_path, spec_of()) as clouds:
        account = await clouds.account()
        limit = {"calls": 1, "per-s": 100, "says": "words", "service": "compute"}
        await clouds.say("one/rate-limits", limits=[limit])
        answers = [await account.call("GET", "/compute/v2.1/servers") for _ in range(2)]
        await clouds.say("one/rate-limits", limits=[])
        after = await account.call("GET", "/compute/v2.1/servers")

    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["Retry-After"] == "in a while"
    assert after.status_code == 200
