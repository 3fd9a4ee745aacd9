"""Servers spread over the networks of a pool: which network each gets, and how that is known."""

import pytest

from tests.providers.canned import (
    CI_NET,
    SAMPLES,
    CannedSession,
    a_config,
    a_provider,
    a_row,
    an_intent,
)
from trellis.errors import NoCapacityError, RejectedError
from trellis.openstack.compute import ServerRow
from trellis.openstack.quirks import Quirks
from trellis.providers.spread import TAG_NETWORK, NetworkSpread

NAMES = {"n1": "one", "n2": "two"}
OTHER = "0a0a0a0a-0000-4000-8000-000000000002"
TWO_EACH = Quirks(servers_per_network=2)


def row(id, network=None, status="ACTIVE", names=(), **kwargs) -> ServerRow:
    metadata = {} if network is None else {TAG_NETWORK: network}
    return ServerRow(
        id=id, status=status, metadata=metadata, addresses={n: [] for n in names}, **kwargs
    )


def next_of(spread, networks=("n1", "n2")):
    with spread.one_of(networks, NAMES) as network:
        return network


def a_spread(*rows, most=2):
    spread = NetworkSpread(most, "acme")
    spread.saw(rows, full=True)
    return spread


def test_the_network_with_the_fewest_servers_is_next():
    """Those that others made count by the names that nova shows."""
    spread = a_spread(row("a", "n1"), row("b", names=["one"]), row("c", "n2"), most=9)

    assert next_of(spread) == "n2"


def test_creates_under_way_count():
    """Many are sent before the first is answered."""
    spread = a_spread()

    with spread.one_of(["n1", "n2"], NAMES) as first, spread.one_of(["n1", "n2"], NAMES) as second:
        assert {first, second} == {"n1", "n2"}


def test_a_create_that_fails_holds_nothing():
    """Refused, lost or cancelled."""
    spread = a_spread(most=1)

    with pytest.raises(RejectedError), spread.one_of(["n1"], NAMES):
        raise RejectedError("no")

    assert next_of(spread, ["n1"]) == "n1"


def test_networks_that_carry_all_they_can_are_no_place():
    """The error says which, and what helps."""
    spread = a_spread(row("a", "n1"), row("b", "n1"), row("c", "n2"), row("d", "n2"))

    with pytest.raises(NoCapacityError, match=r"one: 2, two: 2.*Add another network"):
        next_of(spread)


@pytest.mark.parametrize(
    "leave",
    [
        lambda spread: spread.gone("a"),
        lambda spread: spread.saw([row("a", status="DELETED")], full=False),
        lambda spread: spread.saw([], full=True),
    ],
    ids=["not found", "a DELETED row", "no longer listed"],
)
def test_a_server_that_is_gone_makes_room(leave):
    """However that is learnt."""
    spread = a_spread(row("a", "n1"), most=1)
    leave(spread)

    assert next_of(spread, ["n1"]) == "n1"


def test_a_server_that_no_list_shows_yet_still_counts():
    """A list may be older than the create whose answer came first."""
    spread = a_spread(most=1)
    spread.made("a", "n1")
    spread.saw([], full=True)

    with pytest.raises(NoCapacityError):
        next_of(spread, ["n1"])


def test_a_server_that_a_list_has_shown_counts_no_longer_once_none_shows_it():
    """It was deleted by somebody else: nothing tells of it but the list."""
    spread = a_spread(most=1)
    spread.made("a", "n1")
    spread.saw([row("a", "n1")], full=True)
    spread.saw([], full=True)

    assert next_of(spread, ["n1"]) == "n1"


def a_session(*rows):
    session = CannedSession()
    networks = [{"id": OTHER, "name": "other-net"}, *SAMPLES["networks"]["networks"]]
    session.replies["GET network /networks"] = {"networks": networks}
    session.replies["GET compute /servers/detail"] = {"servers": list(rows)}
    return session


def spreading(session):
    config = a_config(pools={"networks": ("ci-net", "other-net")})
    return a_provider(session, config, quirks=TWO_EACH)


async def test_each_server_is_on_one_network_and_says_on_which():
    """The list is read before the first create, as after a restart nothing is known."""
    there = a_row(metadata={**a_row()["metadata"], TAG_NETWORK: CI_NET})
    session = a_session(there)

    await spreading(session).create(an_intent())

    sent = next(call.json["server"] for call in session.made if call.name.startswith("POST"))
    assert sent["networks"] == [{"uuid": OTHER}]
    assert sent["metadata"][TAG_NETWORK] == OTHER
    assert session.names().index("GET compute /servers/detail") < session.names().index(
        "POST compute /servers"
    )


async def test_a_server_that_was_just_made_counts_before_a_list_shows_it():
    """Two creates one after the other go on two networks."""
    session = a_session()
    provider = spreading(session)

    await provider.create(an_intent())
    await provider.create(an_intent())

    sent = [call.json["server"] for call in session.made if call.name.startswith("POST")]
    assert {one["networks"][0]["uuid"] for one in sent} == {CI_NET, OTHER}


@pytest.mark.parametrize("learnt", ["by a GET", "by a list"])
async def test_a_server_that_is_gone_leaves_its_network(learnt):
    """The next is put there: until then, the network is full."""
    session = a_session(a_row(id="there", metadata={**a_row()["metadata"], TAG_NETWORK: CI_NET}))
    provider = a_provider(session, a_config(), quirks=Quirks(servers_per_network=1))
    with pytest.raises(NoCapacityError):
        await provider.create(an_intent())

    if learnt == "by a GET":
        session.replies["GET compute /servers/{id}"] = (404, {"itemNotFound": {"message": "no"}})
        await provider.get("there")
    else:
        session.replies["GET compute /servers/detail"] = {"servers": []}
        await provider.list(None)

    await provider.create(an_intent())


async def test_a_label_takes_one_port_of_several_networks():
    """Not one of each."""
    inventory = await spreading(a_session()).inventory()

    (offer,) = inventory.offers.values()
    assert offer.shape.resources.ports == 1


async def test_the_quota_is_no_more_than_what_the_networks_carry():
    """So no more is planned; the cloud's own figure holds where it is lower."""
    session = a_session()
    provider = spreading(session)
    await provider.inventory()

    assert (await provider.limits()).limits.instances == 4
    few = {**SAMPLES["limits"]["limits"]["absolute"], "maxTotalInstances": 3}
    session.replies["GET compute /limits"] = {"limits": {"absolute": few}}
    assert (await provider.limits()).limits.instances == 3


async def test_the_quota_is_the_clouds_where_a_pool_names_no_network():
    """Nova chooses one, and what that carries nobody knows: it is not nothing."""
    session = a_session()
    provider = a_provider(session, a_config(pools={"networks": ()}), quirks=TWO_EACH)
    await provider.inventory()

    told = SAMPLES["limits"]["limits"]["absolute"]["maxTotalInstances"]
    assert (await provider.limits()).limits.instances == told


async def test_without_the_quirk_a_server_is_on_all_networks():
    """As a pool's networks are read for a stock cloud."""
    session = a_session()
    config = a_config(pools={"networks": ("ci-net", "other-net")})

    await a_provider(session, config).create(an_intent())

    sent = next(call.json["server"] for call in session.made if call.name.startswith("POST"))
    assert [one["uuid"] for one in sent["networks"]] == [CI_NET, OTHER]
    assert TAG_NETWORK not in sent["metadata"]
