"""Troubles of servers and limits of calls, as a client sees them over HTTP."""

from typing import Any

import pytest
import trio
from served import Clouds, clouds_of, spec_of

from trellis.sim.cloud import Faults, Lognormal, RateLimit

LIFE = {"boot": Lognormal(10.0, 10.0), "delete": Lognormal(2.0, 2.0)}


async def shown(clouds: Clouds, server_id: str) -> dict[str, Any]:
    account = await clouds.account()
    answered = await account.call("GET", f"/compute/v2.1/servers/{server_id}")
    assert answered.status_code == 200, answered.text
    return dict(answered.json()["server"])


@pytest.mark.parametrize(
    ("faults", "deletes", "status", "fault"),
    [
        (Faults(stuck_build=1.0), False, "BUILD", None),
        (Faults(boot_error=1.0), False, "ERROR", "aborted|Exceeded maximum number of retries"),
        (Faults(no_valid_host=1.0), False, "ERROR", "No valid host was found"),
        (Faults(stuck_delete=1.0), True, "ACTIVE", None),
        (Faults(delete_error=1.0), True, "ERROR", "Failed to power off instance"),
        (Faults(come_back=1.0, come_back_s=20.0), True, "ACTIVE", None),
    ],
    ids=["stuck build", "boot error", "no host", "stuck delete", "delete error", "ghost"],
)
async def test_a_server_in_trouble_shows_it(tmp_path, mock_clock, faults, deletes, status, fault):
    """Long after its boot its status is that of the trouble; an ERROR has its fault."""
    mock_clock.autojump_threshold = 0.01
    async with clouds_of(tmp_path, spec_of(faults=faults, **LIFE)) as clouds:
        clouds.http.timeout = None
        account = await clouds.account()
        server_id = await account.create()
        await trio.sleep(30.0)
        if deletes:
            await account.call("DELETE", f"/compute/v2.1/servers/{server_id}")
            await trio.sleep(30.0)
        server = await shown(clouds, server_id)

    assert server["status"] == status
    assert (server.get("fault") is not None) is (fault is not None)
    if fault is not None:
        assert any(words in server["fault"]["message"] for words in fault.split("|"))


@pytest.mark.parametrize("status", [413, 429])
async def test_a_call_too_many_is_told_when_to_come_again(tmp_path, mock_clock, status):
    """With Retry-After in seconds, after which the next one passes."""
    mock_clock.autojump_threshold = 0.01
    limit = RateLimit(calls=2.0, per_s=20.0, status=status)
    async with clouds_of(tmp_path, spec_of(rate_limits=(limit,))) as clouds:
        clouds.http.timeout = None
        account = await clouds.account()
        answers = [await account.call("GET", "/compute/v2.1/servers") for _ in range(3)]
        wait_s = float(answers[-1].headers["Retry-After"])
        await trio.sleep(wait_s)
        again = await account.call("GET", "/compute/v2.1/servers")

    assert [answered.status_code for answered in answers] == [200, 200, status]
    assert wait_s == 10.0
    assert again.status_code == 200
