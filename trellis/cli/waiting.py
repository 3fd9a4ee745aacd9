"""Waiting for a request on the command line, over breaks of the connection."""

import time
import uuid
from typing import TYPE_CHECKING, Any, Final, NoReturn

from trellis.cli.shape import complain, note
from trellis.cli.tables import duration
from trellis.http.face import FaceUnreachableError

if TYPE_CHECKING:
    from trellis.http.face import FaceClient

_POLL_S: Final = 10.0
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

    Ctrl-C and *timeout* end the waiting, not the request, and say how to go on.

    Returns:
        the request as the face shows it.
    """
    begun = time.monotonic()
    request_id = made["id"]
    note(f"request {request_id} {made['state']}")
    try:
        return _follow(face, made, begun, timeout)
    except KeyboardInterrupt:
        note("")
        _leave(request_id, "Interrupted")
    except TimeoutError:
        _leave(request_id, f"Not ready after {duration(time.monotonic() - begun)}")


def _follow(face: "FaceClient", made: Any, begun: float, timeout: float | None) -> Any:
    told, lost_at = "", None
    while made["state"] in _WAITING:
        left = _POLL_S if timeout is None else begun + timeout - time.monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            made = face.get("requests", made["id"], wait_s=min(left, _POLL_S))
            if made["state"] in _WAITING:
                told = _tell(face.get("requests", made["id"], "explain"), told, begun)
            lost_at = None
        except FaceUnreachableError as broken:
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > _LOST_S:
                raise
            told = _tell_words(f"{broken}; trying again", told, begun)
            time.sleep(1)
    if made["state"] == "fulfilled":
        note(f"[{duration(time.monotonic() - begun)}] fulfilled")
    else:
        complain(
            f"Error: the request has {made['state']}: {made['reason'] or 'no reason is recorded'}",
            remedy=f"`trellis request explain {made['id']}` says what was tried.",
        )
    return made


def _tell(explanation: Any, told: str, begun: float) -> str:
    return _tell_words(explanation["words"], told, begun)


def _tell_words(words: str, told: str, begun: float) -> str:
    if words != told:
        note(f"[{duration(time.monotonic() - begun)}] {words}")
    return words


def _leave(request_id: str, why: str) -> NoReturn:
    complain(
        f"{why}. The request goes on without you.",
        remedy=f"Pick it up with `trellis request show {request_id}`, "
        f"or end it with `trellis request cancel {request_id}`.",
    )
    raise SystemExit(1)
