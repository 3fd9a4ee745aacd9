"""What configured labels come to, and what is said of those that come to nothing."""

import pytest
from canned import (
    CI_NET,
    PUBLIC,
    SAMPLES,
    CannedSession,
    a_config,
    a_label,
    a_provider,
    an_intent,
)

from trellis.errors import CloudBrokenError, MisconfiguredError, StaleOfferError
from trellis.model.node import Home
from trellis.model.quota import Resources
from trellis.openstack.quirks import Quirks
from trellis.providers.config import OpenStackPoolConfig, OpenStackProviderConfig

SMALL = ("main", "small")


async def test_label_comes_down_to_flavor_image_and_zone():
    """By the recorded cloud, which is private behind a router, so it takes a floating IP."""
    session = CannedSession()

    inventory = await a_provider(session).inventory()

    offer = inventory.offers[SMALL]
    assert inventory.missing == {}
    assert offer.shape.flavor_id == "984f483b-de24-4772-b72f-a35aa14eba68"
    assert offer.shape.image_id == "dd6ea60f-a237-4f72-bea4-311342f34926"
    assert offer.shape.resources == Resources(
        instances=1, cores=1, ram_mib=1024, floating_ips=1, ports=1
    )
    assert offer.shape.disk_gib == 10
    assert offer.zones == ("nova",)
    assert inventory.home == Home(project_id="p1", region="R1", endpoint="http://nova/v2.1")


@pytest.mark.parametrize(
    ("label", "flavor"),
    [
        ({"min_ram": 2000}, "ci-2c-4g"),
        ({"min_ram": 5000}, "ci-8c-8g"),
        ({"min_ram": 5000, "flavor_name": "big"}, "too-big"),
        ({"flavor_name": "984f483b-de24-4772-b72f-a35aa14eba68"}, "ci-1c-1g"),
    ],
)
async def test_flavor_is_the_smallest_that_will_do(label, flavor):
    """By memory, then name; a name given beside is a part of it, or else exact."""
    inventory = await a_provider(CannedSession(), a_config(a_label(**label))).inventory()

    assert inventory.offers[SMALL].shape.flavor_name == flavor


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ({"flavor_name": "ci-1c-2g"}, "no flavor 'ci-1c-2g'; near: ci-1c-1g"),
        ({"min_ram": 10**6}, "no flavor with 1000000 MiB; the largest has 8192 MiB"),
        ({"key_name": "simple"}, "no keypair 'simple'; near: sample"),
        ({"networks": ("ci-ned",)}, "no network 'ci-ned'; near: ci-net"),
    ],
)
async def test_what_the_cloud_lacks_costs_only_its_label(label, words):
    """The others are offered, and the reason names what comes near."""
    session = CannedSession()
    config = a_config(a_label("lost", **label), a_label())

    inventory = await a_provider(session, config).inventory()

    assert list(inventory.offers) == [SMALL]
    assert inventory.missing["main", "lost"].startswith(words)


async def test_image_that_is_built_here_is_not_looked_for():
    """The core chooses its upload at each launch."""
    session = CannedSession()
    config = a_config(a_label(image="debian-12"))

    inventory = await a_provider(session, config).inventory()

    offer = inventory.offers[SMALL]
    assert (offer.image, offer.shape.image_id, offer.shape.image_name) == (
        "debian-12", "", "debian-12",
    )  # fmt: skip
    assert "GET image /images" not in [call.name for call in session.made]


async def test_image_that_is_built_here_costs_its_label_where_none_can_be_uploaded():
    """It says so, and what to do."""
    provider = a_provider(CannedSession(), a_config(a_label(image="debian-12")))
    provider.images = None

    inventory = await provider.inventory()

    assert "name a cloud-image instead" in inventory.missing[SMALL]


async def test_server_of_an_image_without_upload_is_not_made():
    """Nova would take it for a boot from nothing."""
    session = CannedSession()
    provider = a_provider(session, a_config(a_label(image="debian-12")))
    inventory = await provider.inventory()

    with pytest.raises(StaleOfferError, match="no upload here"):
        await provider.create(an_intent(shape=inventory.offers[SMALL].shape))


async def test_missing_cloud_image_names_what_comes_near():
    """All images are listed only then."""
    session = CannedSession()
    session.replies["GET image /images"] = lambda call: (
        {"images": []} if call.params else SAMPLES["images by name"]
    )

    inventory = await a_provider(session, a_config(a_label(cloud_image="tinny"))).inventory()

    assert inventory.missing[SMALL] == "no active image 'tinny'; near: tiny"


async def test_image_too_large_for_its_flavor_is_missing():
    """Nova would refuse each create."""
    session = CannedSession()
    image = {"id": "i", "name": "tiny", "status": "active", "min_ram": 2048}
    session.replies["GET image /images"] = {"images": [image]}

    inventory = await a_provider(session).inventory()

    assert "too small for image 'tiny'" in inventory.missing[SMALL]


async def test_image_is_looked_up_once_for_many_labels():
    """Few calls: the clouds are spared."""
    session = CannedSession()
    labels = [a_label(f"l{number}") for number in range(5)]

    await a_provider(session, a_config(*labels)).inventory()

    assert session.names().count("GET image /images") == 1
    assert len(session.names()) == len(set(session.names()))


@pytest.mark.parametrize(
    ("configured", "shown", "expected"),
    [
        ((), ["a", "b"], ("a", "b")),
        (("b", "c"), ["a", "b"], ("b",)),
        ((), [], ()),
        (("b",), [], ("b",)),
    ],
)
async def test_zones_are_the_configured_ones_that_are_there(configured, shown, expected):
    """Where the cloud shows none, the configuration is trusted, and none is named without."""
    session = CannedSession()
    rows = [{"zoneName": name, "zoneState": {"available": True}} for name in shown]
    session.replies["GET compute /os-availability-zone"] = {"availabilityZoneInfo": rows}
    config = a_config(pools={"availability_zones": configured})

    inventory = await a_provider(session, config).inventory()

    assert inventory.offers[SMALL].zones == expected


async def test_zone_that_is_not_there_costs_its_pool():
    """All of the pool's labels are missing, with the reason."""
    config = a_config(pools={"availability_zones": ("nova2",)})

    inventory = await a_provider(CannedSession(), config).inventory()

    assert inventory.missing[SMALL] == "no available zone 'nova2'; near: nova"


async def test_refused_list_of_zones_means_to_name_none():
    """Some clouds do not let projects see them."""
    session = CannedSession()
    session.replies["GET compute /os-availability-zone"] = (403, {"forbidden": {"message": "no"}})

    inventory = await a_provider(session).inventory()

    assert inventory.offers[SMALL].zones == ()


async def test_a_redirected_list_of_zones_is_no_word_about_zones():
    """Taken for none, the nodes of a set were spread over zones that nobody had named."""
    elsewhere = MisconfiguredError("redirects to elsewhere.invalid", status=302)
    session = CannedSession()
    session.replies["GET compute /os-availability-zone"] = elsewhere

    with pytest.raises(MisconfiguredError, match=r"elsewhere\.invalid"):
        await a_provider(session).inventory()


async def test_server_on_an_external_network_takes_no_floating_ip():
    """Its address is public by itself."""
    config = a_config(pools={"networks": ("public",)})

    inventory = await a_provider(CannedSession(), config).inventory()

    assert inventory.offers[SMALL].shape.resources.floating_ips == 0


@pytest.mark.parametrize(
    ("pool", "quirks"),
    [({"auto_floating_ip": False}, Quirks()), ({}, Quirks(gives_public_addresses=True))],
)
async def test_unwanted_floating_ips_cost_no_calls(pool, quirks):
    """Neither routers nor subnets are asked for."""
    session = CannedSession()

    inventory = await a_provider(session, a_config(pools=pool), quirks=quirks).inventory()

    assert inventory.offers[SMALL].shape.resources.floating_ips == 0
    assert "GET network /routers" not in session.names()


async def test_configured_floating_network_that_is_not_there_is_said():
    """Only the labels that need one are lost."""
    config = a_config(floating_network="publik")

    inventory = await a_provider(CannedSession(), config).inventory()

    assert inventory.missing[SMALL] == "no external network 'publik'; near: public"


async def test_floating_network_is_the_routers():
    """Of several external networks only the one behind the router is connected."""
    session = CannedSession()
    other = {"id": "other", "name": "other", "router:external": True}
    networks = [other, *SAMPLES["networks"]["networks"]]
    session.replies["GET network /networks"] = {"networks": networks}
    provider = a_provider(session)

    await provider.inventory()

    assert (await provider._network_facts()).floating == PUBLIC


async def test_cloud_without_networks_takes_ids_only():
    """A name cannot be looked up there; an id goes as it is."""
    quirks = Quirks(lacks_neutron=True)
    session = CannedSession()

    by_name = await a_provider(session, quirks=quirks).inventory()
    by_id = await a_provider(
        session, a_config(pools={"networks": (CI_NET,)}), quirks=quirks
    ).inventory()

    assert "give its id" in by_name.missing[SMALL]
    assert SMALL in by_id.offers
    assert not any("network" in name for name in session.names())


async def test_two_networks_of_one_name_are_not_guessed_between():
    """The ids are given, so that one can be chosen."""
    session = CannedSession()
    twins = [{"id": "n1", "name": "ci-net"}, {"id": "n2", "name": "ci-net"}]
    session.replies["GET network /networks"] = {"networks": twins}

    inventory = await a_provider(session).inventory()

    assert inventory.missing[SMALL].endswith("give the id: n1, n2")


@pytest.mark.parametrize("error", [CloudBrokenError("503"), MisconfiguredError("no compute")])
async def test_cloud_that_fails_says_nothing_of_its_labels(error):
    """The whole inventory fails: nothing is called missing that could not be looked at."""
    session = CannedSession()
    session.replies["GET compute /flavors/detail"] = error

    with pytest.raises(type(error)):
        await a_provider(session).inventory()


async def test_provider_without_labels_asks_for_next_to_nothing():
    """It may be there for its images, or to drain."""
    session = CannedSession()
    pool = OpenStackPoolConfig(name="main", auto_floating_ip=False)
    config = OpenStackProviderConfig(name="p", type="openstack", cloud="acme", pools=(pool,))

    inventory = await a_provider(session, config).inventory()

    assert inventory.offers == {}
    assert session.names() == ["GET network /networks"]


@pytest.mark.parametrize(
    ("configured", "shown", "expected"),
    [
        ((), ["nova", "nova-local"], ("nova",)),
        (("nova-local",), ["nova", "nova-local"], ("nova-local",)),
        ((), [], ("nova",)),
    ],
)
async def test_zones_that_cannot_be_used_are_left_out(configured, shown, expected):
    """Unless a person names one; and where none is shown, the one that works is named."""
    session = CannedSession()
    rows = [{"zoneName": name, "zoneState": {"available": True}} for name in shown]
    session.replies["GET compute /os-availability-zone"] = {"availabilityZoneInfo": rows}
    config = a_config(pools={"availability_zones": configured})

    inventory = await a_provider(session, config, quirks=Quirks(zones=("nova",))).inventory()

    assert inventory.offers[SMALL].zones == expected


async def test_flavors_of_another_kind_are_passed_over_by_memory():
    """A twin with a bundled licence costs more and boots no other; by its name it is meant."""
    session = CannedSession()
    of = {"vcpus": 2, "ram": 7000, "disk": 50, "OS-FLV-DISABLED:disabled": False}
    flavors = [{"id": name, "name": name, **of} for name in ("b2-7", "a-win-7")]
    session.replies["GET compute /flavors/detail"] = {"flavors": flavors}
    quirks = Quirks(passed_over_flavors=("*win-*",))
    labels = a_label("small", min_ram=6000), a_label("windows", flavor_name="a-win-7")

    inventory = await a_provider(session, a_config(*labels), quirks=quirks).inventory()

    chosen = {label: offer.shape.flavor_name for (_, label), offer in inventory.offers.items()}
    assert chosen == {"small": "b2-7", "windows": "a-win-7"}


@pytest.mark.parametrize(("number", "missing"), [(35, False), (36, True)])
async def test_more_metadata_than_the_cloud_takes_costs_its_label(number, missing):
    """It would refuse each create; ours count as well."""
    properties = {f"key-{one}": "value" for one in range(number)}
    config = a_config(a_label("small", instance_properties=properties))
    provider = a_provider(CannedSession(), config, quirks=Quirks(metadata_most=40))

    found = (await provider.inventory()).missing

    assert (SMALL in found) is missing
    assert not missing or "takes 40 for a server" in found[SMALL]


async def test_the_network_that_a_server_is_put_on_counts_as_metadata():
    """It is written into the server beside what is always written."""
    properties = {f"key-{one}": "value" for one in range(35)}
    config = a_config(a_label("small", instance_properties=properties))
    quirks = Quirks(metadata_most=40, servers_per_network=250)

    found = (await a_provider(CannedSession(), config, quirks=quirks).inventory()).missing

    assert "which Trellis needs 6" in found[SMALL]
