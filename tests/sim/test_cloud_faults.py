"""What goes wrong at a simulated cloud, and when it stops."""

import math

import httpx
import pytest
import trio
from cloud_session import cloud_of, session_of

from trellis.sim.cloud import (
    Faults,
    FaultWindow,
    Latency,
    Lognormal,
    Outage,
    OutageKind,
    What,
)

SECOND = Latency.of(Lognormal(1.0, 1.0))
"""Every call takes a second."""


def window(**faults) -> tuple[FaultWindow, ...]:
    """Faults from 100 s to 200 s of the cloud's age."""
    return (FaultWindow(start=100.0, end=200.0, faults=Faults(**faults)),)


async def attempt(session, name="node"):
    """Send a create; returns the answer, or the error that came in its place."""
    try:
        return await session.call("POST", "compute", "/servers", json=session.body(name))
    except httpx.TransportError as error:
        return error


class TestLostCalls:
    async def test_a_lost_answer_leaves_the_server(self, autojump_clock):
        """The caller gets an error and the server is there; after the faults all is well."""
        cloud = cloud_of(fault_windows=window(lose_answer=1.0))
        async with session_of(cloud) as session:
            session.client.timeout = httpx.Timeout(1.0)
            await trio.sleep(100)
            outcomes = [await attempt(session, f"n{number}") for number in range(20)]
            await trio.sleep(1000)
            after = await attempt(session, "after")

            assert {type(o) for o in outcomes} == {httpx.ReadError, httpx.ReadTimeout}
            assert len(cloud.servers()) == 21
            assert len(cloud.ledger.of(What.ANSWER_LOST)) == 20
            assert after.status_code == 202

    async def test_a_lost_request_leaves_nothing(self, autojump_clock):
        """The caller gets the same errors and nothing was made."""
        cloud = cloud_of(faults=Faults(lose_request=1.0))
        async with session_of(cloud) as session:
            outcomes = [await attempt(session) for _ in range(20)]

            assert {type(o) for o in outcomes} == {httpx.ReadError, httpx.ReadTimeout}
            assert cloud.servers() == ()
            assert len(cloud.ledger.of(What.REQUEST_LOST)) == 20

    async def test_a_server_can_appear_minutes_after_its_lost_create(self, autojump_clock):
        """Nothing is there for a while, then it is, even if the token has expired meanwhile."""
        faults = Faults(lose_answer=1.0, appear_late=1.0, appear_late_s=(200.0, 200.0))
        cloud = cloud_of(faults=faults, token_lifetime_s=100.0)
        async with session_of(cloud) as session:
            start = trio.current_time()
            await attempt(session)
            await trio.sleep_until(start + 199.0)
            before = cloud.servers()
            await trio.sleep(2)

            assert before == ()
            assert len(cloud.servers()) == 1

    async def test_deletes_and_floating_ips_lose_answers_too(self, autojump_clock):
        """A delete whose answer was lost was carried out."""
        cloud = cloud_of(fault_windows=window(lose_answer=1.0))
        async with session_of(cloud) as session:
            server_id = await session.create_active()
            await trio.sleep(100)
            with pytest.raises(httpx.TransportError):
                await session.call("DELETE", "compute", f"/servers/{server_id}")
            with pytest.raises(httpx.TransportError):
                await session.floating_ip(description="tag")
            await trio.sleep(5)

            assert cloud.servers() == ()
            assert [ip.description for ip in cloud.floating_ips()] == ["tag"]

    async def test_reading_is_never_lost(self, autojump_clock):
        """Lists, logins and lookups are spared by lost calls."""
        async with session_of(cloud_of(faults=Faults(lose_answer=1.0))) as session:
            assert await session.rows() == []


class TestGivingUp:
    async def test_a_cancelled_create_may_or_may_not_have_acted(self, autojump_clock):
        """Half of the creates that were cancelled half way were carried out, and none later."""
        cloud = cloud_of(latency=SECOND)
        async with session_of(cloud) as session:
            for number in range(60):
                with trio.move_on_after(0.5) as scope:
                    await session.create(f"n{number}")
                assert scope.cancelled_caught
            made = len(cloud.servers())
            await trio.sleep(1000)

            assert 15 < made < 45
            assert len(cloud.servers()) == made

    async def test_a_create_given_up_by_its_timeout_is_carried_out_all_the_same(
        self, autojump_clock
    ):
        """The client's read timeout ends the call at its time; the cloud goes on with it."""
        cloud = cloud_of(latency=SECOND)
        async with session_of(cloud) as session:
            session.client.timeout = httpx.Timeout(0.4)
            start = trio.current_time()
            outcomes = [await attempt(session, f"n{number}") for number in range(10)]
            took = trio.current_time() - start
            await trio.sleep(1)

            assert {type(o) for o in outcomes} == {httpx.ReadTimeout}
            assert took == pytest.approx(4.0)
            assert len(cloud.servers()) == 10

    async def test_another_host_is_not_this_cloud(self, autojump_clock):
        """A cloud answers for its own address only."""
        async with session_of(cloud_of()) as session:
            with pytest.raises(httpx.ConnectError):
                await session.client.get("http://elsewhere.sim/")


class TestErrorsOfTheCloud:
    async def test_half_of_the_broken_creates_were_carried_out(self, autojump_clock):
        """A 5xx says nothing about what was done."""
        cloud = cloud_of(fault_windows=window(server_error=1.0))
        async with session_of(cloud) as session:
            await trio.sleep(100)
            outcomes = [await attempt(session, f"n{number}") for number in range(60)]

            assert {o.status_code for o in outcomes} == {500, 502, 503}
            assert 15 < len(cloud.servers()) < 45

    @pytest.mark.parametrize(
        ("kind", "outcome"),
        [(OutageKind.REFUSE, httpx.ConnectError), (OutageKind.HANG, httpx.ReadTimeout)],
    )
    async def test_a_cloud_that_is_down_does_nothing(self, autojump_clock, kind, outcome):
        """Refused at once, or nothing until the caller's timeout; afterwards it works again."""
        outage = Outage(start=10.0, end=60.0, kind=kind)
        cloud = cloud_of(outages=(outage,))
        async with session_of(cloud) as session:
            await trio.sleep(10)
            start = trio.current_time()
            down = await attempt(session)
            took = trio.current_time() - start
            await trio.sleep_until(60)
            up = await attempt(session)

            assert isinstance(down, outcome)
            assert took == (0.0 if kind is OutageKind.REFUSE else 30.0)
            assert up.status_code == 202
            assert len(cloud.servers()) == 1

    async def test_a_proxy_may_answer_for_one_service(self, autojump_clock):
        """An outage of the compute service leaves the others alone."""
        outage = Outage(start=10.0, end=60.0, kind=OutageKind.GATEWAY, services=("compute",))
        async with session_of(cloud_of(outages=(outage,))) as session:
            await trio.sleep(10)
            down = await attempt(session)
            ports = await session.call("GET", "network", "/ports")

            assert (down.status_code, down.headers["Content-Type"]) == (502, "text/html")
            assert ports.status_code == 200


class TestServersThatFareBadly:
    async def test_boots_fail_with_a_reason(self, autojump_clock):
        """ERROR after the boot time, with a fault that names the cause."""
        async with session_of(cloud_of(faults=Faults(boot_error=1.0))) as session:
            for number in range(10):
                await session.create(f"n{number}")
            await trio.sleep(11)

            faults = [row["fault"]["message"] for row in await session.rows()]
            assert len(faults) == 10
            assert any("is unacceptable" in message for message in faults)
            assert any("Exceeded maximum number of retries" in message for message in faults)

    async def test_a_stuck_build_can_still_be_deleted(self, autojump_clock):
        """It is in BUILD for ever, until somebody deletes it."""
        async with session_of(cloud_of(faults=Faults(stuck_build=1.0))) as session:
            server_id = await session.create()
            await trio.sleep(80_000)
            await session.log_in()
            status = (await session.show(server_id))["status"]
            await session.call("DELETE", "compute", f"/servers/{server_id}")
            await trio.sleep(3)

            assert status == "BUILD"
            assert session.cloud.servers() == ()

    async def test_a_stuck_delete_ends_in_its_own_time(self, autojump_clock):
        """Further deletes are taken and change nothing."""
        faults = Faults(stuck_delete=1.0, stuck_delete_s=500.0)
        async with session_of(cloud_of(faults=faults)) as session:
            server_id = await session.create_active()
            for _ in range(3):
                answer = await session.call("DELETE", "compute", f"/servers/{server_id}")
                await trio.sleep(100)
            still = session.cloud.servers()
            await trio.sleep(201)

            assert answer.status_code == 204
            assert len(still) == 1
            assert session.cloud.servers() == ()

    async def test_an_address_can_come_late_and_unannounced(self, autojump_clock):
        """ACTIVE without address, and no change is listed when it comes."""
        faults = Faults(late_address=1.0, late_address_s=20.0)
        async with session_of(cloud_of(faults=faults)) as session:
            server_id = await session.create_active()
            first = await session.show(server_id)
            await trio.sleep(20)
            then = await session.show(server_id)

            assert (first["status"], first["addresses"]) == ("ACTIVE", {})
            assert len(then["addresses"]["public"]) == 1
            assert then["updated"] == first["updated"]
            assert await session.rows("?changes-since=2026-01-01T00:00:15Z") == []

    async def test_lists_lag_and_single_looks_do_not(self, autojump_clock):
        """New servers are not listed yet and deleted ones still; GET knows better."""
        cloud = cloud_of(faults=Faults(list_lag_s=5.0))
        async with session_of(cloud) as session:
            server_id = await session.create()
            young = await session.rows()
            seen = (await session.show(server_id))["status"]
            await trio.sleep(13)
            (row,) = await session.rows()
            await session.call("DELETE", "compute", f"/servers/{server_id}")
            await trio.sleep(4)
            ghosts = [(r["id"], r["status"]) for r in await session.rows()]
            changed = await session.rows("?changes-since=2026-01-01T00:00:00Z")
            gone = await session.call("GET", "compute", f"/servers/{server_id}")
            await trio.sleep(5)

            assert (young, seen) == ([], "BUILD")
            assert row["status"] == "BUILD"
            assert ghosts == [(server_id, "ACTIVE")]
            assert [r["status"] for r in changed] == ["ACTIVE"]
            assert gone.status_code == 404
            assert await session.rows() == []


async def test_a_lognormal_of_nothing_is_nothing(autojump_clock):
    """A median of zero is instant, whatever the spread."""
    async with session_of(cloud_of(boot=Lognormal(0.0, math.inf))) as session:
        server_id = await session.create()
        assert (await session.show(server_id))["status"] == "ACTIVE"


async def test_a_deleted_server_comes_back_once(autojump_clock):
    """Gone, and a minute later there again with its id; deleted once more it stays away."""
    faults = Faults(come_back=1.0, come_back_s=60.0)
    async with session_of(cloud_of(faults=faults)) as session:
        server_id = await session.create_active()
        await session.call("DELETE", "compute", f"/servers/{server_id}")
        await trio.sleep(5.0)
        gone = await session.call("GET", "compute", f"/servers/{server_id}")
        await trio.sleep(60.0)
        back = await session.show(server_id)
        (listed,) = await session.rows()
        used = session.cloud.servers()
        await session.call("DELETE", "compute", f"/servers/{server_id}")
        await trio.sleep(100.0)

        assert gone.status_code == 404
        assert (back["status"], back["addresses"], listed["id"]) == ("ACTIVE", {}, server_id)
        assert len(used) == 1
        assert session.cloud.servers() == ()
