"""Volumes of a simulated cloud: nova makes them at boot, cinder shows and deletes them.

The shapes are those of cinder's API reference for v3 (documented; the recorded cloud has none).
"""

import pytest
import trio
from cloud_session import cloud_of, session_of

from trellis.sim.cloud import Faults, ImageSpec, Quota, Strangers
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import fixed

MISSING = "f49e6cff-ea70-41fd-8426-b25291f558ea"


def booting(session, size=8, **changes):
    """What a server that boots from a volume is created from."""
    device = {
        "boot_index": 0,
        "source_type": "image",
        "uuid": session.images["tiny"],
        "destination_type": "volume",
        "volume_size": size,
        "delete_on_termination": True,
    }
    return {"imageRef": "", "block_device_mapping_v2": [{**device, **changes}]}


async def volumes(session, query=""):
    answer = await session.call("GET", "volumev3", f"/volumes/detail{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()["volumes"]


async def test_volume_is_made_shown_attached_and_deleted_with_its_server(autojump_clock):
    """Its server shows it once it is attached, which is before it is active."""
    async with session_of(cloud_of(boot=fixed(10.0), volume_delete=fixed(2.0))) as session:
        server_id = await session.create(**booting(session))
        await trio.sleep(1.0)
        (made,) = await volumes(session)
        shown_early = (await session.show(server_id))["os-extended-volumes:volumes_attached"]
        await trio.sleep(4.0)
        row = await session.show(server_id)
        (attached,) = await volumes(session)
        await session.call("DELETE", "compute", f"/servers/{server_id}")
        await trio.sleep(30.0)
        left = await volumes(session)

    assert (made["status"], made["attachments"], shown_early) == ("creating", [], [])
    assert (made["name"], made["metadata"], made["bootable"]) == ("", {}, "true")
    assert row["status"] == "BUILD"
    assert row["os-extended-volumes:volumes_attached"] == [{"id": made["id"]}]
    assert row["image"] == ""
    assert attached["status"] == "in-use"
    assert attached["attachments"][0]["server_id"] == server_id
    assert left == []


async def test_new_enough_microversion_shows_who_deletes_the_volume(autojump_clock):
    """From 2.3 on, the row says that it goes with the server."""
    async with session_of(cloud_of()) as session:
        server_id = await session.create_active(**booting(session))
        headers = {"OpenStack-API-Version": "compute 2.96"}
        answer = await session.call("GET", "compute", f"/servers/{server_id}", headers=headers)

    (shown,) = answer.json()["server"]["os-extended-volumes:volumes_attached"]
    assert shown["delete_on_termination"] is True


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"volume_size": None}, "non-zero size"),
        ({"boot_index": 1}, "Boot sequence"),
        ({"uuid": MISSING}, "Can not find requested image"),
        ({"volume_size": 3}, "smaller than the minimum size"),
    ],
)
async def test_bad_mapping_is_refused(autojump_clock, change, words):
    """With 400 and nova's words."""
    images = (ImageSpec(name="tiny", min_disk_gib=5),)
    async with session_of(cloud_of(images=images)) as session:
        body = session.body(**booting(session, **change))
        answer = await session.call("POST", "compute", "/servers", json=body)

    assert answer.status_code == 400
    assert words in answer.json()["badRequest"]["message"]


async def test_image_and_volume_at_once_are_refused(autojump_clock):
    """They would be two devices to boot from."""
    async with session_of(cloud_of()) as session:
        body = session.body(**{**booting(session), "imageRef": session.images["tiny"]})
        answer = await session.call("POST", "compute", "/servers", json=body)

    assert answer.status_code == 400
    assert "Boot sequence" in answer.json()["badRequest"]["message"]


@pytest.mark.parametrize(
    ("quota", "words"),
    [
        (Quota(volumes=1), "VolumeLimitExceeded"),
        (Quota(gigabytes=15), "exceeds allowed gigabytes quota"),
    ],
)
async def test_volume_over_quota_fails_the_build(autojump_clock, quota, words):
    """The create is accepted: the refusal shows as the fault of a server in ERROR."""
    cloud = cloud_of(quota=quota)
    async with session_of(cloud) as session:
        await session.create_active(**booting(session))
        second = await session.create_active("second", **booting(session))
        row = await session.show(second)

    assert row["status"] == "ERROR"
    assert words in row["fault"]["message"]
    assert len(cloud.ledger.of(What.QUOTA_REFUSED)) == 1
    assert len(cloud.volumes()) == 1


async def test_volume_in_use_cannot_be_deleted(autojump_clock):
    """400, and it stays; an unknown one is 404."""
    async with session_of(cloud_of()) as session:
        await session.create_active(**booting(session))
        (volume,) = await volumes(session)
        refused = await session.call("DELETE", "volumev3", f"/volumes/{volume['id']}")
        unknown = await session.call("DELETE", "volumev3", f"/volumes/{MISSING}")

    assert refused.status_code == 400
    assert "Volume status must be available" in refused.json()["badRequest"]["message"]
    assert unknown.status_code == 404
    assert MISSING in unknown.json()["itemNotFound"]["message"]


async def test_leaked_volume_stays_available_until_it_is_deleted(autojump_clock):
    """The server is gone, and its volume belongs to nobody."""
    cloud = cloud_of(faults=Faults(leak_volume=1.0), boot=fixed(10.0))
    async with session_of(cloud) as session:
        server_id = await session.create_active(**booting(session))
        await session.call("DELETE", "compute", f"/servers/{server_id}")
        await trio.sleep(30.0)
        (left,) = await volumes(session)
        deleted = await session.call("DELETE", "volumev3", f"/volumes/{left['id']}")
        await trio.sleep(30.0)

        assert (left["status"], left["attachments"]) == ("available", [])
        assert deleted.status_code == 202
        assert await volumes(session) == []


@pytest.mark.parametrize("after_s", [5.0, 41.0])
async def test_volume_that_nobody_could_have_seen_is_never_leaked(autojump_clock, after_s):
    """One still being made when the delete comes, or only just shown, goes with its server."""
    cloud = cloud_of(faults=Faults(leak_volume=1.0), boot=fixed(100.0))
    async with session_of(cloud) as session:
        server_id = await session.create(**booting(session))
        await trio.sleep(after_s)
        assert len(cloud.volumes()) == 1
        await session.call("DELETE", "compute", f"/servers/{server_id}")
        await trio.sleep(30.0)

    assert cloud.volumes() == ()


async def test_stuck_volume_needs_an_operator(autojump_clock):
    """``error_deleting`` refuses deletes until its state is reset."""
    faults = Faults(stuck_volume=1.0, stuck_volume_s=100.0)
    async with session_of(cloud_of(faults=faults)) as session:
        made = await session.call("POST", "volumev3", "/volumes", json={"volume": {"size": 1}})
        path = f"/volumes/{made.json()['volume']['id']}"
        await session.call("DELETE", "volumev3", path)
        await trio.sleep(20.0)
        stuck = (await session.call("GET", "volumev3", path)).json()["volume"]["status"]
        refused = await session.call("DELETE", "volumev3", path)
        await trio.sleep(100.0)
        again = await session.call("DELETE", "volumev3", path)
        await trio.sleep(20.0)
        gone = await session.call("GET", "volumev3", path)

    assert (stuck, refused.status_code) == ("error_deleting", 400)
    assert (again.status_code, gone.status_code) == (202, 404)


async def test_volumes_come_in_pages(autojump_clock):
    """Each with a link to the next."""
    async with session_of(cloud_of(page=2)) as session:
        for _ in range(3):
            await session.call("POST", "volumev3", "/volumes", json={"volume": {"size": 1}})
        first = (await session.call("GET", "volumev3", "/volumes/detail")).json()
        (link,) = first["volumes_links"]
        second = (await session.client.get(link["href"])).json()

    assert [len(first["volumes"]), len(second["volumes"])] == [2, 1]
    assert "volumes_links" not in second


@pytest.mark.parametrize("body", [None, {}, {"volume": 1}, {"volume": {"size": "x"}}])
async def test_bad_body_is_refused(autojump_clock, body):
    """400, whatever it is."""
    async with session_of(cloud_of()) as session:
        answer = await session.call("POST", "volumev3", "/volumes", json=body)

    assert answer.status_code == 400


async def test_limits_count_everybodys(autojump_clock):
    """Also a stranger's, which look like nova's own."""
    cloud = cloud_of(strangers=Strangers(volumes_at_start=2), quota=Quota(volumes=5))
    async with session_of(cloud) as session:
        limits = (await session.call("GET", "volumev3", "/limits")).json()["limits"]["absolute"]
        over = [
            await session.call("POST", "volumev3", "/volumes", json={"volume": {"size": 1}})
            for _ in range(4)
        ]

    assert (limits["maxTotalVolumes"], limits["totalVolumesUsed"]) == (5, 2)
    assert limits["totalGigabytesUsed"] == 20
    assert [answer.status_code for answer in over] == [202, 202, 202, 413]


async def test_who_deletes_a_strangers_volume_is_written_down(autojump_clock):
    """It is a violation, whatever it looked like."""
    cloud = cloud_of(strangers=Strangers(volumes_at_start=1))
    async with session_of(cloud) as session:
        (volume,) = await volumes(session)
        await session.call("DELETE", "volumev3", f"/volumes/{volume['id']}")

    assert [fact.id for fact in cloud.ledger.violations] == [volume["id"]]


async def test_cloud_without_cinder_has_none_in_its_catalog(autojump_clock):
    """Neither the entry nor the paths."""
    cloud = cloud_of(block_storage="")
    async with session_of(cloud) as session:
        answer = await session.client.get(f"{cloud.root}/RegionOne/volume/v3/")

        assert "volumev3" not in session.urls
        assert answer.status_code == 404


async def test_versions_need_no_token(autojump_clock):
    """As discovery asks for them."""
    cloud = cloud_of()
    async with session_of(cloud) as session:
        del session.client.headers["X-Auth-Token"]
        root = await session.client.get(f"{cloud.root}/RegionOne/volume/")
        refused = await session.call("GET", "volumev3", "/volumes/detail")

    assert root.status_code == 300
    assert root.json()["versions"][0]["id"] == "v3.0"
    assert refused.status_code == 401
