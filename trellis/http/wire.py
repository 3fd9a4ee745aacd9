"""What carries the calls of a road: the seam behind which HTTP is spoken, or simulated.

The road knows no HTTP library. `trellis.http.httpx_wire` puts any transport of httpx behind this
seam; a simulated cloud in the same process answers right here, without a request or an answer
being written and read as HTTP.
"""

from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from typing import Protocol

import attrs

from trellis.http.message import Call


class WireError(Exception):
    """A call was not answered; it may have been carried out. The text says why."""


class NotSentError(WireError):
    """There was no connection: the call was certainly not carried out."""


class UselessUrlError(WireError):
    """The call's URL cannot be used: nothing was sent."""


class UselessHeaderError(WireError):
    """A header of the call has characters that HTTP does not know: nothing was sent.

    It quotes nothing and has no cause: that would hold the header, which may be the token.
    """


class UnwritableError(WireError):
    """The call could not be written as HTTP; its cause may quote what it dislikes."""


class UnreadableBodyError(WireError):
    """The call's own body could not be read here, or has another size than was said.

    What was sent of it is not the whole, and no cloud takes a part for the whole.
    """


@attrs.define
class Progress:
    """How far a try has come.

    A wire that reports nothing (a simulated one) may have sent the call from the start.

    Attributes:
        certainly_not_sent: nothing was sent so far; set and unset by the wire.
    """

    certainly_not_sent: bool = False


@attrs.frozen
class WireAnswer:
    """An answer as it comes from a wire.

    Attributes:
        headers: names in any case.
        body: whole, and decoded; or as it comes, coded as ``Content-Encoding`` says.
        close: ends the answer, read to its end or not; None if nothing is held.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | AsyncIterable[bytes]
    close: Callable[[], Awaitable[None]] | None = None


class Wire(Protocol):
    """Carries the calls of one account, many at once."""

    async def send(self, call: Call, progress: Progress) -> WireAnswer:
        """Send a call and return the beginning of its answer, whatever its status.

        Its time limit is the caller's, who cancels it; that leaves open whether the call was
        carried out, unless *progress* says that it was not sent.

        Raises:
            WireError: there is no answer.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...
