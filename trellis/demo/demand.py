"""Those who want nodes in the demo: they ask over REST, and write down what they got."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final

import attrs
import trio

from trellis.demo.transcript import HandedOut, Transcript
from trellis.http.local import LocalClient

_SIZES: Final = {1: 0.78, 2: 0.07, 3: 0.15}
"""How many nodes a request asks for, with their shares."""
_LABELS: Final = {"debian-12": 0.6, "debian-12-large": 0.2, "ci-base": 0.2}
_REQUESTORS: Final = ("gate", "check", "nightly", "ada")
_PRIORITIES: Final = (100, 200, 200, 300)
_CANCEL: Final = 0.06
_CANCEL_WITHIN_S: Final = (0.2, 5.0)
_USE_S: Final = (2.0, 8.0)
_AT_ONCE: Final = 3
"""Requests that are there from the start, so that something is to be seen."""
_POLL_S: Final = 20
_WAITING: Final = ("requested", "pending")


@attrs.define(eq=False)
class Requestors:
    """All the demand there is.

    Args:
        rate: requests filed in a second, on average.
        chance: decides who asks for what, when and for how long.

    Attributes:
        transcripts: one a request, in the order they were filed.
    """

    rate: float
    chance: Random
    transcripts: list[Transcript] = attrs.field(factory=list)
    _patient: set[trio.CancelScope] = attrs.field(factory=set, init=False)
    _ended: bool = attrs.field(default=False, init=False)

    async def run(self, face: LocalClient) -> None:
        """File requests until `end`, and return when each has ended for its requestor.

        Args:
            face: the daemon's REST.

        Raises:
            LocalCallError: the daemon refuses a call, or is gone.
        """
        async with trio.open_nursery() as nursery:
            for _ in range(_AT_ONCE):
                nursery.start_soon(
                    self._job, face, self._next(), Random(self.chance.getrandbits(64))
                )
            while not self._ended:
                with self._patience():
                    await trio.sleep(self.chance.expovariate(self.rate))
                    job = self._next()
                    nursery.start_soon(self._job, face, job, Random(self.chance.getrandbits(64)))

    def end(self) -> None:
        """Nobody asks for anything more: who waits cancels, who has nodes gives them back."""
        self._ended = True
        for scope in self._patient:
            scope.cancel()

    @contextmanager
    def _patience(self) -> Iterator[trio.CancelScope]:
        """A scope that `end` cancels."""
        scope = trio.CancelScope()
        if self._ended:
            scope.cancel()
        self._patient.add(scope)
        try:
            with scope:
                yield scope
        finally:
            self._patient.discard(scope)

    def _next(self) -> Transcript:
        count = self.chance.choices(list(_SIZES), weights=list(_SIZES.values()))[0]
        labels = self.chance.choices(list(_LABELS), weights=list(_LABELS.values()), k=count)
        transcript = Transcript(
            requestor=f"{self.chance.choice(_REQUESTORS)}-{len(self.transcripts) + 1}",
            labels=tuple(labels),
            filed_at=trio.current_time(),
        )
        self.transcripts.append(transcript)
        return transcript

    async def _job(self, face: LocalClient, transcript: Transcript, chance: Random) -> None:
        """One request, from asking to giving back."""
        request = await face.post(
            "/requests",
            {
                "labels": transcript.labels,
                "requestor": transcript.requestor,
                "priority": chance.choice(_PRIORITIES),
                "idempotency_key": "once",
            },
        )
        path = f"/requests/{request['id']}"
        with self._patience() as scope:
            if chance.random() < _CANCEL:
                scope.deadline = trio.current_time() + chance.uniform(*_CANCEL_WITHIN_S)
            while request["state"] in _WAITING:
                request = await face.get(path, wait_s=_POLL_S)
        if request["state"] in _WAITING:
            # One that is fulfilled just now is given back by that, too.
            await face.delete(path)
            transcript.ended = "cancelled"
        elif request["state"] != "fulfilled":
            transcript.ended = request["state"]
            transcript.reason = request["reason"] or ""
        else:
            await self._use(face, request, transcript, chance)

    async def _use(
        self, face: LocalClient, request: Any, transcript: Transcript, chance: Random
    ) -> None:
        transcript.fulfilled_at = trio.current_time()
        transcript.ended = "fulfilled"
        transcript.nodes = tuple(
            HandedOut(
                node_id=node["id"],
                external_id=node["external_id"] or "",
                provider=node["provider"],
                az=node["az"],
                label=node["label"],
            )
            for node in request["nodes"]
        )
        with self._patience():
            await trio.sleep(chance.uniform(*_USE_S))
        transcript.kept_until = trio.current_time()
        await face.delete(f"/leases/{request['lease']['id']}")
