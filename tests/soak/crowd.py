"""Those who want nodes: they go on over the daemon's death, and write down what they got."""

import json
import math
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any, Final

import attrs
import trio

from tests.bench.child import BrokenRunError
from tests.bench.connection import AnswerError, Connection
from trellis.demo.transcript import HandedOut, Transcript

_SIZES: Final = {1: 0.8, 2: 0.12, 3: 0.08}
_CANCEL: Final = 0.06
_CANCEL_WITHIN_S: Final = (0.2, 20.0)
_HOLD: Final = 0.03
_POLL_S: Final = 20
_AGAIN_S: Final = 0.2
_PATIENCE_S: Final = 120.0
_WAITING: Final = ("requested", "pending")


@attrs.define(kw_only=True)
class Crowd:
    """All the demand there is.

    Attributes:
        url: the daemon's.
        chance: decides who asks for what, when and for how long.
        rate: nodes asked for in a second, on average.
        use_s: how long a node is used, on average.
        most: requests at a time; more are not filed, however long the daemon was away.
        transcripts: one a request, in the order they were filed.
        breaches: what the daemon said to a requestor that it must never say.
        answered_at: when the daemon last answered any of them, in Trio's time.
    """

    url: str
    chance: Random
    rate: float
    use_s: float
    most: int
    transcripts: list[Transcript] = attrs.field(factory=list)
    breaches: list[str] = attrs.field(factory=list)
    answered_at: float = -math.inf
    _over: trio.Event = attrs.field(factory=trio.Event)

    async def run(self) -> None:
        """File requests until `end`, and return when each has ended for its requestor.

        Raises:
            BrokenRunError: no daemon answers for two minutes.
        """
        room = trio.CapacityLimiter(self.most)
        nodes_a_request = sum(size * share for size, share in _SIZES.items())
        async with trio.open_nursery() as nursery:
            while not self._over.is_set():
                await self._pause(self.chance.expovariate(self.rate / nodes_a_request))
                if room.available_tokens:
                    chance = Random(self.chance.getrandbits(64))
                    nursery.start_soon(self._one, room, self._next(), chance)

    def end(self) -> None:
        """Nobody asks for anything more: who waits cancels, who has nodes gives them back."""
        self._over.set()

    async def _pause(self, seconds: float) -> bool:
        """Wait so long, or until the demand is over; whether it is."""
        with trio.move_on_after(seconds):
            await self._over.wait()
        return self._over.is_set()

    def _next(self) -> Transcript:
        count = self.chance.choices(list(_SIZES), weights=list(_SIZES.values()))[0]
        transcript = Transcript(
            requestor=f"job-{len(self.transcripts) + 1}",
            labels=("small",) * count,
            filed_at=trio.current_time(),
        )
        self.transcripts.append(transcript)
        return transcript

    async def _one(
        self, room: trio.CapacityLimiter, transcript: Transcript, chance: Random
    ) -> None:
        async with room, Connection(self.url) as face:
            job = _Job(face=face, transcript=transcript, chance=chance, crowd=self)
            await job.run()
            if job.breach:
                self.breaches.append(f"{transcript.requestor}: {job.breach}")


@attrs.define(kw_only=True)
class _Job:
    """One request, from asking to giving back."""

    face: Connection
    transcript: Transcript
    chance: Random
    crowd: Crowd
    breach: str = ""

    async def run(self) -> None:
        body = {
            "labels": list(self.transcript.labels),
            "requestor": self.transcript.requestor,
            "priority": self.chance.choice((100, 200, 200, 300)),
            # Sent again after a kill it must find the same request.
            "idempotency_key": "once",
        }
        filed = await self._patiently(lambda: self.face.post("/api/v1/requests", body))
        path = f"/api/v1/requests/{filed['id']}"
        request = await self._served(path, filed)
        if request["state"] in _WAITING:
            await self._patiently(lambda: self.face.delete(path))
            self.transcript.ended = "cancelled"
        elif request["state"] != "fulfilled":
            self.transcript.ended = request["state"]
            self.transcript.reason = request["reason"] or ""
        else:
            await self._use(path, request)

    async def _served(self, path: str, request: Any) -> Any:
        """Poll until it is served; some lose patience, and all do when the demand is over."""
        until = trio.current_time() + 1e6
        if self.chance.random() < _CANCEL:
            until = trio.current_time() + self.chance.uniform(*_CANCEL_WITHIN_S)
        while request["state"] in _WAITING and trio.current_time() < until:
            poll = f"{path}?wait_s={min(_POLL_S, max(0, round(until - trio.current_time())))}"
            request = await self._patiently(partial(self.face.get, poll))
            if self.crowd._over.is_set():
                break
        return request

    async def _use(self, path: str, request: Any) -> None:
        transcript = self.transcript
        transcript.fulfilled_at = trio.current_time()
        transcript.ended = "fulfilled"
        transcript.nodes = tuple(_handed_out(node) for node in request["nodes"])
        self.face.close()
        await self.crowd._pause(self.chance.expovariate(1 / self.crowd.use_s))
        await self._still_mine(path, request)
        if len(transcript.nodes) == 1 and self.chance.random() < _HOLD:
            await self._hold(transcript.nodes[0].node_id, request["lease"]["id"])
        else:
            transcript.kept_until = trio.current_time()
            await self._release(request["lease"]["id"])

    async def _still_mine(self, path: str, request: Any) -> None:
        """Over however many restarts, the lease and the nodes are as they were (P10)."""
        now = await self._patiently(lambda: self.face.get(path))
        lease = now["lease"] or {}
        if lease.get("id") != request["lease"]["id"]:
            self.breach = f"its lease was forgotten: {json.dumps(now)}"
        elif [n["id"] for n in now["nodes"]] != [n["id"] for n in request["nodes"]]:
            self.breach = f"its nodes are others now: {json.dumps(now)}"

    async def _hold(self, node_id: str, lease_id: str) -> None:
        """Give a node back but for a person's look at it; it lives on until that one is done."""
        node = f"/api/v1/nodes/{node_id}"
        await self._patiently(lambda: self.face.post(f"{node}/hold", {"by": "soak"}))
        await self._release(lease_id)
        await self.crowd._pause(self.chance.uniform(5.0, 60.0))
        held = await self._patiently(lambda: self.face.get(node))
        if held["state"] != "hold":
            self.breach = f"node {node_id} is {held['state']}, though it was put on hold"
        self.transcript.kept_until = trio.current_time()
        await self._patiently(lambda: self.face.delete(node))

    async def _release(self, lease_id: str) -> None:
        await self._patiently(lambda: self.face.delete(f"/api/v1/leases/{lease_id}"))

    async def _patiently(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Try again while no daemon answers: every call here may be repeated.

        Raises:
            BrokenRunError: it answers nobody for long, or answers with an error.
        """
        began = trio.current_time()
        while True:
            try:
                answer = await call()
            except AnswerError as refused:
                # 503: it has just been started and reads its clouds, or is about to end.
                if refused.status != 503 or self._waited_s(began) >= _PATIENCE_S:
                    raise BrokenRunError(f"the daemon refuses a call: {refused}") from refused
            except (OSError, trio.BrokenResourceError) as broken:
                if self._waited_s(began) >= _PATIENCE_S:
                    raise BrokenRunError(f"the daemon does not answer: {broken!r}") from broken
            else:
                self.crowd.answered_at = trio.current_time()
                return answer
            await trio.sleep(_AGAIN_S)

    def _waited_s(self, began: float) -> float:
        """How long nobody was answered; a long poll may be broken off by each of many kills."""
        return trio.current_time() - max(began, self.crowd.answered_at)


def _handed_out(node: Any) -> HandedOut:
    return HandedOut(
        node_id=node["id"],
        external_id=node["external_id"] or "",
        provider=node["provider"],
        az=node["az"],
        label=node["label"],
    )
