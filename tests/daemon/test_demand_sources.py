"""Demand sources in a whole daemon: run, crash, come and go with the configuration."""

import attrs
import pytest
import trio

from tests.daemon.stage import MINUTE, Stage
from trellis.errors import RefusedError, UnknownIdError
from trellis.model.node import NodeState
from trellis.model.request import Ask, RequestState
from trellis.model.status import Health, SourceState
from trellis.spi.config import DemandSourceConfig
from trellis.spi.registry import DemandSourceRegistry

pytestmark = pytest.mark.slow

BASE = """
deployment: stage
labels: [{name: small}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    pools:
      - name: main
        max-servers: 3
        labels: [{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]
"""
ONE = "demand-sources: [{name: one, type: scripted}]\n"
TWO = "demand-sources: [{name: one, type: scripted}, {name: two, type: scripted}]\n"
META = {"zuul_request": "100-0000000007", "zuul_event": "e" * 32, "zuul_job": "tox-py311"}
WHOM = {"zuul_tenant": "acme", "zuul_pipeline": "check", "zuul_job": "tox-py311"}


@attrs.frozen(kw_only=True)
class ScriptedConfig(DemandSourceConfig):
    """A source that does what a test says.

    Attributes:
        greeting: anything.
    """

    greeting: str = ""


class Scripted:
    """One start of a source; what it does is the stage's to say."""

    def __init__(self, stage, config, context):
        self.stage, self.config, self.context = stage, config, context

    async def run(self, port):
        told = f"{self.config.name} {self.config.greeting}".strip()
        self.stage.started.append(told)
        try:
            if self.config.name in self.stage.plays:
                await self.stage.plays[self.config.name](self, port)
            await trio.sleep_forever()
        finally:
            self.stage.ended.append(told)


class SourceStage(Stage):
    """A stage whose daemon knows scripted demand sources.

    Attributes:
        plays: what each of them does, by name; all others only wait.
        started: name and greeting of each start.
        ended: the same of each end.
    """

    def __init__(self, folder, text=ONE, **plays):
        self.plays, self.started, self.ended = plays, [], []
        registry = DemandSourceRegistry()
        registry.add("scripted", self.make, ScriptedConfig)
        super().__init__(folder, configuration=BASE + text, sources=registry)

    def make(self, config, context):
        return Scripted(self, config, context)

    async def change(self, text):
        await self.take_up(BASE + text)

    def source(self, name="one"):
        assert self.core is not None
        sources = self.core.operator.demand_sources()
        return next((source for source in sources if source.name == name), None)


def an_ask(**more) -> Ask:
    fields = {"labels": ("small",), "requestor": "scripted", "source": "one", "tenant": "acme"}
    return Ask(**{**fields, **more})


async def asks(source, port):
    """Ask once, and again after a restart the same."""
    await port.submit(an_ask(idempotency_key="1"))


async def until(true, within_s=10 * MINUTE):
    ends_at = trio.current_time() + within_s
    while not true():
        assert trio.current_time() < ends_at, "it did not come to that"
        await trio.sleep(0.5)


class TestRunning:
    async def test_a_source_asks_and_is_served(self, tmp_path, autojump_clock):
        stage = SourceStage(tmp_path, one=asks)

        async with stage.running() as core:
            await until(lambda: stage.source().requests == {"fulfilled": 1})

            (request,) = core.port.asked_by("one")
            assert request.ask.source == "one"
            assert stage.source().state is SourceState.RUNNING
        assert stage.started == stage.ended == ["one"]

    async def test_it_is_given_what_it_needs_of_the_outside(self, tmp_path, autojump_clock):
        seen = []

        async def look(source, port):
            seen.append(source.context)

        stage = SourceStage(tmp_path, one=look)
        async with stage.running():
            await trio.sleep(1)

        (context,) = seen
        assert context.deployment == "stage"
        assert context.wall() > 1_700_000_000
        assert callable(context.zookeeper)

    async def test_without_a_registry_none_runs_and_it_says_so(self, tmp_path, autojump_clock):
        stage = SourceStage(tmp_path)
        stage.sources, registry = None, stage.sources
        async with stage.running():
            await trio.sleep(1)
            assert stage.source().state is SourceState.STARTING
        stage.sources = registry
        assert stage.started == []


class TestTrouble:
    async def test_a_crash_is_told_and_the_others_go_on(self, tmp_path, autojump_clock):
        """The second start is after a second, the third after two, and so on."""

        async def crash(source, port):
            await trio.sleep(10)
            raise KeyError("nonsense")

        stage = SourceStage(tmp_path, TWO, two=crash)
        async with stage.running() as core:
            await stage.becomes(Health.AVAILABLE)
            await until(lambda: stage.source("two").state is SourceState.CRASHED)

            assert "KeyError: 'nonsense'" in stage.source("two").reason
            assert core.operator.ready() == (
                True,
                "demand source two crashed and is started again: KeyError: 'nonsense'",
            )
            assert core.operator.overview(1).notices == (core.operator.ready()[1],)
            await until(lambda: stage.started.count("two") == 3)
            assert stage.source("two").crashes == 2
            assert stage.source("two").state is SourceState.RUNNING
            assert core.operator.ready() == (True, "")
            assert stage.started.count("one") == 1

    async def test_a_source_that_ends_by_itself_is_started_again(self, tmp_path, autojump_clock):
        """It would leave its requestors waiting in silence."""

        class Ending(Scripted):
            async def run(self, port):
                self.stage.started.append("one")

        stage = SourceStage(tmp_path)
        stage.make = lambda config, context: Ending(stage, config, context)
        registry = DemandSourceRegistry()
        registry.add("scripted", stage.make, ScriptedConfig)
        stage.sources = registry
        async with stage.running():
            await until(lambda: stage.started.count("one") == 2)

            assert "it ended by itself" in stage.source().reason

    async def test_a_factory_that_fails_is_a_crash_of_its_source(self, tmp_path, autojump_clock):
        def make(config, context):
            raise ValueError("no such file")

        registry = DemandSourceRegistry()
        registry.add("scripted", make, ScriptedConfig)
        stage = SourceStage(tmp_path)
        stage.sources = registry
        async with stage.running() as core:
            await stage.becomes(Health.AVAILABLE)

            assert stage.source().state is SourceState.CRASHED
            assert stage.source().reason == "ValueError: no such file"
            assert core.operator.ready()[0]

    async def test_what_a_source_reports_is_shown_until_it_is_over(self, tmp_path, autojump_clock):
        reported = []

        async def report(source, port):
            reported.append(source.context.report)

        stage = SourceStage(tmp_path, one=report)
        async with stage.running() as core:
            await stage.becomes(Health.AVAILABLE)

            reported[0]("no ZooKeeper answers at zk01:2181")

            assert stage.source().state is SourceState.TROUBLED
            assert core.operator.ready() == (
                True,
                "demand source one is in trouble: no ZooKeeper answers at zk01:2181",
            )
            reported[0]("")
            assert stage.source().state is SourceState.RUNNING
            assert core.operator.ready() == (True, "")


class TestChange:
    async def test_an_added_one_starts_and_leaves_the_others_be(self, tmp_path, autojump_clock):
        stage = SourceStage(tmp_path)
        async with stage.running():
            await trio.sleep(1)

            await stage.change(TWO)
            await trio.sleep(1)

            assert stage.started == ["one", "two"]
            assert stage.ended == []

    async def test_a_changed_one_ends_before_it_starts_again(self, tmp_path, autojump_clock):
        stage = SourceStage(tmp_path, TWO)
        async with stage.running():
            await trio.sleep(1)

            await stage.change(TWO.replace("name: one,", "name: one, greeting: hi,"))
            assert stage.ended == ["one"]
            await trio.sleep(1)

            assert stage.started[2:] == ["one hi"]

    async def test_a_change_of_something_else_restarts_none(self, tmp_path, autojump_clock):
        stage = SourceStage(tmp_path)
        async with stage.running():
            await trio.sleep(1)

            await stage.change(ONE + "launch-budget: 7\n")
            await trio.sleep(1)

            assert stage.started == ["one"]

    async def test_a_dropped_one_ends_and_without_requests_nothing_is_left(
        self, tmp_path, autojump_clock
    ):
        stage = SourceStage(tmp_path)
        async with stage.running() as core:
            await trio.sleep(1)

            await stage.change("")

            assert stage.ended == ["one"]
            assert core.operator.demand_sources() == ()
            assert core.operator.notices == {}


class TestDropped:
    async def test_its_requests_stay_and_it_is_said_loudly(self, tmp_path, autojump_clock):
        stage = SourceStage(tmp_path, one=asks)
        async with stage.running() as core:
            await until(lambda: stage.source().requests == {"fulfilled": 1})

            await stage.change("")
            await trio.sleep(60 * MINUTE)

            assert stage.source().state is SourceState.DROPPED
            assert stage.source().requests == {"fulfilled": 1}
            (notice,) = core.operator.overview(1).notices
            assert "trellis demand end one" in notice
            (told,) = [e for e in stage.events if e["event"] == "demand_source_dropped"]
            assert told["log_level"] == "error"
            (node,) = core.fleet.nodes.values()
            assert node.state is NodeState.READY

    async def test_it_is_said_at_a_start_too(self, tmp_path, autojump_clock):
        stage = SourceStage(tmp_path, one=asks)
        async with stage.running():
            await until(lambda: stage.source().requests == {"fulfilled": 1})
        stage.configuration = BASE

        async with stage.running():
            await trio.sleep(1)

            assert [e for e in stage.events if e["event"] == "demand_source_dropped"]
            assert stage.source().state is SourceState.DROPPED

    async def test_back_again_it_has_what_it_had(self, tmp_path, autojump_clock):
        stage = SourceStage(tmp_path, one=asks)
        async with stage.running() as core:
            await until(lambda: stage.source().requests == {"fulfilled": 1})
            await stage.change("")

            await stage.change(ONE)
            await trio.sleep(1)

            assert stage.source().state is SourceState.RUNNING
            assert len(core.port.asked_by("one")) == 1
            assert core.operator.notices == {}

    async def test_a_person_ends_what_it_asked_for(self, tmp_path, autojump_clock):
        async def asks_twice(source, port):
            await port.submit(an_ask(idempotency_key="1"))
            await port.submit(an_ask(idempotency_key="2", labels=("small",) * 3))

        stage = SourceStage(tmp_path, one=asks_twice)
        async with stage.running() as core:
            await until(lambda: stage.source().requests.get("fulfilled") == 1)
            await stage.change("")

            assert await core.operator.end_demand("one", "me") == 2

            await until(lambda: not core.fleet.nodes)
            assert core.operator.demand_sources() == ()
            assert core.operator.notices == {}

    async def test_the_notice_goes_with_the_last_request(self, tmp_path, autojump_clock):
        """Also where single ones are ended, one by one."""
        stage = SourceStage(tmp_path, one=asks)
        async with stage.running() as core:
            await until(lambda: stage.source().requests == {"fulfilled": 1})
            await stage.change("")
            (request,) = core.port.asked_by("one")

            await core.port.cancel(request.id)

            assert core.operator.overview(1).notices == ()
            assert core.operator.ready() == (True, "")

    async def test_the_record_says_who_ended_it(self, tmp_path, autojump_clock):
        """It was not the requestor."""
        stage = SourceStage(tmp_path, one=asks)
        async with stage.running() as core:
            await until(lambda: stage.source().requests == {"fulfilled": 1})
            await stage.change("")
            (request,) = core.port.asked_by("one")

            await core.operator.end_demand("one", "ada")

            last = (await core.port.explain_request(request.id)).history[-1]
            assert last.why == "demand source one was ended by ada"

    async def test_one_that_comes_back_meanwhile_keeps_what_it_asks_for_then(
        self, tmp_path, autojump_clock
    ):
        """It starts when the end is complete."""

        async def asks_many(source, port):
            last_first = bool(port.asked_by("one"))
            for number in sorted(range(5), reverse=last_first):
                asked.append((await port.submit(an_ask(idempotency_key=f"{number}"))).id)

        asked: list[str] = []
        stage = SourceStage(tmp_path, one=asks_many)
        async with stage.running() as core:
            await until(lambda: sum(stage.source().requests.values()) == 5)
            await stage.change("")
            before = {request.id for request in core.port.asked_by("one")}

            async def end(task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC114
                task_status.started()  # the end has begun before anybody else runs
                await core.operator.end_demand("one", "ada")

            async with trio.open_nursery() as nursery:
                await nursery.start(end)
                await core.demand.take_up([ScriptedConfig(name="one", type="scripted")])
            await until(lambda: len(asked) == 10)

            assert before.isdisjoint(asked[5:])

    async def test_that_of_a_configured_one_is_refused(self, tmp_path, autojump_clock):
        stage = SourceStage(tmp_path, one=asks)
        async with stage.running() as core:
            await trio.sleep(1)

            with pytest.raises(RefusedError, match="is configured"):
                await core.operator.end_demand("one", "me")
            with pytest.raises(UnknownIdError, match="no demand source 'noe'"):
                await core.operator.end_demand("noe", "me")


class TestFinding:
    """Requests are found by what they were asked with, while they live and after."""

    async def test_by_any_value_of_the_metadata_and_by_tenant(self, tmp_path, autojump_clock):
        stage = SourceStage(tmp_path)
        async with stage.running() as core:
            asked = await core.port.submit(an_ask(metadata=META))

            for word in (*META.values(), "acme", asked.id):
                (found,) = await core.operator.find_requests(word, 10)
                assert found.id == asked.id
            assert await core.operator.find_requests("100-00000000", 10) == ()

    @pytest.mark.parametrize("restart", [False, True], ids=["same-start", "restarted"])
    async def test_also_once_it_has_ended(self, tmp_path, autojump_clock, restart):
        stage = SourceStage(tmp_path)
        async with stage.running() as core:
            asked = await core.port.submit(an_ask(metadata=META))
            await core.port.cancel(asked.id)
            if not restart:
                (found,) = await core.operator.find_requests("100-0000000007", 10)
        if restart:
            async with stage.running() as core:
                (found,) = await core.operator.find_requests("100-0000000007", 10)

        assert (found.id, found.state) == (asked.id, RequestState.CANCELLED)

    async def test_of_several_the_live_come_first_and_then_those_that_ended_last(
        self, tmp_path, autojump_clock
    ):
        stage = SourceStage(tmp_path)
        async with stage.running() as core:
            ids = []
            for number in range(4):
                request = await core.port.submit(an_ask(metadata=META, idempotency_key=f"{number}"))
                ids.append(request.id)
                await trio.sleep(1)
            await core.port.cancel(ids[3])
            await core.port.cancel(ids[1])

            found = await core.operator.find_requests("tox-py311", 10)
            assert [request.id for request in found] == [ids[2], ids[0], ids[1], ids[3]]
            found = await core.operator.find_requests("tox-py311", 3)
            assert [request.id for request in found] == [ids[2], ids[0], ids[1]]

    async def test_a_node_of_that_name_is_no_request(self, tmp_path, autojump_clock):
        """Events of all kinds of things are found by the same words."""
        stage = SourceStage(tmp_path, one=asks)
        async with stage.running() as core:
            await until(lambda: stage.source().requests == {"fulfilled": 1})
            (node_id,) = core.fleet.nodes

            assert await core.operator.find_requests(node_id, 10) == ()


class TestForWhom:
    """Tenant, pipeline and job are shown where people of clouds and of Trellis look."""

    async def test_a_server_names_them(self, tmp_path, autojump_clock):
        stage = SourceStage(tmp_path)
        async with stage.running():
            request = await stage.served((await stage.core.port.submit(an_ask(metadata=WHOM))).id)
            (server,) = stage.alpha.servers()

        wanted = {
            "trellis_request": request.id,
            "trellis_tenant": "acme",
            "trellis_pipeline": "check",
            "trellis_job": "tox-py311",
        }
        assert wanted.items() <= server.metadata.items()

    async def test_what_no_cloud_takes_is_cleaned_and_cut(self, tmp_path, autojump_clock):
        """At most 255 bytes, cut where a character ends; no control and no 4-byte characters."""
        job = "a\n\U0001f600" + "ü" * 300
        stage = SourceStage(tmp_path)
        async with stage.running():
            await stage.served((await stage.core.port.submit(an_ask(metadata={"job": job}))).id)
            (server,) = stage.alpha.servers()

        assert server.metadata["trellis_job"] == "a??" + "ü" * 126

    async def test_a_node_kept_ready_is_for_nobody(self, tmp_path, autojump_clock):
        stage = SourceStage(tmp_path)
        stage.configuration = BASE.replace("[{name: small}]", "[{name: small, min-ready: 1}]")
        async with stage.running() as core:
            await until(lambda: core.fleet.idle.get(("alpha", "small")))
            (server,) = stage.alpha.servers()

        assert not {"trellis_request", "trellis_job"} & server.metadata.keys()

    async def test_explanations_name_them(self, tmp_path, autojump_clock):
        stage = SourceStage(tmp_path)
        async with stage.running() as core:
            asked = await core.port.submit(an_ask(metadata=WHOM))
            request = await stage.served(asked.id)
            of_node = await core.port.explain_node(request.nodes[0])
            of_request = await core.port.explain_request(asked.id)

        whom = "It is for job tox-py311, pipeline check, tenant acme"
        assert f"{whom} (request {request.id})." in of_node.words
        assert f"{whom}." in of_request.words


class TestTurnedAway:
    """What cannot be served at all is explained all the same."""

    ASK = an_ask(labels=("nothing",), metadata=META, idempotency_key="7")
    WHY = "there is no label 'nothing'"

    async def test_it_is_found_and_explained(self, tmp_path, autojump_clock):
        stage = SourceStage(tmp_path)
        async with stage.running() as core:
            await core.port.turn_away(self.ASK, why=self.WHY)

            (found,) = await core.operator.find_requests("100-0000000007", 10)
            assert (found.state, found.reason) == (RequestState.FAILED, self.WHY)
            assert self.WHY in (await core.port.explain_request(found.id)).words
            assert core.fleet.requests == {}
            assert stage.source().requests == {}

    async def test_again_and_again_it_is_recorded_once(self, tmp_path, autojump_clock):
        """A source that starts anew looks at all requests anew."""
        stage = SourceStage(tmp_path)
        async with stage.running() as core:
            first = await core.port.turn_away(self.ASK, why=self.WHY)
        async with stage.running() as core:
            again = await core.port.turn_away(self.ASK, why=self.WHY)
            assert again == first

            other = await core.port.turn_away(self.ASK, why="another reason")
            found = await core.operator.find_requests("100-0000000007", 10)
            assert [one.id for one in found] == [other.id, first.id]

    async def test_it_may_be_asked_for_later(self, tmp_path, autojump_clock):
        """The label has come with another configuration."""
        stage = SourceStage(tmp_path)
        async with stage.running() as core:
            ask = attrs.evolve(self.ASK, labels=("small",))
            await core.port.turn_away(ask, why=self.WHY)

            request = await core.port.submit(ask)

            assert request.state is RequestState.REQUESTED


@pytest.mark.parametrize(
    "where",
    ["labels: [{name: small", "      - name: main", "        labels: [{name: small"],
    ids=["label", "pool", "pool-label"],
)
async def test_host_keys_that_are_not_read_show_wherever_that_is_said(
    tmp_path, autojump_clock, where
):
    """Also while no cloud can make the label, and to those who ask for nodes."""
    says = "host-key-checking: false"
    joined = f"\n        {says}" if where.lstrip().startswith("-") else f", {says}"
    stage = SourceStage(tmp_path)
    stage.configuration = BASE.replace(where, where + joined, 1)
    stage.entry = None
    stage.write()
    async with stage.running() as core:
        await stage.becomes(Health.UNAVAILABLE)

        (label,) = core.operator.labels()
        (pool,) = core.port.offers()

    assert not label.host_key_checking
    assert pool.unchecked == {"small"}
