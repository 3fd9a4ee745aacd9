"""What a source is offered, how it hears of changes, and what it turns away."""

import attrs
import trio
import trio.testing

from tests.control.port_ground import Ground, an_ask, wall
from trellis.model.provider import Pause, ProviderRecord
from trellis.model.records import Change
from trellis.model.request import RequestState
from trellis.spi.demand import OfferedPool


class TestOffers:
    async def test_a_change_of_the_offers_is_told_at_once(self, autojump_clock):
        """Of the configuration and of a pause, also of its end, of which nobody speaks."""
        ground = Ground()
        async with ground.running() as port, trio.open_nursery() as nursery:
            pool = OfferedPool(
                provider="alpha",
                pool="main",
                labels=frozenset({"small"}),
                priority=1,
                paused=False,
                max_servers=None,
            )
            seen = []

            async def follow():
                known = port.offers()
                while True:
                    known = await port.wait_offers(known)
                    seen.append((known, trio.current_time()))

            nursery.start_soon(follow)
            await trio.testing.wait_all_tasks_blocked()
            port._in_force.policy = attrs.evolve(port._in_force.policy, pools=(pool,))
            port.offers_changed()
            await trio.sleep(10)
            assert [known for known, _at in seen] == [(pool,)]
            pause = Pause(by="ada", reason="repairs", since=wall(), until=wall() + 60)
            began = trio.current_time()

            await ground.store.commit([Change(None, ProviderRecord(name="alpha", pause=pause))])
            await trio.sleep(3600)

            (paused, at), (again, ended) = seen[1:]
            assert (paused, again) == ((attrs.evolve(pool, paused=True),), (pool,))
            assert at - began < 0.1
            assert began + 60 <= ended < began + 60.1
            nursery.cancel_scope.cancel()


class TestTurnedAway:
    async def test_it_is_the_one_that_waits_that_fails(self, autojump_clock):
        """One record, with the reason; its key may be used again."""
        ground = Ground(most=0)
        async with ground.running() as port:
            ask = an_ask(idempotency_key="k")
            waiting = await port.submit(ask)

            failed = await port.turn_away(ask, why="nothing is launched")

            assert failed.id == waiting.id
            assert (failed.state, failed.reason) == (RequestState.FAILED, "nothing is launched")
            assert port.asked_by("zuul") == ()
            assert await port.wait(waiting.id) == failed
            assert (await port.submit(ask)).id != waiting.id

    async def test_one_that_has_a_place_by_now_is_left_as_it_is(self, autojump_clock):
        ground = Ground()
        async with ground.running() as port:
            ask = an_ask(idempotency_key="k")
            pending = await port.wait_placed((await port.submit(ask)).id)

            assert pending.state is RequestState.PENDING
            assert await port.turn_away(ask, why="nothing is launched") == pending
