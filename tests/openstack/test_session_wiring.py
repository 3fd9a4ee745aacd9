"""An account with its wires."""

import random

import attrs
import pytest
import trio
from fake_identity import Cloud, a_config

from trellis.http import TransportSettings
from trellis.openstack.wiring import wired_account


async def test_logins_have_wires_of_their_own(autojump_clock):
    """Same TLS settings, two lanes for logins; both are closed at the end."""
    cloud = Cloud()
    made: list[TransportSettings] = []
    closed: list[int] = []

    class Wire(Cloud):
        async def handle_async_request(self, request):
            return await cloud.handle_async_request(request)

        async def aclose(self):
            closed.append(1)

    def transports(settings: TransportSettings) -> Wire:
        made.append(settings)
        return Wire()

    async with (
        wired_account(
            a_config(verify=False),
            transports,
            random=random.Random(1),
            wall=trio.current_time,
            lanes=7,
        ) as wired,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(wired.account.run)
        answer = await wired.session().request("compute", "GET", "/servers", label="/servers")
        nursery.cancel_scope.cancel()

    assert answer.status == 200
    assert [one.lanes for one in made] == [7, 2]
    assert made[0] == attrs.evolve(made[1], lanes=7)
    assert not made[0].verify
    assert len(closed) == 2


async def test_second_wire_that_cannot_be_laid_closes_the_first(autojump_clock):
    """A fault in between leaks no connection."""
    closed: list[int] = []

    class Wire(Cloud):
        async def aclose(self):
            closed.append(1)

    def transports(settings: TransportSettings) -> Wire:
        if settings.lanes == 2:
            raise RuntimeError("no more")
        return Wire()

    with pytest.raises(RuntimeError):
        async with wired_account(
            a_config(), transports, random=random.Random(1), wall=trio.current_time
        ):
            raise AssertionError("wires were laid though the second could not be")

    assert closed == [1]
