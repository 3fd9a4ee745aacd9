"""Keystone v2.0 of a simulated cloud: credentials, tenants, the old catalog."""

import json
from typing import Any

import pytest
from cloud_session import cloud_of, password_login
from keystoneauth1.access import AccessInfoV2, create

from trellis.sim.cloud import Behaviour, IdentityVersions, Request, Response, SimCloud

PASSWORD = {"passwordCredentials": {"username": "ci", "password": "sim-password"}}
API_KEY = {"RAX-KSKEY:apiKeyCredentials": {"username": "ci", "apiKey": "sim-api-key"}}
ACCESS_KEY = {
    "apiAccessKeyCredentials": {"accessKey": "SIMACCESSKEY", "secretKey": "sim-secret-key"}
}


def cloud(identity: IdentityVersions = IdentityVersions.V2, **changes: Any) -> SimCloud:
    spec = cloud_of(identity=identity, regions=("north", "south"), **changes).spec
    return SimCloud(spec, clock=lambda: 0.0)


def ask(sim: SimCloud, method: str, path: str, body: Any = None, token: str = "") -> Response:
    raw = b"" if body is None else json.dumps(body).encode()
    return sim.handle(Request(method, f"/identity{path}", "", {"x-auth-token": token}, raw))


def log_in(sim: SimCloud, **auth: Any) -> Response:
    return ask(sim, "POST", "/v2.0/tokens", {"auth": auth})


class AsRequestsHasIt:
    """An answer, as far as keystoneauth1 looks at it."""

    def __init__(self, answer: Response) -> None:
        self.headers = dict(answer.headers)
        self._body = answer.body

    def json(self) -> Any:
        return json.loads(self._body)


def read(answer: Response) -> AccessInfoV2:
    assert answer.status == 200, answer.body
    access = create(resp=AsRequestsHasIt(answer))
    assert isinstance(access, AccessInfoV2)
    return access


@pytest.mark.parametrize(
    "credentials", [PASSWORD, API_KEY, ACCESS_KEY], ids=["password", "api key", "access key"]
)
def test_each_kind_of_credential_gives_a_token_of_the_tenant(credentials):
    """keystoneauth1 reads token, tenant, user and catalog; the token is good for a call."""
    sim = cloud()

    access = read(log_in(sim, **credentials, tenantName="ci"))

    assert access.project_id == sim.project_id
    assert (access.project_name, access.username) == ("ci", "ci")
    assert access.service_catalog.url_for(
        service_type="compute", interface="public", region_name="south"
    ) == (f"{sim.root}/south/compute/v2.1")
    listed = sim.handle(
        Request("GET", "/south/compute/v2.1/servers", "", {"x-auth-token": access.auth_token})
    )
    assert listed.status == 200


@pytest.mark.parametrize(
    "auth",
    [
        {"passwordCredentials": {"username": "ci", "password": "wrong"}, "tenantName": "ci"},
        {"passwordCredentials": {"username": "who", "password": "sim-password"}},
        {"RAX-KSKEY:apiKeyCredentials": {"username": "ci", "apiKey": "sim-password"}},
        {"apiAccessKeyCredentials": {"accessKey": "x", "secretKey": "sim-secret-key"}},
        {**PASSWORD, "tenantName": "other"},
        {**PASSWORD, "tenantId": "other"},
        {"token": {"id": "nonsense"}},
    ],
)
def test_what_is_not_right_is_401(auth):
    """In Keystone's own words."""
    answer = log_in(cloud(), **auth)

    error = json.loads(answer.body)["error"]
    assert answer.status == 401
    assert (error["code"], error["title"]) == (401, "Unauthorized")


@pytest.mark.parametrize(
    "body", [{}, {"auth": {}}, {"auth": []}, {"auth": {"tenantName": "ci"}}, []]
)
def test_what_is_no_login_is_400(body):
    """Nothing to check."""
    assert ask(cloud(), "POST", "/v2.0/tokens", body).status == 400


def test_an_unscoped_token_finds_its_tenants_and_is_changed_for_a_scoped_one():
    """Its catalog is empty; with the tenant's id it becomes one that works."""
    sim = cloud()
    unscoped = read(log_in(sim, **ACCESS_KEY))
    listed = ask(sim, "GET", "/v2.0/tenants", token=unscoped.auth_token)
    (tenant,) = json.loads(listed.body)["tenants"]
    scoped = read(log_in(sim, token={"id": unscoped.auth_token}, tenantId=tenant["id"]))

    assert unscoped.project_id is None
    assert unscoped.service_catalog.catalog == []
    assert (tenant["id"], tenant["enabled"]) == (sim.project_id, True)
    assert scoped.project_id == sim.project_id
    assert ask(sim, "GET", "/v2.0/tenants", token="nonsense").status == 401


def test_a_login_without_tenant_is_scoped_where_the_cloud_does_so():
    """Rackspace scopes to the account's number by itself."""
    access = read(log_in(cloud(behaviour=Behaviour(scopes_unasked=True)), **API_KEY))

    assert access.project_name == "ci"


@pytest.mark.parametrize(
    ("identity", "ids", "v2", "v3"),
    [
        (IdentityVersions.V2, ["v2.0"], 200, 404),
        (IdentityVersions.V3, ["v3.14"], 404, 201),
        (IdentityVersions.BOTH, ["v3.14", "v2.0"], 200, 201),
    ],
)
def test_a_cloud_has_the_versions_that_it_shows(identity, ids, v2, v3):
    """Discovery lists them, and what is not listed is not there."""
    sim = cloud(identity)
    listed = json.loads(ask(sim, "GET", "/").body)["versions"]["values"]
    new = ask(sim, "POST", "/v3/auth/tokens", password_login(sim.spec))

    assert [version["id"] for version in listed] == ids
    assert log_in(sim, **PASSWORD, tenantName="ci").status == v2
    assert new.status == v3
    assert sim.auth_url.endswith("v2.0" if identity is IdentityVersions.V2 else "v3")
    assert ask(sim, "GET", "/v2.0").status == v2


def test_a_revoked_token_is_refused():
    """Whatever version it was given by."""
    sim = cloud()
    token = read(log_in(sim, **PASSWORD, tenantName="ci")).auth_token
    sim.revoke_all()

    assert ask(sim, "GET", "/v2.0/tenants", token=token).status == 401
