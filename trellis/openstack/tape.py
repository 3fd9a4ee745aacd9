"""keystoneauth1's synchronous code over our asynchronous road, without a thread.

That code is pure between two requests, so it is run again and again: each time it needs an answer
that is not on the tape yet, it is left by an exception, the request is made by awaiting it, and
the answer joins the tape. A login takes one to three runs.
"""

import collections
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import keystoneauth1.session
import requests
import requests.adapters
import requests.structures

from trellis.http.message import Answer, Call
from trellis.http.road import Road

T = TypeVar("T")


async def run_tape(road: Road, function: Callable[[Any], T], *, budget_s: float) -> T:
    """Run a synchronous function of a keystoneauth1 session, its requests going over the road.

    The function must do nothing but compute and send; it must not sleep or read a clock.
    Cancelling it leaves nothing behind but a request that may have been answered.

    Args:
        function: is given the session, several times.
        budget_s: seconds for each request.

    Raises:
        CloudError: what the road raises, past the function.
        keystoneauth1.exceptions.ClientException: what the function itself makes of an answer.
    """
    tape: dict[_Key, list[requests.Response]] = {}
    carrier = _carrier()
    while True:
        try:
            return function(_session(carrier, tape))
        except _AnswerNeeded as needed:
            prepared, answers = needed.prepared, needed.answers
        answers.append(await _carry(road, prepared, budget_s))


_Key = tuple[str | None, str | None, Any]


class _AnswerNeeded(BaseException):
    """Leaves the function; no Exception, so that no ``except Exception`` on the way keeps it."""

    def __init__(
        self, prepared: requests.PreparedRequest, answers: list[requests.Response]
    ) -> None:
        super().__init__()
        self.prepared = prepared
        self.answers = answers


class _Adapter(requests.adapters.BaseAdapter):
    """Answers from the tape.

    By request and count, not by position: the generic plugins keep what they discovered from one
    run to the next, and then leave that request out.
    """

    def __init__(self, tape: dict[_Key, list[requests.Response]]) -> None:
        super().__init__()
        self._tape = tape
        self._seen: collections.Counter[_Key] = collections.Counter()

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        key = (request.method, request.url, request.body)
        self._seen[key] += 1
        answers = self._tape.setdefault(key, [])
        if len(answers) < self._seen[key]:
            raise _AnswerNeeded(request, answers)
        return answers[self._seen[key] - 1]

    def close(self) -> None:
        """Nothing to close: the road is not ours."""


def _carrier() -> requests.Session:
    """A session of requests, for all runs: to make one takes longer than a run."""
    session = requests.Session()
    session.trust_env = False
    session.adapters.clear()
    return session


def _session(
    carrier: requests.Session, tape: dict[_Key, list[requests.Response]]
) -> keystoneauth1.session.Session:
    adapter = _Adapter(tape)
    carrier.mount("http://", adapter)
    carrier.mount("https://", adapter)
    return keystoneauth1.session.Session(session=carrier)


async def _carry(
    road: Road, prepared: requests.PreparedRequest, budget_s: float
) -> requests.Response:
    body = prepared.body
    call = Call(
        service="identity",
        method=prepared.method or "GET",
        url=prepared.url or "",
        path_label=_label(prepared.url or ""),
        headers={
            name: value
            for name, value in prepared.headers.items()
            if name.lower() not in ("content-length", "connection", "accept-encoding")
        },
        content=body.encode() if isinstance(body, str) else body,
        budget_s=budget_s,
    )
    return _as_requests(await road.send(call), prepared)


def _as_requests(answer: Answer, prepared: requests.PreparedRequest) -> requests.Response:
    response = requests.Response()
    response.status_code = answer.status
    response.url = prepared.url or ""
    response.request = prepared
    response.headers = requests.structures.CaseInsensitiveDict(answer.headers)
    response.headers.pop("content-encoding", None)
    if answer.retry_after_s is not None:
        response.headers["Retry-After"] = str(answer.retry_after_s)  # in seconds, however it came
    response.encoding = "utf-8"
    # requests has no public way to give a response its body.
    response._content = answer.body
    return response


def _label(url: str) -> str:
    """The path as a label: identity's login paths hold no ids."""
    return urlsplit(url).path.rstrip("/") or "/"
