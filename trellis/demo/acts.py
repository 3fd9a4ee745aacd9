"""The acts of the demo once its processes run: demand and trouble, the end, the judgement."""

import math
from pathlib import Path
from random import Random
from typing import Any, Final

import trio

from trellis.demo.child import Child
from trellis.demo.demand import Requestors
from trellis.demo.ending import drain, recorded_nodes, settle
from trellis.demo.judge import judge
from trellis.demo.outcome import Outcome, figures_of
from trellis.demo.plan import Demo, Ending
from trellis.demo.screen import Screen
from trellis.demo.stage import Stage, since_start_s
from trellis.demo.trouble import end_trouble, make_trouble
from trellis.demo.truth import look
from trellis.demo.workplace import Workplace
from trellis.http.local import LocalCallError, LocalClient

_ANSWERS_WITHIN_S: Final = 60.0
_KNOCK_EVERY_S: Final = 0.05
_LOOK_EVERY_S: Final = 0.1
_SHOW_EVERY_S: Final = 0.5
_MOST: Final = 50
_STANDING: Final = ("ready", "in-use")
_TRACEBACKS: Final = (
    "Traceback (most recent call last)",
    "  + Exception Group Traceback (most recent call last)",
)
"""A plain one, and the outermost of a group: what a nursery ends with."""


async def play(
    demo: Demo,
    stage: Stage,
    screen: Screen,
    ending: Ending,
    place: Workplace,
    daemon: Child,
    control_url: str,
    clouds: tuple[str, ...],
) -> Outcome:
    """Play all acts; the daemon has ended in good order when it returns.

    Args:
        demo: what is to be shown.
        stage: what is told of it.
        screen: where.
        ending: says when the demand is to end.
        place: where the daemon's configuration is.
        daemon: its process, which has been told to begin.
        control_url: of the clouds' control face.
        clouds: their names.

    Raises:
        LocalCallError: the daemon or the clouds refuse a call, or do not answer.
    """
    requestors = Requestors(chance=Random(demo.seed), rate=demo.rate)
    async with (
        LocalClient(f"{stage.url}/api/v1") as face,
        LocalClient(control_url) as control,
    ):
        await _until_it_answers(face)
        ending.gentle = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, face, screen)
            nursery.start_soon(_first_node, face, stage)
            await _demand(demo, stage, ending, requestors, face, control, clouds)
            place.want_no_images()
            await drain(face)
            problems = await settle(face, stage)
            recorded = await recorded_nodes(face)
            nursery.cancel_scope.cancel()
        if status := await daemon.stop():
            problems.append(f"The daemon ended with status {status}, not 0.")
        if bugs := bugs_in(daemon.log):
            problems.append(f"The daemon met with {bugs} errors that no cloud is to blame for.")
        truths = await look(control, clouds)
    return Outcome(
        verdicts=judge(truths, requestors.transcripts, recorded),
        figures=figures_of(truths, requestors.transcripts, stage.first_node_s),
        problems=tuple(problems),
    )


def bugs_in(log: Path) -> int:
    """How many errors of Trellis itself a daemon's log has: no fault of a cloud is a traceback."""
    with log.open(encoding="utf-8", errors="replace") as file:
        return sum(line.startswith(_TRACEBACKS) for line in file)


async def _until_it_answers(face: LocalClient) -> None:
    """Knock until the daemon answers; whether it still runs is looked after elsewhere."""
    until = trio.current_time() + _ANSWERS_WITHIN_S
    while True:
        try:
            await face.get("/status", most=1)
        except LocalCallError:
            if trio.current_time() > until:
                raise
            await trio.sleep(_KNOCK_EVERY_S)
        else:
            return


async def _demand(
    demo: Demo,
    stage: Stage,
    ending: Ending,
    requestors: Requestors,
    face: LocalClient,
    control: LocalClient,
    clouds: tuple[str, ...],
) -> None:
    """Demand and trouble until the clock or a signal ends both; everything is given back then."""
    stage.phase = "demand flows"
    for_s = math.inf if demo.for_s is None else demo.for_s
    if demo.for_s is not None:
        stage.ends_at = trio.current_time() + demo.for_s
    async with trio.open_nursery() as busy:
        busy.start_soon(requestors.run, face)
        async with trio.open_nursery() as troubled:
            if not demo.calm:
                troubled.start_soon(make_trouble, control, clouds, stage)
            with trio.move_on_after(for_s):
                await ending.asked.wait()
            troubled.cancel_scope.cancel()
        stage.ends_at, stage.key = None, "Ctrl-C again: end at once"
        stage.phase = "ending: everything is given back"
        stage.tell(stage.phase)
        await end_trouble(control, clouds, stage)
        requestors.end()


async def _watch(face: LocalClient, screen: Screen) -> None:
    """Show the daemon's state twice a second until cancelled."""
    status: Any = None
    while True:
        notice = ""
        try:
            status = await face.get("/status", most=_MOST)
        except LocalCallError as lost:
            notice = f"LOST: {lost}"
        screen.show(status, notice)
        await trio.sleep(_SHOW_EVERY_S)


async def _first_node(face: LocalClient, stage: Stage) -> None:
    """See when the first node is ready, or already in use."""
    while True:
        by_state = (await face.get("/status", most=1))["nodes"]["by_state"]
        if any(by_state.get(state) for state in _STANDING):
            stage.first_node_s = since_start_s()
            stage.tell(f"first node ready after {stage.first_node_s:.1f} s")
            return
        await trio.sleep(_LOOK_EVERY_S)
