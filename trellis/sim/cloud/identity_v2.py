"""Keystone v2.0, as old clouds still have it: tenants, and credentials of vendors' own.

After ``docs`` of Rackspace and HP as the project's survey of clouds quotes them, and Keystone's
v2.0 reference; the real OpenStack of the tests has none.
"""

import hmac
from collections.abc import Callable
from typing import Any, Final

from trellis.sim.cloud.bodies import text_of
from trellis.sim.cloud.hp_catalog import hp_catalog
from trellis.sim.cloud.spec import CloudSpec
from trellis.sim.cloud.swift_account import OBJECT_STORE
from trellis.sim.cloud.timeline import Timeline
from trellis.sim.cloud.tokens import Token, Tokens
from trellis.sim.cloud.wire import Request, Response, answer, json_object, keystone_error

_API_KEY: Final = "RAX-KSKEY:apiKeyCredentials"
_ACCESS_KEY: Final = "apiAccessKeyCredentials"
_NO_AUTH: Final = (
    "Expecting to find auth in request body. The server could not comply with the request since "
    "it is either malformed or otherwise incorrect. The client is assumed to be in error."
)
_REFUSED: Final = "The request you have made requires authentication."


class IdentityV2:
    """The calls below ``/identity/v2.0``.

    Args:
        project_id: the project that logins lead to now.
        catalog: as v3 shows it now.
    """

    def __init__(
        self,
        timeline: Timeline,
        tokens: Tokens,
        *,
        root: str,
        user_id: str,
        project_id: Callable[[], str],
        catalog: Callable[[], list[dict[str, Any]]],
    ) -> None:
        self._timeline = timeline
        self._tokens = tokens
        self._root = root
        self._user_id = user_id
        self._present_project = project_id
        self._catalog = catalog

    def version(self) -> dict[str, Any]:
        """How version discovery shows it."""
        kind = "application/vnd.openstack.identity-v2.0+json"
        return {
            "id": "v2.0",
            "status": "deprecated",
            "updated": "2016-08-04T00:00:00Z",
            "links": [{"rel": "self", "href": f"{self._root}/identity/v2.0/"}],
            "media-types": [{"base": "application/json", "type": kind}],
        }

    def handle(
        self, request: Request, segments: tuple[str, ...], spec: CloudSpec, password: str
    ) -> tuple[str, Response] | None:
        """Answer a call below ``/v2.0``; None for a path that there is not."""
        match request.method, segments:
            case "GET" | "HEAD", () | ("",):
                return "/v2.0", answer(200, {"version": self.version()})
            case "POST", ("tokens",):
                return "/v2.0/tokens", self._log_in(request, spec, password)
            case "GET", ("tenants",):
                if self._tokens.good(request.headers.get("x-auth-token"), spec) is None:
                    return "/v2.0/tenants", _refusal()
                listed = {"tenants": [self._tenant(spec)], "tenants_links": []}
                return "/v2.0/tenants", answer(200, listed)
        return None

    def _log_in(self, request: Request, spec: CloudSpec, password: str) -> Response:
        auth = (json_object(request) or {}).get("auth")
        if not isinstance(auth, dict):
            return keystone_error(400, _NO_AUTH, "Bad Request")
        if spec.behaviour.is_disabled:
            shown = {"code": 403, "message": "User is disabled"}
            return answer(403, {"userDisabled": shown})
        known = self._checked(auth, spec, password)
        if isinstance(known, Response):
            return known
        tenant_id, tenant_name = text_of(auth, "tenantId"), text_of(auth, "tenantName")
        asked = tenant_id or tenant_name
        ours = tenant_id in ("", self._project_id) and tenant_name in ("", spec.credentials.project)
        if not known or not ours:
            return _refusal()
        if spec.behaviour.asks_second_factor and "passwordCredentials" in auth:
            return _second_factor()
        scoped = bool(asked) or spec.behaviour.scopes_unasked
        return self._issued(self._tokens.issue(spec, ["password"], scoped=scoped), spec)

    def _checked(self, auth: dict[str, Any], spec: CloudSpec, password: str) -> bool | Response:
        """Whether the credentials are right, by whichever kind is given; 400 without any."""
        mine = spec.credentials
        kinds = {
            "passwordCredentials": ("username", mine.username, "password", password),
            _API_KEY: ("username", mine.username, "apiKey", mine.api_key),
            _ACCESS_KEY: ("accessKey", mine.access_key, "secretKey", mine.secret_key),
        }
        if isinstance(auth.get("token"), dict):
            return self._tokens.good(text_of(auth["token"], "id"), spec) is not None
        for kind, (who, name, what, secret) in kinds.items():
            given = auth.get(kind)
            if isinstance(given, dict):
                same = text_of(given, who) == name or text_of(given, "userId") == self._user_id
                return same and hmac.compare_digest(text_of(given, what).encode(), secret.encode())
        message = "Expecting to find passwordCredentials or token in auth."
        return keystone_error(400, message, "Bad Request")

    def _issued(self, token: Token, spec: CloudSpec) -> Response:
        stamp = self._timeline.stamp
        shown: dict[str, Any] = {
            "id": token.text,
            "expires": stamp(token.expires),
            "issued_at": self._timeline.long_stamp(token.issued) + "Z",
            "audit_ids": [token.audit_id],
        }
        if spec.behaviour.hides_issue:
            del shown["issued_at"]
        roles = [{"name": "member"}] if token.scoped else []
        if token.scoped:
            shown["tenant"] = self._tenant(spec)
        access = {
            "token": shown,
            "serviceCatalog": self._shown_catalog(spec, scoped=token.scoped),
            "user": {
                "id": self._user_id,
                "name": spec.credentials.username,
                "username": spec.credentials.username,
                "roles": roles,
                "roles_links": [],
            },
            "metadata": {"is_admin": 0, "roles": []},
        }
        return answer(200, {"access": access}).with_headers(Vary="X-Auth-Token")

    @property
    def _project_id(self) -> str:
        return self._present_project()

    def _shown_catalog(self, spec: CloudSpec, *, scoped: bool) -> Any:
        if not scoped:
            return {} if spec.behaviour.empty_catalog_is_object else []
        catalog = self._old_catalog()
        return hp_catalog(catalog, self._root) if spec.behaviour.has_hp_catalog else catalog

    def _old_catalog(self) -> list[dict[str, Any]]:
        project_id = self._project_id
        return [_old_service(service, project_id) for service in self._catalog()]

    def _tenant(self, spec: CloudSpec) -> dict[str, Any]:
        name = spec.credentials.project
        return {"id": self._project_id, "name": name, "enabled": True, "description": ""}


def _second_factor() -> Response:
    """What a right password is answered with where a second factor is wanted (Rackspace)."""
    message = "Additional authentication credentials required."
    asked = answer(401, {"unauthorized": {"code": 401, "message": message}})
    session = "OS-MF sessionId='SIMSESSION0001', factor='PASSCODE'"
    return asked.with_headers(WWW_Authenticate=session)


def _refusal() -> Response:
    return keystone_error(401, _REFUSED, "Unauthorized")


def _old_service(service: dict[str, Any], project_id: str) -> dict[str, Any]:
    """An entry of the catalog in v2.0's shape: an endpoint a region, with all its URLs."""
    regions: dict[str, dict[str, Any]] = {}
    for endpoint in service["endpoints"]:
        row = regions.setdefault(
            endpoint["region"],
            {"region": endpoint["region"], "tenantId": project_id, "id": endpoint["id"]},
        )
        row[f"{endpoint['interface']}URL"] = endpoint["url"]
    rows = [{**row, "adminURL": row["publicURL"]} for row in regions.values()]
    for row in rows if service["type"] == OBJECT_STORE else ():
        row["tenantId"] = row["publicURL"].rpartition("/")[2]
    for row in rows:
        if not row["region"]:
            del row["region"]
    return {
        "type": service["type"],
        "name": service["name"],
        "endpoints": rows,
        "endpoints_links": [],
    }
