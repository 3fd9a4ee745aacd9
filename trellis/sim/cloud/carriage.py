"""Carrying one call to a cloud as its verdict says, in process and on a wire alike."""

import enum
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import attrs
import trio

from trellis.sim.clock import sleep
from trellis.sim.cloud import spoil
from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.faults import Fate, Verdict, broken_answer
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
EVERY_S: Final = 0.2

Carried = Response | NoAnswer | Cut | Trickle | Endless

_SPOILERS: Final[Mapping[Fate, Callable[[Response, Random], Response]]] = {
    Fate.HUGE: lambda response, _: spoil.huge(response),
    Fate.SHORT: lambda response, _: spoil.short(response),
    Fate.ODD: spoil.odd,
    Fate.GARBAGE: lambda response, _: spoil.with_garbage(response),
}


async def carry(
    cloud: SimCloud,
    call: Request,
    *,
    patience: float | None = None,
    alive: Callable[[], bool] = lambda: True,
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
        return NoAnswer.RESET
    if verdict.acts and response is None:
        response = cloud.handle(call)
    if verdict.fate is Fate.PAGE:
        return html(200, "Please log in")
    if response is None or verdict.fate is Fate.BROKEN:
        return broken_answer(verdict.status)
    return _sent(response, verdict)


def _sent(response: Response, verdict: Verdict) -> Carried:
    """How the answer of a call that was carried out comes to the caller."""
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
