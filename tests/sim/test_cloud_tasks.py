"""Images by tasks out of the file store, as Rackspace has them, on its twin."""

import json

import attrs
import pytest
from image_calls import PATCH, Caller, Clock, caller_of, md5, read

from trellis.sim.cloud import Faults, Quota, SimCloud
from trellis.sim.cloud.disk_files import vhd_footer
from trellis.sim.cloud.wire import Request
from trellis.sim.clouds import TWINS

VHD = b"blocks" * 50 + vhd_footer()
TOOK_S = 3000.0


def a_caller(**changes) -> Caller:
    clock = Clock()
    spec = attrs.evolve(TWINS["rackspace"](), **changes)
    return caller_of(SimCloud(spec, clock=clock), clock, "DFW")


@pytest.fixture
def caller():
    return a_caller()


def files(caller: Caller) -> str:
    """The path of the account, as the catalog has it."""
    account = caller.cloud.spec.behaviour.files_account
    (found,) = {
        row["publicURL"]
        for service in catalog(caller)
        if service["type"] == "object-store"
        for row in service["endpoints"]
        if row["region"] == "DFW"
    }
    assert account in found
    return found.removeprefix(f"{caller.cloud.root}/DFW")


def catalog(caller: Caller):
    mine = caller.cloud.spec.credentials
    given = {"username": mine.username, "apiKey": mine.api_key}
    body = {"auth": {"RAX-KSKEY:apiKeyCredentials": given, "tenantId": mine.project}}
    path = "/identity/v2.0/tokens"
    answer = caller.cloud.handle(Request("POST", path, body=json.dumps(body).encode()))
    return read(answer)["access"]["serviceCatalog"]


def put(caller: Caller, data: bytes = VHD, name: str = "img.vhd") -> None:
    root = files(caller)
    assert caller.send("PUT", f"{root}/images").status in (201, 202)
    assert caller.send("PUT", f"{root}/images/{name}", body=data).status == 201


def begin(caller: Caller, name: str = "img.vhd", **properties: str) -> dict:
    properties = {"name": "trellis-1", **properties}
    given = {"import_from": f"images/{name}", "image_properties": properties}
    answer = caller.image("POST", "/tasks", body={"type": "import", "input": given})
    assert answer.status == 201, answer.body
    return read(answer)


def ended(caller: Caller, task: dict) -> dict:
    caller.clock.now += TOOK_S
    return read(caller.image("GET", f"/tasks/{task['id']}"))


def test_a_task_makes_an_image_of_an_object(caller):
    """Pending, processing, success; the image is in its result, its message is the word None."""
    put(caller)
    task = begin(caller)
    caller.clock.now += 500.0
    during = read(caller.image("GET", f"/tasks/{task['id']}"))
    after = ended(caller, task)
    image = caller.shown(after["result"]["image_id"])

    assert [one["status"] for one in (task, during, after)] == ["pending", "processing", "success"]
    assert {one["message"] for one in (task, during, after)} == {"None"}
    assert task["owner"] == "00700001"
    assert "result" not in during
    assert "expires_at" in after
    assert (image["name"], image["status"], image["visibility"]) == (
        "trellis-1",
        "active",
        "private",
    )
    assert (image["disk_format"], image["container_format"]) == ("vhd", "ovf")
    assert image["checksum"] == md5(VHD)
    assert image["virtual_size"] == 1 << 30


def test_the_object_may_go_when_the_image_is_there(caller):
    """And the task expires two days later; the image outlives both."""
    put(caller)
    task = ended(caller, begin(caller))
    assert caller.send("DELETE", f"{files(caller)}/images/img.vhd").status == 204
    caller.cloud.change(token_lifetime_s=1e6)
    fresh = caller_of(caller.cloud, caller.clock, "DFW")
    caller.clock.now += 49 * 3600.0

    assert fresh.image("GET", f"/tasks/{task['id']}").status == 404
    assert fresh.shown(task["result"]["image_id"])["status"] == "active"
    assert caller.cloud.objects() == ()


def test_create_and_put_are_refused(caller):
    """A task is the only way in, and PATCH the only one to properties."""
    put(caller)
    image_id = ended(caller, begin(caller))["result"]["image_id"]
    change = [{"op": "add", "path": "/vm_mode", "value": "hvm"}]
    kind = PATCH["content-type"]

    assert caller.image("POST", "/images", body={"name": "x"}).status == 403
    assert caller.image("PUT", f"/images/{image_id}/file", body=VHD).status == 403
    patched = caller.image("PATCH", f"/images/{image_id}", body=change, Content_Type=kind)
    assert read(patched)["vm_mode"] == "hvm"
    change[0]["path"] = "/com.rackspace__1__build_core"
    refused = caller.image("PATCH", f"/images/{image_id}", body=change, Content_Type=kind)
    assert refused.status == 403


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no disk at all" * 100, 396),
        (vhd_footer(creator=b"qem2"), 396),
        (vhd_footer(size=41 << 30), 413),
        (vhd_footer(kind=4), 721),
        (vhd_footer(kind=0), 523),
        (vhd_footer(uuid=bytes(16)), 614),
    ],
    ids=["no VHD", "made by qemu", "too large", "has a parent", "of no kind", "without a UUID"],
)
def test_what_is_no_good_vhd_fails_with_its_code(caller, data, code):
    """The code is in the message; no image is made."""
    put(caller, data)
    task = ended(caller, begin(caller))

    assert task["status"] == "failure"
    assert task["message"] == f"Image cannot be imported. Error code: '{code}'"
    assert [one for one in caller.cloud.images() if one.who] == []


def test_other_properties_than_the_name_fail(caller):
    put(caller)
    task = ended(caller, begin(caller, vm_mode="hvm"))
    assert (task["status"], "'111'" in task["message"]) == ("failure", True)


def test_an_object_that_is_not_there_fails_in_words(caller):
    task = ended(caller, begin(caller, "missing.vhd"))
    assert task["status"] == "failure"
    assert "images/missing.vhd" in task["message"]


@pytest.mark.parametrize(
    "body",
    [{}, {"type": "export"}, {"type": "import"}, {"type": "import", "input": {"import_from": "x"}}],
    ids=["empty", "another type", "without input", "no container"],
)
def test_tasks_without_sense_are_refused(caller, body):
    assert caller.image("POST", "/tasks", body=body).status == 400


class TestFaults:
    def test_396_may_be_transient(self):
        """The second task for the same object goes well."""
        caller = a_caller(faults=Faults(task_fails_once=1.0))
        put(caller)
        first, second = ended(caller, begin(caller)), ended(caller, begin(caller))
        assert (first["status"], "'396'" in first["message"]) == ("failure", True)
        assert second["status"] == "success"

    def test_396_may_be_for_ever(self):
        caller = a_caller(faults=Faults(task_fails=1.0))
        put(caller)
        assert [ended(caller, begin(caller))["status"] for _ in range(3)] == ["failure"] * 3
        assert caller.cloud.ledger.struck["task-fails"] == 3

    def test_a_task_may_hang(self):
        caller = a_caller(faults=Faults(task_hangs=1.0))
        put(caller)
        task = begin(caller)
        assert [ended(caller, task)["status"] for _ in range(5)] == ["processing"] * 5

    def test_an_object_may_be_lost(self):
        """Then the task does not find it."""
        caller = a_caller(faults=Faults(object_lost=1.0))
        put(caller)
        assert ended(caller, begin(caller))["status"] == "failure"
        assert caller.cloud.objects() == ()

    def test_there_may_be_no_room(self):
        caller = a_caller(quota=Quota(images=0))
        given = {"import_from": "images/x", "image_properties": {"name": "x"}}
        answer = caller.image("POST", "/tasks", body={"type": "import", "input": given})
        assert answer.status == 413


class TestServers:
    def patched(self, caller, **properties):
        put(caller)
        image_id = ended(caller, begin(caller))["result"]["image_id"]
        changes = [{"op": "add", "path": f"/{k}", "value": v} for k, v in properties.items()]
        kind = PATCH["content-type"]
        assert (
            caller.image("PATCH", f"/images/{image_id}", body=changes, Content_Type=kind).status
            == 200
        )
        return image_id

    @pytest.mark.parametrize(
        ("properties", "status"),
        [
            ({"xenapi_use_agent": "False", "vm_mode": "hvm"}, "ACTIVE"),
            ({"vm_mode": "hvm"}, "ERROR"),
        ],
        ids=["says no agent", "says nothing"],
    )
    def test_the_cloud_waits_for_an_agent(self, caller, properties, status):
        """Unless the image says that there is none."""
        server_id = caller.booted(self.patched(caller, **properties))
        caller.clock.now += 600.0
        answer = caller.send("GET", f"/compute/v2.1/servers/{server_id}")
        assert read(answer)["server"]["status"] == status
