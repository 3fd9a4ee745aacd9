"""Calls to glance: finding the image to boot."""

import httpx
import pytest
from answering import Script, answering, recorded

from trellis.errors import CloudBrokenError
from trellis.openstack.image import Image, ImageRow, newest_active


def an_image(image_id: str, **kwargs):
    return {"id": image_id, "name": "debian-12", "status": "active", **kwargs}


async def test_image_is_found_by_its_name(autojump_clock):
    """One call is enough, filtered by the cloud."""
    async with answering(lambda _: (200, recorded("images by name"))) as at:
        image = await Image(at.session).find("tiny")

    assert image is not None
    assert image.id == "dd6ea60f-a237-4f72-bea4-311342f34926"
    assert [call.url.params["name"] for call in at.cloud.calls] == ["tiny"]


async def test_image_is_found_by_its_id(autojump_clock):
    """What is no name may be an id."""
    script = Script([(200, {"images": []}), (200, recorded("image show"))])
    async with answering(script) as at:
        image = await Image(at.session).find("dd6ea60f-a237-4f72-bea4-311342f34926")

    assert image is not None
    assert image.name == "tiny"


@pytest.mark.parametrize("status", [400, 404])
async def test_image_that_is_not_there_is_none(autojump_clock, status):
    """Some clouds refuse an id that looks wrong, others just have none."""
    script = Script([(200, {"images": []}), (status, recorded("image not found"))])
    async with answering(script) as at:
        assert await Image(at.session).find("nope") is None


async def test_image_by_id_that_is_not_active_is_none(autojump_clock):
    """No server could be made from it."""
    script = Script([(200, {"images": []}), (200, an_image("i", status="queued"))])
    async with answering(script) as at:
        assert await Image(at.session).find("i") is None


def test_newest_active_of_several_is_booted():
    """Names are not unique, and base images are renewed under their name."""
    images = [
        ImageRow(id="old", status="active", created_at="2026-01-01T00:00:00Z"),
        ImageRow(id="new", status="active", created_at="2026-02-01T00:00:00Z"),
        ImageRow(id="newer", status="queued", created_at="2026-03-01T00:00:00Z"),
    ]

    found = newest_active(images)

    assert found is not None
    assert found.id == "new"


async def test_small_pages_are_followed(autojump_clock):
    """A next link is a path with a marker; filters stay."""
    script = Script(
        [
            (200, {"images": [an_image("a")], "next": "/v2/images?marker=a&limit=1"}),
            (200, {"images": [an_image("b")]}),
        ]
    )
    async with answering(script) as at:
        rows = await Image(at.session).images({"name": "debian-12"})

    assert [row.id for row in rows] == ["a", "b"]
    assert dict(script.requests[1].url.params) == {"name": "debian-12", "marker": "a"}


async def test_list_without_end_is_an_error(autojump_clock):
    """A cloud that makes up rows without end does not stop the daemon."""
    numbers = iter(range(100))

    def reply(_: httpx.Request):
        return 200, {"images": [an_image(str(next(numbers)))], "next": "/v2/images"}

    async with answering(reply) as at:
        with pytest.raises(CloudBrokenError, match="no end"):
            await Image(at.session, most_pages=3).images()
