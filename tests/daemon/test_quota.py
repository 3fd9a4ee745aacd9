"""Quota that lies, changes, is shared or is not told; requests that would exceed it."""

import json

import attrs
import httpx
import pytest
import trio

from tests.daemon.stage import CONFIGURATION, MINUTE, Stage, rewriting
from trellis.model.request import Ask, RequestState
from trellis.model.status import Health
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import CloudSpec, Quota, Strangers, fixed
from trellis.sim.cloud.transport import SimTransport

pytestmark = pytest.mark.slow

HOUR = 60 * MINUTE
FULFILLED = RequestState.FULFILLED
PLENTY = CONFIGURATION.replace("max-servers: 10", "max-servers: 200")


USE_S, BOOT_S, DELETE_S = 60.0, 20.0, 2.0
LIFE_S = USE_S + BOOT_S + DELETE_S + 5.0


def quick(quota, **parts):
    """A cloud whose servers live as long as is expected of them."""
    boot, delete = fixed(BOOT_S), fixed(DELETE_S)
    return CloudSpec(name="alpha", quota=quota, boot=boot, delete=delete, **parts)


def refusals(stage, name="alpha"):
    return len(stage.clouds[name].ledger.of(What.QUOTA_REFUSED))


async def work(stage, *, at_once, for_s, use_s=USE_S, provider="alpha"):
    """Ask for so many nodes at a time, use and release them, and ask again; returns how many."""
    served, until = 0, trio.current_time() + for_s
    port = stage.core.port

    async def worker():
        nonlocal served
        while trio.current_time() < until:
            request_id = await stage.ask(provider)
            with trio.move_on_at(until):
                await port.wait(request_id)
                served += 1
                await trio.sleep(use_s)
            await port.cancel(request_id)

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(worker)
    return served


def telling(**absolute):
    """Nova's limits with other figures than it goes by."""

    def change(body):
        found = json.loads(body)
        found["limits"]["absolute"] |= absolute
        return json.dumps(found).encode()

    return rewriting(change, "/limits")


def refusing(status, *paths):
    """A call that the cloud's policy does not allow, or that it does not have."""

    async def meddle(request, carry):
        if not any(path in request.url.path for path in paths):
            return await carry(request)
        await trio.sleep(0.05)
        body = {"forbidden": {"message": "Policy does not allow it", "code": status}}
        return httpx.Response(status, json=body, request=request)

    return meddle


async def test_a_cloud_that_tells_too_much_is_found_out(tmp_path, autojump_clock):
    """It says 100 and gives 5: a handful of refusals teaches that, and hardly one follows."""
    stage = Stage(
        tmp_path,
        alpha=quick(Quota(instances=5)),
        configuration=PLENTY,
    )
    stage.meddle = telling(maxTotalInstances=100)
    async with stage.running() as core:
        await work(stage, at_once=12, for_s=10 * MINUTE)
        early, made_early = refusals(stage), stage.created()
        served = await work(stage, at_once=12, for_s=HOUR)

        (quota,) = [q for q in core.operator.quota() if "alpha" in q.providers]
        assert quota.limits.instances == 100
        assert quota.ceilings == {"instances": 5}
    late, made = refusals(stage) - early, stage.created() - made_early
    assert early <= 8
    assert late <= max(3, made / 100)
    assert served > 0.9 * 5 * HOUR / LIFE_S


async def test_a_ceiling_ends_when_the_cloud_gives_more(tmp_path, autojump_clock):
    """What it said it would, it does from now on: one by one that is found out too."""
    stage = Stage(
        tmp_path,
        alpha=quick(Quota(instances=5)),
        configuration=PLENTY,
    )
    stage.meddle = telling(maxTotalInstances=40)
    async with stage.running():
        await work(stage, at_once=20, for_s=10 * MINUTE)
        before = refusals(stage)

        stage.alpha.change(quota=Quota(instances=40))
        await work(stage, at_once=20, for_s=40 * MINUTE)
        served = await work(stage, at_once=20, for_s=10 * MINUTE)
    assert refusals(stage) <= before + 1
    assert served >= 0.9 * 20 * 10 * MINUTE / LIFE_S - 20


async def test_a_cloud_that_tells_nothing_is_used_all_the_same(tmp_path, autojump_clock):
    """No call for limits, at nova or neutron: its refusals teach."""
    for status in (403, 404):
        stage = Stage(
            tmp_path,
            alpha=quick(Quota(instances=4)),
            configuration=PLENTY,
        )
        stage.meddle = refusing(status, "/limits", "/quotas/")
        async with stage.running() as core:
            served = await work(stage, at_once=8, for_s=HOUR)
            (quota,) = [q for q in core.operator.quota() if "alpha" in q.providers]

        assert quota.limits.instances is None
        assert quota.ceilings == {"instances": 4}
        assert served > 0.9 * 4 * HOUR / LIFE_S
        assert refusals(stage) <= 8 + stage.created() / 100


async def test_limits_that_are_broken_for_hours_keep_nobody_waiting(tmp_path, autojump_clock):
    """Nova answers that one call with 500; all else works."""
    stage = Stage(tmp_path)
    stage.meddle = refusing(500, "/limits")
    async with stage.running():
        await stage.served(await stage.ask("alpha"))


async def test_a_quota_that_cannot_be_read_when_it_becomes_less(tmp_path, autojump_clock):
    """What was under way is refused, once; not all that the last figures allow, again and again."""
    plenty = Quota(instances=60, cores=-1, ram_mib=-1, ports=-1)
    stage = Stage(tmp_path, alpha=quick(plenty), configuration=PLENTY)
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        stage.meddle = refusing(503, "/limits")
        stage.alpha.change(quota=attrs.evolve(plenty, instances=20))
        served = await work(stage, at_once=50, for_s=10 * MINUTE)

    assert refusals(stage) <= 30 + 10
    assert served >= 0.9 * 20 * 10 * MINUTE / LIFE_S - 20


async def all_ask(stage, count):
    """So many ask at once, and nothing is given back."""
    await stage.becomes(Health.AVAILABLE)
    for _ in range(count):
        await stage.ask("alpha")
    await trio.sleep(2 * MINUTE)


async def test_who_has_its_turn_after_a_refusal_is_not_sent(tmp_path, autojump_clock):
    """The cloud tells nothing and answers slowly: a refusal stops those still in line."""
    stage = Stage(tmp_path, alpha=quick(Quota(instances=10)), configuration=PLENTY)
    untold = refusing(404, "/limits", "/quotas/")

    async def slow(request, carry):
        if request.method == "POST" and request.url.path.endswith("/servers"):
            await trio.sleep(3.0)
        return await untold(request, carry)

    stage.meddle = slow
    async with stage.running():
        await all_ask(stage, 60)

    assert stage.created() == 10
    # Those on their way when the first refusal comes: 20 calls at a time, and 10 were taken.
    assert refusals(stage) <= 20


async def test_what_refusals_taught_outlasts_a_restart(tmp_path, autojump_clock):
    """The cloud tells nothing: what waits is not sent anew, and refused, at each start."""
    stage = Stage(tmp_path, alpha=quick(Quota(instances=10)), configuration=PLENTY)
    stage.meddle = refusing(404, "/limits", "/quotas/")
    async with stage.running():
        await all_ask(stage, 60)
    first = refusals(stage)
    for _ in range(5):
        async with stage.running() as core:
            await stage.becomes(Health.AVAILABLE)
            await trio.sleep(2 * MINUTE)
            (quota,) = [q for q in core.operator.quota() if "alpha" in q.providers]
            assert quota.ceilings == {"instances": 10}

    assert first > 0
    assert refusals(stage) == first


async def test_an_old_ceiling_is_tried_again_however_often_it_is_restarted(
    tmp_path, autojump_clock
):
    """Within about an hour one more is sent; that it is taken, raises the ceiling."""
    stage = Stage(tmp_path, alpha=quick(Quota(instances=10)), configuration=PLENTY)
    stage.meddle = refusing(404, "/limits", "/quotas/")
    async with stage.running():
        await all_ask(stage, 20)
    stage.alpha.change(quota=Quota(instances=20))
    before = refusals(stage)
    for _ in range(10):
        async with stage.running():
            await trio.sleep(10 * MINUTE)

    assert refusals(stage) == before
    assert stage.created() == 20


async def test_another_limit_that_is_told_after_a_restart_is_believed(tmp_path, autojump_clock):
    """What was learnt of the limit before does not hold for it."""
    stage = Stage(tmp_path, alpha=quick(Quota(instances=5)), configuration=PLENTY)
    stage.meddle = telling(maxTotalInstances=100)
    async with stage.running():
        await all_ask(stage, 20)
    stage.alpha.change(quota=Quota(instances=30))
    stage.meddle = telling(maxTotalInstances=30)
    async with stage.running():
        await trio.sleep(2 * MINUTE)

    assert stage.created() == 20


async def test_minus_one_is_no_limit(tmp_path, autojump_clock):
    """Neither -1 servers nor none."""
    unlimited = Quota(instances=-1, cores=-1, ram_mib=-1, floating_ips=-1, ports=-1)
    stage = Stage(tmp_path, alpha=CloudSpec(name="alpha", quota=unlimited), configuration=PLENTY)
    async with stage.running():
        assert await work(stage, at_once=30, for_s=5 * MINUTE) >= 30

    assert refusals(stage) == 0


async def test_less_is_used_than_there_is_where_the_cloud_says_that_more_is(
    tmp_path, autojump_clock
):
    """It counts what is not there: we wait, and say so; nothing is tried against its word."""
    stage = Stage(tmp_path)
    stage.meddle = telling(maxTotalInstances=10, totalInstancesUsed=12)
    async with stage.running() as core:
        request_id = await stage.ask("alpha")
        await trio.sleep(HOUR)
        words = (await core.port.explain_request(request_id)).words
        stage.meddle = None
        await stage.served(request_id)

    assert "quota: 1 instances wanted, 12 of 10 taken" in words
    assert refusals(stage) == 0


async def test_quota_taken_away_and_given_back(tmp_path, autojump_clock):
    """At most a refusal for each change, and all of it is used again afterwards."""
    spec = quick(Quota(instances=20))
    stage = Stage(tmp_path, alpha=spec, configuration=PLENTY)
    async with stage.running():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: work(stage, at_once=20, for_s=50 * MINUTE))
            for instances in (8, 20, 0, 12, 20):
                await trio.sleep(10 * MINUTE)
                stage.alpha.change(quota=Quota(instances=instances))
        served = await work(stage, at_once=20, for_s=10 * MINUTE)

    # Those on their way at the very moment of a change may all be refused.
    assert refusals(stage) <= 10
    assert served > 0.9 * 20 * 10 * MINUTE / LIFE_S - 20


async def test_ports_are_reckoned_with_before_they_run_out(tmp_path, autojump_clock):
    """Nova gives servers, neutron only six ports."""
    spec = quick(Quota(ports=6))
    stage = Stage(tmp_path, alpha=spec, configuration=PLENTY)
    async with stage.running() as core:
        served = await work(stage, at_once=10, for_s=30 * MINUTE)
        (quota,) = [q for q in core.operator.quota() if "alpha" in q.providers]

    assert served > 0.9 * 6 * 30 * MINUTE / LIFE_S
    assert quota.limits.ports == 6
    assert refusals(stage) == 0


async def test_a_stranger_who_comes_and_goes_costs_one_refusal_a_change(tmp_path, autojump_clock):
    """He takes what was free; we notice at the first refusal, or before."""
    spec = quick(Quota(instances=12), strangers=Strangers(every_s=100.0, stay_s=400.0))
    stage = Stage(tmp_path, alpha=spec, configuration=PLENTY)
    async with stage.running():
        await work(stage, at_once=9, for_s=90 * MINUTE)

    facts = stage.alpha.ledger.of(What.SERVER_CREATED, What.SERVER_DELETED)
    changes = sum(fact.who == "stranger" for fact in facts)
    assert changes > 40
    assert refusals(stage) <= changes


async def test_where_the_figures_are_not_asked_a_refusal_is_no_room(tmp_path, autojump_clock):
    """`ignore-provider-quota` is no leave to ask a full cloud again and again."""
    stage = Stage(
        tmp_path,
        alpha=quick(Quota(instances=3)),
        configuration=PLENTY.replace(
            "max-servers: 200", "max-servers: 200\n        ignore-provider-quota: true"
        ),
    )
    stage.meddle = telling(maxTotalInstances=0)
    async with stage.running() as core:
        asked = [await stage.ask("alpha") for _ in range(6)]
        await trio.sleep(55 * MINUTE)
        states = [(await core.port.request(x)).state for x in asked]
        waiting = [x for x, state in zip(asked, states, strict=True) if state is not FULFILLED]
        words = (await core.port.explain_request(waiting[0])).words

    assert len(waiting) == 3
    assert refusals(stage) <= 15
    assert "Quota exceeded" in words


class TestOneProject:
    """Two entries of clouds.yaml lead into one project and region."""

    CONFIGURATION = (
        CONFIGURATION
        + """
  - {name: again, type: openstack, cloud: again, pools: *pools}
"""
    )

    def stage(self, tmp_path, instances):
        spec = CloudSpec(name="alpha", quota=Quota(instances=instances))
        stage = Stage(tmp_path, alpha=spec, configuration=self.CONFIGURATION)
        assert stage.entry is not None
        stage._others["again"] = stage.entry
        stage.write()
        return stage

    def running(self, stage):
        """Both entries' calls go to the one cloud."""
        return stage.running(
            lambda settings: SimTransport(
                stage.clouds["beta" if settings.cloud == "beta" else "alpha"]
            )
        )

    async def test_they_share_its_quota(self, tmp_path, autojump_clock):
        """Eight at once, four for each, and five that there may be: none is refused."""
        stage = self.stage(tmp_path, 5)
        async with self.running(stage) as core:
            asked = [await stage.ask(name) for name in ("alpha", "again") * 4]
            await trio.sleep(5 * MINUTE)
            served = [
                x for x in asked if (await core.port.request(x)).state is RequestState.FULFILLED
            ]
            rows = [q for q in core.operator.quota() if "alpha" in q.providers]

        assert len(served) == 5
        assert refusals(stage) == 0
        (row,) = rows
        assert row.providers == ("again", "alpha")
        assert row.ours.instances == 5
        assert row.others.instances == 0
        assert row.project_id == stage.alpha.project_id

    async def test_also_after_a_restart(self, tmp_path, autojump_clock):
        """What was made counts where it was made, before any login tells whose project it is."""
        stage = self.stage(tmp_path, 5)
        async with self.running(stage):
            for name in ("alpha", "again", "again"):
                await stage.served(await stage.ask(name))

        async with self.running(stage) as core:
            asked = [await stage.ask(name) for name in ("alpha", "again") * 2]
            await trio.sleep(5 * MINUTE)
            states = [(await core.port.request(x)).state for x in asked]

        assert states.count(RequestState.FULFILLED) == 2
        assert refusals(stage) == 0

    async def test_idle_nodes_of_one_make_room_for_the_other(self, tmp_path, autojump_clock):
        """Of one quota, whoever's shelf is full."""
        stage = self.stage(tmp_path, 2)
        stage.configuration = self.CONFIGURATION.replace(
            "labels: [{name: small}]", "labels: [{name: small, min-ready: 2}]"
        )
        async with self.running(stage):
            await trio.sleep(5 * MINUTE)

            await stage.served(await stage.ask("again"))

        assert refusals(stage) == 0


class TestTenants:
    CONFIGURATION = (
        CONFIGURATION
        + """
tenants:
  - {name: acme, max-servers: 1}
"""
    )

    async def test_one_at_its_limit_waits_and_is_told_why(self, tmp_path, autojump_clock):
        """Until it gives one back; others are served."""
        stage = Stage(tmp_path, configuration=self.CONFIGURATION)
        async with stage.running() as core:
            mine = Ask(labels=("small",), requestor="test", tenant="acme")
            first = await stage.served((await core.port.submit(mine)).id)
            second = (await core.port.submit(mine)).id
            await stage.served(await stage.ask())
            await trio.sleep(20 * MINUTE)
            words = (await core.port.explain_request(second)).words
            (node,) = await core.port.nodes_of(first)
            tenants = core.operator.tenants()
            await stage.release(first)
            await stage.served(second)

        assert node.tenant == "acme"
        assert words == (
            "alpha, beta: tenant acme holds 1 of 1 (max-servers), 1 wanted. It is for tenant acme."
        )
        assert [(t.name, t.held.instances, t.waiting) for t in tenants] == [
            ("acme", 1, 1),
            ("", 1, 0),
        ]

    async def test_a_cloud_that_does_not_delete_holds_nothing_of_a_tenant(
        self, tmp_path, autojump_clock
    ):
        """What is given back is given back: isolation goes before exactness (P5)."""
        stage = Stage(tmp_path, configuration=self.CONFIGURATION)
        async with stage.running() as core:
            mine = Ask(labels=("small",), requestor="test", tenant="acme", provider="alpha")
            first = await stage.served((await core.port.submit(mine)).id)
            stage.alpha.change(faults=attrs.evolve(stage.alpha.spec.faults, stuck_delete=1.0))
            await stage.release(first)

            elsewhere = attrs.evolve(mine, provider="beta")
            await stage.served((await core.port.submit(elsewhere)).id)

    async def test_more_than_its_whole_limit_fails_at_once(self, tmp_path, autojump_clock):
        """And says so."""
        stage = Stage(tmp_path, configuration=self.CONFIGURATION)
        async with stage.running() as core:
            ask = Ask(labels=("small", "small"), requestor="test", tenant="acme")
            request = await core.port.wait((await core.port.submit(ask)).id)

        assert request.state is RequestState.FAILED
        assert request.reason == "tenant acme may have max-servers 1 in all, 2 wanted"

    async def test_limits_are_taken_up_while_it_runs(self, tmp_path, autojump_clock):
        """A raised one frees those who wait."""
        stage = Stage(tmp_path, configuration=self.CONFIGURATION)
        async with stage.running() as core:
            mine = Ask(labels=("small",), requestor="test", tenant="acme")
            await stage.served((await core.port.submit(mine)).id)
            second = (await core.port.submit(mine)).id
            await trio.sleep(MINUTE)

            await stage.take_up(self.CONFIGURATION.replace("max-servers: 1}", "max-servers: 2}"))

            await stage.served(second)
