"""The stock provider's servers: how they are asked for, found, listed and read."""

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
    an_intent,
)

from trellis.errors import MisconfiguredError, NoCapacityError, QuotaExceededError, RejectedError
from trellis.http.message import Verb
from trellis.openstack.compute.rows import ServerRow
from trellis.openstack.quirks import Quirks
from trellis.providers.networks import NetworkFacts
from trellis.spi.provider import InstanceState

LIST = "GET compute /servers/detail"


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


@pytest.mark.parametrize(
    ("most", "own", "kept"),
    [(None, 0, 4), (40, 31, 4), (40, 33, 2), (40, 35, 0), (None, 122, 1), (None, 130, 0)],
)
async def test_notes_have_the_room_that_tags_and_properties_leave(most, own, kept):
    """Nova takes 128 items for a server, some clouds fewer; one more refuses the create."""
    properties = {f"key-{number}": "value" for number in range(own)}
    session = CannedSession()
    config = a_config(a_label("small", instance_properties=properties))
    notes = {f"trellis_note_{number}": "value" for number in range(4)}

    provider = a_provider(session, config, quirks=Quirks(metadata_most=most))
    await provider.create(an_intent(metadata=notes))

    metadata = session.made[-1].json["server"]["metadata"]
    assert [key for key in metadata if key in notes] == list(notes)[:kept]
    assert len(metadata) == 4 + own + kept  # the tag of a copy of a store has one more


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


async def test_row_that_a_list_shows_again_is_not_read_again():
    """A list begins some seconds before the last one: most of its rows are known."""
    session = CannedSession()
    session.replies[LIST] = {"servers": [a_row(id="a"), a_row(id="b", status="BUILD")]}
    provider = a_provider(session)
    first = await provider.list(None)
    session.replies[LIST] = {"servers": [a_row(id="a"), a_row(id="b")]}

    second = await provider.list(None)

    assert second.instances[0] is first.instances[0]
    assert [one.state for one in second.instances] == [InstanceState.ACTIVE] * 2


async def test_server_in_error_is_read_anew_by_each_list():
    """Its fault is an exception: whoever raises it leaves a traceback on it."""
    session = CannedSession()
    fault = SAMPLES["server ERROR: no valid host"]["server"]["fault"]
    session.replies[LIST] = {"servers": [a_row(status="ERROR", fault=fault)]}
    provider = a_provider(session)

    first, second = [(await provider.list(None)).instances[0].fault for _ in range(2)]

    assert isinstance(first, NoCapacityError)
    assert first is not second


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


def test_tag_of_another_shape_is_none():
    """A row with half a tag is a stranger's."""
    provider = a_provider(CannedSession())
    row = msgspec.convert({"id": "s", "metadata": {"trellis_deployment": "d"}}, ServerRow)

    instance = provider.interpret_server(row, NetworkFacts())

    assert instance.tag is None
