"""The same seed gives the same cloud, in every process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from cloud_session import cloud_of, session_of

from trellis.sim.cloud import Lognormal

HERE = Path(__file__).parent
PROGRAM = """
import sys
from random import Random
import httpx, trio, trio.testing
import trio._core._run as scheduling
from cloud_session import session_of
from trellis.sim.cloud import (
    CloudSpec, Faults, FaultWindow, RateLimit, SimCloud, Strangers, floating_networks
)

FAULTS = Faults(
    lose_answer=0.05, lose_request=0.05, appear_late=0.5, server_error=0.05, boot_error=0.1,
    no_valid_host=0.05, stuck_delete=0.1, delete_error=0.1, late_address=0.2, list_lag_s=3.0,
)
SPEC = CloudSpec(
    name="deterministic", networks=floating_networks(),
    strangers=Strangers(servers_at_start=2, every_s=20.0, stay_s=60.0),
    rate_limits=(RateLimit(calls=20.0),),
    fault_windows=(FaultWindow(start=2.0, end=2000.0, faults=FAULTS),),
)

async def life(session, number):
    for method, service, path, body in (
        ("POST", "compute", "/servers", session.body(f"n{number}")),
        ("GET", "compute", "/servers/detail?changes-since=2026-01-01T00:00:00Z", None),
        ("POST", "network", "/floatingips",
         {"floatingip": {"floating_network_id": session.networks["public"]}}),
    ):
        try:
            await session.call(method, service, path, json=body)
        except httpx.TransportError:
            pass
        await trio.sleep(number % 7)
    await trio.sleep(60)
    for server in session.cloud.servers():
        if server.name == f"n{number}":
            try:
                await session.call("DELETE", "compute", f"/servers/{server.id}")
            except httpx.TransportError:
                pass

async def main():
    cloud = SimCloud(SPEC, random=Random(int(sys.argv[1])))
    async with session_of(cloud) as session:
        await trio.sleep(2)
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(life, session, number)
        await trio.sleep(3000)
        print(cloud.ledger.digest(), len(cloud.ledger.facts))

scheduling._ALLOW_DETERMINISTIC_SCHEDULING = True
scheduling._r.seed(1)
trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
"""


def run(seed: int, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    environment["PYTHONPATH"] = os.pathsep.join((str(HERE), str(HERE.parents[1])))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(seed)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.mark.slow
def test_same_seed_same_ledger_across_processes():
    """Two processes with different hash seeds agree on every fact; another seed does not."""
    first, second, other = run(7, "1"), run(7, "2"), run(8, "1")

    assert first == second
    assert first != other
    assert int(first.split()[1]) > 200


async def test_one_use_of_chance_does_not_shift_another(autojump_clock):
    """How long servers boot does not depend on how many calls were made in between."""
    times = []
    for calls in (0, 50):
        cloud = cloud_of(seed=3, boot=Lognormal(20.0, 45.0))
        async with session_of(cloud) as session:
            for _ in range(calls):
                await session.rows()
            start = trio.current_time()
            await session.create()
            await trio.sleep(500)
            times.append(cloud.servers()[0].active_at - start)

    assert times[0] == pytest.approx(times[1])
