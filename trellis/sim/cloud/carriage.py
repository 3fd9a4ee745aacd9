"""Carrying one call to a cloud as its verdict says, in process and on a wire alike."""

import enum
from collections.abc import Callable

import attrs
import trio

from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.faults import Fate, broken_answer
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


async def carry(
    cloud: SimCloud,
    call: Request,
    *,
    patience: float | None = None,
    alive: Callable[[], bool] = lambda: True,
) -> Response | NoAnswer | Cut:
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
            await trio.sleep(verdict.latency_s)
            return html(502, "Bad Gateway")
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
            await trio.sleep(verdict.latency_s)
            return NoAnswer.RESET
    response = cloud.handle(call) if verdict.acts and verdict.acts_first else None
    if patience is not None and verdict.latency_s > patience:
        if response is None and verdict.acts:
            cloud.handle_after(call, verdict.latency_s)
        return NoAnswer.SILENT
    await trio.sleep(verdict.latency_s)
    if not alive():
        return NoAnswer.RESET
    if verdict.acts and response is None:
        response = cloud.handle(call)
    if verdict.fate is Fate.PAGE:
        return html(200, "Please log in")
    if response is None or verdict.fate is Fate.BROKEN:
        return broken_answer(verdict.status)
    return Cut(response) if verdict.fate is Fate.CUT else response
