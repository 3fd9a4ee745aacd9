"""Calls to the services of one region, with the account's token."""

import math
import re
from collections.abc import Mapping
from typing import Final

import attrs
import msgspec

from trellis.errors import CloudBrokenError, CloudError, MisconfiguredError, UnreachableError
from trellis.http.message import DEFAULT_BUDGET_S, Answer, Call, Stream, Verb
from trellis.http.road import Road
from trellis.openstack import catalog, faults
from trellis.openstack.auth import Access, Account

_NEW_HEADER_SINCE: Final = (2, 27)
_HARMLESS: Final = frozenset({"GET", "HEAD", "DELETE"})
"""What makes nothing, and finds nothing of another project's."""
_JSON: Final = "application/json"
_BYTES: Final = "application/octet-stream"
_VERSION: Final = re.compile(r"/v\d+(\.\d+)?\Z")
_NOWHERE: Final = (UnreachableError, MisconfiguredError, CloudBrokenError)
_LOST_AFTER: Final = 3
"""So many calls in a row that lead nowhere make the catalog doubtful."""


@attrs.frozen(kw_only=True)
class SessionHome:
    """Where a session's calls go: the project, region and compute endpoint of the token."""

    project_id: str
    region: str
    endpoint: str


class Session:
    """One region of one account.

    Args:
        account: gives the token; shared by the sessions of all regions.
        road: carries the calls; shared like the account.
        region: name in the catalog; "" if the catalog has one only.
        interface: ``public``, ``internal`` or ``admin``.
        overrides: the cloud's settings for single services, as ``compute_endpoint_override``,
            ``compute_service_name``, ``image_interface``, ``network_region_name``.
        missing_region: what a customer does about a region that the catalog lacks, as a sentence.
    """

    def __init__(
        self,
        account: Account,
        road: Road,
        region: str = "",
        interface: str = "public",
        overrides: Mapping[str, str] | None = None,
        missing_region: str = "",
    ) -> None:
        self._account = account
        self._road = road
        self._region = region
        self._interface = interface
        self._overrides = dict(overrides or {})
        self._missing_region = missing_region
        self._known = _Known(generation=-1)
        self._led_nowhere: dict[str, int] = {}

    @property
    def cloud(self) -> str:
        """The account's name, for messages."""
        return self._account.name

    @property
    def region(self) -> str:
        """The region's name as configured; "" if none is."""
        return self._region

    @property
    def road(self) -> Road:
        """The road the calls take; its counts and rates belong to the whole account."""
        return self._road

    async def request(
        self,
        service: str,
        method: str,
        path: str,
        *,
        label: str,
        json: object = None,
        stream: Stream | None = None,
        headers: Mapping[str, str] | None = None,
        version: str = "",
        params: Mapping[str, str] | None = None,
        microversion: str | None = None,
        budget_s: float | None = None,
        turn_taken: bool = False,
        ahead: bool = False,
    ) -> Answer:
        """Make one call and return its answer, which has a status below 400.

        A 401 says that the call was not carried out: the account logs in again, and the call is
        repeated once, a POST as well, unless it would go to another project or endpoint now: what
        it makes would be where no record speaks of. No connection is held while waiting for the
        login. Cancelling it leaves open whether the cloud carried the call out.

        Args:
            service: type of the service: ``compute``, ``image``, ``network``, …
            path: below the service's endpoint, beginning with ``/``.
            label: template of the path, for counts and messages, as ``/servers/{id}``.
            json: the body, encoded by msgspec; None sends none.
            stream: the body in place of ``json``, read while it is sent, as
                ``application/octet-stream``; after a 401 it is opened once more.
            headers: beside those of each call, or in place of them.
            version: of the service, as ``v1``, in place of the one at the end of its endpoint.
            microversion: as ``2.79``; sent in the header the service understands.
            budget_s: seconds for the call with its tries, the login not counted; default 60, and
                for a stream as many as the caller waits.
            turn_taken: the turn was taken before with `turn`.
            ahead: it goes before others of its class that wait, as many wait for its one answer.

        Raises:
            CloudError: as `trellis.openstack.faults.error_from` reads the answer, or as the road
                (UnreachableError, AnswerLostError, MisconfiguredError, RejectedError), the login
                (AuthError, …) or the catalog (MisconfiguredError) fail.
        """
        content = None if json is None else msgspec.json.encode(json)
        if budget_s is None:
            budget_s = DEFAULT_BUDGET_S if stream is None else math.inf
        kind = _JSON if content is not None else _BYTES if stream is not None else None
        access = await self._account.token()
        call = Call(
            service=service,
            method=method,
            url=self._url(access, service, path, version),
            path_label=label,
            headers=self._headers(access, service, microversion, kind, headers),
            params=params,
            content=content,
            stream=stream,
            budget_s=budget_s,
            turn_taken=turn_taken,
            ahead=ahead,
        )
        try:
            answer = await self._road.send(call)
            if answer.status == 401:
                before, access = access, await self._account.token(stale=access)
                url = self._url(access, service, path, version)
                moved = url != call.url or access.project_id != before.project_id
                if moved and method not in _HARMLESS:
                    raise MisconfiguredError(
                        "the credentials lead to another project or endpoint since the call was "
                        "begun: nothing is made or changed there",
                        cloud=self.cloud,
                        call=call.name,
                    )
                again = attrs.evolve(
                    call,
                    url=url,
                    headers=self._headers(access, service, microversion, kind, headers),
                    turn_taken=False,
                )
                answer = await self._road.send(again)
            if answer.status >= 400:
                raise faults.error_from(
                    answer,
                    cloud=self.cloud,
                    service=service,
                    call=call.name,
                    first=self._account.refusals,
                )
        except CloudError as error:
            self._went(service, access, error)
            raise
        self._went(service, access, None)
        return answer

    def _went(self, service: str, access: Access, error: CloudError | None) -> None:
        """Doubt the catalog after some calls in a row that led nowhere: it may have moved on.

        Nobody there, a redirect, a path nobody knows. One such call among good ones says only
        that the cloud lacks what it asks for.
        """
        nowhere = isinstance(error, _NOWHERE)
        if error is None or not nowhere or (error.status or 0) >= 500:
            self._led_nowhere.pop(service, None)
            return
        self._led_nowhere[service] = self._led_nowhere.get(service, 0) + 1
        if self._led_nowhere[service] >= _LOST_AFTER:
            self._account.doubt(access)

    async def turn(self, service: str, verb: Verb) -> None:
        """Wait for the account's turn at a service and take it; then call with ``turn_taken``."""
        await self._road.turn(service, verb)

    async def home(self) -> SessionHome:
        """Where the present token's calls go; what a record of a server made here must carry.

        Raises:
            CloudError: as for `request`.
        """
        access = await self._account.token()
        known = self._of(access)
        if known.home is None:
            known.home = SessionHome(
                project_id=access.project_id,
                region=self._region or next(iter(catalog.regions(access.catalog)), ""),
                endpoint=self._endpoint(access, "compute"),
            )
        return known.home

    async def endpoint(self, service: str) -> str:
        """The URL under which a service's calls are made.

        Raises:
            MisconfiguredError: the catalog has no such service in this region.
        """
        return self._endpoint(await self._account.token(), service)

    def _url(self, access: Access, service: str, path: str, version: str) -> str:
        endpoint = self._endpoint(access, service)
        if version:
            endpoint = f"{_VERSION.sub('', endpoint)}/{version}"
        return endpoint + path

    def _endpoint(self, access: Access, service: str) -> str:
        known = self._of(access).endpoints
        if service not in known:
            try:
                known[service] = catalog.endpoint(
                    access.catalog,
                    service,
                    region=self._region,
                    interface=self._interface,
                    overrides=self._overrides,
                    project_id=access.project_id,
                    user_id=access.user_id,
                    cloud=self.cloud,
                    missing_region=self._missing_region,
                )
            except MisconfiguredError:
                self._account.doubt(access)
                raise
        return known[service]

    def _headers(
        self,
        access: Access,
        service: str,
        microversion: str | None,
        content_type: str | None,
        more: Mapping[str, str] | None,
    ) -> Mapping[str, str]:
        known = self._of(access).headers
        kind = (service, microversion, content_type)
        if kind not in known:
            headers = {"Accept": "application/json", "X-Auth-Token": access.token}
            if content_type is not None:
                headers["Content-Type"] = content_type
            if microversion is not None:
                headers.update(_microversion(service, microversion))
            known[kind] = headers
        return {**known[kind], **more} if more else known[kind]

    def _of(self, access: Access) -> "_Known":
        if self._known.generation != access.generation:
            self._known = _Known(generation=access.generation)
        return self._known


@attrs.define
class _Known:
    """What follows from a token, and is the same for all calls with it."""

    generation: int
    endpoints: dict[str, str] = attrs.field(factory=dict)
    headers: dict[tuple[str, str | None, str | None], dict[str, str]] = attrs.field(
        factory=dict, repr=False
    )
    home: SessionHome | None = None


def _microversion(service: str, version: str) -> dict[str, str]:
    """The headers that ask for a microversion.

    Nova reads the common header since 2.27 and understood only its own before:
    nova/api/openstack/wsgi.py (API_VERSION_REQUEST_HEADER, LEGACY_…).
    """
    headers = {"OpenStack-API-Version": f"{catalog.header_name(service)} {version}"}
    number = tuple(int(part) for part in version.split(".") if part.isdigit())
    if service == "compute" and number < _NEW_HEADER_SINCE:
        headers["X-OpenStack-Nova-API-Version"] = version
    return headers
