"""What may happen between any two lines: a moment passes, a restart, another project."""

from contextlib import asynccontextmanager
from random import Random
from typing import Any

import attrs
import pytest
import trio

import trellis.control.recheck
from tests.control.scripted_provider import ScriptedProvider, a_row
from tests.control.test_breakers import clouds
from tests.control.test_quota import Place, reading, servers
from tests.control.test_sweep import Swept
from tests.daemon.stage import Stage as Theatre
from trellis.control.fleet import Fleet
from trellis.control.health import ProviderHealth
from trellis.control.life import Life
from trellis.control.lineage import estrange, is_issued, open_lineage
from trellis.control.nudge import Nudge
from trellis.control.quota import Quota
from trellis.control.quota_watch import QuotaWatch
from trellis.control.recheck import Rechecks
from trellis.errors import (
    AnswerLostError,
    MisconfiguredError,
    QuotaExceededError,
    RetryLaterError,
)
from trellis.model.breaker import Stage
from trellis.model.node import Node, NodeState, Resource, ResourceKind
from trellis.model.provider import StoreMeta
from trellis.model.records import Change
from trellis.spi.config import ProviderConfig
from trellis.spi.provider import Gone, Tag
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Store
from trellis.testing.builders import NOW, a_home, a_node, a_server
from trellis.world import World

NOBODY: Any = None


def wall():
    return NOW + trio.current_time()


class NoBook:
    """Nothing is on record of a quota, and nothing is put there."""

    def recall(self, quota):
        pass

    def note(self, quota):
        pass


@asynccontextmanager
async def a_store():
    async with Store.open(SimulatedLog(Random(1)), deployment="test", wall=wall) as store:
        yield store


def a_life(store, provider):
    return Life(
        config=ProviderConfig(name="alpha", cloud="alpha", type="test", pools=()),
        deployment="test",
        provider=provider,
        store=store,
        world=World(wall=wall, random=Random(1), transport=lambda _: NOBODY),
        watcher=NOBODY,
        health=ProviderHealth("alpha", wall, lambda: None),
        quota=NOBODY,
        attached=NOBODY,
        twin_of=NOBODY,
        breakers=NOBODY,
        read_anew=NOBODY,
        stale=NOBODY,
        foreign=lambda _: "",
    )


class TestBreakers:
    @pytest.mark.parametrize("held", [False, True])
    async def test_a_turn_that_comes_while_it_is_asked_for(self, held, autojump_clock):
        """The wait of a breaker, or the turn of its probe, ends between two looks at the clock."""
        async with clouds() as at:
            for _ in range(3):
                at.comes_up("good")
                at.fails("bad")
            entry = next(iter(at.alpha.book.open_ones()))
            if held:
                await trio.sleep(entry.breaker.due_at - trio.current_time())
                at.alpha.launched(at.node("bad"))
            until = entry.breaker.probe_until if held else entry.breaker.due_at
            await trio.sleep(until - trio.current_time() - 0.001)
            node, asked, real = at.node("bad"), [], at.alpha.launched

            def launched(node):
                real(node)
                asked.append(node)
                if len(asked) == 1:
                    autojump_clock.jump(0.002)

            at.alpha.launched = launched
            with trio.fail_after(5):
                await at.alpha.turn(node)

            assert entry.breaker.probe == node.id

    async def test_a_probe_that_came_up_and_could_not_say_so_holds_up_nobody(
        self, tmp_path, autojump_clock
    ):
        """Its task was cut off by a restart of the provider right after it had become ready."""
        theatre = Theatre(tmp_path)
        async with theatre.running() as core:
            request = await theatre.served(await theatre.ask("alpha"))
            node = core.fleet.nodes[request.nodes[0]]
            running = core._roster.running["alpha"]
            breakers = running.breakers
            entry = breakers.book.at(trellis.control.breakers.REGION)
            entry.breaker.trip(trio.current_time(), 3, node.id, Stage.CREATED, "no")
            breakers.book.opened(entry)
            await trio.sleep(entry.breaker.due_at - trio.current_time())
            assert entry.breaker.take(trio.current_time(), node.id, 700.0)

            await running.restart()
            await trio.sleep(1)

            assert entry.breaker.probe is None


class TestTags:
    @pytest.mark.parametrize("number", ["²", "٣٣", "9" * 255, "12345678901", "", "-1"])
    async def test_a_node_id_that_none_can_be_is_strange_and_changes_nothing(
        self, number, autojump_clock
    ):
        """Anybody can write any text into the metadata of a server."""
        async with a_store() as store:
            await open_lineage(store, Random(2))
            before = store.head(StoreMeta, "store")
            swept = Swept()
            swept.sweep.issued = lambda tag: is_issued(store, tag)
            swept.sweep.estrange = lambda tags: estrange(store, "alpha", tags)
            row = a_row(tag=Tag(deployment="test", node_id=number))
            swept.see(row)
            swept.see(row)

            await swept.act()

            assert store.head(StoreMeta, "store") == before
        assert swept.provider.deleted == []
        assert "never issued" in swept.sweep.alarm


class TestQuota:
    def test_a_reading_explains_no_refusal_that_came_after_it_was_asked_for(self):
        """A stranger took the last room meanwhile: the figures are old, not wrong."""
        place = Place(limit=10, ours=3)
        begun_at = place.clock.now
        place.clock.now += 0.5
        place.refuse()
        place.clock.now += 0.5
        nothing_of_ours_moves = {"certain": servers(3), "possible": servers(3)}

        place.quota.learn(reading(3), **nothing_of_ours_moves, begun_at=begun_at)

        assert place.quota.ceilings == {}
        assert place.quota.doubted
        assert place.quota.closed_s

        place.quota.learn(reading(10), **nothing_of_ours_moves, begun_at=place.clock.now)

        assert place.quota.ceilings == {}
        assert place.quota.others == servers(7)
        assert not place.quota.doubted
        assert not place.quota.closed_s

    async def test_a_watch_says_when_it_asked(self, autojump_clock):
        """A refusal that comes while the cloud answers waits for the next reading."""
        quota = Quota("q", wall, now=trio.current_time)
        node = a_node(state=NodeState.BUILDING)

        class Cloud:
            async def limits(self):
                await trio.sleep(1)
                quota.refused(node, "no")
                await trio.sleep(1)
                return reading(3)

        watch = QuotaWatch(
            provider=Cloud(),
            quota=quota,
            fleet=Fleet(),
            health=NOBODY,
            nudge=lambda: None,
            book=NoBook(),
            wanted=NOBODY,
        )
        await watch.read()

        assert quota.doubted

    async def test_providers_that_share_it_read_it_once_for_a_refusal(
        self, nursery, autojump_clock
    ):
        """All are woken at once; the first one reads for all, unless it fails."""
        quota, asked = Quota("q", wall, now=trio.current_time), []

        class Cloud:
            async def limits(self):
                asked.append(trio.current_time())
                await trio.sleep(1)
                if len(asked) == 1:
                    raise RetryLaterError("later")
                return reading(10)

        for _ in range(3):
            wanted = Nudge()
            quota.wakers.append(wanted)
            watch = QuotaWatch(
                provider=Cloud(),
                quota=quota,
                fleet=Fleet(),
                health=ProviderHealth("alpha", wall, lambda: None),
                nudge=lambda: None,
                book=NoBook(),
                wanted=wanted,
            )
            nursery.start_soon(watch.run)
        await trio.sleep(1)
        quota.refused(a_node(state=NodeState.BUILDING), "no")
        await trio.sleep(10)

        assert len(asked) == 2
        assert not quota.doubted
        nursery.cancel_scope.cancel()


class TestSweep:
    async def test_a_leak_that_does_not_go_is_asked_for_ever_more_seldom(self, autojump_clock):
        """A cloud on which a hundred deletions hang is not told of each every ten seconds."""
        swept = Swept()
        asked = []

        async def delete_step(resource, _tag):
            await trio.sleep(0.01)
            asked.append(resource.external_id)
            return Gone.AGAIN

        swept.provider.delete_step = delete_step
        swept.see(a_row())
        swept.see(a_row())

        with trio.move_on_after(3600):
            await swept.sweep.run()

        assert 8 <= len(asked) <= 14


class TestLife:
    async def test_a_server_in_doubt_is_not_given_up_by_the_silence_of_another_project(
        self, autojump_clock
    ):
        """The credentials were changed while it was looked for: nothing is concluded (rule 2)."""
        provider = ScriptedProvider()

        async def find(_tag, _name):
            provider.at_home = a_home(project_id="another")
            await trio.sleep(1)

        provider.find = find
        server = Resource(kind=ResourceKind.SERVER, sent_at=0.0)
        node = a_node(state=NodeState.DELETING, home=a_home(), resources=(server,))

        with pytest.raises(MisconfiguredError, match="project changed"):
            await a_life(NOBODY, provider)._find_doubted(node, server)

    async def test_a_create_is_not_sent_where_its_record_does_not_lead(self, autojump_clock):
        """The credentials were changed while its intent was written to the disk (rule 2)."""
        provider, sent = ScriptedProvider(), []

        async def create(intent):
            sent.append(intent)
            await trio.lowlevel.checkpoint()

        provider.create = create
        node = a_node(state=NodeState.BUILDING)
        async with a_store() as store:
            await store.commit([Change(None, node)])
            store.subscribe(
                lambda _: setattr(provider, "at_home", a_home(endpoint="http://elsewhere"))
            )
            with pytest.raises(MisconfiguredError, match="project changed"):
                await a_life(store, provider)._send_create(node, trio.CancelScope())

            assert store.head(Node, node.id).resources == ()
        assert sent == []

    @pytest.mark.parametrize("earlier", [False, True])
    async def test_a_refusal_says_nothing_of_an_earlier_try_that_was_lost(
        self, earlier, autojump_clock
    ):
        """The floating IP of the lost try may have been the last one: it stays in doubt (P3)."""
        provider = ScriptedProvider()
        answers = [QuotaExceededError("no more")]
        if not earlier:
            answers.insert(0, AnswerLostError("lost"))

        async def attach_public(_tag, _external_id):
            await trio.sleep(0.1)
            raise answers.pop(0)

        provider.attach_public = attach_public
        floating = Resource(kind=ResourceKind.FLOATING_IP, sent_at=NOW)
        resources = (a_server(), *((floating,) if earlier else ()))
        node = a_node(
            state=NodeState.BUILDING, resources=resources, home=a_home(), wants_public=True
        )
        async with a_store() as store:
            await store.commit([Change(None, node)])
            with pytest.raises(QuotaExceededError):
                await a_life(store, provider)._ensure_public(node)

            left = store.head(Node, node.id).resource(ResourceKind.FLOATING_IP)
            assert left is not None
            assert left.in_doubt

    async def test_a_refusal_of_the_first_try_is_believed(self, autojump_clock):
        """Nothing was made, so nothing has to be waited for."""
        provider = ScriptedProvider()

        async def attach_public(_tag, _external_id):
            await trio.sleep(0.1)
            raise QuotaExceededError("no more")

        provider.attach_public = attach_public
        node = a_node(
            state=NodeState.BUILDING,
            resources=(a_server(),),
            home=a_home(),
            wants_public=True,
        )
        async with a_store() as store:
            await store.commit([Change(None, node)])
            with pytest.raises(QuotaExceededError):
                await a_life(store, provider)._ensure_public(node)

            assert store.head(Node, node.id).resource(ResourceKind.FLOATING_IP) is None


async def test_a_node_is_rechecked_once_at_a_time(tmp_path, autojump_clock, monkeypatch):
    """Each pass of the planner asks for it again while it is under way."""
    looks = []

    async def changed_since(node, _world):
        looks.append(node.id)
        await trio.sleep(10)
        return ""

    monkeypatch.setattr(trellis.control.recheck, "changed_since", changed_since)
    theatre = Theatre(tmp_path)
    async with theatre.running() as core:
        rechecks = Rechecks(store=core.store, world=core._roster._world)
        request = await theatre.served(await theatre.ask("alpha"))
        node = attrs.evolve(core.fleet.nodes[request.nodes[0]], checked_at=0.0)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(rechecks.recheck, node)
        assert len(looks) == 1
        await rechecks.recheck(node)
        assert len(looks) == 2
