"""Those who want nodes, and what they wrote down of it: one of the oracle's two sources."""

from random import Random

import attrs
import trio

from trellis.errors import AlreadyDoneError, UnknownIdError
from trellis.model.names import LeaseId, NodeId
from trellis.model.request import Ask, NodeRequest, RequestState
from trellis.sim.door import Door
from trellis.sim.scenario import DemandSpec

FIRST_CANCEL_S = 90.0


@attrs.frozen(kw_only=True)
class HandedOut:
    """One node as a requestor got it."""

    node_id: NodeId
    external_id: str
    provider: str
    az: str | None
    label: str
    host_keys: tuple[str, ...]


@attrs.define
class Transcript:
    """All that one requestor saw, with the times at which he saw it.

    Attributes:
        kept_until: when he gave the nodes back, or his lease may have ended at the earliest.
        ended: how it ended for him: fulfilled, failed, cancelled; "" while it has not.
        forgotten: what he was told is unknown though he had been given it; "" if nothing.
    """

    requestor: str
    labels: tuple[str, ...]
    filed_at: float
    fulfilled_at: float | None = None
    nodes: tuple[HandedOut, ...] = ()
    kept_until: float | None = None
    ended: str = ""
    reason: str = ""
    forgotten: str = ""


class Requestors:
    """Files requests, uses nodes and gives them back, as the demand says."""

    def __init__(self, demand: DemandSpec, door: Door, random: Random) -> None:
        self._demand, self._door, self._random = demand, door, random
        self.transcripts: list[Transcript] = []

    async def run(self) -> None:
        """File all requests and return when the last one has ended for its requestor."""
        async with trio.open_nursery() as nursery:
            for number in range(self._demand.requests):
                await trio.sleep(self._random.expovariate(1 / self._demand.every_s))
                nursery.start_soon(self._one, number, Random(self._random.getrandbits(64)))

    async def _one(self, number: int, chance: Random) -> None:
        place = len(self.transcripts)
        try:
            await self._work(number, chance)
        except UnknownIdError as error:
            self.transcripts[place].forgotten = str(error)

    async def _work(self, number: int, chance: Random) -> None:
        sizes = self._demand.sizes
        count = chance.choices(range(1, len(sizes) + 1), weights=sizes)[0]
        labels = tuple(chance.choice(self._demand.labels) for _ in range(count))
        transcript = Transcript(
            requestor=f"job-{number}", labels=labels, filed_at=trio.current_time()
        )
        self.transcripts.append(transcript)
        ask = Ask(
            labels=labels,
            requestor=transcript.requestor,
            priority=chance.choice((100, 200, 200, 300)),
            lease_ttl_s=600,
            idempotency_key="once",
        )
        request = await self._door.call(lambda port: port.submit(ask))
        if chance.random() < self._demand.cancel:
            with trio.move_on_after(chance.uniform(0.0, FIRST_CANCEL_S)):
                request = await self._door.call(lambda port: port.wait(request.id))
            if request.state is not RequestState.FULFILLED:
                await self._cancel(request, transcript)
                return
        else:
            request = await self._door.call(lambda port: port.wait(request.id))
        if request.state is not RequestState.FULFILLED:
            transcript.ended = request.state.value
            transcript.reason = request.reason or ""
            return
        await self._use(request, transcript, chance)

    async def _cancel(self, request: NodeRequest, transcript: Transcript) -> None:
        await self._door.call(lambda port: port.cancel(request.id))
        transcript.ended = "cancelled"

    async def _use(self, request: NodeRequest, transcript: Transcript, chance: Random) -> None:
        nodes = await self._door.call(lambda port: port.nodes_of(request))
        transcript.fulfilled_at = trio.current_time()
        transcript.ended = "fulfilled"
        transcript.nodes = tuple(
            HandedOut(
                node_id=node.id,
                external_id=node.external_id or "",
                provider=node.provider,
                az=node.az,
                label=node.label,
                host_keys=node.host_keys,
            )
            for node in nodes
        )
        lease_id = request.lease_id
        assert lease_id is not None
        if chance.random() < self._demand.expire:
            # He dies: nobody may take the nodes from him before the lease is over.
            transcript.kept_until = transcript.fulfilled_at
            return
        left_s = self._demand.use.draw(chance)
        while left_s > 0:
            nap_s = min(left_s, 240.0)
            await trio.sleep(nap_s)
            left_s -= nap_s
            if left_s > 0 and not await self._renew(lease_id):
                break
        transcript.kept_until = trio.current_time()
        await self._door.call(lambda port: port.release(lease_id))

    async def _renew(self, lease_id: LeaseId) -> bool:
        try:
            await self._door.call(lambda port: port.renew(lease_id))
        except AlreadyDoneError:
            return False
        return True
