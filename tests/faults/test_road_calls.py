"""Each fault of the road at a whole daemon: nothing leaks, nothing stalls, others feel nothing.

A cloud with floating IPs, beside a good one. While the fault strikes, requests come in and leases
end; afterwards every request has ended, and nothing of ours is left in either cloud.
"""

from typing import Any

import attrs
import pytest
import trio

from tests.daemon.stage import MINUTE, Stage
from trellis.model.names import RequestId
from trellis.model.request import NodeRequest, RequestState
from trellis.model.status import Health
from trellis.sim.catalogue import ROAD
from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import (
    CloudSpec,
    Faults,
    Outage,
    OutageKind,
    RateLimit,
    RetryAfter,
    floating_networks,
)

pytestmark = pytest.mark.slow

CONFIGURATION = """
deployment: stage
labels: [{name: small}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    sweep: delete
    pools:
      - name: main
        max-servers: 10
        networks: [ci-net]
        labels: &labels
          - {name: small, cloud-image: tiny, flavor-name: ci-1c-1g}
  - name: beta
    type: openstack
    cloud: beta
    pools: [{name: main, max-servers: 10, labels: *labels}]
"""
LASTS_S = 6 * MINUTE

CALLS: dict[str, dict[str, Any]] = {
    "lose-answer": {"lose_answer": 0.5},
    "lose-request": {"lose_request": 0.5},
    "appear-late": {"lose_answer": 0.6, "appear_late": 0.8, "appear_late_s": (20.0, 110.0)},
    "server-error": {"server_error": 0.4},
    "cut-answer": {"cut_answer": 0.3},
    "html-answer": {"html_answer": 0.3},
    "reset": {"reset": 0.3},
    "hang-call": {"hang_call": 0.1},
    "trickle": {"trickle": 0.15},
    "endless-answer": {"endless_answer": 0.05},
    "huge-answer": {"huge_answer": 0.05},
    "short-answer": {"short_answer": 0.3},
    "odd-answer": {"odd_answer": 0.3},
    "garbage-headers": {"garbage_headers": 1.0},
    "redirect": {"redirect": 0.1},
    "refuse-token": {"refuse_token": 0.2},
    "revoke-tokens": {"revoke_tokens": 0.1},
}
OUTAGES = {kind.value: kind for kind in OutageKind}
LIMITS = {
    f"{status} {says}": RateLimit(
        calls=2.0,
        per_s=4.0,
        status=status,
        retry_after=says != "nothing",
        says=RetryAfter.SECONDS if says == "nothing" else RetryAfter(says),
    )
    for status in (413, 429)
    for says in ("nothing", *(says.value for says in RetryAfter))
}


def ours(cloud: SimCloud) -> dict[str, int]:
    """What of the account's there is in a cloud."""
    kinds = {
        "servers": cloud.servers(),
        "floating IPs": cloud.floating_ips(),
        "ports": cloud.ports(),
        "volumes": cloud.volumes(),
    }
    return {name: len(found) for name, found in kinds.items() if found}


@attrs.define
class Story:
    """Requests filed while something is wrong, and what became of them."""

    stage: Stage
    ended: dict[RequestId, NodeRequest] = attrs.field(factory=dict)

    async def tell(self, *, revoke: bool = False, **trouble: Any) -> None:
        """From a good start, through the trouble, to a good end.

        Args:
            revoke: all tokens end with its beginning.
            trouble: parts of the cloud's description, as they are meanwhile.
        """
        stage = self.stage
        async with stage.running() as core:
            await stage.becomes(Health.AVAILABLE)
            kept = await stage.served(await stage.ask("alpha"))
            used = await stage.served(await stage.ask("alpha"))
            good = {name: getattr(stage.alpha.spec, name) for name in trouble}
            stage.alpha.change(**trouble)
            if revoke:
                stage.alpha.revoke_all()
            await stage.release(used)
            async with trio.open_nursery() as nursery:
                for number in range(12):
                    provider = "alpha" if number % 2 else None
                    nursery.start_soon(self._one, await stage.ask(provider), provider)
                    await trio.sleep(LASTS_S / 12)
                stage.alpha.change(**good)
                nursery.cancel_scope.deadline = trio.current_time() + 40 * MINUTE
            assert len(self.ended) == 12, "requests that came to no end"
            node = await core.operator.node(kept.nodes[0])
            assert not node.lost, "what was lent out and lives is not given up"
            await stage.release(kept)
            await stage.becomes(Health.AVAILABLE)
            ends_at = trio.current_time() + 40 * MINUTE
            while left := ours(stage.alpha) | ours(stage.clouds["beta"]):
                assert trio.current_time() < ends_at, left
                await trio.sleep(5.0)
            await trio.sleep(5 * MINUTE)
            assert ours(stage.alpha) == {}, "something came late and was not seen"
        self._judge()

    async def _one(self, request_id: RequestId, provider: str | None) -> None:
        core = self.stage.core
        assert core is not None
        request = await core.port.wait(request_id)
        assert request.state in (RequestState.FULFILLED, RequestState.FAILED)
        self.ended[request_id] = request
        if request.state is RequestState.FULFILLED:
            await trio.sleep(20.0)
            await self.stage.release(request)
        else:
            # It may be refused at the bad cloud, in words; never where there is a good one.
            assert provider == "alpha"
            assert (await core.port.explain_request(request_id)).words

    def _judge(self) -> None:
        crashed = [e for e in self.stage.events if e["event"].endswith("_crashed")]
        assert crashed == []
        made = self.stage.alpha.ledger.of(What.SERVER_CREATED)
        nodes = [dict(fact.metadata)["trellis_node_id"] for fact in made]
        assert len(nodes) == len(set(nodes)), "a node was made twice"
        assert self.stage.alpha.ledger.violations == []


def staged(tmp_path: Any) -> Stage:
    alpha = CloudSpec(name="alpha", networks=floating_networks())
    return Stage(tmp_path, alpha=alpha, configuration=CONFIGURATION)


@pytest.mark.parametrize("name", CALLS)
async def test_calls_that_fare_badly(name, tmp_path, autojump_clock):
    stage = staged(tmp_path)

    await Story(stage).tell(faults=Faults(**CALLS[name]))

    assert stage.alpha.ledger.struck[name] > 0


@pytest.mark.parametrize("name", ["lose-answer", "lose-request", "server-error", "reset"])
async def test_calls_about_volumes_that_fare_badly(name, tmp_path, autojump_clock):
    """Each server leaves its volume behind, and the calls that delete them are lost as well."""
    alpha = CloudSpec(name="alpha", networks=floating_networks())
    text = CONFIGURATION.replace(
        "flavor-name: ci-1c-1g", "flavor-name: ci-1c-1g, boot-from-volume: true, volume-size: 5"
    )
    stage = Stage(tmp_path, alpha=alpha, configuration=text)

    await Story(stage).tell(faults=Faults(leak_volume=1.0, **CALLS[name]))

    assert stage.alpha.ledger.struck[name] > 0
    assert stage.alpha.ledger.calls["DELETE volume /volumes/*"] > 0


@pytest.mark.parametrize("name", OUTAGES)
async def test_outages(name, tmp_path, autojump_clock):
    stage = staged(tmp_path)

    await Story(stage).tell(outages=(Outage(start=0.0, end=1e6, kind=OUTAGES[name]),))

    # Nobody logs in while tokens are good: of a locked account nothing is felt.
    assert stage.alpha.ledger.struck[name] > 0 or name == "account-locked"


@pytest.mark.parametrize("kind", ["refuse", "hang", "gateway", "account-locked", "slow-answers"])
async def test_an_identity_service_that_is_away_when_tokens_end(kind, tmp_path, autojump_clock):
    """All tokens end at once, and no new one is to be had for a while."""
    stage = staged(tmp_path)
    away = Outage(start=0.0, end=1e6, kind=OUTAGES[kind], services=("identity",), slow_s=25.0)

    await Story(stage).tell(revoke=True, outages=(away,))

    assert stage.alpha.ledger.struck[kind] > 0


@pytest.mark.parametrize("name", LIMITS)
async def test_rate_limits(name, tmp_path, autojump_clock):
    """Whatever is said of how long to wait, it is waited for a sensible time, and not stormed."""
    stage = staged(tmp_path)

    await Story(stage).tell(rate_limits=(LIMITS[name],))

    refused = len(stage.alpha.ledger.of(What.RATE_LIMITED))
    assert 0 < refused < 60


def test_every_fault_of_the_road_is_here():
    there = {fault.name for fault in ROAD}
    limits = {"rate-limits", "absurd-retry-after"}

    assert there == {*CALLS, *OUTAGES, *limits}
