"""Booting from volumes: what is sent, what is read, what is left, and clouds without cinder."""

import msgspec
import pytest
from canned import CannedSession, a_config, a_label, a_provider, a_row, a_thing, an_intent

from trellis.config import label_hashes, parse
from trellis.errors import RejectedError
from trellis.model.node import ResourceKind, Shape
from trellis.model.quota import UNKNOWN, UNLIMITED, Resources
from trellis.openstack.compute.rows import ServerRow
from trellis.providers.networks import NetworkFacts
from trellis.sim.simulate import builtin_types
from trellis.spi.provider import Gone, Tag

SMALL = ("main", "small")
TAG = Tag(deployment="d", node_id="0000000042")
LIMITS = {
    "maxTotalVolumeGigabytes": 1000,
    "maxTotalVolumes": -1,
    "totalVolumesUsed": 2,
    "totalGigabytesUsed": 160,
}
GONE = (404, {"itemNotFound": {"code": 404, "message": "Volume v1 could not be found."}})
REFUSED = (400, {"badRequest": {"code": 400, "message": "Invalid volume: Volume status must be"}})


def a_volume(volume_id="v1", **kwargs):
    """As cinder shows one that nova made and that is attached to nothing (documented)."""
    row = {"id": volume_id, "status": "available", "size": 80, "name": "", "bootable": "true"}
    return {**row, "metadata": {}, "attachments": [], **kwargs}


def booting(session=None, **kwargs):
    """A provider whose label boots from a volume, over a session that has cinder."""
    session = session or CannedSession()
    session.replies["GET block-storage /limits"] = {"limits": {"absolute": LIMITS}}
    session.replies["GET block-storage /volumes/detail"] = {"volumes": []}
    session.replies["DELETE block-storage /volumes/{id}"] = (202, None)
    label = a_label(**{"boot_from_volume": True, "volume_size": 80, **kwargs})
    return session, a_provider(session, a_config(label))


async def test_volume_is_made_of_the_image_and_goes_with_the_server():
    """The image is named by the volume alone, and nova deletes it (quirks 2.8)."""
    session, provider = booting()
    shape = Shape(
        flavor_id="f",
        flavor_name="f",
        image_id="i",
        image_name="i",
        resources=Resources(instances=1, volumes=1, volume_gib=80),
    )

    await provider.create(an_intent(shape=shape))

    server = session.made[-1].json["server"]
    assert server["imageRef"] == ""
    assert server["block_device_mapping_v2"] == [
        {
            "boot_index": 0,
            "source_type": "image",
            "uuid": "i",
            "destination_type": "volume",
            "volume_size": 80,
            "delete_on_termination": True,
        }
    ]


async def test_label_without_volume_sends_none():
    """The flavor's own disk: the plain case stays plain."""
    session = CannedSession()

    await a_provider(session).create(an_intent())

    assert "block_device_mapping_v2" not in session.made[-1].json["server"]


async def test_volume_counts_in_the_size_of_a_node():
    """So that quota is known before it is asked for; its disk is the volume."""
    _, provider = booting()

    shape = (await provider.inventory()).offers[SMALL].shape

    assert (shape.resources.volumes, shape.resources.volume_gib) == (1, 80)
    assert shape.disk_gib == 80


async def test_volume_too_small_for_its_image_is_said_before_any_create():
    """The flavor's disk plays no part then."""
    session, provider = booting(volume_size=5)
    image = session.replies["GET image /images"]["images"][0]
    session.replies["GET image /images"] = {"images": [{**image, "min_disk": 8}]}

    reason = (await provider.inventory()).missing[SMALL]

    assert "volume-size 5 GiB" in reason
    assert "8 GiB" in reason


@pytest.mark.parametrize("change", ["boot-from-volume: false", "volume-size: 90"])
def test_another_volume_makes_other_nodes(tmp_path, change):
    """Idle nodes of the old size are replaced (rule 6)."""
    text = """
deployment: d
labels: [{{name: small}}]
providers:
  - name: p
    type: openstack
    cloud: c
    pools:
      - name: main
        labels:
          - {{name: small, cloud-image: i, flavor-name: f, {0}}}
"""

    def hash_of(keys):
        configuration = parse(
            text.format(keys), builtin_types(), file="test", folder=tmp_path
        ).configuration
        return label_hashes(configuration)["p", "main", "small"]

    both = {"boot-from-volume": "true", "volume-size": "80"}
    key, value = change.split(": ")
    before, after = (
        ", ".join(f"{k}: {v}" for k, v in keys.items()) for keys in (both, both | {key: value})
    )

    assert hash_of(before) == hash_of(before)
    assert hash_of(before) != hash_of(after)


async def test_limits_of_volumes_are_read_where_they_are_wanted():
    """With what everybody uses of them; -1 is no limit."""
    _, provider = booting()

    reading = await provider.limits()

    assert (reading.limits.volumes, reading.limits.volume_gib) == (UNLIMITED, 1000)
    assert (reading.used.volumes, reading.used.volume_gib) == (2, 160)


async def test_nobody_wants_volumes_nobody_asks_for_any():
    """Not one call to cinder, and no look at the catalog."""
    session = CannedSession()
    provider = a_provider(session)

    await provider.inventory()
    reading = await provider.limits()
    await provider.find_leftovers()

    assert [name for name in session.names() if "block-storage" in name] == []
    assert session.looks == []
    assert reading.limits.volumes is UNKNOWN


async def test_cloud_without_block_storage_is_simply_without_volumes():
    """One look; its labels say what is missing, and limits and leftovers are no error."""
    session, provider = booting()
    session.lacks.add("block-storage")

    left = await provider.find_leftovers()
    reading = await provider.limits()
    await provider.find_leftovers()

    assert reading.limits.volumes is UNKNOWN
    assert [thing for thing in left if thing.kind is ResourceKind.VOLUME] == []
    assert session.looks == ["block-storage"]
    missing = (await provider.inventory()).missing[SMALL]
    assert "boot-from-volume needs block storage" in missing
    assert "no block-storage service" in missing


async def test_block_storage_that_comes_later_is_found_with_the_inventory():
    """Services are activated: nobody has to restart for it."""
    session, provider = booting()
    session.lacks.add("block-storage")
    await provider.inventory()
    session.lacks.clear()

    inventory = await provider.inventory()

    assert SMALL in inventory.offers


async def test_refused_limits_make_volumes_unknown():
    """Some clouds let users make volumes and not read the limits."""
    session, provider = booting()
    session.replies["GET block-storage /limits"] = (403, {"forbidden": {"message": "no"}})

    assert (await provider.limits()).limits.volumes is UNKNOWN


def test_row_shows_the_volumes_of_its_server():
    """At any microversion; from 2.3 on there is more in it."""
    _, provider = booting()
    shown = [{"id": "v1", "delete_on_termination": True}]
    row = msgspec.convert(a_row(**{"os-extended-volumes:volumes_attached": shown}), ServerRow)

    assert provider.interpret_server(row, NetworkFacts()).volumes == ("v1",)


@pytest.mark.parametrize(
    ("status", "told", "expected"),
    [
        ("in-use", False, Gone.AGAIN),
        ("detaching", False, Gone.AGAIN),
        ("deleting", False, Gone.AGAIN),
        ("available", True, Gone.AGAIN),
        ("error", True, Gone.AGAIN),
    ],
)
async def test_volume_is_deleted_once_nothing_holds_it(status, told, expected):
    """Nova does it as a rule: it is told to cinder only where nova has left it."""
    session, provider = booting()
    session.replies["GET block-storage /volumes/{id}"] = {"volume": a_volume(status=status)}

    gone = await provider.delete_step(a_thing(ResourceKind.VOLUME, "v1"), TAG)

    assert gone is expected
    assert ("DELETE block-storage /volumes/{id}" in session.names()) is told


async def test_volume_is_gone_when_cinder_does_not_know_it():
    """In the plain case that is one call."""
    session, provider = booting()
    session.replies["GET block-storage /volumes/{id}"] = GONE

    gone = await provider.delete_step(a_thing(ResourceKind.VOLUME, "v1"), TAG)

    assert gone is Gone.DONE
    assert session.names() == ["GET block-storage /volumes/{id}"]


async def test_volume_that_cannot_be_deleted_is_an_error_to_repeat():
    """``error_deleting``: it is told again, and the refusal's text is there for the alarm."""
    session, provider = booting()
    row = a_volume(status="error_deleting")
    session.replies["GET block-storage /volumes/{id}"] = {"volume": row}
    session.replies["DELETE block-storage /volumes/{id}"] = REFUSED

    with pytest.raises(RejectedError, match="Volume status must be"):
        await provider.delete_step(a_thing(ResourceKind.VOLUME, "v1"), TAG)


async def test_leftover_volumes_are_those_that_nova_makes():
    """A name or metadata make one somebody's own; what is under way is not looked at."""
    session, provider = booting()
    session.replies["GET block-storage /volumes/detail"] = {
        "volumes": [
            a_volume("left"),
            a_volume("stuck", status="in-use", attachments=[{"server_id": "s1"}]),
            a_volume("broken", status="error", bootable="false"),
            a_volume("named", name="data"),
            a_volume("marked", metadata={"owner": "me"}),
            a_volume("blank", bootable="false"),
            a_volume("young", status="creating"),
        ]
    }

    left = [x for x in await provider.find_leftovers() if x.kind is ResourceKind.VOLUME]

    assert [(x.external_id, x.server_id, x.tag) for x in left] == [
        ("left", None, None),
        ("stuck", "s1", None),
        ("broken", None, None),
    ]
