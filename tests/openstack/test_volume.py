"""Calls to cinder: what is sent and how rows are read.

The answers are those of cinder's API reference for v3 (documented: the recorded cloud has none).
"""

import pytest
from answering import Script, answering
from fake_identity import CATALOG, running

from trellis.errors import CloudBrokenError, MisconfiguredError, NotFoundError, RejectedError
from trellis.openstack.volume import BlockStorage

VOLUME = {
    "attachments": [
        {
            "id": "v1",
            "attachment_id": "a1",
            "volume_id": "v1",
            "server_id": "s1",
            "host_name": None,
            "device": "/dev/vda",
            "attached_at": "2026-11-22T14:13:47.000000",
        }
    ],
    "availability_zone": "nova",
    "bootable": "true",
    "created_at": "2026-11-22T14:13:45.000000",
    "description": "",
    "encrypted": False,
    "id": "v1",
    "links": [],
    "metadata": {},
    "multiattach": False,
    "name": "",
    "os-vol-tenant-attr:tenant_id": "p1",
    "size": 80,
    "snapshot_id": None,
    "source_volid": None,
    "status": "in-use",
    "user_id": "u1",
    "volume_image_metadata": {"image_id": "i1"},
    "volume_type": "__DEFAULT__",
}
LIMITS = {
    "limits": {
        "rate": [],
        "absolute": {
            "totalSnapshotsUsed": 0,
            "maxTotalBackups": 10,
            "maxTotalVolumeGigabytes": 1000,
            "maxTotalSnapshots": 10,
            "maxTotalBackupGigabytes": 1000,
            "totalBackupGigabytesUsed": 0,
            "maxTotalVolumes": -1,
            "totalVolumesUsed": 2,
            "totalBackupsUsed": 0,
            "totalGigabytesUsed": 160,
        },
    }
}
REFUSED = {
    "badRequest": {
        "code": 400,
        "message": "Invalid volume: Volume status must be available or error and must not be "
        "migrating, attached, belong to a group or have snapshots.",
    }
}


async def test_volumes_are_read_to_the_last_page(autojump_clock):
    """The link's marker counts; its host may be one that nobody outside can reach."""
    link = {"rel": "next", "href": "http://inside:8776/v3/p1/volumes/detail?marker=v1"}
    blank = {**VOLUME, "id": "v2", "attachments": [], "bootable": "false", "name": None}
    script = Script(
        [
            (200, {"volumes": [VOLUME], "volumes_links": [link]}),
            (200, {"volumes": [blank]}),
        ]
    )
    async with answering(script) as at:
        first, second = await BlockStorage(at.session).volumes()

    assert [request.url.path for request in script.requests] == ["/v3/p1/volumes/detail"] * 2
    assert script.requests[1].url.params["marker"] == "v1"
    assert (first.server_id, first.boots, first.size, first.status) == ("s1", True, 80, "in-use")
    assert (second.server_id, second.boots) == (None, False)


async def test_list_without_end_is_an_error(autojump_clock):
    """A cloud that links on and on with new rows is broken, not large."""
    link = {"rel": "next", "href": "?marker=x"}

    def page(request):
        number = len(numbers)
        numbers.append(number)
        return 200, {"volumes": [{"id": f"v{number}"}], "volumes_links": [link]}

    numbers = []
    async with answering(page) as at:
        with pytest.raises(CloudBrokenError, match="no end"):
            await BlockStorage(at.session, most_pages=5).volumes()

    assert len(numbers) == 5


async def test_limits_are_read(autojump_clock):
    """Limit and use of volumes and of their space."""
    async with answering(lambda _: (200, LIMITS)) as at:
        limits = await BlockStorage(at.session).limits()

    assert (limits.max_total_volumes, limits.max_total_volume_gigabytes) == (-1, 1000)
    assert (limits.total_volumes_used, limits.total_gigabytes_used) == (2, 160)


async def test_missing_volume_and_one_in_the_wrong_state_are_told_apart(autojump_clock):
    """404 with a document proves it gone; 400 says that it cannot be deleted now."""
    missing = {"itemNotFound": {"code": 404, "message": "Volume v1 could not be found."}}
    script = Script([(200, {"volume": VOLUME}), (404, missing), (400, REFUSED)])
    async with answering(script) as at:
        storage = BlockStorage(at.session)
        assert (await storage.volume("v1")).id == "v1"
        with pytest.raises(NotFoundError):
            await storage.volume("v1")
        with pytest.raises(RejectedError, match="must be available or error"):
            await storage.delete_volume("v1")

    assert script.requests[2].method == "DELETE"


@pytest.mark.parametrize("kind", ["block-storage", "volumev3", "volumev2"])
async def test_service_is_found_under_each_of_its_types(autojump_clock, kind):
    """Clouds of different ages list it differently (quirks 1.5)."""
    endpoint = {"interface": "public", "region": "R1", "region_id": "R1"}
    url = "http://volume.test/v3/p1"
    async with running() as at:
        at.cloud.catalog = [
            *CATALOG,
            {"type": kind, "name": "cinder", "endpoints": [{**endpoint, "url": url}]},
        ]

        assert await BlockStorage(at.session).endpoint() == url


async def test_cloud_without_block_storage_says_so(autojump_clock):
    """The error names the service; no call is made for it."""
    async with running() as at:
        at.cloud.catalog = CATALOG
        with pytest.raises(MisconfiguredError, match="block-storage"):
            await BlockStorage(at.session).endpoint()
