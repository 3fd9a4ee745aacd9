"""The stock provider: what it asks of a cloud, and what it reads from the answers."""

import attrs
import msgspec
import pytest
import trio
from canned import (
    CI_NET,
    SAMPLES,
    SERVER,
    TAG,
    CannedSession,
    a_config,
    a_label,
    a_provider,
    a_row,
    a_thing,
    an_intent,
)

from trellis.errors import (
    AnswerLostError,
    MisconfiguredError,
    NoCapacityError,
    QuotaExceededError,
    RejectedError,
)
from trellis.http.message import Verb
from trellis.model.node import Addresses, ResourceKind
from trellis.model.quota import UNKNOWN, UNLIMITED, Resources
from trellis.openstack.compute.rows import ServerRow
from trellis.openstack.quirks import Quirks
from trellis.providers.networks import NetworkFacts
from trellis.providers.openstack import make_provider
from trellis.spi.provider import Capability, Gone, InstanceState
from trellis.spi.registry import ProviderContext

LIST = "GET compute /servers/detail"
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


# --------------------------------------------------------------------------------- creating


async def test_create_sends_tag_and_label():
    """All that the next process needs to find the server is in the one call that makes it."""
    session = CannedSession()
    label = a_label(
        userdata="#!/bin/sh", key_name="sample", config_drive=True, instance_properties={"a": "b"}
    )
    config = a_config(label, pools={"networks": ("ci-net",), "security_groups": ("default",)})

    await a_provider(session, config).create(an_intent(metadata={"label": "small"}))

    call = session.made[-1]
    server = call.json["server"]
    assert call.name == "POST compute /servers"
    assert call.turn_taken
    assert server["metadata"] == {
        "a": "b",
        "label": "small",
        "trellis_deployment": "d",
        "trellis_node_id": "0000000042",
        "trellis_provider": "acme-r1",
        "trellis_pool": "main",
    }
    assert server["name"] == "ci-42"
    assert (server["flavorRef"], server["imageRef"]) == ("f", "i")
    assert server["networks"] == [{"uuid": CI_NET}]
    assert server["security_groups"] == [{"name": "beb2ff0a-8bcb-41c8-b3e3-36b3dd324763"}]
    assert server["availability_zone"] == "nova"
    assert server["key_name"] == "sample"
    assert server["user_data"] == "IyEvYmluL3No"
    assert server["config_drive"] is True


async def test_metadata_cannot_take_the_tags_place():
    """Whatever the core adds, the tag is the tag."""
    session = CannedSession()

    await a_provider(session).create(an_intent(metadata={"trellis_node_id": "1"}))

    assert session.made[-1].json["server"]["metadata"]["trellis_node_id"] == "0000000042"


async def test_quirks_shape_the_create():
    """Zones that must not be named, groups that must not be sent, a drive that is needed."""
    session = CannedSession()
    quirks = Quirks(hides_zones=True, lacks_security_groups=True, needs_config_drive=True)
    config = a_config(pools={"networks": ("ci-net",), "security_groups": ("default",)})

    await a_provider(session, config, quirks=quirks).create(an_intent())

    server = session.made[-1].json["server"]
    assert "availability_zone" not in server
    assert "security_groups" not in server
    assert server["config_drive"] is True


async def test_create_after_a_restart_looks_the_label_up_first():
    """An intent may be carried out by a process that has read no inventory yet."""
    session = CannedSession()

    server_id = await a_provider(session).create(an_intent())

    assert server_id == SERVER
    assert session.names().count("POST compute /servers") == 1


async def test_label_that_is_gone_from_the_configuration_is_not_created():
    """Nothing is sent."""
    session = CannedSession()

    with pytest.raises(RejectedError, match="not configured"):
        await a_provider(session).create(an_intent(label="old"))

    assert "POST compute /servers" not in session.names()


async def test_create_turn_is_that_of_a_create():
    """The core waits for it before it records the intent."""
    session = CannedSession()

    await a_provider(session).create_turn()

    assert session.turns == [("compute", Verb.CREATE)]


async def test_quota_refusal_of_a_create_has_its_type():
    """The core pauses instead of counting a failure."""
    session = CannedSession()
    refusal = SAMPLES["quota exceeded: instances"]
    session.replies["POST compute /servers"] = (403, refusal)

    with pytest.raises(QuotaExceededError):
        await a_provider(session).create(an_intent())


# ---------------------------------------------------------------------------------- looking


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"status": "BUILD"}, InstanceState.BUILDING),
        ({"status": "ACTIVE"}, InstanceState.ACTIVE),
        ({"status": "ACTIVE", "OS-EXT-STS:task_state": "deleting"}, InstanceState.DELETING),
        ({"status": "ERROR", "OS-EXT-STS:task_state": "deleting"}, InstanceState.DELETING),
        ({"status": "ERROR"}, InstanceState.ERROR),
        ({"status": "SHUTOFF"}, InstanceState.STOPPED),
        ({"status": "DELETED"}, InstanceState.GONE),
        ({"status": "DELETED", "OS-EXT-STS:task_state": "deleting"}, InstanceState.GONE),
        ({"status": "SOFT_DELETED"}, InstanceState.DELETING),
        ({"status": "UNKNOWN"}, InstanceState.UNKNOWN),
        ({"status": "VERIFY_RESIZE"}, InstanceState.UNKNOWN),
    ],
)
async def test_status_becomes_a_state(row, expected):
    """What says nothing to us is unknown, never a verdict."""
    session = CannedSession()
    session.replies["GET compute /servers/{id}"] = {"server": a_row(**row)}

    instance = await a_provider(session).get(SERVER)

    assert instance.state is expected


async def test_active_server_on_a_private_network_needs_a_public_address():
    """It has one already that can be used inside."""
    session = CannedSession()
    session.replies["GET compute /servers/{id}"] = {"server": a_row()}

    instance = await a_provider(session).get(SERVER)

    assert instance.needs_public
    assert instance.addresses is not None
    assert instance.addresses.interface_ip == "10.42.0.176"
    assert instance.tag == TAG
    assert instance.az == "nova"
    assert instance.created_at == 1795356823.0


@pytest.mark.parametrize(
    ("pool", "quirks", "row"),
    [
        ({"auto_floating_ip": False}, Quirks(), {}),
        ({}, Quirks(gives_public_addresses=True), {}),
        ({}, Quirks(reaches_only_ipv6=True), {}),
        ({}, Quirks(), {"accessIPv4": "192.0.2.7"}),
        ({}, Quirks(), {"addresses": {}}),
        ({}, Quirks(), {"metadata": {"trellis_deployment": "d", "trellis_node_id": "1"}}),
    ],
)
async def test_no_public_address_is_needed_where_none_is_wanted_or_one_is_there(pool, quirks, row):
    """By configuration, quirk or address; a row of an unknown pool wants nothing."""
    session = CannedSession()
    session.replies["GET compute /servers/{id}"] = {"server": a_row(**row)}
    config = a_config(pools={"networks": ("ci-net",), **pool})

    instance = await a_provider(session, config, quirks=quirks).get(SERVER)

    assert not instance.needs_public


async def test_server_in_error_says_why_as_its_create_would_have():
    """The core tells capacity from failure by the type."""
    session = CannedSession()
    fault = SAMPLES["server ERROR: no valid host"]["server"]["fault"]
    session.replies["GET compute /servers/{id}"] = {"server": a_row(status="ERROR", fault=fault)}

    instance = await a_provider(session).get(SERVER)

    assert isinstance(instance.fault, NoCapacityError)


async def test_server_in_error_without_a_fault_leaves_it_open():
    """Some clouds show the fault a moment later."""
    session = CannedSession()
    session.replies["GET compute /servers/{id}"] = {"server": a_row(status="ERROR")}

    assert (await a_provider(session).get(SERVER)).fault is None


async def test_server_that_is_not_found_is_gone():
    """A 404 on GET in the project it was made in is proof."""
    session = CannedSession()
    session.replies["GET compute /servers/{id}"] = (404, SAMPLES["server gone"])

    assert (await a_provider(session).get(SERVER)).state is InstanceState.GONE


async def test_404_while_the_project_changed_proves_nothing():
    """The credentials were replaced between two calls."""
    session = CannedSession()

    def reply(_):
        session.at = attrs.evolve(session.at, project_id="p2")
        return 404, SAMPLES["server gone"]

    session.replies["GET compute /servers/{id}"] = reply

    with pytest.raises(MisconfiguredError, match=r"project changed: p1 .* became p2"):
        await a_provider(session).get(SERVER)


async def test_404_of_a_front_proves_nothing():
    """A page without a word of nova's is no verdict on a server."""
    session = CannedSession()
    session.replies["GET compute /servers/{id}"] = (404, None)

    with pytest.raises(Exception, match="no word"):
        await a_provider(session).get(SERVER)


async def test_server_is_found_by_tag_among_those_of_its_name():
    """Names are not unique anywhere."""
    session = CannedSession()
    stranger = a_row(id="other", metadata={})
    session.replies[LIST] = {"servers": [stranger, a_row()]}

    found = await a_provider(session).find(TAG, "ci-42")

    assert found is not None
    assert found.external_id == SERVER
    assert session.made[-1].params == {"name": "^ci-42$"}


async def test_server_of_another_deployment_is_not_found():
    """Its node may have the same id."""
    session = CannedSession()
    session.replies[LIST] = {"servers": [a_row()]}

    assert await a_provider(session).find(attrs.evolve(TAG, deployment="e"), "ci-42") is None


async def test_full_list_gives_the_newest_stamp():
    """The next one is asked from there, by the cloud's own time."""
    session = CannedSession()
    rows = [
        a_row(id="a", updated="2026-11-22T14:13:47Z"),
        a_row(id="b", updated="2026-11-22T14:13:49Z"),
        a_row(id="c", updated=None, metadata={}),
    ]
    session.replies[LIST] = {"servers": rows}

    listing = await a_provider(session).list(None)

    assert listing.full
    assert listing.newest == "2026-11-22T14:13:49Z"
    assert [instance.external_id for instance in listing.instances] == ["a", "b", "c"]
    assert listing.instances[2].tag is None


async def test_incremental_list_goes_back_five_seconds():
    """A row may be committed after a newer one was shown (rule 3)."""
    session = CannedSession()

    listing = await a_provider(session).list("2026-11-22T14:13:02Z")

    assert session.made[-1].params == {"changes-since": "2026-11-22T14:12:57Z"}
    assert not listing.full
    assert listing.newest == "2026-11-22T14:13:02Z"


async def test_row_of_a_deleted_server_is_gone_though_its_tag_is_lost():
    """Nova drops the metadata of deleted servers."""
    session = CannedSession()
    row = a_row(status="DELETED", metadata={}, addresses={}, updated="2026-11-22T14:13:03Z")
    session.replies[LIST] = {"servers": [row]}

    listing = await a_provider(session).list("2026-11-22T14:13:02Z")

    assert [i.state for i in listing.instances] == [InstanceState.GONE]


async def test_cloud_that_ignores_changes_since_is_listed_in_full():
    """It shows what did not change; from then on the question is not asked."""
    session = CannedSession()
    session.replies[LIST] = {"servers": [a_row(updated="2020-01-01T00:00:00Z")]}
    provider = a_provider(session)

    first = await provider.list("2026-11-22T14:13:02Z")
    second = await provider.list("2026-11-22T14:13:02Z")

    assert first.full
    assert second.full
    assert session.made[-1].params == {}


async def test_network_facts_are_read_once():
    """A list is one call; so is a look at one server."""
    session = CannedSession()
    session.replies["GET compute /servers/{id}"] = {"server": a_row()}
    provider = a_provider(session)
    await provider.list(None)
    before = len(session.made)

    await provider.list(None)
    await provider.get(SERVER)

    assert len(session.made) == before + 2


async def test_network_facts_are_read_once_for_many_who_ask_at_once():
    """Twenty launches that go on after a restart make one reading, and so one call of each kind."""

    class UnhurriedSession(CannedSession):
        async def request(self, *args, **kwargs):
            await trio.lowlevel.checkpoint()
            return await super().request(*args, **kwargs)

    session = UnhurriedSession()
    provider = a_provider(session)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(provider.find, TAG, "np0000000042")

    networks = [name for name in session.names() if name.startswith("GET network")]
    assert len(networks) == len(set(networks)) > 0
    assert session.names().count(LIST) == 20


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


def test_tag_of_another_shape_is_none():
    """A row with half a tag is a stranger's."""
    provider = a_provider(CannedSession())
    row = msgspec.convert({"id": "s", "metadata": {"trellis_deployment": "d"}}, ServerRow)

    instance = provider.interpret_server(row, NetworkFacts())

    assert instance.tag is None


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
