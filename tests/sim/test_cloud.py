"""How a simulated cloud's servers, addresses, tokens and strangers behave over time."""

import ipaddress
import re

import httpx
import pytest
import trio
from cloud_session import QUICK, cloud_of, password_login, session_of

from trellis.sim.cloud import (
    CloudSpec,
    Latency,
    Lognormal,
    NetworkSpec,
    Quota,
    RateLimit,
    SimCloud,
    SimTransport,
    Strangers,
    What,
    floating_networks,
)
from trellis.sim.cloud.servers import Servers


class TestLifeOfAServer:
    async def test_it_becomes_active_after_its_boot_time(self, autojump_clock):
        """BUILD until the boot time is over, then ACTIVE with an address, at the exact time."""
        async with session_of(cloud_of()) as session:
            server_id = await session.create()
            before = (await session.show(server_id))["status"]
            await trio.sleep(10)
            after = await session.show(server_id)

            assert before == "BUILD"
            assert after["status"] == "ACTIVE"
            assert after["addresses"]["public"][0]["addr"].startswith("100.64.")
            (fact,) = session.cloud.ledger.of(What.SERVER_ACTIVE)
            assert (fact.at, fact.id) == (10.0, server_id)
            assert fact.metadata == (("trellis_node", "node"),)

    async def test_a_delete_takes_its_time_and_then_it_is_not_found(self, autojump_clock):
        """A deleted server is ``deleting`` first, then 404, and its row stays as DELETED."""
        async with session_of(cloud_of()) as session:
            server_id = await session.create_active()
            await session.call("DELETE", "compute", f"/servers/{server_id}")
            state = (await session.show(server_id))["OS-EXT-STS:task_state"]
            await trio.sleep(2)
            answer = await session.call("GET", "compute", f"/servers/{server_id}")
            (row,) = await session.rows("?changes-since=2026-01-01T00:00:11Z")

            assert state == "deleting"
            assert answer.status_code == 404
            assert await session.rows() == []
            assert (row["id"], row["status"]) == (server_id, "DELETED")

    async def test_a_building_server_that_is_deleted_never_becomes_active(self, autojump_clock):
        """What was on the agenda of a server lapses with its delete."""
        async with session_of(cloud_of()) as session:
            server_id = await session.create()
            await session.call("DELETE", "compute", f"/servers/{server_id}")
            await trio.sleep(60)

            assert session.cloud.servers() == ()
            assert session.cloud.ledger.of(What.SERVER_ACTIVE) == []
            assert session.cloud.ledger.peak_instances == {"RegionOne": 1}

    @pytest.mark.slow
    async def test_boot_times_follow_their_distribution(self, autojump_clock):
        """Of many boots, half are over at the median and 95 % at the p95."""
        cloud = cloud_of(
            boot=Lognormal(20.0, 45.0), quota=Quota(instances=-1, cores=-1, ram_mib=-1, ports=-1)
        )
        async with session_of(cloud) as session:
            for number in range(1000):
                await session.create(f"n{number}")
            await trio.sleep(1000)

            times = sorted(f.at for f in cloud.ledger.of(What.SERVER_ACTIVE))
            assert times[500] == pytest.approx(20, rel=0.1)
            assert times[950] == pytest.approx(45, rel=0.15)

    async def test_one_too_big_for_the_cloud_finds_no_host(self, autojump_clock):
        """Beyond its capacity a cloud takes creates and puts them into ERROR."""
        async with session_of(cloud_of(capacity=1)) as session:
            await session.create("fits")
            second = await session.create("does-not")
            await trio.sleep(5)
            row = await session.show(second)

            assert (row["status"], row["hostId"]) == ("ERROR", "")
            assert row["fault"]["message"] == "No valid host was found. "

    async def test_room_on_the_hosts_returns_with_a_delete(self, autojump_clock):
        """Capacity is held by a server from its placement until it is gone."""
        async with session_of(cloud_of(capacity=1)) as session:
            first = await session.create_active("first")
            await session.call("DELETE", "compute", f"/servers/{first}")
            await trio.sleep(3)
            second = await session.create_active("second")

            assert (await session.show(second))["status"] == "ACTIVE"

    async def test_interventions_are_seen_by_callers(self, autojump_clock):
        """A server can be stopped, failed and removed from outside."""
        async with session_of(cloud_of()) as session:
            ids = [await session.create_active(name) for name in ("a", "b", "c")]
            session.cloud.stop_server(ids[0])
            session.cloud.fail_server(ids[1], "disk on fire")
            session.cloud.remove_server(ids[2])

            states = {row["id"]: row["status"] for row in await session.rows()}
            assert states == {ids[0]: "SHUTOFF", ids[1]: "ERROR"}
            assert (await session.show(ids[1]))["fault"]["message"] == "disk on fire"


class TestLists:
    async def test_changes_since_shows_only_what_changed(self, autojump_clock):
        """Rows whose ``updated`` is at or after the time asked for; times are whole seconds."""
        async with session_of(cloud_of()) as session:
            await session.create_active("old")
            await trio.sleep(20)
            new = await session.create("new")

            rows = await session.rows("?changes-since=2026-01-01T00:00:30Z")
            assert [row["id"] for row in rows] == [new]
            assert re.fullmatch(r"2026-01-01T00:00:30Z", rows[0]["updated"])

    async def test_changes_since_costs_what_changed_and_not_what_there_is(
        self, autojump_clock, monkeypatch
    ):
        """With many servers and one change, only the change is taken from the index."""
        cloud = cloud_of(quota=Quota(instances=-1, cores=-1, ram_mib=-1, ports=-1))
        read = 0

        class Counted(list):
            def __getitem__(self, place):
                nonlocal read
                found = super().__getitem__(place)
                read += len(found) if isinstance(place, slice) else 0
                return found

        async with session_of(cloud) as session:
            for number in range(300):
                await session.create(f"n{number}")
            await trio.sleep(60)
            last = await session.create("last")
            servers: Servers = cloud._regions["RegionOne"].servers
            monkeypatch.setattr(servers._log, "_entries", Counted(servers._log._entries))

            rows = await session.rows("?changes-since=2026-01-01T00:01:00Z")
            assert [row["id"] for row in rows] == [last]
            assert read == 1

    async def test_a_row_is_rendered_once_for_each_look(self, autojump_clock):
        """Two lists without a change between them share the encoded row."""
        cloud = cloud_of()
        async with session_of(cloud) as session:
            server_id = await session.create_active()
            await session.rows()
            server = cloud._regions["RegionOne"].servers.live[server_id]
            first = server.now.rendered
            await session.rows()

            assert first is not None
            assert server.now.rendered is first

    async def test_pages_are_followed_to_the_end(self, autojump_clock):
        """No list is longer than a page; the links lead through all, newest first, none twice."""
        async with session_of(cloud_of(page=2)) as session:
            ids = [await session.create(f"n{number}") for number in range(5)]
            found = []
            url = session.urls["compute"] + "/servers/detail?status=build"
            while url:
                document = (await session.client.get(url)).json()
                assert len(document["servers"]) <= 2
                found += [row["id"] for row in document["servers"]]
                links = document.get("servers_links", [])
                url = links[0]["href"] if links else ""

            assert found == ids[::-1]

    async def test_a_link_to_the_next_page_keeps_the_filters(self, autojump_clock):
        """What was asked for is asked for again, whatever characters it has."""
        async with session_of(cloud_of(page=1)) as session:
            wanted = [await session.create(name) for name in ("a&b=1", "other", "a&b=2")]
            del wanted[1]
            answer = await session.call(
                "GET", "compute", "/servers/detail", params={"name": "a&b=[0-9]"}
            )
            (link,) = answer.json()["servers_links"]
            rest = (await session.client.get(link["href"])).json()

            assert [row["id"] for row in answer.json()["servers"]] == wanted[1:]
            assert [row["id"] for row in rest["servers"]] == wanted[:1]
            assert "servers_links" not in rest

    @pytest.mark.parametrize("pattern", ["^trellis-1$", r"^trellis\-1$", "ellis-1$"])
    async def test_names_are_patterns(self, autojump_clock, pattern):
        """A name is matched as Nova does it, whether by the index or one by one."""
        async with session_of(cloud_of()) as session:
            one = await session.create("trellis-1")
            await session.create("trellis-10")
            twin = await session.create("trellis-1")

            found = await session.call("GET", "compute", "/servers", params={"name": pattern})
            assert [row["id"] for row in found.json()["servers"]] == [twin, one]

    async def test_addresses_do_not_move_updated(self, autojump_clock):
        """A floating IP shows on its server, whose ``updated`` stays as it was."""
        async with session_of(cloud_of(networks=floating_networks())) as session:
            server_id = await session.create_active()
            await trio.sleep(30)
            port_id = await session.port_of(server_id)
            answer = await session.floating_ip(port_id=port_id, description="tag")

            row = await session.show(server_id)
            address = answer.json()["floatingip"]["floating_ip_address"]
            kinds = [entry["OS-EXT-IPS:type"] for entry in row["addresses"]["ci-net"]]
            assert address in [entry["addr"] for entry in row["addresses"]["ci-net"]]
            assert kinds == ["fixed", "floating"]
            assert row["updated"] == "2026-01-01T00:00:10Z"

    @pytest.mark.slow
    async def test_what_is_long_deleted_is_forgotten(self, autojump_clock):
        """The index of changes does not grow with all that ever was; what lives stays in it."""
        cloud = cloud_of(keep_deleted_s=10.0)
        async with session_of(cloud) as session:
            old = await session.create_active("old")
            for number in range(1500):
                server_id = await session.create_active(f"n{number}")
                await session.call("DELETE", "compute", f"/servers/{server_id}")
                if number % 200 == 0:
                    await session.log_in()
            rows = await session.rows("?changes-since=2026-01-01T00:00:00Z")

            assert len(cloud._regions["RegionOne"].servers._log) < 5000
            assert len(rows) < 1300
            assert rows[-1]["id"] == old


class TestFloatingIps:
    async def test_a_port_has_one_floating_ip(self, autojump_clock):
        """A second one is refused, and none is left behind by the refusal."""
        async with session_of(cloud_of(networks=floating_networks())) as session:
            port_id = await session.port_of(await session.create_active())
            first = await session.floating_ip(port_id=port_id)
            second = await session.floating_ip(port_id=port_id)

            assert (first.status_code, second.status_code) == (201, 409)
            kind = second.json()["NeutronError"]["type"]
            assert kind == "FloatingIPPortAlreadyAssociated"
            assert len(session.cloud.floating_ips()) == 1

    async def test_a_freed_address_can_be_given_again(self, autojump_clock):
        """A pool of one address serves one after another."""
        networks = (
            NetworkSpec(name="ci-net"),
            NetworkSpec(name="public", external=True, attachable=False, cidr="203.0.113.0/30"),
        )
        async with session_of(cloud_of(networks=networks)) as session:
            first = await session.floating_ip()
            full = await session.floating_ip()
            ip = first.json()["floatingip"]
            await session.call("DELETE", "network", f"/floatingips/{ip['id']}")
            again = await session.floating_ip()

            assert [a.status_code for a in (first, full, again)] == [201, 409, 201]
            assert again.json()["floatingip"]["floating_ip_address"] == ip["floating_ip_address"]


class TestQuota:
    async def test_a_create_over_quota_is_refused_and_noted(self, autojump_clock):
        """Refused, not made, and written into the ledger; room returns when one is gone."""
        async with session_of(cloud_of(quota=Quota(instances=1))) as session:
            first = await session.create_active()
            refused = await session.call("POST", "compute", "/servers", json=session.body("b"))
            await session.call("DELETE", "compute", f"/servers/{first}")
            await trio.sleep(3)
            await session.create("c")

            assert refused.status_code == 403
            assert len(session.cloud.ledger.of(What.QUOTA_REFUSED)) == 1
            assert len(session.cloud.ledger.of(What.SERVER_CREATED)) == 2

    async def test_every_region_has_a_quota_of_its_own(self, autojump_clock):
        """What one region holds does not count in another."""
        cloud = cloud_of(regions=("A", "B"), quota=Quota(instances=1))
        async with session_of(cloud) as session:
            await session.create("in-a")
            session.urls["compute"] = session.urls["compute"].replace("/A/", "/B/")
            limits = (await session.call("GET", "compute", "/limits")).json()["limits"]["absolute"]

            assert limits["totalInstancesUsed"] == 0
            assert [server.region for server in cloud.servers()] == ["A"]


class TestRateLimits:
    @pytest.mark.parametrize("status", [429, 413])
    async def test_a_call_too_many_is_refused_until_the_bucket_fills(self, autojump_clock, status):
        """The limit's calls pass, the next is refused with the time to wait, which is enough."""
        limit = RateLimit(calls=2, per_s=2.0, status=status, method="POST", path="/servers")
        async with session_of(cloud_of(rate_limits=(limit,))) as session:
            for name in ("a", "b"):
                await session.create(name)
            refused = await session.call("POST", "compute", "/servers", json=session.body("c"))
            await trio.sleep(int(refused.headers["Retry-After"]))
            await session.create("c")

            assert (refused.status_code, refused.headers["Retry-After"]) == (status, "1")
            assert session.cloud.ledger.statuses[status] == 1

    async def test_calls_not_made_are_not_saved_up(self, autojump_clock):
        """After a long rest the bucket is full and no fuller."""
        limit = RateLimit(calls=2, per_s=2.0, method="POST")
        async with session_of(cloud_of(rate_limits=(limit,))) as session:
            await trio.sleep(1000)
            bodies = [session.body(name) for name in ("a", "b", "c")]
            answers = [await session.call("POST", "compute", "/servers", json=b) for b in bodies]

            assert [answer.status_code for answer in answers] == [202, 202, 429]

    async def test_logins_are_not_counted_among_the_others(self, autojump_clock):
        """Only a limit that names the identity service is about it."""
        limit = RateLimit(calls=1, service="identity", retry_after=False)
        cloud = cloud_of(rate_limits=(limit,))
        async with httpx.AsyncClient(transport=SimTransport(cloud)) as client:
            url, body = f"{cloud.auth_url}/auth/tokens", password_login(cloud.spec)
            answers = [await client.post(url, json=body) for _ in range(2)]

            assert [answer.status_code for answer in answers] == [201, 429]
            assert "Retry-After" not in answers[1].headers


class TestTokens:
    async def test_a_token_ends_with_its_lifetime(self, autojump_clock):
        """Good until then, 401 afterwards; the same for revoked ones."""
        async with session_of(cloud_of(token_lifetime_s=100.0)) as session:
            await trio.sleep(99)
            good = await session.call("GET", "compute", "/limits")
            await trio.sleep(2)
            expired = await session.call("GET", "compute", "/limits")
            await session.log_in()
            again = await session.call("GET", "network", "/ports")
            session.cloud.revoke_all()
            revoked = await session.call("GET", "network", "/ports")

            statuses = [answer.status_code for answer in (good, expired, again, revoked)]
            assert statuses == [200, 401, 200, 401]

    async def test_a_changed_password_refuses_the_old_one(self, autojump_clock):
        """Logins with the old password fail; tokens given out stay good."""
        async with session_of(cloud_of()) as session:
            session.cloud.set_password("another")
            body = password_login(session.cloud.spec)
            url = f"{session.cloud.auth_url}/auth/tokens"
            refused = await session.client.post(url, json=body)

            assert refused.status_code == 401
            assert (await session.call("GET", "compute", "/limits")).status_code == 200

    def test_secrets_stay_out_of_reprs(self):
        """A spec can be printed."""
        assert "sim-password" not in repr(CloudSpec(name="x"))
        assert "sim-secret" not in repr(CloudSpec(name="x"))


class TestStrangers:
    async def test_they_come_and_go_and_count_in_the_quota(self, autojump_clock):
        """Servers of somebody else use the project's quota and leave it again."""
        habits = Strangers(servers_at_start=2, every_s=10.0, stay_s=100.0)
        cloud = cloud_of(strangers=habits)
        async with session_of(cloud) as session:
            await trio.sleep(5000)
            await session.log_in()
            answer = await session.call("GET", "compute", "/limits")
            used = answer.json()["limits"]["absolute"]["totalInstancesUsed"]

            deleted = cloud.ledger.of(What.SERVER_DELETED)
            assert used == len(cloud.servers()) >= 2
            assert {fact.who for fact in deleted} == {"stranger"}
            assert len(deleted) > 100
            assert cloud.ledger.violations == []
            assert cloud.ledger.peak_instances == {}

    async def test_harming_them_is_a_violation(self, autojump_clock):
        """A caller who deletes a stranger's server or floating IP is found out."""
        habits = Strangers(servers_at_start=1, floating_ips_at_start=1)
        cloud = cloud_of(strangers=habits)
        async with session_of(cloud) as session:
            (server,), (ip,) = cloud.servers(), cloud.floating_ips()
            await session.call("DELETE", "compute", f"/servers/{server.id}")
            await session.call("DELETE", "network", f"/floatingips/{ip.id}")

            assert [fact.id for fact in cloud.ledger.violations] == [server.id, ip.id]


class TestTime:
    async def test_a_jump_of_the_callers_wall_clock_does_not_move_the_cloud(self, autojump_clock):
        """The wall clock is read once; the cloud's own goes on from there."""
        wall = [2_000_000_000.0]
        spec = CloudSpec(name="test", **QUICK)
        cloud = SimCloud(spec, wall=lambda: wall[0])
        async with session_of(cloud) as session:
            wall[0] -= 1_000_000.0
            server_id = await session.create()

            assert (await session.show(server_id))["created"] == "2033-05-18T03:33:20Z"

    async def test_a_call_takes_the_latency_of_its_verb(self, autojump_clock):
        """The time of a call is the cloud's for that verb."""
        latency = Latency(get=Lognormal(0.3, 0.3), post=Lognormal(1.0, 1.0))
        cloud = cloud_of(latency=latency)
        async with session_of(cloud) as session:
            start = trio.current_time()
            await session.call("GET", "compute", "/limits")
            got = trio.current_time()
            await session.create()

            assert got - start == pytest.approx(0.3)
            assert trio.current_time() - got == pytest.approx(1.0)

    async def test_a_network_may_give_ipv6_addresses_too(self, autojump_clock):
        """Both addresses are shown and both lead to the server."""
        networks = (NetworkSpec(name="public", external=True, ipv6=True),)
        async with session_of(cloud_of(networks=networks)) as session:
            server_id = await session.create_active()
            rows = (await session.show(server_id))["addresses"]["public"]
            subnets = (await session.call("GET", "network", "/subnets")).json()["subnets"]

            assert [row["version"] for row in rows] == [4, 6]
            assert [subnet["ip_version"] for subnet in subnets] == [4, 6]
            assert ipaddress.ip_address(rows[1]["addr"]) in ipaddress.ip_network(subnets[1]["cidr"])
            assert all(session.cloud.has_address(row["addr"]) for row in rows)

    async def test_addresses_of_a_pool_return_late(self, autojump_clock):
        """A freed address is given again only after all others."""
        async with session_of(cloud_of()) as session:
            first = await session.create_active()
            (seen,) = session.cloud.servers()
            await session.call("DELETE", "compute", f"/servers/{first}")
            await trio.sleep(3)
            await session.create_active()

            (now,) = session.cloud.servers()
            assert now.addresses != seen.addresses
