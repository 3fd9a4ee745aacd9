"""Who asks for nodes: so many tasks, each of which asks, waits, uses, releases and asks again."""

import json
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import trio

from tests.bench.arithmetic import Life
from tests.bench.child import BrokenRunError
from tests.bench.connection import AnswerError, Connection

_POLL_S: Final = 30
_AGAIN_S: Final = 0.1
_WAITING: Final = ("requested", "pending")
_EVENTS_S: Final = 60.0


@attrs.define(kw_only=True)
class Requestors:
    """Requests one node at a time in each of its tasks, over the daemon's REST face.

    Attributes:
        url: the daemon's.
        label: what is asked for.
        hold_s: how long each node is used.
        patience_s: how long a daemon that does not answer is tried again.
        lives: those that were served and released, in the order of their release.
        refused: requests that were not served, and why.
        held: of those still in use, in tasks that were told to keep theirs.
        waiting: requests that are filed and not served yet, by their id.
    """

    url: str
    label: str = "small"
    hold_s: float = 0.0
    patience_s: float = 0.0
    lives: list[Life] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)
    held: list[Life] = attrs.field(factory=list)
    waiting: dict[str, Life] = attrs.field(factory=dict)
    _stop: bool = False
    _filed: int = 0

    def stop(self) -> None:
        """Have no more requests filed; those that are go on to their end."""
        self._stop = True

    async def keep(self, number: int, *, ramp_s: float) -> None:
        """Keep so many going until `stop`, then until the last has ended.

        Args:
            number: of tasks.
            ramp_s: over which they begin, one after the other.
        """
        async with trio.open_nursery() as nursery:
            for place in range(number):
                nursery.start_soon(self._again_and_again, ramp_s * place / number)

    async def at_once(self, number: int, *, keep: bool = False) -> None:
        """File so many at once, on connections that stand already, and see each to its end.

        Args:
            keep: the nodes are not released; they are in `held`.
        """
        ready, begin = 0, trio.Event()

        async def one() -> None:
            nonlocal ready
            async with Connection(self.url) as face:
                await face.open()
                ready += 1
                if ready == number:
                    begin.set()
                await begin.wait()
                await self.live(face, keep=keep)

        async with trio.open_nursery() as nursery:
            for _ in range(number):
                nursery.start_soon(one)

    async def in_turn(self, number: int, *, tasks: int) -> None:
        """Get so many nodes and keep them, a few requests at a time."""
        left = number

        async def some() -> None:
            nonlocal left
            async with Connection(self.url) as face:
                while left > 0:
                    left -= 1
                    await self.live(face, keep=True)

        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(some)

    async def _again_and_again(self, delay_s: float) -> None:
        await trio.sleep(delay_s)
        async with Connection(self.url) as face:
            await face.open()
            while not self._stop:
                await self.live(face)

    async def live(self, face: Connection, *, keep: bool = False) -> None:
        """One request: filed, waited for, used, released."""
        self._filed += 1
        body = {"labels": [self.label], "requestor": "bench"}
        body["idempotency_key"] = key = f"{self.label}-{self._filed}"
        life = Life(key=key, filed=time.monotonic())
        answer = await self._patiently(lambda: face.post("/api/v1/requests", body))
        life.request_id = answer["id"]
        self.waiting[life.request_id] = life
        path = f"/api/v1/requests/{life.request_id}?wait_s={_POLL_S}"
        while answer["state"] in _WAITING:
            answer = await self._patiently(lambda: face.get(path))
        life.ready = face.heard_at
        del self.waiting[life.request_id]
        if answer["state"] != "fulfilled":
            self.refused.append(f"request {life.request_id}: {answer['state']}: {answer['reason']}")
            return
        (node,) = answer["nodes"]
        life.node_id, life.server_id = node["id"], node["external_id"]
        life.provider, life.moved = node["provider"], bool(answer["declined"])
        lease = answer["lease"]["id"]
        if keep:
            self.held.append(life)
            return
        if self.hold_s:
            await trio.sleep(self.hold_s)
        life.released = time.monotonic()
        await self._patiently(lambda: face.delete(f"/api/v1/leases/{lease}"))
        self.lives.append(life)

    async def _patiently(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Try again while no daemon answers, for `patience_s`: each call may be repeated.

        Raises:
            BrokenRunError: it does not answer, or answers with an error.
        """
        until = time.monotonic() + self.patience_s
        while True:
            try:
                return await call()
            except AnswerError as refused:
                raise BrokenRunError(f"the daemon refuses a call: {refused}") from refused
            except (OSError, trio.BrokenResourceError) as broken:
                if time.monotonic() >= until:
                    raise BrokenRunError(f"the daemon does not answer: {broken}") from broken
            await trio.sleep(_AGAIN_S)

    def faults(self) -> list[str]:
        """What must never be: a request not served, a node handed out twice."""
        found = list(self.refused)
        owners: dict[str, str] = {}
        for life in (*self.lives, *self.held):
            other = owners.setdefault(life.node_id, life.request_id)
            if other != life.request_id:
                found.append(f"node {life.node_id} was given to {other} and to {life.request_id}")
        return found


async def gone_times(url: str, node_ids: Iterable[str]) -> dict[str, float]:
    """When the daemon recorded each of these nodes as gone, in seconds of the bench's clock.

    Reads the event stream from its beginning, so it costs the daemon nothing while it is measured.

    Raises:
        BrokenRunError: the stream does not tell of all of them.
    """
    missing = dict.fromkeys(node_ids)
    found: dict[str, float] = {}
    to_bench = time.monotonic() - time.time()
    parts = urlsplit(url)
    with trio.move_on_after(_EVENTS_S):
        async with await trio.open_tcp_stream(parts.hostname or "", parts.port or 0) as stream:
            # HTTP/1.0: the answer then comes without chunks, one event after another.
            head = (
                f"GET /api/v1/events HTTP/1.0\r\nHost: {parts.netloc}\r\nLast-Event-ID: 0\r\n\r\n"
            )
            await stream.send_all(head.encode())
            rest = b""
            while missing:
                part = await stream.receive_some(1 << 20)
                if not part:
                    break
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    if not line.startswith(b"data: {") or b'"node.gone"' not in line:
                        continue
                    event = json.loads(line[6:])
                    if event["subject"] in missing:
                        at = datetime.fromisoformat(event["at"]).timestamp()
                        found[event["subject"]] = at + to_bench
                        del missing[event["subject"]]
    if missing:
        raise BrokenRunError(f"the event stream does not tell that {len(missing)} nodes are gone")
    return found
