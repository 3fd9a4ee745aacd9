"""Calls to nova: what is sent, how lists are followed, how rows are read."""

import base64
import json
import time

import httpx
import msgspec
import pytest
from answering import Script, answering, recorded

from trellis.errors import CloudBrokenError, NotFoundError, QuotaExceededError
from trellis.openstack.compute import Compute, ServerRequest
from trellis.openstack.compute.rows import ServerPage


def a_page(*ids: str, following: str | None = None):
    page = {"servers": [{"id": server_id} for server_id in ids]}
    if following is not None:
        page["servers_links"] = [{"rel": "next", "href": following}]
    return 200, page


def a_request(**kwargs) -> ServerRequest:
    return ServerRequest(name="n", flavor_id="f", image_id="i", **kwargs)


def test_create_sends_no_more_than_is_asked_for():
    """Nothing is named that could be refused where the cloud has a default."""
    assert a_request().body() == {
        "server": {"name": "n", "flavorRef": "f", "imageRef": "i", "metadata": {}}
    }


def test_create_sends_all_that_is_asked_for():
    """Networks by id, user data in base64, groups by name, zone, key and drive."""
    body = a_request(
        networks=("net",),
        security_groups=("g",),
        zone="az1",
        key_name="k",
        user_data="#!/bin/sh\n",
        config_drive=True,
        metadata={"a": "b"},
        extra={"OS-DCF:diskConfig": "AUTO"},
    ).body()["server"]

    assert body["networks"] == [{"uuid": "net"}]
    assert body["security_groups"] == [{"name": "g"}]
    assert body["availability_zone"] == "az1"
    assert body["key_name"] == "k"
    assert base64.b64decode(body["user_data"]) == b"#!/bin/sh\n"
    assert body["config_drive"] is True
    assert body["metadata"] == {"a": "b"}
    assert body["OS-DCF:diskConfig"] == "AUTO"


@pytest.mark.parametrize(
    ("version", "expected"), [(None, None), ("2.36", None), ("2.37", "auto"), ("2.100", "auto")]
)
def test_networks_are_auto_where_nova_wants_the_word(version, expected):
    """From 2.37 on a create without networks is refused; 2.100 is above 2.37."""
    assert a_request().body(version)["server"].get("networks") == expected


def test_user_data_stays_out_of_the_repr():
    """It may hold secrets."""
    assert "hunter2" not in repr(a_request(user_data="hunter2"))


async def test_create_returns_the_id(autojump_clock):
    """The answer holds an id and little else."""
    async with answering(lambda _: (202, recorded("create server"))) as at:
        server_id = await Compute(at.session).create_server(a_request())

    (request,) = at.cloud.calls
    assert server_id == "f49e6cff-ea70-41fd-8426-b25291f558ea"
    assert (request.method, request.url.path) == ("POST", "/v2.1/servers")
    assert json.loads(request.content)["server"]["name"] == "n"


async def test_create_refused_for_quota_is_sent_once(autojump_clock):
    """A refusal is an error with a type, and no second try."""
    refusal = recorded("quota exceeded: instances")
    async with answering(lambda _: (403, refusal)) as at:
        with pytest.raises(QuotaExceededError, match=r"1 of 1 instances"):
            await Compute(at.session).create_server(a_request())

    assert len(at.cloud.calls) == 1


async def test_row_of_a_real_server_is_read(autojump_clock):
    """Fields whose names hold colons among them."""
    async with answering(lambda _: (200, recorded("server with floating ip"))) as at:
        row = await Compute(at.session).server("f49e6cff")

    assert row.status == "ACTIVE"
    assert row.zone == "nova"
    assert row.task_state is None
    assert row.updated == "2026-11-22T14:13:49Z"
    assert [(a.addr, a.type) for a in row.addresses["ci-net"]] == [
        ("10.42.0.176", "fixed"),
        ("203.0.113.210", "floating"),
    ]


async def test_fault_of_a_real_server_is_read(autojump_clock):
    """A server in ERROR says why."""
    async with answering(lambda _: (200, recorded("server ERROR: no valid host"))) as at:
        row = await Compute(at.session).server("x")

    assert row.fault is not None
    assert row.fault.message == "No valid host was found. "


async def test_row_of_a_down_cell_is_read(autojump_clock):
    """It has next to no fields, and some are null elsewhere: neither is an error."""
    rows = [
        {"id": "a", "status": "UNKNOWN", "tenant_id": "p", "created": "2026-11-22T14:13:43Z"},
        {"id": "b", "name": None, "accessIPv4": None, "fault": {"message": None}},
    ]
    async with answering(lambda _: (200, {"servers": rows})) as at:
        found = await Compute(at.session).servers()

    assert [row.id for row in found] == ["a", "b"]
    assert found[0].status == "UNKNOWN"


async def test_list_is_followed_page_by_page(autojump_clock):
    """The marker of the next link is taken, and the filters stay."""
    script = Script(
        [
            a_page("a", "b", following="http://nova/v2.1/servers/detail?limit=2&marker=b"),
            a_page("c"),
        ]
    )
    async with answering(script) as at:
        rows = await Compute(at.session).servers(changes_since="2026-01-01T00:00:00Z", limit=2)

    assert [row.id for row in rows] == ["a", "b", "c"]
    assert dict(script.requests[1].url.params) == {
        "changes-since": "2026-01-01T00:00:00Z",
        "limit": "2",
        "marker": "b",
    }


@pytest.mark.parametrize("link", ["/v2/123/servers/detail?marker=a", "http://10.0.0.1:8774/x", "?"])
async def test_strange_next_link_is_not_believed(autojump_clock, link):
    """Links at the root, to inner hosts or without a marker: the own endpoint is asked."""
    script = Script([a_page("a", following=link), a_page("b")])
    async with answering(script) as at:
        rows = await Compute(at.session).servers()

    assert [row.id for row in rows] == ["a", "b"]
    assert script.requests[1].url.copy_with(query=None) == "http://compute.test/v2.1/servers/detail"
    assert script.requests[1].url.params["marker"] == "a"


async def test_list_that_starts_again_ends(autojump_clock):
    """Some clouds go on for ever: a page without a new row is the last."""
    async with answering(lambda _: a_page("a", "b", following="?marker=b")) as at:
        rows = await Compute(at.session).servers()

    assert [row.id for row in rows] == ["a", "b"]
    assert len(at.cloud.calls) == 2


async def test_list_without_end_is_an_error(autojump_clock):
    """A cloud that makes up rows without end does not stop the daemon."""
    numbers = iter(range(1000))

    def reply(_: httpx.Request):
        number = next(numbers)
        return a_page(str(number), following=f"?marker={number}")

    async with answering(reply) as at:
        with pytest.raises(CloudBrokenError, match="no end"):
            await Compute(at.session, most_pages=5).servers()

    assert len(at.cloud.calls) == 5


async def test_name_is_asked_for_literally(autojump_clock):
    """Nova takes a regular expression: a dot must not fit any character."""
    async with answering(lambda _: a_page()) as at:
        await Compute(at.session).servers(name="ci-1.0")

    assert at.cloud.calls[0].url.params["name"] == "^ci-1[.]0$"


@pytest.mark.parametrize("status", [400, 404, 409, 501])
async def test_cloud_without_consoles_has_an_empty_log(autojump_clock, status):
    """A missing console is no error of the launch that asks for it."""
    async with answering(lambda _: (status, {"x": {"message": "no", "code": status}})) as at:
        assert await Compute(at.session).console_log("s", 20) == ""


async def test_console_log_is_read(autojump_clock):
    """The number of lines is the caller's."""
    async with answering(lambda _: (200, recorded("console output"))) as at:
        log = await Compute(at.session).console_log("s", 20)

    assert log.endswith("LAST LINE")
    assert json.loads(at.cloud.calls[0].content) == {"os-getConsoleOutput": {"length": 20}}


async def test_real_flavors_limits_zones_and_keypairs_are_read(autojump_clock):
    """Each list by the names nova gives it."""
    bodies = {
        "/v2.1/flavors/detail": recorded("flavors detail"),
        "/v2.1/limits": recorded("limits"),
        "/v2.1/os-availability-zone": recorded("availability zones: compute"),
        "/v2.1/os-keypairs": recorded("list keypairs"),
    }
    async with answering(lambda request: (200, bodies[request.url.path])) as at:
        compute = Compute(at.session)
        flavors = {flavor.name: flavor for flavor in await compute.flavors()}
        limits = await compute.limits()
        zones = await compute.zones()
        keys = await compute.keypair_names()

    assert (flavors["ci-2c-4g"].ram, flavors["ci-2c-4g"].vcpus) == (4096, 2)
    assert (limits.max_total_ram_size, limits.total_ram_used) == (200000, 1024)
    assert (limits.max_total_cores, limits.total_cores_used) == (80, 1)
    assert (limits.max_total_instances, limits.total_instances_used) == (20, 1)
    assert [(zone.name, zone.state.available) for zone in zones] == [("nova", True)]
    assert keys == ["sample"]


async def test_server_that_is_not_there_is_not_found(autojump_clock):
    """The type says it, whoever asks."""
    async with answering(lambda _: (404, recorded("server gone"))) as at:
        with pytest.raises(NotFoundError):
            await Compute(at.session).delete_server("s")


async def test_microversion_goes_with_every_call(autojump_clock):
    """Shapes change with it, so it is fixed."""
    async with answering(lambda _: a_page()) as at:
        await Compute(at.session, "2.79").servers()

    assert at.cloud.calls[0].headers["OpenStack-API-Version"] == "compute 2.79"


def test_a_row_costs_little():
    """Twenty microseconds a row is the most a fleet can pay; parsing takes a fifth of it."""
    row = recorded("servers detail")["servers"][0]
    body = msgspec.json.encode({"servers": [row] * 1000})
    decoder = msgspec.json.Decoder(ServerPage)
    took = []
    for _ in range(7):
        began = time.thread_time()
        decoder.decode(body)
        took.append(time.thread_time() - began)

    assert min(took) / 1000 < 20e-6
