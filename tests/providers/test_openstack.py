"""The stock provider: floating IPs, deletes, leftovers, limits and what it is able to do."""

import attrs
import pytest
from canned import (
    SAMPLES,
    SERVER,
    TAG,
    CannedSession,
    a_config,
    a_provider,
    a_row,
    a_thing,
    an_intent,
)

from trellis.errors import AnswerLostError, MisconfiguredError, RejectedError
from trellis.model.node import Addresses, ResourceKind
from trellis.model.quota import UNKNOWN, UNLIMITED, Resources
from trellis.openstack.quirks import Quirks
from trellis.providers.openstack import make_provider
from trellis.spi.provider import Capability, Gone
from trellis.spi.registry import ProviderContext

FLOATING_ROW = {
    **SAMPLES["create floating ip on a port at once"]["floatingip"],
    "description": "trellis:d:0000000042",
}
CONFLICT = {
    "NeutronError": {
        "type": "FloatingIPPortAlreadyAssociated",
        "message": "Cannot associate floating IP with port using fixed IP: it has one.",
    }
}


# --------------------------------------------------------------------------- floating IPs


async def test_floating_ip_costs_two_calls():
    """The port is looked up, and one POST makes, attaches and marks it."""
    session = CannedSession()
    provider = a_provider(session)
    await provider.create(an_intent())
    before = len(session.made)

    given = await provider.attach_public(TAG, SERVER)

    ports, post = session.made[before:]
    assert ports.params == {"device_id": SERVER}
    assert post.json["floatingip"]["description"] == "trellis:d:0000000042"
    assert post.json["floatingip"]["fixed_ip_address"] == "10.42.0.176"
    assert given.external_id == FLOATING_ROW["id"]


async def test_floating_address_is_known_before_nova_shows_it():
    """Nova learns of it some time after neutron."""
    session = CannedSession()
    session.replies["GET compute /servers/{id}"] = {"server": a_row()}
    provider = a_provider(session)

    given = await provider.attach_public(TAG, SERVER)
    instance = await provider.get(SERVER)

    address = FLOATING_ROW["floating_ip_address"]
    assert given.address == address
    assert instance.addresses == Addresses(
        interface_ip=address, public_ipv4=address, private_ipv4="10.42.0.176"
    )
    assert not instance.needs_public


async def test_floating_ip_that_was_given_between_two_lists_is_in_the_second():
    """Nova shows the same row as before for minutes; what neutron gave counts at once."""
    session = CannedSession()
    session.replies["GET compute /servers/detail"] = {"servers": [a_row()]}
    provider = a_provider(session)
    before = (await provider.list(None)).instances[0]
    await provider.attach_public(TAG, SERVER)

    after = (await provider.list(None)).instances[0]

    assert before.needs_public
    assert not after.needs_public
    assert after.addresses.public_ipv4 == FLOATING_ROW["floating_ip_address"]


async def test_floating_ip_of_an_earlier_try_is_found():
    """A server of another process is looked at before a second one is made."""
    session = CannedSession()
    session.replies["GET network /floatingips"] = {"floatingips": [FLOATING_ROW]}

    given = await a_provider(session).attach_public(TAG, SERVER)

    assert given.external_id == FLOATING_ROW["id"]
    assert "POST network /floatingips" not in session.names()


async def test_floating_ip_whose_answer_was_lost_is_found_at_the_second_try():
    """The first try acted; the second looks first."""
    session = CannedSession()
    session.replies["POST network /floatingips"] = AnswerLostError("lost")
    provider = a_provider(session)
    await provider.create(an_intent())
    with pytest.raises(AnswerLostError):
        await provider.attach_public(TAG, SERVER)
    session.replies["GET network /floatingips"] = {"floatingips": [FLOATING_ROW]}

    assert (await provider.attach_public(TAG, SERVER)).external_id == FLOATING_ROW["id"]
    assert session.names().count("POST network /floatingips") == 1


async def test_second_floating_ip_that_neutron_refuses_is_the_first():
    """A request may still be under way when it is looked for; neutron keeps them apart."""
    session = CannedSession()
    session.replies["POST network /floatingips"] = (409, CONFLICT)
    provider = a_provider(session)
    await provider.create(an_intent())
    session.replies["GET network /floatingips"] = {"floatingips": [FLOATING_ROW]}

    assert (await provider.attach_public(TAG, SERVER)).external_id == FLOATING_ROW["id"]


async def test_floating_ip_that_belongs_to_no_port_is_not_taken():
    """One that came loose leads nowhere; it is a leftover."""
    session = CannedSession()
    loose = {**FLOATING_ROW, "id": "loose", "port_id": None}
    session.replies["GET network /floatingips"] = {"floatingips": [loose]}

    given = await a_provider(session).attach_public(TAG, SERVER)

    assert given.external_id == FLOATING_ROW["id"]


async def test_port_without_a_way_out_is_said():
    """A subnet without a gateway cannot have a floating IP."""
    session = CannedSession()
    subnets = [{**row, "gateway_ip": None} for row in SAMPLES["subnets"]["subnets"]]
    session.replies["GET network /subnets"] = {"subnets": subnets}

    with pytest.raises(RejectedError, match="subnet with a gateway"):
        await a_provider(session).attach_public(TAG, SERVER)


# -------------------------------------------------------------------------------- deleting


async def test_server_is_told_to_go_and_looked_at_again():
    """Nova answers before anything has happened."""
    session = CannedSession()

    gone = await a_provider(session).delete_step(a_thing(ResourceKind.SERVER, SERVER), TAG)

    assert gone is Gone.AGAIN
    assert session.names() == ["DELETE compute /servers/{id}"]


async def test_server_is_gone_when_delete_and_get_agree():
    """One 404 is not enough."""
    session = CannedSession()
    for call in ("DELETE compute /servers/{id}", "GET compute /servers/{id}"):
        session.replies[call] = (404, SAMPLES["server gone"])

    gone = await a_provider(session).delete_step(a_thing(ResourceKind.SERVER, SERVER), TAG)

    assert gone is Gone.DONE


@pytest.mark.parametrize(
    ("status", "expected"), [("ACTIVE", Gone.AGAIN), ("ERROR", Gone.AGAIN), ("DELETED", Gone.DONE)]
)
async def test_server_whose_delete_is_not_found_is_believed_by_its_row(status, expected):
    """A stale cell says 404 to the delete while the server runs."""
    session = CannedSession()
    session.replies["DELETE compute /servers/{id}"] = (404, SAMPLES["server gone"])
    session.replies["GET compute /servers/{id}"] = {"server": a_row(status=status)}

    gone = await a_provider(session).delete_step(a_thing(ResourceKind.SERVER, SERVER), TAG)

    assert gone is expected


@pytest.mark.parametrize("kind", [ResourceKind.SERVER, ResourceKind.FLOATING_IP, ResourceKind.PORT])
async def test_nothing_is_gone_that_another_project_has_not(kind):
    """The project changed while we asked."""
    session = CannedSession()

    def not_found(_):
        session.at = attrs.evolve(session.at, endpoint="http://other")
        return 404, SAMPLES["server gone"]

    for call in ("compute /servers/{id}", "network /floatingips/{id}", "network /ports/{id}"):
        session.replies[f"DELETE {call}"] = not_found
        session.replies[f"GET {call}"] = not_found

    with pytest.raises(MisconfiguredError, match="project changed"):
        await a_provider(session).delete_step(a_thing(kind), TAG)


@pytest.mark.parametrize(
    ("quirks", "expected"),
    [(Quirks(), Gone.DONE), (Quirks(floating_ip_delete_may_lie=True), Gone.AGAIN)],
)
async def test_floating_ip_is_gone_with_its_delete_unless_the_cloud_lies(quirks, expected):
    """Stock neutron deletes it in the transaction that it answers for."""
    provider = a_provider(CannedSession(), quirks=quirks)

    assert await provider.delete_step(a_thing(ResourceKind.FLOATING_IP), TAG) is expected


async def test_floating_ip_that_is_not_there_is_gone():
    """Also for the cloud that lies."""
    session = CannedSession()
    session.replies["DELETE network /floatingips/{id}"] = (
        404,
        SAMPLES["delete floating ip again"],
    )
    provider = a_provider(session, quirks=Quirks(floating_ip_delete_may_lie=True))

    assert await provider.delete_step(a_thing(ResourceKind.FLOATING_IP), TAG) is Gone.DONE


async def test_floating_ip_in_doubt_is_deleted_by_its_description():
    """Its id never came; what carries the tag is it."""
    session = CannedSession()
    session.replies["GET network /floatingips"] = {"floatingips": [FLOATING_ROW]}
    provider = a_provider(session)
    doubted = a_thing(ResourceKind.FLOATING_IP, None)

    first = await provider.delete_step(doubted, TAG)
    session.replies["GET network /floatingips"] = {"floatingips": []}
    second = await provider.delete_step(doubted, TAG)

    assert (first, second) == (Gone.AGAIN, Gone.DONE)
    assert session.made[0].params == {"description": "trellis:d:0000000042"}
    assert session.made[1].path == f"/floatingips/{FLOATING_ROW['id']}"


@pytest.mark.parametrize(
    "thing", [a_thing(ResourceKind.SERVER, None), a_thing(ResourceKind.KEYPAIR, "k")]
)
async def test_what_cannot_be_deleted_here_is_said(thing):
    """A server in doubt is looked for with find; keypairs are not made."""
    session = CannedSession()

    with pytest.raises(RejectedError):
        await a_provider(session).delete_step(thing, TAG)

    assert session.made == []


# ------------------------------------------------------------------------------- the rest


async def test_leftovers_are_what_carries_a_tag_or_names_a_server():
    """Strangers' floating IPs, and ports of routers, are none of ours to look at."""
    session = CannedSession()
    port = SAMPLES["ports of a server"]["ports"][0]
    session.replies["GET network /floatingips"] = {
        "floatingips": [
            FLOATING_ROW,
            {"id": "stranger", "description": "web server"},
            {"id": "bare", "description": ""},
            {"id": "cut", "description": "trellis:d"},
        ]
    }
    session.replies["GET network /ports"] = {
        "ports": [port, {**port, "id": "r", "device_owner": "network:router_interface"}]
    }

    floating, left = await a_provider(session).find_leftovers()

    assert (floating.kind, floating.tag) == (ResourceKind.FLOATING_IP, TAG)
    assert (left.kind, left.server_id, left.tag) == (ResourceKind.PORT, SERVER, None)


async def test_limits_are_novas_and_neutrons():
    """With what everybody in the project uses of them."""
    reading = await a_provider(CannedSession()).limits()

    assert (reading.limits.instances, reading.limits.cores) == (20, 80)
    assert (reading.limits.ram_mib, reading.limits.floating_ips) == (200000, 10)
    assert (reading.used.instances, reading.used.ram_mib) == (1, 1024)


async def test_use_that_is_miscounted_is_not_believed():
    """200 of 200 in use where there are 40: the limits hold, refusals teach the rest."""
    reading = await a_provider(CannedSession(), quirks=Quirks(miscounts_use=True)).limits()

    assert (reading.limits.instances, reading.limits.cores) == (20, 80)
    assert reading.used == Resources()


async def test_minus_one_is_unlimited_and_nothing_is_unknown():
    """Neither is a number to reckon with."""
    session = CannedSession()
    absolute = {"maxTotalCores": -1, "maxTotalInstances": 10}
    session.replies["GET compute /limits"] = {"limits": {"absolute": absolute}}
    session.replies["GET network /quotas/{project}/details"] = (404, SAMPLES["port not found"])

    limits = (await a_provider(session).limits()).limits

    assert limits.cores == UNLIMITED
    assert limits.ram_mib is UNKNOWN
    assert limits.floating_ips is UNKNOWN


@pytest.mark.parametrize(
    ("quirks", "expected"),
    [
        (Quirks(), {Capability.FLOATING_IPS, Capability.CHANGES_SINCE}),
        (Quirks(gives_public_addresses=True), {Capability.CHANGES_SINCE}),
        (Quirks(lacks_neutron=True, ignores_changes_since=True), set()),
    ],
)
def test_capabilities_follow_the_quirks(quirks, expected):
    """What a cloud lacks is no ability of its provider."""
    assert a_provider(CannedSession(), quirks=quirks).capabilities == expected


async def test_factory_makes_a_provider_without_io():
    """Plugins and the core make it by the registry's signature."""
    session = CannedSession()

    provider = make_provider(a_config(), ProviderContext(deployment="e", session=session))

    async with provider.open():
        assert provider.deployment == "e"
    assert session.made == []


async def test_quota_of_ports_counts_without_floating_ips_too():
    """Every server has a port; a cloud without neutron is not asked."""
    session, without = CannedSession(), CannedSession()
    config = a_config(pools={"auto_floating_ip": False})

    reading = await a_provider(session, config).limits()
    await a_provider(without, config, quirks=Quirks(lacks_neutron=True)).limits()

    assert reading.limits.ports == SAMPLES["network quota details"]["quota"]["port"]["limit"]
    assert without.names() == ["GET compute /limits"]


@pytest.mark.parametrize("status", [403, 404, 501])
async def test_limits_that_nova_does_not_tell_are_unknown(status):
    """A policy may forbid them: then refusals teach, and the provider works."""
    session = CannedSession()
    session.replies["GET compute /limits"] = (status, {"forbidden": {"message": "not you"}})

    reading = await a_provider(session).limits()

    assert reading.limits.instances is UNKNOWN
    assert reading.limits.floating_ips == 10
    assert reading.used.instances == 0


async def test_what_is_stuck_in_reserved_takes_no_room():
    """Neutron reserves for the time of a call; one that never ends would take room for ever."""
    session = CannedSession()
    stuck = {"quota": {"floatingip": {"limit": 10, "used": 2, "reserved": 8}}}
    session.replies["GET network /quotas/{project}/details"] = stuck

    reading = await a_provider(session).limits()

    assert reading.used.floating_ips == 2
    assert reading.limits.ports is UNKNOWN
