"""What must not stand in a cassette, or be left at the cloud, where the entry does not tell."""

import json

import attrs
import httpx
import pytest

from tests.testing.test_recording import Scene
from trellis.errors import AnswerLostError, CloudBrokenError
from trellis.openstack.catalog import Endpoint
from trellis.openstack.clouds import CloudConfig
from trellis.openstack.login import Access
from trellis.sim.cloud import Credentials, Faults, Quota
from trellis.testing.cloud_stories import CannotTellError
from trellis.testing.heard import Heard, Listening
from trellis.testing.stand_ins import secrets_of, stand_ins

ACCESS = Access(token="t", project_id="9" * 32, user_id="u", catalog=())


def shown(text, cloud, heard=None, **options):
    """A text as a cassette would have it."""
    found = stand_ins(cloud, ACCESS, hide_hosts=False, heard=heard, **options)
    for real, fake in found.items():
        text = text.replace(real, fake)
    return text


def an_entry(**parts):
    """An entry of clouds.yaml."""
    return CloudConfig(**{"name": "a", "auth_type": "password", "auth": {}, **parts})


async def test_a_create_of_which_nobody_knows_is_no_refusal_and_is_deleted(
    tmp_path, autojump_clock
):
    """There is room by the time of the create, which is carried out, and its answer is lost."""
    there = Scene(tmp_path, quota=Quota(instances=0))

    def spoil(request):
        creates = request.method == "POST" and request.url.path.endswith("/servers")
        there.cloud.change(
            quota=Quota(instances=1 if creates else 0),
            faults=Faults(lose_answer=1.0 if creates else 0.0),
        )

    there.spoil = spoil

    with pytest.raises((AnswerLostError, CloudBrokenError)):
        await there.record("over_quota")

    made = [fact for fact in there.cloud.ledger.facts if fact.what.value == "server-created"]
    assert len(made) == 1
    assert there.left() == []
    assert not (tmp_path / "compute/over_quota.yaml").exists()


async def test_ctrl_c_stays_one_where_the_cloud_does_not_delete(tmp_path, autojump_clock):
    """Both are told: else the next story would be recorded."""
    there = Scene(tmp_path, faults=Faults(stuck_delete=1.0, stuck_delete_s=3600.0))
    struck = []

    def spoil(request):
        looks = request.method == "GET" and "/servers/" in request.url.path
        if looks and not request.url.path.endswith("detail") and not struck:
            struck.append(request)
            raise KeyboardInterrupt

    there.spoil = spoil

    with pytest.RaisesGroup(
        KeyboardInterrupt,
        pytest.RaisesExc(CannotTellError, match="look for server np0000000001"),
        flatten_subgroups=True,
    ):
        await there.record("launch")

    assert not (tmp_path / "compute/launch.yaml").exists()


async def test_names_that_only_the_answer_tells_are_replaced(tmp_path, autojump_clock):
    """An application credential names neither user nor project."""
    who = Credentials(username="real-user", project="real-project", password="sim-password")
    there = Scene(tmp_path, credentials=who)
    auth = {
        "auth_url": there.cloud.auth_url,
        "application_credential_id": who.application_credential_id,
        "application_credential_secret": who.application_credential_secret,
    }
    there.entry = attrs.evolve(there.entry, auth_type="v3applicationcredential", auth=auth)

    recorded = await there.record("login")

    text = recorded.path.read_text()
    assert "real-user" not in text
    assert "real-project" not in text
    assert await there.again(recorded.path) is not None


async def test_names_beyond_ascii_are_replaced(tmp_path, autojump_clock):
    """Bodies have them as they are, and the head escaped."""
    who = Credentials(username="jürgen", project="müller-ag", password="sim-password")
    there = Scene(tmp_path, credentials=who)
    auth = there.entry.auth | {"username": "jürgen", "project_name": "müller-ag"}
    there.entry = attrs.evolve(there.entry, auth=auth)

    recorded = await there.record("login")

    text = recorded.path.read_text()
    for name in ("jürgen", "müller-ag", r"j\u00fcrgen", r"m\u00fcller-ag"):
        assert name not in text
    assert await there.again(recorded.path) is not None


def test_projects_that_a_login_lists_are_replaced_and_can_still_be_told_apart():
    """The number of the account stands in the name of the project that is chosen by it."""
    heard = Heard()
    rows = [
        {"id": ACCESS.project_id, "name": "1234567_Flex", "domain_id": "default"},
        {"id": "8" * 32, "name": "1234567", "domain_id": "default"},
    ]
    heard.note(json.dumps({"projects": rows}).encode())

    told = shown(json.dumps(rows), an_entry(), heard)

    assert "1234567" not in told
    assert "88888888" not in told
    names = [row["name"] for row in json.loads(told)]
    assert names == ["0000000_Flex", "other-project-1"]


def test_names_of_keystone_2_are_heard():
    """User and tenant of a login, and the tenants of a list."""
    heard = Heard()
    tenant = {"id": ACCESS.project_id, "name": "real-tenant"}
    user = {"id": "1", "name": "real-user", "username": "other-user"}
    heard.note(json.dumps({"access": {"token": {"tenant": tenant}, "user": user}}).encode())
    heard.note(json.dumps({"tenants": [{"id": "77777777", "name": "second-tenant"}]}).encode())

    told = shown(json.dumps([tenant, user, "second-tenant", "77777777"]), an_entry(), heard)

    for own in ("real-tenant", "real-user", "other-user", "second-tenant", "77777777"):
        assert own not in told


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"token": 1, "projects": {"a": 1}}'])
def test_an_answer_of_another_kind_tells_nothing(body):
    """Discovery goes over the same wires, and so does a gateway's page."""
    heard = Heard()

    heard.note(body)

    assert heard == Heard()


@pytest.mark.parametrize(
    ("name", "stays"),
    [("Default", True), ("all_customers", True), ("CCP_Domain_12345", False)],
)
def test_a_domain_of_one_customer_is_replaced(name, stays):
    """One that the profile names is everybody's."""
    cloud = an_entry(auth={"user_domain_name": name, "project_domain_name": name})

    told = shown(json.dumps({"name": name}), cloud, public=("all_customers",))

    assert (name in told) is stays


def test_hosts_of_overrides_and_of_links_are_replaced():
    """What only the entry says; and links that have http where the catalog has https."""
    row = Endpoint(
        service_type="compute", service_name="nova", interface="public", region="",
        url="https://controller:8774/v2.1",
    )  # fmt: skip
    cloud = an_entry(overrides={"image_endpoint_override": "http://10.1.2.3:9292/v2"})
    access = attrs.evolve(ACCESS, catalog=(row,))

    found = stand_ins(cloud, access, hide_hosts=False)

    assert found["http://10.1.2.3:9292"] == "https://image.cloud.example"
    assert found["http://controller:8774"] == "https://compute.cloud.example"


def test_a_host_that_begins_like_another_is_replaced_after_it():
    """Else the port of the longer one stays behind."""
    urls = {"image_endpoint_override": "http://in/a", "compute_endpoint_override": "http://in:1/b"}

    assert shown("http://in:1/b", an_entry(overrides=urls)) == "https://compute.cloud.example/b"


async def test_an_answer_passes_through_whoever_listens():
    """Status, headers and the body, decoded, are as they were."""

    def answer(request):
        assert request.headers["accept-encoding"] == "identity"
        return httpx.Response(201, headers={"X-Subject-Token": "t"}, json={"tenants": []})

    listening = Listening(httpx.MockTransport(answer), Heard())
    response = await listening.handle_async_request(httpx.Request("POST", "http://a/v3"))

    assert (response.status_code, response.headers["x-subject-token"]) == (201, "t")
    assert json.loads(await response.aread()) == {"tenants": []}


@pytest.mark.parametrize("secret", ['pass"word', "back\\slash", "schlüssel"])
def test_a_secret_is_known_in_each_way_that_json_writes_it(secret):
    """A cloud may say it back in a name."""
    known = secrets_of(an_entry(auth={"password": secret}))

    for ascii_only in (True, False):
        told = json.dumps({"name": secret}, ensure_ascii=ascii_only)
        assert any(one in told for one in known)
    assert secret in known
