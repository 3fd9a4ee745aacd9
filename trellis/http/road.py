"""The road of one account: its turns, its wires, its time budgets, its safe retries."""

import random as random_
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import httpx
import trio

from trellis import __version__
from trellis.errors import AnswerLostError, CloudError, MisconfiguredError, UnreachableError
from trellis.http.body import BodyError, read_body
from trellis.http.buckets import RatePlan
from trellis.http.counts import CallCount, CallKey
from trellis.http.message import Answer, Call, Verb
from trellis.http.rates import Rates
from trellis.http.retry_after import retry_after

MOST_TRIES: Final = 3
_FIRST_WAIT_S: Final = 0.5
_CONNECT_S: Final = 15.0
_CLOSE_WITHIN_S: Final = 1.0
_WORTH_A_RETRY: Final = frozenset({429, 502, 503, 504})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NOT_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
)
_HEADERS: Final = {
    "User-Agent": f"trellis/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
}


class Road:
    """All HTTP of one account; shared by its regions and services.

    The transport stays the caller's to close.

    Args:
        cloud: the account's name, for messages.
        transport: carries the calls.
        plan: what is known of the cloud's rate limits.
        at_once: how many calls to one service may be in flight; as many as the transport has
            lanes, so that calls wait for their turn here, where deletions come first.
        random: for the spread of retries.
        wall: UTC seconds since the epoch, for dates in answers and for `note_past`.
    """

    def __init__(
        self,
        cloud: str,
        transport: httpx.AsyncBaseTransport,
        *,
        plan: RatePlan | None = None,
        at_once: int = 20,
        random: random_.Random,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.cloud = cloud
        self._transport = transport
        self._rates = Rates(RatePlan() if plan is None else plan, at_once)
        self._random = random
        self._wall = wall
        self._counts: dict[CallKey, CallCount] = {}

    def beside(self, transport: httpx.AsyncBaseTransport) -> "Road":
        """Another road of the same account, on wires of its own: turns and counts are shared."""
        road = Road(self.cloud, transport, random=self._random, wall=self._wall)
        road._rates = self._rates
        road._counts = self._counts
        return road

    @property
    def counts(self) -> Mapping[CallKey, CallCount]:
        """Tries made so far and their seconds, by kind; grows while you hold it."""
        return self._counts

    def waiting(self, service: str) -> int:
        """How many calls wait for their turn at a service."""
        return self._rates.gate(service).waiting

    def rate(self, service: str, verb: Verb) -> float:
        """Calls per second allowed now, as learnt; inf if nothing limits them."""
        return self._rates.gate(service).rate(verb)

    def left_today(self, service: str, verb: Verb) -> int | None:
        """How many such calls a limit of a day still allows; None if there is no such limit."""
        return self._rates.gate(service).left_today(verb)

    def replan(self, plan: RatePlan) -> None:
        """Keep to other limits from now on; what the cloud's refusals taught stays."""
        self._rates.replan(plan)

    async def turn(self, service: str, verb: Verb) -> None:
        """Wait for the turn of a call and take it; then send it with ``turn_taken``.

        Turns of a class come in the order they were asked for. Cancelled, it takes none. The
        call should follow within 5 s, as a connection is kept for it that long.
        """
        await self._rates.gate(service).turn(verb)

    def note_past(self, service: str, verb: Verb, times: Iterable[float]) -> None:
        """Count calls of earlier processes against the limits of a day; once, at start.

        Args:
            times: UTC seconds since the epoch, as stored with the intents.
        """
        shift = trio.current_time() - self._wall()
        self._rates.gate(service).note_past(verb, [at + shift for at in times])

    async def send(self, call: Call) -> Answer:
        """Wait for the call's turn, send it, and return the whole answer, whatever its status.

        Tried up to three times where that is safe (`Call.safe_to_repeat`): after a connection
        that failed or broke, and after 429, 502, 503, 504, if the wait fits into the budget.
        Cancelling it leaves open whether the cloud carried the call out.

        Raises:
            UnreachableError: certainly not carried out.
            AnswerLostError: sent, and no whole answer came within the budget.
            MisconfiguredError: the cloud answered with a redirect, or the URL cannot be used.
        """
        gate = self._rates.gate(call.service)
        if call.turn_taken:
            gate.enter_promised()
        elif not gate.enter_at_once(call.verb):
            await gate.enter(call.verb, ahead=call.ahead)
        deadline = trio.current_time() + call.budget_s
        tries = MOST_TRIES if call.safe_to_repeat else 1
        for attempt in range(1, tries + 1):
            outcome: Answer | CloudError
            try:
                outcome = await self._try(call, deadline)
            except (UnreachableError, AnswerLostError) as error:
                outcome = error
            finally:
                gate.leave()
            if attempt == tries or not await self._again(call, outcome, attempt, deadline):
                break
        if isinstance(outcome, CloudError):
            raise outcome
        return outcome

    async def _again(
        self, call: Call, outcome: Answer | CloudError, attempt: int, deadline: float
    ) -> bool:
        """Wait for the next try and enter the gate for it; False if there is to be none."""
        wait = _FIRST_WAIT_S * 2 ** (attempt - 1) * self._random.uniform(0.5, 1.5)
        if isinstance(outcome, Answer):
            if outcome.status not in _WORTH_A_RETRY:
                return False
            wait = max(wait, outcome.retry_after_s or 0.0)
        if trio.current_time() + wait >= deadline:
            return False
        await trio.sleep(wait)
        with trio.move_on_at(deadline) as scope:
            await self._rates.gate(call.service).enter(call.verb, ahead=call.ahead)
        return not scope.cancelled_caught

    async def _try(self, call: Call, deadline: float) -> Answer:
        """Send the call once, count it, and let the buckets learn from the answer."""
        began = trio.current_time()
        gate = self._rates.gate(call.service)
        try:
            answer = await self._exchange(call, deadline)
        except UnreachableError:
            self._count(call, "unreachable", began)
            raise
        except AnswerLostError:
            self._count(call, "lost", began)
            raise
        self._count(call, f"{answer.status // 100}xx", began)
        if _is_too_fast(answer):
            gate.refused(call.verb, sent_at=began, pause_s=answer.retry_after_s or None)
        else:
            gate.accepted(call.verb, sent_at=began)
        if answer.status in _REDIRECTS:
            raise self._redirected(call, answer)
        return answer

    async def _exchange(self, call: Call, deadline: float) -> Answer:
        progress = _Progress()
        request = self._request(call, progress)
        answer: Answer | None = None
        try:
            with trio.move_on_at(deadline):
                answer = await self._carry(call, request)
        except _NOT_SENT as error:
            raise self._unreachable(call, error) from error
        except httpx.UnsupportedProtocol as error:
            raise MisconfiguredError(
                f"the URL has no scheme that can be used: {_origin(call.url)}. "
                "It must begin with https:// or http://",
                cloud=self.cloud,
                call=call.name,
            ) from error
        except httpx.LocalProtocolError as error:
            # Its text quotes the header it dislikes, which may be the token.
            raise AnswerLostError(
                f"the call to {_origin(call.url)} could not be written as HTTP",
                cloud=self.cloud,
                call=call.name,
            ) from error
        except (httpx.TransportError, BodyError) as error:
            raise AnswerLostError(
                f"the answer of {_origin(call.url)} was lost: {_words(error)}",
                cloud=self.cloud,
                call=call.name,
            ) from error
        except (ValueError, OverflowError) as error:
            # What a resolver or a socket says of a host or a port that cannot be.
            if not progress.certainly_not_sent:
                raise
            raise self._useless_url(call, str(error)) from error
        if answer is None:
            raise self._too_late(call, progress)
        return answer

    async def _carry(self, call: Call, request: httpx.Request) -> Answer:
        response = await self._transport.handle_async_request(request)
        try:
            body = await read_body(response)
        finally:
            if not response.is_closed:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_WITHIN_S):
                    await response.aclose()
        return Answer(
            status=response.status_code,
            headers=response.headers,
            body=body,
            retry_after_s=(
                retry_after(response.headers, body, now=self._wall())
                if response.status_code >= 400
                else None
            ),
            cloud=self.cloud,
            call=call.name,
        )

    def _request(self, call: Call, progress: "_Progress") -> httpx.Request:
        try:
            return httpx.Request(
                call.method,
                _parsed(call.url, tuple((call.params or {}).items())),
                headers={**_HEADERS, **call.headers},
                content=call.content,
                extensions={
                    "trace": progress.trace,
                    "timeout": {"connect": min(_CONNECT_S, call.budget_s)},
                },
            )
        except httpx.InvalidURL as error:
            raise self._useless_url(call, str(error)) from error
        except UnicodeEncodeError:
            raise MisconfiguredError(
                "a header of the call has characters that HTTP does not know",
                cloud=self.cloud,
                call=call.name,
            ) from None  # it holds the header, which may be the token

    def _useless_url(self, call: Call, why: str) -> MisconfiguredError:
        return MisconfiguredError(
            f"the URL cannot be used: {why}", cloud=self.cloud, call=call.name
        )

    def _count(self, call: Call, outcome: str, began: float) -> None:
        key = CallKey(
            service=call.service,
            method=call.method,
            path_label=call.path_label,
            outcome=outcome,
        )
        seconds = trio.current_time() - began
        self._counts[key] = self._counts.get(key, CallCount()).and_one(seconds)

    def _unreachable(self, call: Call, error: Exception) -> UnreachableError:
        where = _origin(call.url)
        if _is_certificate_trouble(error):
            text = (
                f"the certificate of {where} is not trusted: {_words(error)}. Name the "
                "authority's file as cacert of this cloud in clouds.yaml (or as OS_CACERT)"
            )
        else:
            text = f"no connection to {where}: {_words(error)}"
        return UnreachableError(text, cloud=self.cloud, call=call.name)

    def _too_late(self, call: Call, progress: "_Progress") -> CloudError:
        where = _origin(call.url)
        if progress.certainly_not_sent:
            return UnreachableError(
                f"no connection to {where} within {call.budget_s:g} s",
                cloud=self.cloud,
                call=call.name,
            )
        return AnswerLostError(
            f"no whole answer of {where} within {call.budget_s:g} s",
            cloud=self.cloud,
            call=call.name,
        )

    def _redirected(self, call: Call, answer: Answer) -> MisconfiguredError:
        host = _host(answer.headers.get("location", "")) or "another path of the same host"
        return MisconfiguredError(
            f"{_origin(call.url)} redirects to {host}, and redirects are not followed, as they "
            "would carry the credentials there. Write the right URL as auth_url or as "
            f"{call.service.replace('-', '_')}_endpoint_override of this cloud in clouds.yaml",
            cloud=self.cloud,
            call=call.name,
            status=answer.status,
            cloud_request_id=answer.request_id,
        )


@attrs.define
class _Progress:
    """How far a try has come, from what the transport reports to httpx's ``trace`` extension.

    A transport that reports nothing (a simulated one) may have sent the call from the start.
    """

    certainly_not_sent: bool = False

    async def trace(self, event: str, _info: Mapping[str, Any]) -> None:
        if event in ("lane.wait.started", "connection.connect_tcp.started"):
            self.certainly_not_sent = True
        elif event.endswith(".send_request_headers.started"):
            self.certainly_not_sent = False


@lru_cache(maxsize=2048)
def _parsed(url: str, params: tuple[tuple[str, str], ...]) -> httpx.URL:
    """The URL with its query; kept, as parsing takes longer than all else about a request.

    Raises:
        httpx.InvalidURL: it cannot be used.
    """
    parsed = httpx.URL(url)
    return parsed.copy_merge_params(dict(params)) if params else parsed


def _is_certificate_trouble(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _words(error: BaseException) -> str:
    """The error's own text, or that of what caused it: httpx's is often empty."""
    cause: BaseException | None = error
    while cause is not None:
        if str(cause):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _is_too_fast(answer: Answer) -> bool:
    """Whether a refusal speaks of the rate of calls."""
    if answer.status == 429:
        return True
    # A 413 that names no delay, or none, may speak of a quota (nova to Icehouse).
    return answer.status == 413 and (
        bool(answer.retry_after_s) or b"quota" not in answer.body[:4096].lower()
    )


def _origin(url: str) -> str:
    """Scheme, host and port of a URL, without any credentials in it."""
    scheme, has_one, _ = url.partition("://")
    return f"{scheme[:10] if has_one else ''}://{_host(url)}"


def _host(url: str) -> str:
    """Host and port of a URL; "" if it has none that can be made out."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2][:255]
    except ValueError:
        return ""
