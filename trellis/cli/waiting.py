"""Waiting for a request on the command line, over breaks of the connection."""

import time
import uuid
from typing import TYPE_CHECKING, Any, Final, NoReturn

from trellis.cli.progress import Progress
from trellis.cli.shape import complain, note
from trellis.http.face import FaceUnreachableError
from trellis.live.text import duration

if TYPE_CHECKING:
    from trellis.http.face import FaceClient

_FIRST_POLL_S: Final = 1.0
_MOST_POLL_S: Final = 10.0
"""How long one poll waits; the reason for waiting is looked at in between."""
_LOST_S: Final = 120.0
"""How long a daemon that restarts is waited for."""
_WAITING: Final = ("requested", "pending")


def submit(face: "FaceClient", body: dict[str, Any], key: str | None) -> Any:
    """File a request once: sent again with the same key if the connection breaks meanwhile.

    Raises:
        FaceError: the daemon refuses, or is not there.
    """
    body = {**body, "idempotency_key": key or uuid.uuid4().hex}
    try:
        return face.post("requests", body=body)
    except FaceUnreachableError as broken:
        if broken.before_sending:
            raise
        note(f"{broken}; sending the same request again.")
        time.sleep(1)
        return face.post("requests", body=body)


def wait_for(face: "FaceClient", made: Any, timeout: float | None) -> Any:
    """Wait until a request is fulfilled or has ended, telling on stderr what it waits for.

    A terminal has one line, which is kept up to date; a log gets a line when something changes.
    Ctrl-C and *timeout* end the waiting, not the request, and say how to go on.

    Returns:
        the request as the face shows it.
    """
    begun = time.monotonic()
    request_id = made["id"]
    note(f"request {request_id} {made['state']}")
    progress = Progress(begun)
    try:
        with progress:
            made = _follow(face, made, progress, begun, timeout)
    except KeyboardInterrupt:
        _leave(request_id, "Interrupted")
    except TimeoutError:
        _leave(request_id, f"Not ready after {duration(time.monotonic() - begun)}")
    if made["state"] == "fulfilled":
        note(f"[{duration(time.monotonic() - begun)}] fulfilled")
    elif made["state"] not in _WAITING:
        complain(
            f"Error: the request has {_ended(made['state'])}: "
            f"{made['reason'] or 'no reason is recorded'}",
            remedy=f"`trellis request explain {made['id']}` says what was tried.",
        )
    return made


def _follow(
    face: "FaceClient", made: Any, progress: Progress, begun: float, timeout: float | None
) -> Any:
    lost_at, poll_s = None, _FIRST_POLL_S
    while made["state"] in _WAITING:
        if lost_at is None:  # what was known before a break is no news
            progress.tell(_words(made), ready_in_s=made["estimate_s"])
        left = poll_s if timeout is None else begun + timeout - time.monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            made = face.get("requests", made["id"], wait_s=min(left, poll_s))
            lost_at = None
            if not progress.live:
                poll_s = min(2 * poll_s, _MOST_POLL_S)
        except FaceUnreachableError as broken:
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > _LOST_S:
                raise
            progress.tell(f"{broken}; trying again", ready_in_s=None)
            time.sleep(1)
    return made


def _words(made: Any) -> str:
    return str(made["reason"] or f"It is {made['state']}.")


def _ended(state: str) -> str:
    return "been cancelled" if state == "cancelled" else state


def _leave(request_id: str, why: str) -> NoReturn:
    complain(
        f"{why}. The request goes on without you.",
        remedy=f"Pick it up with `trellis request show {request_id}`, "
        f"or end it with `trellis request cancel {request_id}`.",
    )
    raise SystemExit(1)
