"""Requests and answers without HTTP, and the shapes in which each service refuses.

The shapes were read off a real OpenStack 2026.2 (``tests/realcloud/real-api-samples.yaml``).
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

import attrs
import msgspec

from trellis.sim.cloud.spooled import Spooled

JSON: Final = "application/json"
OCTETS: Final = "application/octet-stream"
_NOVA_KEYS: Final = {
    400: "badRequest",
    403: "forbidden",
    404: "itemNotFound",
    409: "conflictingRequest",
    413: "overLimit",
}
_GLANCE_TITLES: Final = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    410: "Gone",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
}


class Incoming(Protocol):
    """The body of a call that is still to come."""

    @property
    def size(self) -> int | None:
        """How many bytes, as the caller says; None if he does not."""
        ...

    def open(self) -> AbstractAsyncContextManager[AsyncIterator[bytes | memoryview]]:
        """Read it, once; a piece is good until the next one is asked for."""
        ...


@attrs.frozen
class Request:
    """One call, as the application sees it; header names are in lower case.

    Attributes:
        arrived: when it reached the cloud, in seconds of its clock; None is when it is handled.
        incoming: a body that is read piece by piece while the call is carried; ``body`` is empty.
        spooled: what such a body was, once all of it has come.
        admitted: it was announced, and let in, before its body came.
        about: id of what was made for it then.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    arrived: float | None = None
    incoming: Incoming | None = attrs.field(default=None, repr=False)
    spooled: Spooled | None = attrs.field(default=None, repr=False)
    admitted: bool = False
    about: str = ""


@attrs.frozen
class Response:
    """One answer.

    Attributes:
        file: path of the file that is its body, in place of ``body``; "" is none.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    file: str = ""

    def with_headers(self, **more: str) -> "Response":
        """The same with these headers; underscores stand for dashes."""
        named = {name.replace("_", "-"): value for name, value in more.items()}
        return attrs.evolve(self, headers={**self.headers, **named})


class RefusalError(Exception):
    """Ends the handling of a call with this answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def answer(status: int, document: Any) -> Response:
    """A JSON answer."""
    return Response(status, msgspec.json.encode(document), {"Content-Type": JSON})


def raw_answer(status: int, body: bytes) -> Response:
    """A JSON answer that is encoded already."""
    return Response(status, body, {"Content-Type": JSON})


def empty(status: int) -> Response:
    """An answer without a body."""
    return Response(status)


def html(status: int, title: str) -> Response:
    """What a proxy in front answers when the service does not."""
    page = f"<html><head><title>{status} {title}</title></head>"
    page += f"<body><h1>{status} {title}</h1></body></html>"
    return Response(status, page.encode(), {"Content-Type": "text/html"})


def nova_fault(status: int, message: str) -> Response:
    """Nova's: the kind of fault is the key."""
    key = _NOVA_KEYS.get(status, "computeFault")
    body = msgspec.json.encode({key: {"code": status, "message": message}})
    return Response(status, body, {"Content-Type": f"{JSON}; charset=UTF-8"})


def neutron_error(status: int, kind: str, message: str) -> Response:
    """Neutron's: the kind of error is a field."""
    return answer(status, {"NeutronError": {"type": kind, "message": message, "detail": ""}})


def keystone_error(status: int, message: str, title: str) -> Response:
    """Keystone's; the token check before Nova and Neutron answers alike."""
    return answer(status, {"error": {"code": status, "message": message, "title": title}})


def glance_error(status: int, message: str) -> Response:
    """Glance's: WebOb's own page as JSON, markup in the message included."""
    title = _GLANCE_TITLES[status]
    page = f"{message}<br /><br />\n\n\n"
    return answer(status, {"message": page, "code": f"{status} {title}", "title": title})


def page_not_found() -> Response:
    """What Nova and Glance say to a path they do not have."""
    return glance_error(404, "The resource could not be found.")


def json_object(request: Request) -> dict[str, Any] | None:
    """The body as an object; None if it is no such thing."""
    try:
        document = msgspec.json.decode(request.body)
    except msgspec.DecodeError:
        return None
    return document if isinstance(document, dict) else None
