"""What failures of launches are put down to, and what is remembered of it."""

from contextlib import asynccontextmanager
from random import Random

import attrs
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trellis.control.breakers import Breakers, Cause, Everywhere
from trellis.model.breaker import BreakerState, Scope, Stage
from trellis.model.node import NodeState
from trellis.model.provider import ProviderRecord
from trellis.model.records import Change
from trellis.spi.config import ProviderConfig
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Store
from trellis.testing.builders import NOW, a_node, a_shape, an_offer
from trellis.world import World

PROBE_S = 700.0


class Clouds:
    """The breakers of three providers on one store, and launches that end as a test says."""

    def __init__(self, store, building=lambda _: True):
        world = World(wall=self.wall, random=Random(1), transport=lambda _: None)
        self.store, self.serial, self.changes = store, 0, 0
        self.everywhere = Everywhere(store, world, building)
        self.at = {
            name: Breakers(
                name,
                store=store,
                world=world,
                everywhere=self.everywhere,
                building=building,
                probe_s=lambda: PROBE_S,
                changed=self._changed,
            )
            for name in ("alpha", "beta", "gamma")
        }
        self.alpha = self.at["alpha"]

    @staticmethod
    def wall():
        return NOW + trio.current_time()

    def _changed(self):
        self.changes += 1

    def node(self, image="tiny", label=None, provider="alpha", **parts):
        self.serial += 1
        shape = a_shape(image_id=image, image_name=image, **parts)
        return a_node(
            self.serial, state=NodeState.BUILDING, provider=provider, shape=shape,
            label=label or f"on-{image}",
        )  # fmt: skip

    def fails(self, image="tiny", cause=Cause.BOOT, label=None, provider="alpha"):
        node = self.node(image, label, provider)
        self.at[provider].launched(node)
        self.at[provider].failed(node, cause, "no")
        self.at[provider].ended(node.id)

    def comes_up(self, image="tiny", label=None, provider="alpha"):
        node = self.node(image, label, provider)
        self.at[provider].launched(node)
        for stage in Stage:
            self.at[provider].passed(node, stage)

    def scopes(self, provider="alpha"):
        return [(one.scope, one.subject) for one in self.at[provider].statuses()]


@asynccontextmanager
async def clouds(log=None, **parts):
    log = log or SimulatedLog(Random(1))
    async with Store.open(log, deployment="test", wall=Clouds.wall) as store:
        yield Clouds(store, **parts)


def image(name):
    return Scope.IMAGE, f"image {name}"


REGION = (Scope.REGION, "the region")


class TestPuttingDown:
    async def test_an_image_that_does_not_come_up(self, autojump_clock):
        """Others do, so it is not the region."""
        async with clouds() as at:
            for _ in range(3):
                at.comes_up("good")
                at.fails("bad")

            assert at.scopes() == [image("bad")]

    async def test_a_label_whose_image_comes_up_for_others(self, autojump_clock):
        """The same image in two labels: its network or its flavor is at fault, not the image."""
        async with clouds() as at:
            for _ in range(3):
                at.fails("tiny", label="walled-in")
                at.comes_up("tiny", label="open")

            assert at.scopes() == [(Scope.LABEL, "label walled-in of pool main")]

    async def test_an_image_of_two_labels_is_one_breaker(self, autojump_clock):
        """Its failures are counted together."""
        async with clouds() as at:
            at.comes_up("good")
            for label in ("one", "two", "one", "two"):
                at.fails("bad", label=label)

            assert at.scopes() == [image("bad")]

    @pytest.mark.parametrize("images", [("a", "b", "a", "b"), ("a", "b", "c"), "aaabb", "abbcc"])
    async def test_several_images_and_none_comes_up(self, images, autojump_clock):
        """It is the region; the images are not blamed."""
        async with clouds() as at:
            for name in images:
                at.fails(name)

            assert at.scopes() == [REGION]

    async def test_one_image_is_never_the_region(self, autojump_clock):
        """Where only one is used nothing tells the two apart."""
        async with clouds() as at:
            for _ in range(20):
                at.fails("only")

            assert at.scopes() == [image("only")]

    async def test_one_failure_of_another_image_is_chance(self, autojump_clock):
        """A dead image and a hiccup do not close a region."""
        async with clouds() as at:
            for name in ("bad",) * 10 + ("other",):
                at.fails(name)

            assert at.scopes() == [image("bad")]

    async def test_when_the_region_works_again_dead_images_are_blamed(self, autojump_clock):
        """One image came up, so what failed all the while failed by itself."""
        async with clouds() as at:
            for name in ("bad", "worse") * 4:
                at.fails(name)
            assert at.scopes() == [REGION]
            await trio.sleep(60.0)

            at.comes_up("good")

            assert sorted(at.scopes()) == [image("bad"), image("worse")]

    async def test_creates_that_fail_are_the_regions(self, autojump_clock):
        """Whatever they were to make; a create that is taken ends the row."""
        async with clouds() as at:
            for name in ("a", "b"):
                at.fails(name, Cause.CREATE)
            at.alpha.passed(at.node("c"), Stage.CREATED)
            for name in ("a", "a"):
                at.fails(name, Cause.CREATE)
            assert at.scopes() == []

            at.fails("c", Cause.CREATE)

            assert at.scopes() == [REGION]

    async def test_creates_that_are_taken_do_not_excuse_servers_that_never_come_up(
        self, autojump_clock
    ):
        """The region is closed by a server that answers, when that is what failed."""
        async with clouds() as at:
            for name in "abab":
                at.fails(name)
            await trio.sleep(60.0)
            probe = at.node("a")
            at.alpha.launched(probe)

            at.alpha.passed(probe, Stage.CREATED)
            at.alpha.passed(probe, Stage.ACTIVE)
            assert at.scopes() == [REGION]

            at.alpha.passed(probe, Stage.READY)
            assert at.scopes() == []

    async def test_what_the_cloud_calls_wrong_is_the_labels(self, autojump_clock):
        """A flavor too small for the image: no boot was tried."""
        async with clouds() as at:
            for _ in range(3):
                at.fails("tiny", Cause.REJECTED, label="small")

            assert at.scopes() == [(Scope.LABEL, "label small of pool main")]

    async def test_capacity_is_of_a_flavor_in_a_zone(self, autojump_clock):
        """A create that is taken proves no room; an active server does."""
        async with clouds() as at:
            full = attrs.evolve(at.node(flavor_id="f9", flavor_name="big"), az="az1")
            for _ in range(2):
                at.alpha.failed(full, Cause.CAPACITY, "No valid host was found")
            other = attrs.evolve(at.node(flavor_id="f9", flavor_name="big"), az="az2")

            at.alpha.passed(other, Stage.ACTIVE)

            assert at.scopes() == [(Scope.CAPACITY, "pool main, flavor big, az1")]
            assert list(at.alpha.spots("main")) == [("f9", "az1")]
            assert at.alpha.against(attrs.evolve(full)) != ""
            assert at.alpha.against(other) == ""


class TestEverywhere:
    async def test_a_label_that_fails_at_two_providers_has_one_probe_at_all(self, autojump_clock):
        """The third one does not have to find it out by itself."""
        async with clouds() as at:
            for provider in ("alpha", "beta") * 3:
                at.fails("bad", label="bad", provider=provider)
            (wide,) = at.everywhere.book.statuses()
            assert (wide.scope, wide.provider) == (Scope.EVERYWHERE, "")
            assert at.at["gamma"].against(at.node("bad", "bad", "gamma")) != ""
            await trio.sleep(wide.next_probe_s)

            first, second = (at.node("bad", "bad", "gamma") for _ in range(2))
            for node in (first, second):
                at.at["gamma"].launched(node)

            assert not at.at["gamma"].must_wait(first)
            assert at.at["gamma"].must_wait(second)
            at.at["gamma"].passed(first, Stage.READY)
            assert list(at.everywhere.book.statuses()) == []
            assert image("bad") in at.scopes("alpha"), "what failed there is tried there"

    async def test_a_label_that_comes_up_anywhere_is_not_at_fault(self, autojump_clock):
        """Two providers have trouble of their own."""
        async with clouds() as at:
            for _ in range(5):
                at.fails("bad", label="bad", provider="alpha")
                at.fails("bad", label="bad", provider="beta")
                at.comes_up("good", label="bad", provider="gamma")

            assert list(at.everywhere.book.statuses()) == []

    async def test_what_a_dead_region_fails_says_nothing_of_labels(self, autojump_clock):
        """Its failures are taken out of the reckoning."""
        async with clouds() as at:
            for name in "abab":
                at.fails(name, label=name, provider="alpha")
            for _ in range(3):
                at.fails("a", label="a", provider="beta")

            assert at.scopes("alpha") == [REGION]
            assert list(at.everywhere.book.statuses()) == []


class TestProbes:
    async def test_a_launch_takes_all_turns_or_none(self, autojump_clock):
        """Two that hold a turn each and wait for the other's would wait for long."""
        async with clouds() as at:
            for _ in range(3):
                at.fails("x", Cause.REJECTED, label="one")
                at.fails("y", Cause.REJECTED, label="two")
            for name in ("x", "y"):
                at.fails(name, Cause.CREATE)
            at.fails("z", Cause.CREATE)
            assert len(at.scopes()) == 3
            await trio.sleep(60.0)
            first, second = at.node("x", "one"), at.node("y", "two")

            at.alpha.launched(first)
            at.alpha.launched(second)

            held = {one.subject: one.probe for one in at.alpha.statuses()}
            assert held["the region"] == first.id
            assert held["label two of pool main"] is None

    async def test_who_waits_goes_on_when_the_probe_is_over(self, autojump_clock):
        """Worked: all go. Ended without proof: the next one is the probe."""
        async with clouds() as at:
            for _ in range(3):
                at.fails("bad")
            await trio.sleep(60.0)
            nodes = [at.node("bad") for _ in range(3)]
            at.alpha.launched(nodes[0])
            passed = []

            async def go(node):
                await at.alpha.turn(node)
                passed.append((node.id, trio.current_time()))

            async with trio.open_nursery() as nursery:
                for node in nodes:
                    nursery.start_soon(go, node)
                await trio.sleep(10.0)
                assert [one for one, _ in passed] == [nodes[0].id]
                at.alpha.ended(nodes[0].id)
                await trio.sleep(10.0)
                assert len(passed) == 2
                at.alpha.passed(nodes[1 if passed[1][0] == nodes[1].id else 2], Stage.READY)

            assert [at_s for _, at_s in passed] == pytest.approx([60.0, 70.0, 80.0], abs=0.1)

    async def test_who_waits_is_not_kept_by_a_probe_that_never_ends(self, autojump_clock):
        """After the time a probe may take the next one goes."""
        async with clouds() as at:
            for _ in range(3):
                at.fails("bad")
            await trio.sleep(60.0)
            at.alpha.launched(at.node("bad"))
            began = trio.current_time()

            await at.alpha.turn(at.node("bad"))

            assert trio.current_time() - began == PROBE_S

    async def test_waiting_ends_at_once_where_nothing_may_go(self, autojump_clock):
        """`against` says why."""
        async with clouds() as at:
            for _ in range(3):
                at.fails("bad")
            node, began = at.node("bad"), trio.current_time()

            await at.alpha.turn(node)

            assert trio.current_time() == began
            assert at.alpha.against(node).startswith(
                "image bad: 3 launches failed in a row, left alone since 00:00:00Z (no); one is "
            )
            assert at.alpha.must_wait(node)

    async def test_a_suspect_image_lets_others_probe_the_region_first(self, autojump_clock):
        """For as long again as the breaker was open; then it may itself."""
        async with clouds() as at:
            for name in "abab":
                at.fails(name)
            (status,) = at.alpha.statuses()
            await trio.sleep(status.next_probe_s)

            def turn(name):
                offer = an_offer(name, shape=a_shape(image_id=name))
                (held,) = at.alpha.held([offer], "main")[name]
                return held.turn

            assert (turn("a"), turn("new")) == (False, True)
            await trio.sleep(30.0)
            assert (turn("a"), turn("new")) == (True, True)

    async def test_the_shelf_has_its_turn_much_later(self, autojump_clock):
        """When no request has wanted it for as long again as the breaker was open."""
        async with clouds() as at:
            for _ in range(3):
                at.fails("bad")
            (status,) = at.alpha.statuses()
            await trio.sleep(status.next_probe_s)

            def turns():
                offer = an_offer("bad", shape=a_shape(image_id="bad"))
                (held,) = at.alpha.held([offer], "main")["bad"]
                return held.turn, held.shelf_turn

            assert turns() == (True, False)
            await trio.sleep(30.0)
            assert turns() == (True, True)

    async def test_a_turn_that_has_run_out_is_lost(self, autojump_clock):
        """Whoever waited so long for the rate limit waits again, behind the next probe."""
        async with clouds() as at:
            for _ in range(3):
                at.fails("bad")
            await trio.sleep(60.0)
            slow, other = at.node("bad"), at.node("bad")
            await at.alpha.turn(slow)
            assert not at.alpha.must_wait(slow)
            await trio.sleep(PROBE_S)

            await at.alpha.turn(other)

            assert at.alpha.must_wait(slow)
            assert not at.alpha.must_wait(other)


class TestRemembering:
    async def test_an_open_one_is_known_to_the_next_process(self, autojump_clock):
        """With its failures and the time that is left; a wall clock that was set adds none."""
        log = SimulatedLog(Random(1))
        async with clouds(log) as at:
            for _ in range(3):
                at.fails("bad")
            (before,) = at.alpha.statuses()
            await trio.sleep(10.0)

        async with clouds(log.reopen()) as at:
            (after,) = at.alpha.statuses()

        assert attrs.evolve(after, next_probe_s=None, words="") == attrs.evolve(
            before, next_probe_s=None, words=""
        )
        assert after.next_probe_s == pytest.approx(before.next_probe_s - 10.0, abs=0.1)

    @pytest.mark.parametrize("jump_s", [-86400.0, 86400.0])
    async def test_a_clock_that_was_set_while_it_was_down(self, jump_s, autojump_clock):
        """It is open no longer than it was meant to be."""
        log = SimulatedLog(Random(1))
        async with clouds(log) as at:
            for _ in range(3):
                at.fails("bad")
            record = at.store.head(ProviderRecord, "alpha")
            (breaker,) = record.breakers
            await at.store.settled()
            moved = attrs.evolve(breaker, next_at=breaker.next_at + jump_s)
            at.store.stage([Change(record, attrs.evolve(record, breakers=(moved,)))])

        async with clouds(log.reopen()) as at:
            (after,) = at.alpha.statuses()

        assert after.next_probe_s <= 30.0

    @pytest.mark.parametrize("building", [True, False])
    async def test_its_probe_is_one_only_while_it_is_launched(self, building, autojump_clock):
        """Else its turn is free."""
        log = SimulatedLog(Random(1))
        async with clouds(log) as at:
            for _ in range(3):
                at.fails("bad")
            await trio.sleep(60.0)
            probe = at.node("bad")
            await at.alpha.turn(probe)

        async with clouds(log.reopen(), building=lambda _: building) as at:
            (after,) = at.alpha.statuses()

        assert after.state is BreakerState.HALF_OPEN
        assert after.probe == (probe.id if building else None)

    async def test_what_is_offered_no_longer_is_forgotten(self, autojump_clock):
        """A rebuilt image has another id: nothing would ever close the breaker of the old one."""
        async with clouds() as at:
            for _ in range(3):
                at.fails("old")
            offer = an_offer("on-old", shape=a_shape(image_id="new"))

            config = ProviderConfig(name="alpha", type="openstack", cloud="alpha")
            at.alpha.keep_only({("main", "on-old"): offer}, config)
            assert at.scopes() == [image("old")], "it may be back with the next reading"
            await trio.sleep(60.0)
            at.alpha.keep_only({("main", "on-old"): offer}, config)

            assert at.scopes() == []
            await at.store.settled()
            assert at.store.get(ProviderRecord, "alpha").breakers == ()

    async def test_closed_ones_of_what_is_offered_no_longer_are_dropped(self, autojump_clock):
        """Each rebuilding of an image leaves an id of which a failure or two are known."""
        async with clouds() as at:
            config = ProviderConfig(name="alpha", type="openstack", cloud="alpha")
            for number in range(20):
                name = f"build-{number}"
                at.comes_up("other")
                at.fails(name, label="small")
                at.fails(name, Cause.CAPACITY, label="small")
                offer = an_offer("small", shape=a_shape(image_id=name))
                at.alpha.keep_only({("main", "small"): offer}, config)

            images = [x.key.parts[0] for x in at.alpha.book.entries() if x.key.scope is Scope.IMAGE]

        assert images == ["build-19"]

    async def test_it_is_told_as_soon_as_a_probe_may_go(self, autojump_clock):
        """And not when everything is looked at again, some seconds later."""
        async with clouds() as at, trio.open_nursery() as nursery:
            nursery.start_soon(at.alpha.run)
            at.comes_up("good")
            for _ in range(3):
                at.fails("bad")
            (held,) = at.alpha.held([an_offer("on-bad", shape=a_shape(image_id="bad"))], "main")[
                "on-bad"
            ]
            await trio.sleep(held.left_s - 0.001)
            before = at.changes
            await trio.sleep(0.002)
            after = at.changes
            nursery.cancel_scope.cancel()

        assert (before + 1) == after

    async def test_an_event_is_about_the_breaker_that_moved(self, autojump_clock):
        """Failures of the same occasion change another one meanwhile, and are no step of it."""
        async with clouds() as at:
            at.comes_up("good")
            for _ in range(3):
                at.fails("bad")
            at.fails("bad")
            for _ in range(2):
                at.fails("good", Cause.CAPACITY)
            await at.store.settled()

            subjects = []
            with trio.move_on_after(1.0):
                async for event in at.store.watch(0):
                    subjects.append((event.type, event.data["what"]))

        assert subjects == [
            ("breaker.opened", "image bad"),
            ("breaker.opened", "pool main, flavor ci-1c-1g, any zone"),
        ]

    async def test_every_step_is_one_event(self, autojump_clock):
        """Opened, tried, opened for longer, tried, closed."""
        async with clouds() as at:
            for _ in range(3):
                at.fails("bad")
            for _ in range(2):
                await trio.sleep(120.0)
                probe = at.node("bad")
                await at.alpha.turn(probe)
                if _ == 0:
                    at.alpha.failed(probe, Cause.BOOT, "no again")
            at.alpha.passed(probe, Stage.READY)
            await at.store.settled()

            told = []
            with trio.move_on_after(1.0):
                async for event in at.store.watch(0):
                    told.append((event.type, event.about))

        assert [kind for kind, _ in told] == [
            "breaker.opened", "breaker.half-open", "breaker.opened", "breaker.half-open",
            "breaker.closed",
        ]  # fmt: skip
        assert told[3][1] == (probe.id, "alpha")


IMAGES = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fails"), IMAGES),
        st.tuples(st.just("comes_up"), IMAGES),
        st.tuples(st.just("sleep"), st.floats(0.0, 700.0)),
    ),
    max_size=40,
)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_any_history_leaves_a_way_back(steps):
    """In the end all is closed by launches that work, each within the longest wait."""

    async def live():
        async with clouds() as at:
            for kind, what in steps:
                if kind == "sleep":
                    await trio.sleep(what)
                else:
                    getattr(at, kind)(what)
            for _ in range(3):
                for name in "abc":
                    await trio.sleep(1300.0)  # the longest wait, and a suspect's wait after it
                    at.comes_up(name)
            assert list(at.alpha.statuses()) == []
            assert list(at.everywhere.book.statuses()) == []

    trio.run(live, clock=trio.testing.MockClock(autojump_threshold=0))
