"""What clouds say when they refuse, as typed errors: the one place that looks into their texts.

Two tables, read from the top, the first row that fits decides: `ANSWERS` for HTTP answers of 400
and above, `FAULTS` for the ``fault`` of a server in ERROR. Each row names the source of its text.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs
import msgspec

from trellis.errors import (
    AuthError,
    CloudBrokenError,
    CloudError,
    ConflictingStateError,
    MisconfiguredError,
    NoCapacityError,
    NotFoundError,
    QuotaExceededError,
    RejectedError,
    RetryLaterError,
    StaleOfferError,
)
from trellis.http.message import UNREADABLE, Answer

_LONGEST: Final = 300


@attrs.frozen
class Row:
    """One way in which a cloud refuses.

    Attributes:
        error: what it means for the caller.
        source: where the text or status comes from.
        statuses: it must be one of these; empty fits any.
        text: must be found in type and message, case ignored; "" fits any.
        service: it must come from this service; "" fits any.
        remedy: what the reader can do, added to the message.
        header: must be found in one of the headers, written ``name: value`` with the name in
            small letters, case ignored; "" fits any.
    """

    error: type[CloudError]
    source: str
    statuses: tuple[int, ...] = ()
    text: str = ""
    service: str = ""
    remedy: str = ""
    header: str = ""
    _pattern: re.Pattern[str] = attrs.field(init=False, repr=False, eq=False)
    _header_pattern: re.Pattern[str] = attrs.field(init=False, repr=False, eq=False)

    @_pattern.default
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.text, re.IGNORECASE | re.DOTALL)

    @_header_pattern.default
    def _compiled_header(self) -> re.Pattern[str]:
        return re.compile(self.header, re.IGNORECASE)

    def fits(
        self,
        status: int,
        service: str,
        text: str,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> bool:
        """Whether this row is about this answer."""
        return (
            (not self.statuses or status in self.statuses)
            and self.service in ("", service)
            and self._pattern.search(text) is not None
            and (not self.header or self._found_in(headers))
        )

    def _found_in(self, headers: Mapping[str, str]) -> bool:
        shown = (f"{name.lower()}: {value}" for name, value in headers.items())
        return any(self._header_pattern.search(line) for line in shown)


_QUOTA: Final = (
    r"quota[^.]{0,40} exceeded|exceed\w*[^.]{0,80} quota|over ?quota|too many key pairs"
    r"|maximum number of [\w ]{1,30} exceeded|(volume|port|instance)\w*limit ?exceeded"
)
_NO_ADDRESS: Final = (
    r"no more ip addresses|ipaddressgenerationfailure|externalipaddressexhausted"
    r"|no (more )?(fixed|floating) ip(s| addresses)? available"
)
_NO_ROOM: Final = r"no valid host|servercapacityunavailable|insufficient compute resources"
_NAMES: Final = (
    r"can not find requested image|image \S+ is not active|flavor \S+ could not be found"
    r"|network \S+ (could not be found|requires? a subnet)|invalid key_name provided"
    r"|availability zone is not available|unable to find security_group"
    r"|security group \S+ (not found|could not be found)"
)
_STALE: Final = (
    "the cloud no longer has what the label came down to; it is looked up again with the inventory"
)

ANSWERS: Final = (
    Row(AuthError, "keystonemiddleware: every service's 401", (401,)),
    Row(
        RetryLaterError,
        "gateways, OVH's page on API limits; a rate is meant even where the text says quota",
        (429,),
    ),
    Row(
        QuotaExceededError,
        "nova to Icehouse (af44b50b6b, 007ed9b6c8): 413 with Retry-After 0 and the text of a "
        "quota; cinder VolumeLimitExceeded",
        (413,),
        _QUOTA + "|quota",
    ),
    Row(
        QuotaExceededError,
        "glance/api/v2/image_data.py: image size or storage quota, often as HTML",
        (413,),
        service="image",
    ),
    Row(
        QuotaExceededError,
        "Swift: 413 of middleware account_quotas and container_quotas, and of too large an object",
        (413,),
        service="object-store",
    ),
    Row(
        RetryLaterError,
        "Swift, middleware ratelimit: 498 Rate Limited",
        (498,),
        service="object-store",
    ),
    Row(
        RetryLaterError,
        "nova to Mitaka, nova/api/openstack/wsgi.py RateLimitFault; Rackspace faults.rst",
        (413,),
    ),
    Row(
        QuotaExceededError,
        "nova: 403 'Quota exceeded for …', 'Maximum number of ports exceeded'; neutron-lib "
        "exceptions: 409 OverQuota; nova 500 with neutron's OverQuota in it",
        (400, 403, 409, 500),
        _QUOTA,
    ),
    Row(
        NoCapacityError,
        "neutron-lib exceptions: 409 IpAddressGenerationFailure, ExternalIpAddressExhausted",
        (400, 403, 404, 409, 500, 503),
        _NO_ADDRESS,
    ),
    Row(
        NoCapacityError,
        "nova exception.py NoValidHost, ComputeResourcesUnavailable; Rackspace faults.rst",
        (400, 403, 409, 500, 503),
        _NO_ROOM,
    ),
    Row(
        RejectedError,
        "nova NetworkAmbiguous, 400 or 409",
        (400, 409),
        r"multiple possible networks|networkambiguous",
        remedy="name the network in the pool's networks",
    ),
    Row(
        StaleOfferError,
        "nova servers.py create: what the body names is not there (recorded, nova 34)",
        (400,),
        _NAMES,
        service="compute",
        remedy=_STALE,
    ),
    Row(
        NotFoundError,
        "swift/common/swob.py: its 404 is a page, whatever form is asked for",
        (404,),
        r"^\(page\) not found the resource could not be found\.?$",
        service="object-store",
    ),
    Row(
        CloudBrokenError,
        "a front's page: it says nothing about the thing asked for, so it never proves it gone",
        (404,),
        r"\A\Z|^\(page\)",
    ),
    Row(
        CloudBrokenError,
        "a front's page, of a firewall or a web server: nova and neutron refuse in JSON",
        (400, 403, 405),
        r"^\(page\)",
        service="compute",
    ),
    Row(
        CloudBrokenError,
        "the same of neutron",
        (400, 403, 405),
        r"^\(page\)",
        service="network",
    ),
    Row(
        MisconfiguredError,
        "RFC 9110 §15.5.8 and §15.5.20: a proxy, or a front of another host",
        (407, 421),
        remedy="what answers is not the cloud: check proxies, names and addresses on the way",
    ),
    Row(
        MisconfiguredError,
        "webob's 404, from no route at all (recorded, nova 34, glance 33, neutron 29)",
        (404, 405),
        r"the resource could not be found|httpnotfound|method not allowed",
        remedy="the service has no such call: check the endpoint in the catalog or its override",
    ),
    Row(NotFoundError, "every service's 404 about a thing, 410 of old novas", (404, 410)),
    Row(
        MisconfiguredError,
        "nova wsgi.py: 406 for a microversion it does not have (recorded, nova 34)",
        (406,),
        r"version \S+ is not supported",
        remedy="set a lower microversion for this cloud",
    ),
    Row(ConflictingStateError, "nova conflictingRequest, Rackspace buildInProgress", (409,)),
    Row(CloudBrokenError, "a gateway's time-out waiting for the request", (408,)),
    Row(RejectedError, "4xx: the call will be refused again", tuple(range(400, 500))),
    Row(RejectedError, "nova: 501 for what its driver cannot do", (501,)),
    Row(CloudBrokenError, "5xx: nova's computeFault, fronts"),
)

LOGINS: Final = (
    Row(
        AuthError,
        "docs-cloud-identity mfa-content/proc-mfa-auth.rst: 401 with a session to go on with",
        (401,),
        service="identity",
        remedy="the account asks for a second factor at login, which no daemon can give: use "
        "what needs none, as an API key or an application credential",
        header=r"^www-authenticate: .*\bOS-MF\b",
    ),
    Row(
        AuthError,
        "docs-cloud-identity faults: userDisabled; keystone's text where insecure_debug is on",
        (401, 403),
        r"userdisabled|(user|account) (\S+ )?is disabled|accountlocked|(account|user) is locked",
        service="identity",
        remedy="the account is disabled or locked: another secret does not help, whoever runs "
        "the cloud must enable it again",
    ),
)
"""Refused logins that say more than that the credentials are not right."""

FAULTS: Final = (
    Row(
        QuotaExceededError,
        "quota races, boot from volume (VolumeSizeExceedsAvailableQuota); the texts of 403s",
        (),
        _QUOTA,
    ),
    Row(
        NoCapacityError,
        "nova: network allocation failed for want of addresses (recorded, nova 34)",
        (),
        _NO_ADDRESS,
    ),
    Row(NoCapacityError, "nova NoValidHost, ComputeResourcesUnavailable", (), _NO_ROOM),
    Row(
        RejectedError,
        "nova exception.py ImageUnacceptable, FlavorDiskSmallerThan…, FlavorMemoryTooSmall",
        (),
        r"image \S+ is unacceptable|flavor's (disk|memory) is too small|imagenotfound"
        r"|image \S+ could not be found",
    ),
    Row(CloudBrokenError, "anything else: the build failed on its host"),
)


def error_from(
    answer: Answer, *, cloud: str, service: str, call: str, first: tuple[Row, ...] = ()
) -> CloudError:
    """Turn an answer of 400 or above into the error that says what to do.

    Args:
        cloud: name of the account, for the message.
        service: type of the service that answered.
        call: the call, for the message.
        first: the cloud's own rows, which are read before those of all clouds.

    Returns:
        The error, to be raised. Its message is the cloud's own text in one line, without markup
        and without the values it was sent.
    """
    kind, text = _said(answer)
    said = f"{kind} {text}".strip()
    own = (row for row in first if row.fits(answer.status, service, said, answer.headers))
    row = next(own, None) or _first(ANSWERS, answer.status, service, said)
    message = _message(text or kind, row.remedy) or "no word of explanation"
    if row.error is RetryLaterError:
        return RetryLaterError(
            message, after_s=answer.retry_after_s, cloud=cloud, call=call,
            status=answer.status, cloud_request_id=answer.request_id,
        )  # fmt: skip
    return row.error(
        message, cloud=cloud, call=call, status=answer.status, cloud_request_id=answer.request_id
    )


def login_remedy(
    status: int, headers: Mapping[str, str], body: bytes, *, first: tuple[Row, ...] = ()
) -> str:
    """What to do about a refused login, as far as its answer tells; "" if it tells nothing more.

    Args:
        first: the cloud's own rows.
    """
    kind, text = _said(Answer(status=status, body=body))
    said = f"{kind} {text}".strip()
    for row in (*first, *LOGINS):
        if row.service == "identity" and row.fits(status, "identity", said, headers):
            return row.remedy
    return ""


def error_from_fault(message: str, code: int = 0, *, cloud: str = "") -> CloudError:
    """Turn the ``fault`` of a server in ERROR into the error its create would have raised.

    Args:
        message: the fault's text; "" if the cloud shows none.
        code: the fault's code; 500 in nearly all cases, whatever went wrong.
    """
    row = _first(FAULTS, code, "compute", message)
    return row.error(_message(message, "") or "ERROR without a fault", cloud=cloud)


def _first(table: tuple[Row, ...], status: int, service: str, text: str) -> Row:
    return next(row for row in table if row.fits(status, service, text))


# ---------------------------------------------------------------- reading the bodies


def _said(answer: Answer) -> tuple[str, str]:
    """The kind of error and its text, from whatever body there is."""
    body = answer.body.strip()
    if not body:
        return "", ""
    try:
        return _from_json(msgspec.json.decode(body))
    except UNREADABLE:
        return "(page)", _plain(body[:4096].decode(errors="replace"))


def _from_json(found: Any) -> tuple[str, str]:
    """Read the forms in use.

    Nova and keystone: ``{kind: {code, message}}``; neutron: ``{NeutronError: {type, message,
    detail}}``, and a bare text there from old ones; glance and webob: ``{message, code, title}``.
    """
    kind = ""
    if isinstance(found, dict) and len(found) == 1:
        kind, found = next(iter(found.items()))
        kind = str(kind)
    if not isinstance(found, dict):
        return kind, _plain(str(found))
    kind = str(found.get("type") or kind)
    return kind, _plain(". ".join(_texts(found)))


def _texts(found: dict[str, Any]) -> Iterator[str]:
    for key in ("message", "detail"):
        text = found.get(key)
        if isinstance(text, str) and text.strip():
            yield text.strip()


def _plain(text: str) -> str:
    """One line without markup."""
    without = re.sub(r"<(style|script|title)\b.*?</\1\s*>|<[^>]{0,200}>", " ", text, flags=re.S)
    return " ".join(without.split())


_ECHO: Final = re.compile(r"(Invalid input for field/attribute \S{1,100}) Value: (.*)\Z", re.S)
_WHY: Final = re.compile(
    r"('[\w:.-]{1,64}' is a required property|is too (?:long|short)|is not a '[\w-]{1,20}'"
    r"|is not of type [\w', ]{1,60}|does not match any of the regexes|should be non-empty"
    r"|Additional properties are not allowed \([\w', ]{1,100})"
)


def _message(text: str, remedy: str) -> str:
    """The text for the reader: nova repeats in it what it was sent, and that may be secret."""
    echo = _ECHO.search(text)
    if echo is not None:
        why = _WHY.findall(echo[2])
        text = f"{echo[1]} {why[-1] if why else 'the value is refused'}"
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "…"
    return f"{text.rstrip('. ')}; {remedy}" if remedy and text else text or remedy
