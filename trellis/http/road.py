"""The road of one account: its turns, its wires, its time budgets, its safe retries."""

import random as random_
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

import trio

from trellis.errors import (
    AnswerLostError,
    CloudError,
    MisconfiguredError,
    RejectedError,
    UnreachableError,
)
from trellis.http.body import BodyError, read_body, whole_body
from trellis.http.buckets import RatePlan
from trellis.http.counts import CallCount, CallKey
from trellis.http.httpx_wire import Transport, wire_of
from trellis.http.message import Answer, Call, Headers, Verb
from trellis.http.rates import Buckets, Gate, Rates
from trellis.http.retry_after import retry_after
from trellis.http.wire import (
    NotSentError,
    Progress,
    UnreadableBodyError,
    UnwritableError,
    UselessHeaderError,
    UselessUrlError,
    WireError,
)

MOST_TRIES: Final = 3
_FIRST_WAIT_S: Final = 0.5
_CLOSE_WITHIN_S: Final = 1.0
_WORTH_A_RETRY: Final = frozenset({429, 502, 503, 504})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class Road:
    """All HTTP of one account; shared by its regions and services.

    The transport stays the caller's to close.

    Args:
        cloud: the account's name, for messages.
        transport: carries the calls: a wire, or any transport of httpx.
        plan: what is known of the cloud's rate limits.
        at_once: how many calls to one service may be in flight; as many as the transport has
            lanes, so that calls wait for their turn here, where deletions come first.
        random: for the spread of retries.
        wall: UTC seconds since the epoch, for dates in answers and for `note_past`.
        buckets: shared with other accounts, in place of *plan*.
    """

    def __init__(
        self,
        cloud: str,
        transport: Transport,
        *,
        plan: RatePlan | None = None,
        at_once: int = 20,
        random: random_.Random,
        wall: Callable[[], float] = time.time,
        buckets: Buckets | None = None,
    ) -> None:
        self.cloud = cloud
        self._wire = wire_of(transport)
        self._at_once = at_once
        self._rates = Rates(RatePlan() if plan is None else plan, at_once, buckets)
        self._random = random
        self._wall = wall
        self._counts: dict[tuple[str, str, str, str], CallCount] = {}

    def beside(self, transport: Transport, *, buckets: Buckets | None = None) -> "Road":
        """Another road of the same account, on wires of its own: turns and counts are shared.

        Args:
            buckets: of its own turns, shared with roads of other accounts.
        """
        road = Road(self.cloud, transport, random=self._random, wall=self._wall)
        if buckets is None:
            road._rates = self._rates
        else:
            road._rates = Rates(RatePlan(), self._at_once, buckets)
        road._counts = self._counts
        return road

    @property
    def counts(self) -> Mapping[CallKey, CallCount]:
        """Tries made so far and their seconds, by kind."""
        return {CallKey(*kind): count for kind, count in self._counts.items()}

    def waiting(self, service: str) -> int:
        """How many calls wait for their turn at a service."""
        return self._rates.gate(service).waiting

    def rate(self, service: str, verb: Verb) -> float:
        """Calls per second allowed now, as learnt; inf if nothing limits them."""
        return self._rates.gate(service).rate(verb)

    def delay(self, service: str, verb: Verb) -> float:
        """Seconds until such a call may go if none waits; see `Gate.delay`."""
        return self._rates.gate(service).delay(verb)

    def within(self, service: str, verb: Verb, span_s: float) -> float:
        """About how many such calls may go in the next *span_s* seconds; see `Gate.within`."""
        return self._rates.gate(service).within(verb, span_s)

    def in_line(self, service: str, verb: Verb) -> int:
        """How many such calls wait for their turn."""
        return self._rates.gate(service).in_line(verb)

    def slowest(self, service: str) -> float:
        """Calls per second of the class that is limited most now; inf if nothing limits any."""
        return self._rates.gate(service).slowest

    def left_today(self, service: str, verb: Verb) -> int | None:
        """How many such calls a limit of a day still allows; None if there is no such limit."""
        return self._rates.gate(service).left_today(verb)

    def replan(self, plan: RatePlan) -> None:
        """Keep to other limits from now on; what the cloud's refusals taught stays."""
        self._rates.replan(plan)

    async def turn(self, service: str, verb: Verb) -> None:
        """Wait for the turn of a call and take it; then send it with ``turn_taken``.

        Turns of a class come in the order they were asked for. Cancelled, it takes none. The
        call should follow within 5 s: a connection is kept for it that long, and so long it counts
        against a limit of a day.
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
        Cancelling it leaves open whether the cloud carried the call out. A call with a streamed
        body is tried once, and takes a turn, but no place of those in flight: it lasts, and has a
        connection of its own.

        Raises:
            UnreachableError: certainly not carried out.
            AnswerLostError: sent, and no whole answer came within the budget.
            MisconfiguredError: the cloud answered with a redirect, or the URL cannot be used.
            RejectedError: the streamed body cannot be read here.
        """
        gate, verb = self._rates.gate(call.service), call.verb
        if call.turn_taken:
            gate.enter_promised(verb)
        elif not gate.enter_at_once(verb):
            await gate.enter(verb, ahead=call.ahead)
        deadline = trio.current_time() + call.budget_s
        if call.stream is not None:
            gate.leave()
            return await self._try(call, gate, verb, deadline)
        tries = MOST_TRIES if call.safe_to_repeat else 1
        for attempt in range(1, tries + 1):
            outcome: Answer | CloudError
            try:
                outcome = await self._try(call, gate, verb, deadline)
            except (UnreachableError, AnswerLostError) as error:
                outcome = error
            finally:
                gate.leave()
            if attempt == tries or not await self._again(call, outcome, attempt, deadline):
                break
        if isinstance(outcome, CloudError):
            try:
                raise outcome
            finally:
                del outcome  # its traceback has this frame: all of it would wait for a collection
        return outcome

    async def _again(
        self, call: Call, outcome: Answer | CloudError, attempt: int, deadline: float
    ) -> bool:
        """Wait for the next try and enter the gate for it; False if there is to be none."""
        if isinstance(outcome, Answer) and outcome.status not in _WORTH_A_RETRY:
            return False
        wait = _FIRST_WAIT_S * 2 ** (attempt - 1) * self._random.uniform(0.5, 1.5)
        if isinstance(outcome, Answer):
            wait = max(wait, outcome.retry_after_s or 0.0)
        if trio.current_time() + wait >= deadline:
            return False
        await trio.sleep(wait)
        with trio.move_on_at(deadline) as scope:
            await self._rates.gate(call.service).enter(call.verb, ahead=call.ahead)
        return not scope.cancelled_caught

    async def _try(self, call: Call, gate: Gate, verb: Verb, deadline: float) -> Answer:
        """Send the call once, count it, and let the buckets learn from the answer."""
        began = trio.current_time()
        try:
            answer = await self._exchange(call, deadline)
        except UnreachableError:
            self._count(call, "unreachable", began)
            raise
        except AnswerLostError:
            self._count(call, "lost", began)
            raise
        self._count(call, f"{answer.status // 100}xx", began)
        if _is_too_fast(answer, streamed=call.stream is not None):
            gate.refused(verb, sent_at=began, pause_s=answer.retry_after_s or None)
        else:
            gate.accepted(verb, sent_at=began)
        if answer.status in _REDIRECTS:
            raise self._redirected(call, answer)
        return answer

    async def _exchange(self, call: Call, deadline: float) -> Answer:
        progress = Progress()
        answer: Answer | None = None
        try:
            with trio.CancelScope(deadline=deadline):
                answer = await self._carry(call, progress)
        except NotSentError as error:
            raise self._unreachable(call, error) from error
        except UselessUrlError as error:
            raise MisconfiguredError(
                f"the URL cannot be used: {error}", cloud=self.cloud, call=call.name
            ) from error
        except UnreadableBodyError as error:
            raise RejectedError(
                f"what was to be sent cannot be read here: {error}",
                cloud=self.cloud,
                call=call.name,
            ) from error
        except UselessHeaderError:
            raise MisconfiguredError(
                "a header of the call has characters that HTTP does not know",
                cloud=self.cloud,
                call=call.name,
            ) from None
        except UnwritableError as error:
            # Its text quotes the header it dislikes, which may be the token.
            raise AnswerLostError(
                f"the call to {_origin(call.url)} could not be written as HTTP",
                cloud=self.cloud,
                call=call.name,
            ) from error
        except (WireError, BodyError) as error:
            raise AnswerLostError(
                f"the answer of {_origin(call.url)} was lost: {_words(error)}",
                cloud=self.cloud,
                call=call.name,
            ) from error
        if answer is None:
            raise self._too_late(call, progress)
        return answer

    async def _carry(self, call: Call, progress: Progress) -> Answer:
        came = await self._wire.send(call, progress)
        headers = Headers(came.headers)
        if came.close is None and isinstance(came.body, bytes):
            body = whole_body(came.body)
        else:
            try:
                body = await read_body(came.body, headers.get("content-encoding", ""))
            finally:
                if came.close is not None:
                    until = trio.current_time() + _CLOSE_WITHIN_S
                    with trio.CancelScope(shield=True, deadline=until):
                        await came.close()
        delay = retry_after(headers, body, now=self._wall()) if came.status >= 400 else None
        return Answer(
            status=came.status,
            headers=headers,
            body=body,
            retry_after_s=delay,
            cloud=self.cloud,
            call=call.name,
        )

    def _count(self, call: Call, outcome: str, began: float) -> None:
        kind = (call.service, call.method, call.path_label, outcome)
        count = self._counts.get(kind)
        if count is None:
            count = self._counts[kind] = CallCount()
        count.add(trio.current_time() - began)

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

    def _too_late(self, call: Call, progress: Progress) -> CloudError:
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


def _is_certificate_trouble(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _words(error: BaseException) -> str:
    """The error's own text, or that of what caused it: its own is often empty."""
    cause: BaseException | None = error
    while cause is not None:
        if str(cause):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _is_too_fast(answer: Answer, *, streamed: bool) -> bool:
    """Whether a refusal speaks of the rate of calls."""
    if answer.status == 429:
        return True
    # A 413 that names no delay, or none, may speak of a quota (nova to Icehouse); that of a
    # streamed body of its size.
    return answer.status == 413 and (
        bool(answer.retry_after_s) or (not streamed and b"quota" not in answer.body[:4096].lower())
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
