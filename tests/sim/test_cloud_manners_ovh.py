"""Manners of simulated clouds that OVH's and Vexxhost's twins have, each by itself."""

import pytest
import trio
from cloud_session import cloud_of, session_of

from trellis.sim.cloud.behaviour import Behaviour
from trellis.sim.cloud.spec import FlavorSpec, NetworkSpec

ZONES = ("par-a", "par-b")


def volume(session, size=8):
    """What makes a server boot from a volume."""
    device = {
        "boot_index": 0,
        "source_type": "image",
        "uuid": session.images["tiny"],
        "destination_type": "volume",
        "volume_size": size,
        "delete_on_termination": True,
    }
    return {"imageRef": "", "block_device_mapping_v2": [device]}


async def test_region_is_in_the_catalog_once_it_is_activated(autojump_clock):
    """Its services answer all the while, for who knows their URLs."""
    cloud = cloud_of(regions=("A", "B"), behaviour=Behaviour(regions_not_activated=("B",)))

    async def regions():
        catalog = (await session.log_in()).json()["token"]["catalog"]
        return {row["region"] for service in catalog for row in service["endpoints"]}

    async with session_of(cloud) as session:
        before = await regions()
        cloud.change(behaviour=Behaviour())
        after = await regions()

    assert (before, after) == ({"A"}, {"A", "B"})


@pytest.mark.parametrize("dead", [True, False], ids=["dead", "alive"])
async def test_ipv6_address_that_is_shown_need_not_be_the_guests(dead, autojump_clock):
    """The API shows it all the same."""
    networks = (NetworkSpec(name="public", external=True, ipv6=True),)
    cloud = cloud_of(networks=networks, behaviour=Behaviour(shows_dead_ipv6=dead))
    async with session_of(cloud) as session:
        row = await session.show(await session.create_active())
        (shown,) = [a["addr"] for a in row["addresses"]["public"] if a["version"] == 6]

        assert cloud.has_address(shown) is not dead


async def test_limits_say_that_all_is_used_and_creates_are_taken(autojump_clock):
    """What is said is wrong, what is refused is not."""
    async with session_of(cloud_of(behaviour=Behaviour(says_all_used=True))) as session:
        answer = await session.call("GET", "compute", "/limits")
        absolute = answer.json()["limits"]["absolute"]
        await session.create()

    for what in ("Instances", "Cores", "RAM"):
        most = absolute["maxTotalRAMSize" if what == "RAM" else f"maxTotal{what}"]
        assert absolute[f"total{what}Used"] == most > 0


@pytest.mark.parametrize(("drive", "name"), [(True, "node"), (False, "localhost")])
async def test_guest_knows_its_name_from_the_config_drive(drive, name, autojump_clock):
    """Without one it never learns it."""
    cloud = cloud_of(behaviour=Behaviour(names_guests_by_config_drive=True))
    async with session_of(cloud) as session:
        await session.create(config_drive=drive)

        assert [server.hostname for server in cloud.servers()] == [name]


async def test_guest_of_a_stock_cloud_needs_no_config_drive(autojump_clock):
    """The metadata service tells it."""
    cloud = cloud_of()
    async with session_of(cloud) as session:
        await session.create()

        assert [server.hostname for server in cloud.servers()] == ["node"]


async def test_servers_of_silent_flavors_never_answer(autojump_clock):
    """They are ACTIVE like any other."""
    flavors = tuple(FlavorSpec(name=name, cores=1, ram_mib=1024) for name in ("win-1", "plain"))
    cloud = cloud_of(flavors=flavors, behaviour=Behaviour(silent_flavors=("win-*",)))
    async with session_of(cloud) as session:
        for name in ("win-1", "plain"):
            await session.create(name, flavorRef=session.flavors[name])
        await trio.sleep(120.0)

        assert {s.name: (s.status, s.reachable) for s in cloud.servers()} == {
            "win-1": ("ACTIVE", False),
            "plain": ("ACTIVE", True),
        }


async def test_volume_is_in_the_zone_that_its_server_names(autojump_clock):
    """And where none is named, cinder refuses the zone ``nova`` that nova asks for."""
    cloud = cloud_of(zones=ZONES, behaviour=Behaviour(volumes_in_zones=True))
    async with session_of(cloud) as session:
        named = await session.create("named", availability_zone="par-b", **volume(session))
        unnamed = await session.create("unnamed", **volume(session))
        await trio.sleep(9.0)
        answer = await session.call("GET", "volumev3", "/volumes/detail")
        (row,) = answer.json()["volumes"]
        fault = (await session.show(unnamed))["fault"]["message"]
        wanted = {"volume": {"size": 1, "availability_zone": "nova"}}
        refused = await session.call("POST", "volumev3", "/volumes", json=wanted)

        assert (row["availability_zone"], row["attachments"][0]["server_id"]) == ("par-b", named)
        assert "Availability zone 'nova' is invalid" in fault
        assert refused.status_code == 400


async def test_region_without_disks_takes_servers_that_boot_from_volumes_only(autojump_clock):
    """All its flavors are shown without a disk."""
    cloud = cloud_of(behaviour=Behaviour(diskless_regions=("RegionOne",)))
    async with session_of(cloud) as session:
        flavors = (await session.call("GET", "compute", "/flavors/detail")).json()["flavors"]
        refused = await session.call("POST", "compute", "/servers", json=session.body())
        await session.create("booting", **volume(session))

    assert {flavor["disk"] for flavor in flavors} == {0}
    assert refused.status_code == 400
    assert "volume-backed" in refused.json()["badRequest"]["message"]
