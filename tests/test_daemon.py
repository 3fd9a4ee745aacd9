"""The composition root: accounts and their wires, limits of the configuration, plain errors."""

import math
from types import ModuleType
from typing import Any

import pytest
import trio

from tests.daemon.stage import CONFIGURATION, MINUTE, Stage
from trellis.accounts import rate_plan
from trellis.control.supervise import supervise
from trellis.daemon import plain
from trellis.errors import ConfigError, StoreFailedError
from trellis.http import TransportSettings
from trellis.http.buckets import Limit, RatePlan
from trellis.http.message import Verb
from trellis.model.node import NodeState
from trellis.model.request import RequestState
from trellis.model.status import Health
from trellis.openstack.profile import CloudProfile, Quirk
from trellis.plugin_host import Plugin, PluginHost, built_in_plugins
from trellis.providers import register_profile
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import CloudSpec
from trellis.spi.config import ApiLimits

pytestmark = pytest.mark.slow
DAY = 24 * 60 * MINUTE
TWO_REGIONS = """
deployment: stage
labels: [{name: small}]
providers:
  - name: one
    type: openstack
    cloud: alpha
    region-name: RegionOne
    pools: &pools
      - name: main
        labels: [{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]
  - {name: two, type: openstack, cloud: alpha, region-name: RegionTwo, pools: *pools}
"""


def limited(limits: str) -> str:
    """The stage's configuration, with limits of alpha."""
    return CONFIGURATION.replace("    cloud: alpha\n", f"    cloud: alpha\n    limits: {limits}\n")


# ------------------------------------------------------------------------------ accounts


async def test_regions_of_one_cloud_share_one_login(tmp_path, autojump_clock):
    """An account is a credential at a cloud; its regions are providers of their own."""
    alpha = CloudSpec(name="alpha", regions=("RegionOne", "RegionTwo"))
    stage = Stage(tmp_path, alpha=alpha, configuration=TWO_REGIONS)
    assert stage.entry is not None
    del stage.entry["region_name"]
    stage.write()
    async with stage.running():
        await stage.served(await stage.ask("one"))
        await stage.served(await stage.ask("two"))

        assert 1 == len(stage.logins())
        assert 2 == stage.open_wires, "its calls and its logins"


async def test_all_wires_are_closed_at_the_end(tmp_path, autojump_clock):
    """Whoever opened them closes them, also when it is cancelled."""
    stage = Stage(tmp_path)
    async with stage.running():
        await stage.served(await stage.ask())
        during = stage.open_wires

    assert 4 == during
    assert 0 == stage.open_wires


async def test_an_account_that_nobody_uses_any_more_ends(tmp_path, autojump_clock):
    """A provider whose cloud moved is connected anew; the wires to the old place are closed."""
    stage = Stage(tmp_path)
    assert stage.entry is not None
    right = stage.entry["auth"]["auth_url"]
    stage.entry["auth"]["auth_url"] = "http://alpha.sim/old/v3"
    stage.write()
    async with stage.running():
        await stage.becomes(Health.UNAVAILABLE)
        stage.entry["auth"]["auth_url"] = right
        stage.write()
        await stage.becomes(Health.AVAILABLE)

        assert 4 == stage.open_wires
        before = len(stage.calls)
        await trio.sleep(30 * MINUTE)
        assert [] == [call for call in stage.calls[before:] if "/old/" in call[2]]


async def test_a_cloud_that_works_is_not_connected_anew_for_a_changed_file(
    tmp_path, autojump_clock
):
    """What runs goes on with what it has; the new address counts when the old one fails."""
    stage = Stage(tmp_path)
    assert stage.entry is not None
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        stage.entry["auth"]["auth_url"] = "http://alpha.sim/typo/v3"
        stage.write()
        await trio.sleep(30 * MINUTE)

        await stage.served(await stage.ask("alpha"))
        assert [] == [call for call in stage.calls if "/typo/" in call[2]]


async def test_settings_of_the_cloud_reach_the_wires(tmp_path, autojump_clock):
    """TLS settings come from clouds.yaml; logins have two connections of their own."""
    stage = Stage(tmp_path)
    assert stage.entry is not None
    stage.entry["verify"] = False
    stage.write()
    made: list[TransportSettings] = []

    def wires(settings):
        made.append(settings)
        return stage.wires(settings)

    async with stage.running(wires):
        await stage.becomes(Health.AVAILABLE)

    mine = sorted(x.lanes for x in made if x.cloud == "alpha")
    assert [2, 20] == mine
    assert {False} == {x.verify for x in made if x.cloud == "alpha"}
    assert {True} == {x.verify for x in made if x.cloud == "beta"}


async def test_a_crash_of_an_accounts_task_costs_nobody_else(tmp_path, autojump_clock, monkeypatch):
    """It is a bug, told with its traceback; the task is started again and logs in then."""
    stage = Stage(tmp_path)
    crashes = [RuntimeError("a bug of ours")]

    async def meddle(request, carry):
        if crashes:
            raise crashes.pop()
        return await carry(request)

    stage.meddle = meddle
    async with stage.running():
        await stage.served(await stage.ask("beta"))
        await stage.served(await stage.ask("alpha"))

    told = [event for event in stage.events if event["event"] == "task_crashed"]
    assert ["account alpha"] == [event["task"] for event in told]


# -------------------------------------------------------------------------------- limits


def test_the_strictest_limits_of_an_accounts_providers_hold():
    """The cloud counts by account: what one provider says binds the others too."""
    plan = rate_plan(
        [
            ApiLimits(calls_per_second=10.0, creates_per_day=500),
            ApiLimits(calls_per_second=4.0, burst=8),
            ApiLimits(),
        ]
    )

    assert pytest.approx(4.0) == plan.shared("compute").per_s
    assert pytest.approx(7.6) == plan.shared("compute").burst, "less what may arrive late"
    assert 500 == plan.verb("compute", Verb.CREATE).per_day
    assert plan.verb("compute", Verb.DELETE).per_day is None
    assert plan.verb("network", Verb.CREATE).per_day is None


def test_what_all_customers_have_holds_until_the_configuration_says_otherwise():
    """A limit of logins stays, whatever is said of services."""
    known = RatePlan(
        services={
            "identity": Limit(per_s=1.0, burst=60.0),
            "compute": Limit(per_s=20.0, burst=20.0),
        },
        verbs={("compute", Verb.CREATE): Limit(per_s=2.0, burst=100.0, per_day=1000)},
    )

    told = rate_plan([ApiLimits()], [known])
    raised = rate_plan([ApiLimits(calls_per_second=50.0, creates_per_day=9000)], [known])

    assert pytest.approx(18.0) == told.shared("compute").burst, "less what may arrive late"
    assert 1000 == told.verb("compute", Verb.CREATE).per_day
    assert math.inf == told.shared("network").per_s
    assert pytest.approx(50.0) == raised.shared("compute").per_s
    assert 9000 == raised.verb("compute", Verb.CREATE).per_day
    assert pytest.approx(2.0) == raised.verb("compute", Verb.CREATE).per_s
    assert told.shared("identity") == raised.shared("identity")


async def test_the_rates_of_a_profile_are_kept_to(tmp_path, autojump_clock):
    """Of three requests of a day that allows two creates, one waits."""
    daily = Quirk(
        name="rate.compute.create", value=Limit(per_day=2), section="8",
        does="Two creates a day.", evidence="this test", era="2026", check="create three",
    )  # fmt: skip
    profile = CloudProfile(name="meagre", title="Meagre", status="in operation", quirks=(daily,))
    module = ModuleType("meagre")
    module.trellis_register_providers = lambda register: register_profile(register, profile)
    plugin = Plugin(name="meagre", load=lambda: module)
    host = PluginHost((*built_in_plugins(), plugin))
    assert host.broken() == ()
    typed = CONFIGURATION.replace("type: openstack", "type: meagre", 1)
    stage = Stage(tmp_path, configuration=typed, types=host.providers)
    async with stage.running() as core:
        asked = [await stage.ask("alpha") for _ in range(3)]
        await trio.sleep(20 * MINUTE)
        states = [(await core.port.request(one)).state for one in asked]

        assert states.count(RequestState.FULFILLED) == 2
        assert len(stage.alpha.ledger.of(What.SERVER_CREATED)) == 2
        (quirk,) = stage.status("alpha").quirks
        assert quirk.name == "rate.compute.create"


def test_a_rate_alone_allows_no_more_than_a_second_of_it_at_once():
    """Ten at once are no sensible default for a cloud that allows two in a second.

    A tenth of a second is left to calls that arrive late: of the burst, or of the rate.
    """
    assert 1.8 == rate_plan([ApiLimits(calls_per_second=2.0)]).every.burst
    slow = rate_plan([ApiLimits(calls_per_second=0.5)]).every
    assert 1.0 == slow.burst
    assert pytest.approx(1 / slow.per_s) == 2.1


async def test_the_configured_rate_is_kept(tmp_path, autojump_clock):
    """No second has more calls to one service than `calls-per-second` and its burst allow."""
    stage = Stage(tmp_path, configuration=limited("{calls-per-second: 2, burst: 3}"))
    sent: list[float] = []

    async def meddle(request, carry):
        if "/compute/" in request.url.path:
            sent.append(trio.current_time())
        return await carry(request)

    stage.meddle = meddle
    async with stage.running():
        for request_id in [await stage.ask("alpha") for _ in range(8)]:
            await stage.served(request_id)

    window = 10.0
    most = max(sum(at <= x < at + window for x in sent) for at in sent)
    assert 8 < most <= 3 + 2 * window


async def test_creates_of_a_day_are_counted_over_a_restart(tmp_path, autojump_clock):
    """Used nodes of the last process count as well; what is over waits with the reason."""
    stage = Stage(tmp_path, configuration=limited("{creates-per-day: 3}"))
    async with stage.running():
        for _ in range(2):
            request = await stage.served(await stage.ask("alpha"))
            await stage.release(request)
            await stage.gone(request.nodes[0])
    stage.log = stage.log.reopen()
    await trio.sleep(22 * 60 * MINUTE)

    async with stage.running():
        await stage.served(await stage.ask("alpha"))
        fourth = await stage.ask("alpha")
        await trio.sleep(60 * MINUTE)

        assert 3 == stage.created()
        assert RequestState.REQUESTED is (await stage.core.port.request(fourth)).state
        explained = await stage.core.port.explain_request(fourth)
        assert "the 3 creates that limits.creates-per-day allows in 24 h" in explained.words
        assert Health.AVAILABLE is stage.status().health
        assert {} == stage.status().backoffs, "no launch failed for it"

        await stage.served(fourth, within_s=DAY)
        assert 4 == stage.created()
        first, last = stage.alpha.ledger.of(What.SERVER_CREATED)[::3]
        assert last.at - first.at >= DAY - 1.0


async def test_a_call_that_hangs_ends_with_the_configured_time(tmp_path, autojump_clock):
    """`api-timeout` is the budget of one call with its tries."""
    configuration = CONFIGURATION.replace(
        "    cloud: alpha\n", "    cloud: alpha\n    api-timeout: 7\n"
    )
    stage = Stage(tmp_path, configuration=configuration)

    async def meddle(request, carry):
        if "/compute/" in request.url.path:
            await trio.sleep_forever()
        return await carry(request)

    stage.meddle = meddle
    async with stage.running():
        status = await stage.becomes(Health.UNAVAILABLE)

    assert "within 7 s" in status.reason


async def test_max_concurrency_bounds_the_launches_under_way(tmp_path, autojump_clock):
    """No more than so many nodes of the provider are building at any moment."""
    configuration = CONFIGURATION.replace(
        "    cloud: alpha\n", "    cloud: alpha\n    max-concurrency: 2\n"
    )
    stage = Stage(tmp_path, configuration=configuration)
    most = 0
    async with stage.running(), trio.open_nursery() as nursery:

        async def look() -> None:
            nonlocal most
            while True:
                most = max(most, stage.status().nodes.get(NodeState.BUILDING.value, 0))
                await trio.sleep(0.5)

        nursery.start_soon(look)
        for request_id in [await stage.ask("alpha") for _ in range(6)]:
            await stage.served(request_id)
        nursery.cancel_scope.cancel()

    assert 2 == most


# -------------------------------------------------------------------------- plain errors


def test_what_nurseries_wrapped_is_told_as_what_was_raised():
    """Many tasks met the same failure of the store: it is one error, in its own words."""
    full = "store x.db: no room left on its disk"
    group = BaseExceptionGroup(
        "outer",
        [
            StoreFailedError(full),
            ExceptionGroup("inner", [StoreFailedError(full), StoreFailedError(full)]),
        ],
    )

    error = plain(group)

    assert isinstance(error, StoreFailedError)
    assert full == str(error)


@pytest.mark.parametrize(
    "errors",
    [
        [ConfigError(["one"]), ConfigError(["other"])],
        [ConfigError(["one"]), ZeroDivisionError()],
        [ZeroDivisionError()],
    ],
)
def test_a_bug_and_a_mixture_stay_what_they_are(errors: list[Any]):
    """Nothing is dropped for the sake of one plain line."""
    assert plain(BaseExceptionGroup("outer", errors)) is None


async def test_a_supervised_task_that_cannot_record_is_not_started_again(autojump_clock):
    """Its nursery may have wrapped the failure; each other crash would mean another start."""

    async def run() -> None:
        raise ExceptionGroup("nursery", [StoreFailedError("the disk fails")])

    with pytest.RaisesGroup(StoreFailedError) as raised, trio.fail_after(MINUTE):
        await supervise("alpha", run, on_crash=lambda _name, _crash: None)

    assert isinstance(plain(raised.value), StoreFailedError)


async def test_a_store_that_fails_in_mid_run_ends_the_core(tmp_path, autojump_clock):
    """No supervisor keeps it alive: what cannot be recorded must not be done."""
    stage = Stage(tmp_path)
    appended = stage.log.append

    async def full(entries):
        if stage.created("alpha"):
            raise StoreFailedError("no room left on its disk")
        await appended(entries)

    stage.log.append = full

    async def serve_until_it_ends() -> None:
        async with stage.running():
            await stage.ask("alpha")
            with trio.fail_after(10 * MINUTE):
                await trio.sleep_forever()

    # How many tasks meet the failure is not fixed.
    with pytest.raises(BaseExceptionGroup) as raised:  # noqa: ASYNC401
        await serve_until_it_ends()

    error = plain(raised.value)
    assert isinstance(error, StoreFailedError)
    assert "no room left on its disk" == str(error)
    assert [] == [event for event in stage.events if event["event"] == "task_crashed"]
    assert 0 == stage.open_wires
