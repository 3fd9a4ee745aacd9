"""What travels on the road: a call, and the answer to it."""

import enum
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeVar

import attrs
import msgspec

from trellis.errors import CloudBrokenError

T = TypeVar("T")

UNREADABLE: tuple[type[Exception], ...] = (
    msgspec.DecodeError,
    UnicodeDecodeError,
    RecursionError,
)
"""What msgspec raises for a body that is no JSON; the last for one nested without end."""

DEFAULT_BUDGET_S = 60.0
_LONGEST_ID = 100


class Verb(enum.Enum):
    """The classes of call that clouds limit separately, and that take turns with one another."""

    __hash__ = object.__hash__  # each is there once; Enum's own is a function of Python's

    DELETE = "delete"
    READ = "read"
    CHANGE = "change"
    CREATE = "create"

    @classmethod
    def of(cls, method: str, path_label: str = "") -> "Verb":
        """The class of a call; a POST to ``…/action`` changes something and creates nothing."""
        if method in ("GET", "HEAD", "OPTIONS"):
            return cls.READ
        if method == "DELETE":
            return cls.DELETE
        if method == "POST" and not path_label.endswith("/action"):
            return cls.CREATE
        return cls.CHANGE


class Stream(Protocol):
    """A body that is read while it is sent, never held as a whole; as an image's file."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def open(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Read it from its beginning; each try of a call opens it once.

        Raises:
            OSError: it cannot be read.
        """
        ...


@attrs.frozen(kw_only=True)
class Call:
    """One call to a cloud.

    Attributes:
        service: the service's type, as ``compute``; it chooses the rate bucket.
        url: the whole URL, without the query.
        path_label: template of the path for counts and messages, as ``/servers/{id}``; it
            holds no id, so that there are few.
        headers: they may carry a token and are in no repr and no message.
        content: the whole body.
        stream: the body in place of ``content``; a wire sends ``Content-Length`` with it.
        budget_s: seconds for the call with all its tries, from when its turn has come.
        safe_to_repeat: whether a second try does no harm; by default GET, HEAD and DELETE.
        turn_taken: the caller has waited for its turn with `Road.turn`; the first try takes none.
        ahead: it goes before others of its class that wait, as many wait for its one answer.
    """

    service: str
    method: str
    url: str
    path_label: str
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    params: Mapping[str, str] | None = None
    content: bytes | None = attrs.field(default=None, repr=False)
    stream: Stream | None = attrs.field(default=None, repr=False)
    budget_s: float = DEFAULT_BUDGET_S
    safe_to_repeat: bool = attrs.field()
    turn_taken: bool = False
    ahead: bool = False

    @safe_to_repeat.default
    def _by_method(self) -> bool:
        return self.method in ("GET", "HEAD", "DELETE")

    @property
    def name(self) -> str:
        """The call in messages, as ``POST compute /servers``."""
        return f"{self.method} {self.service} {self.path_label}"

    @property
    def verb(self) -> Verb:
        """The class by which its turn comes."""
        return Verb.of(self.method, self.path_label)


class Headers(Mapping[str, str]):
    """The headers of an answer: the case of their names does not matter.

    Args:
        given: names in any case; values of one name in two cases are joined by a comma.
    """

    __slots__ = ("_given", "_read")

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self._read: dict[str, str] | None = None

    @property
    def _values(self) -> dict[str, str]:
        """By the names in small letters; made when first asked for, as of few answers it is."""
        if self._read is None:
            values: dict[str, str] = {}
            for name, value in self._given.items():
                key = name.lower()
                values[key] = f"{values[key]}, {value}" if key in values else value
            self._read = values
        return self._read

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def get(self, name: str, default: Any = None) -> Any:
        """The value of this name, or *default*; quicker than the way by KeyError."""
        return self._values.get(name.lower(), default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _headers(given: Mapping[str, str]) -> Headers:
    return given if isinstance(given, Headers) else Headers(given)


_NO_HEADERS: Final = Headers({})


@attrs.frozen(kw_only=True)
class Answer:
    """The whole answer to a call, whatever its status; redirects are refused before.

    Attributes:
        headers: case does not matter.
        retry_after_s: seconds the cloud asks to wait, from ``Retry-After`` or from the body,
            capped; None if it does not say. 0.0 is a value of its own: some clouds send it
            with a refusal for quota.
        cloud: the account it came from, for messages.
        call: `Call.name`, for messages.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(default=_NO_HEADERS, converter=_headers, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    retry_after_s: float | None = None
    cloud: str = ""
    call: str = ""

    @property
    def request_id(self) -> str:
        """The cloud's own id for the call, which its operators ask for; "" if it gave none."""
        given = (
            self.headers.get("x-openstack-request-id")
            or self.headers.get("x-compute-request-id")
            or ""
        )
        return given[:_LONGEST_ID] if given.isascii() and given.isprintable() else ""

    def decode(self, kind: type[T]) -> T:
        """Read the body as JSON of this shape.

        Args:
            kind: what msgspec decodes into: an attrs class, a dict, a list.

        Raises:
            CloudBrokenError: the body is no JSON (an HTML page, cut off, empty) or JSON of
                another shape; the message says which and what was expected.
        """
        try:
            return msgspec.json.decode(self.body, type=kind)
        except UNREADABLE as error:
            raise CloudBrokenError(
                f"expected {_describe(kind)}, got {self._what(error)}",
                cloud=self.cloud,
                call=self.call,
                status=self.status,
                cloud_request_id=self.request_id,
            ) from error

    def _what(self, error: Exception) -> str:
        """Describe the body without quoting it: it may hold secrets."""
        kind = self.headers.get("content-type", "").partition(";")[0] or "no content type"
        if not self.body:
            return "an empty body"
        if isinstance(error, msgspec.ValidationError):
            return f"JSON of another shape: {error}"
        if "html" in kind or self.body.lstrip()[:1] == b"<":
            return f"an HTML or XML page ({kind}, {len(self.body)} bytes)"
        if self.body.lstrip()[:1] in (b"{", b"["):
            return f"JSON that is cut off or broken ({len(self.body)} bytes)"
        return f"something that is no JSON ({kind}, {len(self.body)} bytes)"


def _describe(kind: Any) -> str:
    if kind is Any:
        return "JSON"
    return f"JSON for {getattr(kind, '__name__', None) or kind}"
