"""Calls to neutron: what is sent and how rows are read."""

import json

import pytest
from answering import Script, answering, recorded

from trellis.errors import ConflictingStateError, NoCapacityError, QuotaExceededError
from trellis.openstack.network import Network


async def test_real_lists_are_read(autojump_clock):
    """Networks, subnets, routers, ports and groups by the names neutron gives them."""
    bodies = {
        "/v2.0/networks": recorded("networks"),
        "/v2.0/subnets": recorded("subnets"),
        "/v2.0/routers": recorded("routers"),
        "/v2.0/ports": recorded("ports of a server"),
        "/v2.0/security-groups": recorded("security groups"),
    }
    async with answering(lambda request: (200, bodies[request.url.path])) as at:
        network = Network(at.session)
        networks = {row.name: row for row in await network.networks()}
        subnets = await network.subnets()
        routers = await network.routers()
        ports = await network.ports(device_id="s")
        groups = await network.security_groups(project_id="p")

    assert (networks["public"].external, networks["ci-net"].external) == (True, False)
    assert {subnet.gateway_ip for subnet in subnets} == {"10.42.0.1", "203.0.113.1"}
    assert routers[0].external_gateway_info.network_id == networks["public"].id
    assert ports[0].fixed_ips[0].ip_address == "10.42.0.176"
    assert groups[0].name == "default"
    assert at.cloud.calls[3].url.params["device_id"] == "s"
    assert at.cloud.calls[4].url.params["project_id"] == "p"


async def test_router_without_a_gateway_is_read(autojump_clock):
    """It leads nowhere, and that is no error."""
    body = {"routers": [{"id": "r", "external_gateway_info": None}]}
    async with answering(lambda _: (200, body)) as at:
        (router,) = await Network(at.session).routers()

    assert router.external_gateway_info is None


async def test_floating_ip_is_made_attached_and_marked_by_one_call(autojump_clock):
    """Nothing is left over if the daemon dies between two calls: there is only one."""
    body = recorded("create floating ip on a port at once")
    async with answering(lambda _: (201, body)) as at:
        row = await Network(at.session).create_floating_ip(
            network_id="ext", port_id="p", fixed_address="10.0.0.1", description="trellis:d:1"
        )

    (request,) = at.cloud.calls
    assert json.loads(request.content) == {
        "floatingip": {
            "floating_network_id": "ext",
            "port_id": "p",
            "fixed_ip_address": "10.0.0.1",
            "description": "trellis:d:1",
        }
    }
    assert row.id == body["floatingip"]["id"]
    assert row.floating_ip_address == body["floatingip"]["floating_ip_address"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (recorded("quota exceeded: floating ips"), QuotaExceededError),
        (recorded("no floating ip left"), NoCapacityError),
        (
            {"NeutronError": {"type": "FloatingIPPortAlreadyAssociated", "message": "Cannot"}},
            ConflictingStateError,
        ),
    ],
)
async def test_three_meanings_of_409_are_told_apart(autojump_clock, body, expected):
    """Quota waits, an empty pool backs off, and an address that has one already is looked up."""
    async with answering(lambda _: (409, body)) as at:
        with pytest.raises(expected):
            await Network(at.session).create_floating_ip(
                network_id="ext", port_id="p", fixed_address="10.0.0.1", description="d"
            )


async def test_floating_ips_are_found_by_description_or_port(autojump_clock):
    """The filters are neutron's own; none is sent that was not asked for."""
    body = recorded("list floating ips")
    script = Script([(200, body)] * 3)
    async with answering(script) as at:
        network = Network(at.session)
        await network.floating_ips(description="trellis:d:1")
        await network.floating_ips(port_id="p")
        rows = await network.floating_ips()

    assert [dict(request.url.params) for request in script.requests] == [
        {"description": "trellis:d:1"},
        {"port_id": "p"},
        {},
    ]
    assert rows[0].floating_ip_address == "203.0.113.210"


async def test_quota_of_floating_ips_and_ports_is_read(autojump_clock):
    """Limit and use of both come by one call."""
    recorded_rows = recorded("network quota details")["quota"]
    async with answering(lambda _: (200, recorded("network quota details"))) as at:
        quota = await Network(at.session).quota("p1")

    assert (quota.floatingip.limit, quota.floatingip.used) == (10, 0)
    assert quota.port.limit == recorded_rows["port"]["limit"]
    assert quota.port.used == recorded_rows["port"]["used"]
    assert at.cloud.calls[0].url.path == "/v2.0/quotas/p1/details"
