"""The judge excuses nothing that a requestor did not ask for: scripted daemons, virtual time."""

from random import Random
from types import SimpleNamespace

import attrs
import pytest
import trio

from trellis.model.request import RequestState
from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.ledger import Fact, What
from trellis.sim.cloud.spec import fixed
from trellis.sim.demand import DemandSpec
from trellis.sim.oracle import judge
from trellis.sim.requestors import SHORT_TTL_S, Requestors
from trellis.sim.scenario import calm
from trellis.testing.builders import a_node, a_request

PATIENT = DemandSpec(requests=1, every_s=1.0, sizes=(1.0,), use=fixed(60.0), cancel=0.0, expire=0.0)


class Port:
    """A daemon that does as it is told to."""

    def __init__(self, state, *, nodes=1, answers=True):
        self._state, self._nodes, self._answers = state, nodes, answers

    async def submit(self, ask):
        return a_request(ask=ask)

    async def wait(self, id):
        await trio.sleep(5.0)
        asked = SimpleNamespace(lease_ttl_s=SHORT_TTL_S)
        return SimpleNamespace(id=id, state=self._state, reason=None, lease_id="lease", ask=asked)

    async def nodes_of(self, request):
        return [attrs.evolve(a_node(1), label="small") for _ in range(self._nodes)]

    async def cancel(self, id):
        pass

    async def release(self, lease_id):
        if not self._answers:
            await trio.sleep_forever()


async def judged(port, **demand):
    """What the judge says of one requestor's story, but for the servers, which no cloud has."""
    door = SimpleNamespace(call=lambda ask: ask(port))
    spec = attrs.evolve(PATIENT, labels=("small",), **demand)
    requestors = Requestors((spec,), door, Random(1))
    await requestors.run(not_before=0.0, patience_s=100.0)
    story = attrs.evolve(calm(), demand=spec)
    found = judge(story, {}, requestors.transcripts)
    return requestors.transcripts[0], {x.promise for x in found} - {"P1"}


async def test_a_request_that_is_served_breaks_nothing(autojump_clock):
    """The daemon of these tests, when it does well."""
    transcript, broken = await judged(Port(RequestState.FULFILLED))

    assert transcript.ended == "fulfilled"
    assert broken == set()


@pytest.mark.parametrize("state", [RequestState.CANCELLED, RequestState.CLOSED])
async def test_what_ends_without_being_asked_to_has_failed(state, autojump_clock):
    """A daemon may not cancel a request, nor end its lease before it is told of."""
    transcript, broken = await judged(Port(state))

    assert state.value in transcript.reason
    assert broken == {"progress"}


async def test_a_set_without_any_node_is_not_whole(autojump_clock):
    """Fulfilled with nothing is not fulfilled."""
    _, broken = await judged(Port(RequestState.FULFILLED, nodes=0))

    assert broken == {"P9"}


async def test_a_release_that_is_never_answered_is_seen(autojump_clock):
    """Who cannot give back what he has was not served to the end."""
    _, broken = await judged(Port(RequestState.FULFILLED, answers=False))

    assert broken == {"progress"}


async def test_who_dies_keeps_his_nodes_as_long_as_his_lease(autojump_clock):
    """Nobody may take them from him earlier."""
    transcript, _ = await judged(Port(RequestState.FULFILLED), expire=1.0)

    assert transcript.kept_until >= 0.9 * SHORT_TTL_S


@pytest.mark.parametrize(("marks", "broken"), [(("one", "two"), False), (("one", "one"), True)])
async def test_a_create_carried_out_twice_bears_the_same_mark_twice(marks, broken, autojump_clock):
    """Two deployments in one project give the same names, as each counts its nodes for itself."""
    spec = calm().clouds[0]
    cloud = SimCloud(spec, wall=trio.current_time, random=Random(1))
    for number, mark in enumerate(marks):
        cloud.ledger.facts.append(
            Fact(
                at=float(number),
                what=What.SERVER_CREATED,
                id=f"server-{number}",
                name="ci-small-0000000001",
                who=spec.credentials.username,
                metadata=(("trellis_deployment", mark),),
            )
        )

    found = judge(calm(), {spec.name: cloud}, [])

    assert broken == ("P3" in {violation.promise for violation in found})
