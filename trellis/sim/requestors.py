"""Those who want nodes: they file requests, use what they get and write down what they saw."""

import math
from collections.abc import Collection, Sequence
from random import Random
from typing import Final

import trio

from trellis.errors import AlreadyDoneError, RefusedError, UnknownIdError
from trellis.model.names import LeaseId, RequestId
from trellis.model.request import Ask, NodeRequest, RequestState
from trellis.sim.clock import sleep
from trellis.sim.demand import DemandSpec, Wanted, wanted
from trellis.sim.door import Door
from trellis.sim.transcript import HandedOut, Transcript

SHORT_TTL_S: Final = 600
LONG_TTL_S: Final = 3600
_LONG_USE_S: Final = 2400.0
RENEWS_AFTER: Final = 0.4
"""A lease is renewed when so much of its time to live is over."""
LEASE_AT_LEAST: Final = 0.9
"""Share of its time to live that a lease has at least: a clock that is put right may hurry."""
_TO_GIVE_BACK_S: Final = 900.0
"""Who does not get rid of his nodes for so long is not waited for any more."""


class Requestors:
    """Files requests, uses nodes and gives them back, as the demand says.

    Args:
        streams: what is wanted.
        door: the way to the daemon of the moment.
        random: all chance that is in the demand.
        only: those who file their requests; None is everybody.
    """

    def __init__(
        self,
        streams: Sequence[DemandSpec],
        door: Door,
        random: Random,
        *,
        only: Collection[str] | None = None,
    ) -> None:
        self._streams, self._door, self._random = streams, door, random
        self._only = only
        self._waiting: dict[str, trio.CancelScope] = {}
        self._busy_until = 0.0
        self.transcripts: list[Transcript] = []

    async def run(self, *, not_before: float, patience_s: float) -> None:
        """File all requests and return when the last one has ended for its requestor.

        Those who still wait *patience_s* after the last one was filed, and so long after
        *not_before*, give up and cancel; those who have nodes use them and give them back.
        """
        with trio.CancelScope() as all_of_them:  # noqa: ASYNC912 - its nurseries wait
            async with trio.open_nursery() as watcher:
                async with trio.open_nursery() as requestors:
                    for one in wanted(self._streams, self._random):
                        if self._only is not None and one.requestor not in self._only:
                            continue
                        await trio.sleep_until(one.at)
                        requestors.start_soon(self._one, one)
                    last = max(trio.current_time(), not_before) + patience_s
                    watcher.start_soon(self._give_up, last, all_of_them)
                watcher.cancel_scope.cancel()

    async def _give_up(self, at: float, all_of_them: trio.CancelScope) -> None:
        await trio.sleep_until(at)
        for scope in list(self._waiting.values()):
            scope.cancel()
        while (over_at := max(at, self._busy_until) + _TO_GIVE_BACK_S) > trio.current_time():  # noqa: ASYNC110
            await trio.sleep_until(over_at)
        all_of_them.cancel()

    async def _one(self, one: Wanted) -> None:
        transcript = Transcript(
            requestor=one.requestor,
            labels=one.labels,
            filed_at=trio.current_time(),
            stream=one.stream,
            priority=one.priority,
            tenant=one.tenant,
        )
        self.transcripts.append(transcript)
        try:
            await self._work(one, transcript)
        except UnknownIdError as error:
            transcript.forgotten = str(error)
        except RefusedError as error:
            transcript.ended, transcript.reason = "failed", str(error)
        except trio.Cancelled:
            # All are given up, and his last call has no answer still.
            transcript.ended, transcript.reason = "", "the daemon did not answer"
            raise

    async def _work(self, one: Wanted, transcript: Transcript) -> None:
        ask = Ask(
            labels=one.labels,
            requestor=one.requestor,
            tenant=one.tenant,
            priority=one.priority,
            provider=one.provider,
            lease_ttl_s=SHORT_TTL_S if one.use_s < _LONG_USE_S else LONG_TTL_S,
            idempotency_key="once",
        )
        request = await self._door.call(lambda port: port.submit(ask))
        until = math.inf if one.ends_at is None else one.ends_at
        if one.cancel_after_s is not None:
            until = min(until, trio.current_time() + one.cancel_after_s)
        answer = await self._wait(request.id, one.requestor, until)
        if answer is None:
            await self._door.call(lambda port: port.cancel(request.id))
            given_up = trio.current_time() < until
            transcript.ended = "" if given_up else "cancelled"
        elif answer.state is not RequestState.FULFILLED:
            # He has not cancelled it: to him it failed, whatever it is called.
            transcript.ended = "failed"
            transcript.reason = f"{answer.state.value}: {answer.reason or 'no reason given'}"
        else:
            await self._use(answer, transcript, one)

    async def _wait(self, id: RequestId, requestor: str, until: float) -> NodeRequest | None:
        """The request when it has ended; None if it has not *until* then, or all are given up."""
        with trio.CancelScope(deadline=until) as scope:
            self._waiting[requestor] = scope
            try:
                return await self._door.call(lambda port: port.wait(id))
            finally:
                del self._waiting[requestor]
        return None

    async def _use(self, request: NodeRequest, transcript: Transcript, one: Wanted) -> None:
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
        if one.expires:
            # He dies: nobody may take the nodes from him before the lease is over.
            ttl_s = request.ask.lease_ttl_s or SHORT_TTL_S
            over_at = transcript.filed_at + LEASE_AT_LEAST * ttl_s
            transcript.kept_until = max(transcript.fulfilled_at, over_at)
            return
        ends_at = trio.current_time() + one.use_s
        if one.ends_at is not None:
            ends_at = min(ends_at, one.ends_at)
        self._busy_until = max(self._busy_until, ends_at)
        nap_s = RENEWS_AFTER * (request.ask.lease_ttl_s or SHORT_TTL_S)
        while (left_s := ends_at - trio.current_time()) > 0.0:
            await sleep(min(left_s, nap_s))
            if left_s > nap_s and not await self._renew(lease_id):
                break
        transcript.kept_until = trio.current_time()
        await self._door.call(lambda port: port.release(lease_id))

    async def _renew(self, lease_id: LeaseId) -> bool:
        try:
            await self._door.call(lambda port: port.renew(lease_id))
        except AlreadyDoneError:
            return False
        return True
