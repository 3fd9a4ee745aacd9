"""Every refusal as a problem document (RFC 9457) that says what to do now."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from trellis.errors import (
    AlreadyDoneError,
    CloudError,
    ConflictError,
    KeyReusedError,
    RefusedError,
    StoreError,
    UnknownIdError,
)
from trellis.web.answers import Fault, Problem

PROBLEM_TYPE: Final = "application/problem+json"

_SHOWN_NAMES: Final = {"in_state": "state", "last_event_id": "Last-Event-ID"}
"""Parameters that cannot have in Python the name they have on the wire."""


class InvalidJsonError(Exception):
    """A body that is no JSON."""


_log = structlog.get_logger("trellis.web")

_BY_STATUS: Final[Mapping[int, tuple[str, str, str]]] = {
    400: (
        "bad-input",
        "The input is not as the call needs it",
        "Correct what `errors` names; GET /openapi.json has every field with its bounds.",
    ),
    403: ("forbidden", "The call is not allowed", "Call the daemon directly, not from a web page."),
    404: ("no-such-path", "There is no such path", "GET /openapi.json lists every call."),
    405: (
        "no-such-method",
        "The path has no such method",
        "The Allow header names the methods it has; GET /openapi.json says what they do.",
    ),
    408: ("too-slow", "The body did not arrive in time", "Send it again."),
    413: ("body-too-large", "The body is too large", "Ask in several requests."),
    415: (
        "wrong-media-type",
        "The media type is not JSON",
        "Send the header Content-Type: application/json.",
    ),
    421: (
        "foreign-host",
        "The Host header names another server",
        "Call the daemon by the address it listens at (web.listen in its configuration).",
    ),
    503: ("not-ready", "The daemon cannot serve this now", "Try again in a few seconds."),
}
_INTERNAL: Final = (
    "internal",
    "The daemon failed",
    "It is a fault of Trellis: please report it with the daemon's log of this moment.",
)


def problem(
    status: int,
    detail: str,
    *,
    kind: str = "",
    title: str = "",
    remedy: str = "",
    errors: tuple[Fault, ...] = (),
) -> Problem:
    """A problem of this status; what is not given is what the status usually means."""
    usual = _BY_STATUS.get(status, _INTERNAL if status >= 500 else _BY_STATUS[400])
    return Problem(
        type=f"urn:trellis:problem:{kind or usual[0]}",
        title=title or usual[1],
        status=status,
        detail=detail,
        remedy=remedy or usual[2],
        errors=errors,
    )


def answer_with(found: Problem, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """The response that carries a problem."""
    return Response(
        msgspec.json.encode(found),
        status_code=found.status,
        media_type=PROBLEM_TYPE,
        headers=dict(headers or {}),
    )


def on_refused(_: Request[Any, Any, Any], error: RefusedError) -> Response[bytes]:
    """What was asked cannot be done: 404, 409 or 422, by the kind of error."""
    match error:
        case UnknownIdError():
            found = problem(
                404,
                str(error),
                kind="unknown-id",
                title="There is no such thing",
                remedy=error.remedy or "List what there is; add ?gone=true for the last days.",
            )
        case KeyReusedError():
            found = problem(
                409,
                str(error),
                kind="key-reused",
                title="The idempotency key was used for another body",
                remedy=error.remedy or "Use a new key for a new request.",
            )
        case AlreadyDoneError():
            found = problem(
                409,
                str(error),
                kind="already-done",
                title="It has moved on",
                remedy=error.remedy or "Look at it again.",
            )
        case _:
            found = problem(
                422,
                str(error),
                kind="refused",
                title="This cannot be done",
                remedy=error.remedy or "Change what is asked.",
            )
    return answer_with(found)


def on_cloud_error(_: Request[Any, Any, Any], error: CloudError) -> Response[bytes]:
    """A call that needed a cloud at once, and the cloud failed."""
    return answer_with(
        problem(
            502,
            str(error),
            kind="cloud-failed",
            title="The cloud refused or failed",
            remedy="`trellis provider show NAME` says how the provider is; try again later.",
        )
    )


def on_store_error(_: Request[Any, Any, Any], error: StoreError) -> Response[bytes]:
    """A change that could not be recorded."""
    if isinstance(error, ConflictError):
        return answer_with(
            problem(
                409,
                str(error),
                kind="changed-meanwhile",
                title="It changed at the same moment",
                remedy="Look at it again, and repeat the call if it still makes sense.",
            )
        )
    return answer_with(problem(503, str(error), remedy="See the daemon's log; it may be ending."))


def on_invalid(_: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    """Input that breaks a bound or has an unknown key."""
    extra = error.extra if isinstance(error.extra, list) else []
    errors = tuple(_fault(entry) for entry in extra if isinstance(entry, dict))
    detail = "; ".join(f"{fault.path}: {fault.message}" for fault in errors) or error.detail
    return answer_with(problem(400, detail, errors=errors))


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What Litestar refuses by itself: no such path or method, no JSON."""
    path = request.url.path[:200]
    if error.status_code >= 500 and error.status_code != 503:
        return on_crash(request, error)
    if error.status_code == 404:
        detail = f"{path} is no path of this server."
    elif error.status_code == 405:
        detail = f"{path} has no {request.method}."
    else:
        detail = error.detail
    return answer_with(problem(error.status_code, detail), error.headers)


def on_invalid_json(_: Request[Any, Any, Any], error: InvalidJsonError) -> Response[bytes]:
    """A body that is no JSON at all."""
    return answer_with(
        problem(400, f"The body is not JSON: {error}", remedy="Send one JSON object, in UTF-8.")
    )


def on_crash(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A fault of ours: logged whole, and nothing of it shown."""
    _log.error("web_call_failed", method=request.method, path=request.url.path, exc_info=error)
    return answer_with(problem(500, "The call failed; nothing more is known here."))


def _fault(entry: Mapping[str, Any]) -> Fault:
    path = str(entry.get("key", ""))
    return Fault(
        path=_SHOWN_NAMES.get(path, path) or "(body)", message=str(entry.get("message", ""))
    )


HANDLERS: Final[dict[int | type[Exception], Callable[..., Response[bytes]]]] = {
    RefusedError: on_refused,
    CloudError: on_cloud_error,
    StoreError: on_store_error,
    ValidationException: on_invalid,
    HTTPException: on_http_error,
    InvalidJsonError: on_invalid_json,
    Exception: on_crash,
}
