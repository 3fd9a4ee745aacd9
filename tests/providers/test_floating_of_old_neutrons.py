"""Floating IPs where neutron knows no descriptions, or passes over a filter by one."""

import pytest

from tests.providers.canned import SERVER, TAG, CannedSession, a_config, a_provider, a_thing
from trellis.errors import AnswerLostError
from trellis.model.node import ResourceKind
from trellis.openstack.quirks import Quirks
from trellis.providers.rows import TAG_DEPLOYMENT, TAG_NODE, TAG_POOL
from trellis.spi.provider import Gone

PORT = "c2a57171-2f4b-4d1d-8f2b-000000000001"
WITHOUT = Quirks(floating_ips_lack_descriptions=True)


def floating(id, port_id=None, **kwargs):
    return {"id": id, "floating_ip_address": "198.51.100.7", "port_id": port_id, **kwargs}


def a_session(*rows):
    """Whatever is asked for, all floating IPs are shown."""
    session = CannedSession()
    session.replies["GET network /floatingips"] = {"floatingips": list(rows)}
    fixed = [{"ip_address": "10.0.0.9", "subnet_id": "s"}]
    ports = [{"id": PORT, "device_id": SERVER, "fixed_ips": fixed}]
    session.replies["GET network /ports"] = {"ports": ports}
    return session


def deleted(session):
    return [call.path for call in session.made if call.name.startswith("DELETE network")]


async def test_those_of_others_are_not_deleted_where_the_filter_is_passed_over():
    """What is in doubt is deleted by its own description, and by nothing else."""
    session = a_session(
        floating("strangers", "p"), floating("mine", "q", description="trellis:d:0000000042")
    )

    gone = await a_provider(session).delete_step(a_thing(ResourceKind.FLOATING_IP, None), TAG)

    assert gone is Gone.AGAIN
    assert deleted(session) == ["/floatingips/mine"]


async def test_that_of_another_is_not_taken_where_the_filter_is_passed_over():
    """A new one is made."""
    session = a_session(floating("strangers", "p"))

    made = await a_provider(session).attach_public(TAG, SERVER)

    assert made.external_id != "strangers"
    assert "POST network /floatingips" in session.names()


async def test_one_without_a_description_is_found_by_its_port():
    """That of an earlier try, whose answer was lost."""
    session = a_session(floating("strangers", "p"), floating("mine", PORT))

    found = await a_provider(session, quirks=WITHOUT).attach_public(TAG, SERVER)

    assert found.external_id == "mine"
    assert "POST network /floatingips" not in session.names()


async def test_no_description_is_sent_where_none_is_taken():
    """Such a neutron refuses what it does not know."""
    session = a_session()

    await a_provider(session, quirks=WITHOUT).attach_public(TAG, SERVER)

    (sent,) = [call.json for call in session.made if call.name == "POST network /floatingips"]
    assert "description" not in sent["floatingip"]


async def test_one_in_doubt_is_deleted_by_the_ports_of_its_server():
    """The server is known by its metadata."""
    session = a_session(floating("strangers", "p"), floating("mine", PORT))
    tagged = {TAG_DEPLOYMENT: TAG.deployment, TAG_NODE: TAG.node_id}
    session.replies["GET compute /servers/detail"] = {
        "servers": [{"id": SERVER, "metadata": tagged}, {"id": "another's", "metadata": {}}]
    }

    thing = a_thing(ResourceKind.FLOATING_IP, None)
    gone = await a_provider(session, quirks=WITHOUT).delete_step(thing, TAG)

    assert gone is Gone.AGAIN
    assert deleted(session) == ["/floatingips/mine"]


async def test_those_of_others_stay_where_the_filter_of_ports_is_passed_over():
    """Their ports are shown as well, and lead to other servers."""
    session = a_session(floating("strangers", "p"), floating("mine", PORT))
    session.replies["GET network /ports"] = {
        "ports": [{"id": PORT, "device_id": SERVER}, {"id": "p", "device_id": "another's"}]
    }
    tagged = {TAG_DEPLOYMENT: TAG.deployment, TAG_NODE: TAG.node_id}
    session.replies["GET compute /servers/detail"] = {
        "servers": [{"id": SERVER, "metadata": tagged}]
    }

    thing = a_thing(ResourceKind.FLOATING_IP, None)
    await a_provider(session, quirks=WITHOUT).delete_step(thing, TAG)

    assert deleted(session) == ["/floatingips/mine"]


class OneMeanwhile(CannedSession):
    """While floating IPs are listed for the first time, a node gets one that is not in the list."""

    provider = None
    given = ""

    async def request(self, service, method, path, **options):
        answer = await super().request(service, method, path, **options)
        provider, self.provider = self.provider, None
        if provider is not None and path == "/floatingips":
            self.given = (await provider.attach_public(TAG, SERVER)).external_id
        else:
            self.provider = provider
        return answer


async def test_one_made_while_the_lists_are_read_is_known_later():
    """Its server may be gone by the next time."""
    session = OneMeanwhile()
    provider = session.provider = a_provider(session, quirks=WITHOUT)

    await provider.find_leftovers()
    session.replies["GET network /floatingips"] = {"floatingips": [floating(session.given)]}

    assert found(await provider.find_leftovers()) == {session.given: TAG}


async def test_one_in_doubt_is_deleted_though_no_list_shows_its_server():
    """A part of the cloud may be down; this process asked for it, and knows for which server."""
    session = a_session(floating("strangers", "p"))
    lost = AnswerLostError("the answer is lost")
    session.replies["POST network /floatingips"] = lost
    session.replies["GET compute /servers/detail"] = {"servers": []}
    provider = a_provider(session, quirks=WITHOUT)
    with pytest.raises(AnswerLostError):
        await provider.attach_public(TAG, SERVER)
    rows = [floating("strangers", "p"), floating("mine", PORT)]
    session.replies["GET network /floatingips"] = {"floatingips": rows}

    await provider.delete_step(a_thing(ResourceKind.FLOATING_IP, None), TAG)

    assert deleted(session) == ["/floatingips/mine"]


async def test_one_that_is_left_over_is_known_by_the_server_it_led_to():
    """Also once that is gone, and nobody else's is."""
    session = a_session(floating("strangers", "p"), floating("mine", PORT))
    session.replies["GET network /ports"] = {
        "ports": [{"id": PORT, "device_id": SERVER}, {"id": "p", "device_id": "another's"}]
    }
    tagged = {TAG_DEPLOYMENT: TAG.deployment, TAG_NODE: TAG.node_id}
    servers = [{"id": SERVER, "metadata": tagged}, {"id": "another's", "metadata": {}}]
    session.replies["GET compute /servers/detail"] = {"servers": servers}
    provider = a_provider(session, quirks=WITHOUT)

    before = found(await provider.find_leftovers())
    session.replies["GET compute /servers/detail"] = {"servers": []}
    session.replies["GET network /floatingips"] = {
        "floatingips": [floating("strangers"), floating("mine")]
    }
    after = found(await provider.find_leftovers())

    assert before == after == {"mine": TAG, "strangers": None}


@pytest.mark.parametrize(("floats", "tag"), [(True, TAG), (False, None)])
async def test_one_on_a_server_that_was_to_have_none_is_a_persons(floats, tag):
    """Who gave it to the node may want it back: the sweep leaves it alone."""
    session = a_session(floating("attached", PORT))
    tagged = {TAG_DEPLOYMENT: TAG.deployment, TAG_NODE: TAG.node_id, TAG_POOL: "main"}
    servers = [{"id": SERVER, "metadata": tagged}]
    session.replies["GET compute /servers/detail"] = {"servers": servers}
    config = a_config(pools={"auto_floating_ip": floats})

    leftovers = await a_provider(session, config, quirks=WITHOUT).find_leftovers()

    assert found(leftovers) == {"attached": tag}


def found(leftovers):
    return {x.external_id: x.tag for x in leftovers if x.kind is ResourceKind.FLOATING_IP}


async def test_what_is_used_is_counted_where_neutron_does_not_tell():
    """By the lists of ports and of floating IPs."""
    session = a_session(floating("a"), floating("b"))
    session.replies["GET network /quotas/{project}"] = {"quota": {"port": 70, "floatingip": 45}}

    reading = await a_provider(session, quirks=Quirks(lacks_quota_details=True)).limits()

    assert (reading.limits.ports, reading.used.ports) == (70, 1)
    assert (reading.limits.floating_ips, reading.used.floating_ips) == (45, 2)
