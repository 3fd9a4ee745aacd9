"""Keystone: logins, tokens, the catalog; v3 here, v2.0 in `identity_v2`."""

from random import Random
from typing import Any, Final
from uuid import UUID, uuid5

from trellis.sim.cloud.bodies import object_of
from trellis.sim.cloud.identity_v2 import IdentityV2
from trellis.sim.cloud.ledger import Ledger
from trellis.sim.cloud.older_products import with_older_products
from trellis.sim.cloud.site import uuid_of
from trellis.sim.cloud.spec import CloudSpec, IdentityVersions, OutageKind
from trellis.sim.cloud.swift_account import OBJECT_STORE, account_of
from trellis.sim.cloud.timeline import Timeline
from trellis.sim.cloud.tokens import Token, Tokens
from trellis.sim.cloud.wire import Request, Response, answer, empty, json_object, keystone_error

MOVED_COMPUTE: Final = "compute-moved"
"""Where compute is in paths while it has moved (`OutageKind.MOVED`)."""

_NOT_FOUND_PAGE: Final = (
    b"<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n"
    b"<p>The requested URL was not found on the server. If you entered the URL manually please "
    b"check your spelling and try again.</p>\n"
)


class Identity:
    """The identity service of a cloud, common to its regions."""

    def __init__(
        self, spec: CloudSpec, timeline: Timeline, ledger: Ledger, root: str, random: Random
    ) -> None:
        self.spec = spec
        self._timeline = timeline
        self._root = root
        self._tokens = Tokens(timeline, ledger, random)
        self._password = spec.credentials.password
        self.user_id = uuid_of(random).replace("-", "")
        drawn = uuid_of(random).replace("-", "")
        self.project_id = spec.behaviour.tenant or drawn
        self._ids = uuid_of(random)
        self._catalogs = (self._make_catalog("compute"), self._make_catalog(MOVED_COMPUTE))
        if spec.behaviour.shows_older_products:
            here, moved = (
                with_older_products(catalog, root, self.project_id) for catalog in self._catalogs
            )
            self._catalogs = (here, moved)
        self._v2 = IdentityV2(
            timeline,
            self._tokens,
            root=root,
            user_id=self.user_id,
            project_id=lambda: self._present_project,
            catalog=lambda: self._catalog,
        )

    # --------------------------------------------------------------------------- tokens

    def good(self, token: str | None) -> Token | None:
        """The token of this text, if it is good now."""
        return self._tokens.good(token, self.spec)

    def revoke_all(self) -> None:
        """Make every token given out so far worthless."""
        self._tokens.revoke_all()

    def set_password(self, password: str) -> None:
        """Change the password; tokens given out stay good."""
        self._password = password

    @property
    def _domain(self) -> dict[str, str]:
        """The domain of the user and his projects."""
        name = self.spec.credentials.user_domain
        return {"id": "default" if name == "Default" else self._id(name), "name": name}

    def _is_in_domain(self, named: Any) -> bool:
        """Whether a user or a project is looked for where ours are."""
        domain = object_of(named, "domain")
        if not domain:
            return True  # it was named by its id
        return (
            domain.get("id") == self._domain["id"]
            or str(domain.get("name", "")).lower() == self._domain["name"].lower()
        )

    def refusal(self) -> Response:
        """The 401 of Keystone itself, and of the token check before Nova and Neutron."""
        message = "The request you have made requires authentication."
        refused = keystone_error(401, message, "Unauthorized")
        return refused.with_headers(WWW_Authenticate=f'Keystone uri="{self.auth_url}"')

    @property
    def auth_url(self) -> str:
        """What ``clouds.yaml`` names as ``auth_url``."""
        version = "v2.0" if self.spec.identity is IdentityVersions.V2 else "v3"
        return f"{self._root}/identity/{version}"

    # --------------------------------------------------------------------------- answers

    def handle(self, request: Request, segments: tuple[str, ...]) -> tuple[str, Response]:
        """Answer a call below ``/identity``; returns its kind for the ledger too."""
        if request.method in ("GET", "HEAD") and segments in ((), ("",)):
            return "/", self._versions()
        if segments[:1] == ("v2.0",) and self.spec.identity is not IdentityVersions.V3:
            answered = self._v2.handle(request, segments[1:], self.spec, self._password)
            return ("/?", _not_found()) if answered is None else answered
        if segments[:1] != ("v3",) or self.spec.identity is IdentityVersions.V2:
            return "/?", _not_found()
        match request.method, segments:
            case "GET" | "HEAD", ("v3",) | ("v3", ""):
                return "/v3", answer(200, {"version": self._version()})
            case "POST", ("v3", "auth", "tokens"):
                return "/v3/auth/tokens", self._log_in(request)
        if self.good(request.headers.get("x-auth-token")) is None:
            return "/v3/" + "/".join(segments[1:2]), self.refusal()
        match request.method, segments:
            case "GET" | "HEAD" | "DELETE", ("v3", "auth", "tokens"):
                return "/v3/auth/tokens", self._about_token(request)
            case "GET", ("v3", "auth", "catalog"):
                return "/v3/auth/catalog", answer(200, {"catalog": self._catalog})
            case "GET", ("v3", "auth", "projects"):
                listed = {"projects": self._projects()}
                return "/v3/auth/projects", answer(200, listed)
            case "GET", ("v3", "projects", _):
                message = "You are not authorized to perform the requested action: "
                message += "identity:get_project."
                return "/v3/projects/*", keystone_error(403, message, "Forbidden")
        return "/?", _not_found()

    def _projects(self) -> list[dict[str, Any]]:
        """The user's projects; the one he works in comes last."""
        others = [(self._id(name), name) for name in self.spec.behaviour.other_projects]
        ours = (self._present_project, self.spec.credentials.project)
        domain = {"domain_id": self._domain["id"], "enabled": True, "is_domain": False}
        return [{"id": id, "name": name, **domain} for id, name in (*others, ours)]

    def _versions(self) -> Response:
        """The list of what there is; its Location is the newest."""
        shown = []
        if self.spec.identity is not IdentityVersions.V2:
            shown.append(self._version())
        if self.spec.identity is not IdentityVersions.V3:
            shown.append(self._v2.version())
        found = answer(300, {"versions": {"values": shown}})
        return found.with_headers(Location=shown[0]["links"][0]["href"])

    def _log_in(self, request: Request) -> Response:
        body = json_object(request)
        auth = object_of(body, "auth")
        identity = object_of(auth, "identity")
        if not identity:
            message = "Expecting to find auth in request body. The server could not comply with "
            message += "the request since it is either malformed or otherwise incorrect."
            return keystone_error(400, message, "Bad Request")
        methods = identity.get("methods", [])
        if methods == ["application_credential"]:
            given = object_of(identity, "application_credential")
            refused = self._check_application_credential(given)
        elif methods == ["password"]:
            refused = self._check_password(object_of(object_of(identity, "password"), "user"))
        else:
            refused = self.refusal()
        if refused is not None:
            return refused
        scope = auth.get("scope")
        if scope is not None and not self._is_our_project(scope):
            return self.refusal()
        scoped = scope is not None or methods == ["application_credential"]
        return self._issue(methods, scoped)

    def _check_password(self, user: dict[str, Any]) -> Response | None:
        mine = self.spec.credentials
        named = user.get("name") == mine.username or user.get("id") == self.user_id
        if "id" not in user and not object_of(user, "domain"):
            message = "Expecting to find domain in user. The server could not comply with the "
            message += "request since it is either malformed or otherwise incorrect."
            return keystone_error(400, message, "Bad Request")
        named = named and self._is_in_domain(user) and not self.spec.behaviour.is_disabled
        return None if named and user.get("password") == self._password else self.refusal()

    def _check_application_credential(self, given: dict[str, Any]) -> Response | None:
        mine = self.spec.credentials
        by_name = given.get("name") == mine.application_credential_name and "user" in given
        if given.get("id") != mine.application_credential_id and not by_name:
            message = f"Could not find Application Credential: {given.get('id', '')}."
            return keystone_error(404, message, "Not Found")
        right = given.get("secret") == mine.application_credential_secret
        return None if right else self.refusal()

    def _is_our_project(self, scope: Any) -> bool:
        project = object_of(scope, "project")
        name = self.spec.credentials.project
        by_name = project.get("name") == name and self._is_in_domain(project)
        return project.get("id") == self.project_id or by_name

    def _issue(self, methods: list[str], scoped: bool) -> Response:
        token = self._tokens.issue(self.spec, methods, scoped=scoped)
        issued = answer(201, {"token": self._shown(token)})
        return issued.with_headers(X_Subject_Token=token.text, Vary="X-Auth-Token")

    def _about_token(self, request: Request) -> Response:
        subject = request.headers.get("x-subject-token", "")
        token = self.good(subject)
        if token is None:
            return keystone_error(404, "Could not find token.", "Not Found")
        if request.method == "DELETE":
            token.revoked = True
            return empty(204)
        shown = answer(200, {"token": self._shown(token)})
        return shown.with_headers(X_Subject_Token=subject, Vary="X-Auth-Token")

    def _shown(self, token: Token) -> dict[str, Any]:
        mine, domain = self.spec.credentials, self._domain
        stamp = self._timeline.long_stamp
        shown: dict[str, Any] = {
            "methods": token.methods,
            "user": {
                "domain": domain,
                "id": self.user_id,
                "name": mine.username,
                "password_expires_at": None,
            },
            "audit_ids": [token.audit_id],
            "expires_at": stamp(token.expires) + "Z",
            "issued_at": stamp(token.issued) + "Z",
        }
        if token.scoped:
            shown |= {
                "project": {"domain": domain, "id": self._present_project, "name": mine.project},
                "is_domain": False,
                "roles": [{"id": self._id("member"), "name": "member"}],
                "catalog": self._catalog,
            }
        if token.methods == ["application_credential"]:
            shown["application_credential"] = {
                "id": mine.application_credential_id,
                "name": mine.application_credential_name,
                "restricted": True,
            }
        return shown

    # --------------------------------------------------------------------------- catalog

    def _version(self) -> dict[str, Any]:
        media = {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
        return {
            "id": "v3.14",
            "status": "stable",
            "updated": "2020-04-07T00:00:00Z",
            "links": [{"rel": "self", "href": f"{self._root}/identity/v3/"}],
            "media-types": [media],
        }

    @property
    def _catalog(self) -> list[dict[str, Any]]:
        catalog = self._catalogs[self.spec.is_out(OutageKind.MOVED, self._timeline.age)]
        hidden = self.spec.behaviour.regions_not_activated
        if not hidden:
            return catalog
        return [
            service
            | {"endpoints": [row for row in service["endpoints"] if row["region"] not in hidden]}
            for service in catalog
        ]

    @property
    def _present_project(self) -> str:
        """Id of the project that logins lead to now."""
        elsewhere = self.spec.is_out(OutageKind.PROJECT, self._timeline.age)
        return self._id("another project") if elsewhere else self.project_id

    def _make_catalog(self, compute: str) -> list[dict[str, Any]]:
        regions = self.spec.regions
        everywhere = [(region, self.auth_url) for region in regions]
        account = account_of(self.project_id, self.spec.behaviour.files_account)
        files = f"/{OBJECT_STORE}/v1/{account}"
        catalog = [self._service("identity", "keystone", everywhere)]
        for kind, name, path in (
            ("compute", "nova", f"/{compute}/v2.1"),
            ("network", "neutron", "/network"),
            ("image", "glance", "/image"),
            (self.spec.block_storage, "cinderv3", f"/volume/v3/{self.project_id}"),
            (OBJECT_STORE if self.spec.object_storage else "", "swift", files),
        ):
            if not kind:
                continue
            here = [(region, f"{self._root}/{region}{path}") for region in regions]
            catalog.append(self._service(kind, name, here))
        return catalog

    def _service(self, kind: str, name: str, urls: list[tuple[str, str]]) -> dict[str, Any]:
        endpoints = [
            {
                "id": self._id(f"{kind}/{region}/{interface}"),
                "interface": interface,
                "region_id": region,
                "url": url,
                "region": region,
            }
            for region, url in urls
            for interface in ("public", "internal")
        ]
        return {"endpoints": endpoints, "id": self._id(kind), "type": kind, "name": name}

    def _id(self, thing: str) -> str:
        return uuid5(UUID(self._ids), thing).hex


def _not_found() -> Response:
    return Response(404, _NOT_FOUND_PAGE, {"Content-Type": "text/html; charset=utf-8"})
