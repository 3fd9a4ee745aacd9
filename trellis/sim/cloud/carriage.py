"""Carrying one call to a cloud as its verdict says, in process and on a wire alike."""

import enum
from collections.abc import Callable, Mapping
from random import Random
from typing import Final, Protocol

import attrs
import trio

from trellis.sim.clock import sleep
from trellis.sim.cloud import spoil
from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.faults import Fate, Verdict, broken_answer
from trellis.sim.cloud.spec import CloudSpec
from trellis.sim.cloud.spooled import Spool, Spooled
from trellis.sim.cloud.uploads import Ticket
from trellis.sim.cloud.wire import Request, Response, html


class NoAnswer(enum.Enum):
    """How a call ends that is not answered."""

    REFUSED = "refused"
    """There is no connection."""
    SILENT = "silent"
    """The connection stays, and nothing is ever heard on it."""
    RESET = "reset"
    """The connection breaks."""


@attrs.frozen
class Cut:
    """The connection breaks in the middle of this answer."""

    response: Response


@attrs.frozen
class Trickle:
    """This answer comes byte by byte, evenly over so many seconds."""

    response: Response
    over_s: float

    @property
    def pause_s(self) -> float:
        """Between two bytes."""
        return self.over_s / max(1, len(self.response.body))


@attrs.frozen
class Endless:
    """This answer begins and does not end: blanks follow, `PIECE` every `EVERY_S`."""

    response: Response


PIECE: Final = b" " * 1024 * 1024
MOST_BODY: Final = 16 * 1024 * 1024
"""Of bodies that are held in memory."""
_MIB: Final = 1024 * 1024
EVERY_S: Final = 0.2

Carried = Response | NoAnswer | Cut | Trickle | Endless

_SPOILERS: Final[Mapping[Fate, Callable[[Response, Random], Response]]] = {
    Fate.HUGE: lambda response, _: spoil.huge(response),
    Fate.SHORT: lambda response, _: spoil.short(response),
    Fate.ODD: spoil.odd,
    Fate.GARBAGE: lambda response, _: spoil.with_garbage(response),
}


class Intake(Protocol):
    """Takes the body of a call in, piece by piece."""

    async def take(self, piece: bytes | memoryview) -> None:
        """Take the next piece."""
        ...

    def end(self) -> Spooled:
        """All of it has come."""
        ...

    def give_up(self) -> None:
        """No more of it will come."""
        ...


@attrs.define
class _Here:
    """Takes a body in without a thread: on virtual time there is none."""

    _spool: Spool

    async def take(self, piece: bytes | memoryview) -> None:
        self._spool.take(piece)
        await trio.lowlevel.checkpoint()

    def end(self) -> Spooled:
        return self._spool.end()

    def give_up(self) -> None:
        self._spool.give_up()


def intake_here(spec: CloudSpec) -> Intake:
    """Takes a body in at once, where it is."""
    return _Here(Spool(hashed=spec.hashes_images))


async def carry(
    cloud: SimCloud,
    call: Request,
    *,
    patience: float | None = None,
    alive: Callable[[], bool] = lambda: True,
    intake: Callable[[CloudSpec], Intake] = intake_here,
) -> Carried:
    """Let a call take its time and its course.

    It acts at its beginning or at its end, which is decided when it comes in; cancelled in
    between, it was carried out or not.

    Args:
        cloud: where it goes.
        call: the call.
        patience: seconds for which the caller waits for an answer; a call that acts at its end
            is still carried out when he has given up. None is for ever.
        alive: whether the caller still lives when the answer is due; the call of a dead one is
            not carried out any more.
        intake: what takes in a body that is still to come; one for each call.
    """
    verdict = cloud.judge(call)
    match verdict.fate:
        case Fate.REFUSED:
            await trio.lowlevel.checkpoint()
            return NoAnswer.REFUSED
        case Fate.HUNG:
            return NoAnswer.SILENT
        case Fate.GATEWAY:
            await sleep(verdict.latency_s)
            return html(502, "Bad Gateway")
        case Fate.UNAUTHORISED | Fate.REDIRECTED:
            await sleep(verdict.latency_s)
            away = verdict.fate is Fate.REDIRECTED
            return spoil.redirected() if away else cloud.refusal(call)
    if call.incoming is not None and verdict.acts:
        came = await _come(cloud, call, intake(cloud.spec))
        if not isinstance(came, Request):
            return came
        call = came
        if not alive():
            cloud.broke_off(call)
            return NoAnswer.RESET
    match verdict.fate:
        case Fate.LOST:
            cloud.note_lost(call, verdict)
            if verdict.acts_after_s is not None:
                cloud.handle_after(call, verdict.acts_after_s)
            elif verdict.acts and verdict.acts_first:
                cloud.handle(call)
            elif verdict.acts:
                cloud.handle_after(call, verdict.latency_s)
            if verdict.silent:
                return NoAnswer.SILENT
            await sleep(verdict.latency_s)
            return NoAnswer.RESET
    response = cloud.handle(call) if verdict.acts and verdict.acts_first else None
    if patience is not None and verdict.latency_s > patience:
        if response is None and verdict.acts:
            cloud.handle_after(call, verdict.latency_s)
        return NoAnswer.SILENT
    await sleep(verdict.latency_s)
    if not alive():
        if call.admitted:
            cloud.broke_off(call)
        return NoAnswer.RESET
    if verdict.acts and response is None:
        response = cloud.handle(call)
    if verdict.fate is Fate.PAGE:
        return html(200, "Please log in")
    if response is None or verdict.fate is Fate.BROKEN:
        return broken_answer(verdict.status)
    return _sent(response, verdict)


async def _come(cloud: SimCloud, call: Request, intake: Intake) -> Request | Response | NoAnswer:
    """Let the body of a call come in: the call with it, or how the call ends before that."""
    let_in = cloud.announce(call)
    if isinstance(let_in, Response):
        intake.give_up()
        return let_in
    call = attrs.evolve(call, admitted=True, about=let_in.about)
    try:
        ended, body = await _taken_in(cloud, call, let_in, intake)
    except BaseException:
        # Whatever ends it, the client gone or its daemon killed: the service gives up.
        intake.give_up()
        cloud.broke_off(call)
        raise
    if ended is None and let_in.spools:
        return attrs.evolve(call, incoming=None, spooled=intake.end())
    intake.give_up()
    if ended is None:
        return attrs.evolve(call, incoming=None, body=body)
    if ended is not NoAnswer.SILENT:
        cloud.broke_off(call)
    return ended


async def _taken_in(
    cloud: SimCloud, call: Request, let_in: Ticket, intake: Intake
) -> tuple[Response | NoAnswer | None, bytes]:
    """Read a body; how it ends before its end, and what of it is held in memory."""
    assert call.incoming is not None
    taken, held, rate = 0, bytearray(), cloud.spec.image_rate_mib_s
    async with call.incoming.open() as pieces:
        async for piece in pieces:
            taken += len(piece)
            if let_in.breaks_at is not None and taken >= let_in.breaks_at:
                return NoAnswer.RESET, b""
            if let_in.hangs_at is not None and taken >= let_in.hangs_at:
                return NoAnswer.SILENT, b""
            if let_in.spools:
                await intake.take(piece)
            elif taken > MOST_BODY:
                return html(413, "Request Entity Too Large"), b""
            else:
                held += piece
            if rate > 0.0:
                await sleep(len(piece) / _MIB / rate)
    return None, bytes(held)


def _sent(response: Response, verdict: Verdict) -> Carried:
    """How the answer of a call that was carried out comes to the caller."""
    if verdict.fate is Fate.ANSWERED:
        return response
    match verdict.fate:
        case Fate.CUT:
            return Cut(response)
        case Fate.TRICKLED:
            return Trickle(response, verdict.trickle_s)
        case Fate.ENDLESS:
            return Endless(response)
        case fate if response.body and fate in _SPOILERS:
            return _SPOILERS[fate](response, Random(verdict.variant))
        case _:
            return response
