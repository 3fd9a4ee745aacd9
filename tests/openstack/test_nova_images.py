"""Images by nova's calls, where glance has no version 2."""

import pytest

from tests.providers.canned import CannedSession
from trellis.errors import CloudBrokenError
from trellis.openstack.nova_images import NovaImages

ROW = {"status": "ACTIVE", "created": "2014-05-01T00:00:00Z", "minRam": 512, "minDisk": 8}


def pages(*rows, size=2):
    """Nova's answer to a call, so many rows at once."""

    def reply(call):
        named = [row for row in rows if call.params.get("name") in (None, row["name"])]
        ids = [row["id"] for row in named]
        start = ids.index(call.params["marker"]) + 1 if "marker" in call.params else 0
        body = {"images": named[start : start + size]}
        if start + size < len(named):
            marker = ids[start + size - 1]
            href = f"http://elsewhere/v2/images/detail?marker={marker}"
            body["images_links"] = [{"rel": "next", "href": href}]
        return body

    return reply


def image(id, name="tiny", **kwargs):
    return {"id": id, "name": name, **ROW, **kwargs}


def a_service(*rows, **kwargs):
    session = CannedSession({"GET compute /images/detail": pages(*rows, **kwargs)})
    return NovaImages(session), session


async def test_a_list_is_followed_by_its_marker_alone():
    """Its links lead to http, and to another host."""
    images, session = a_service(*(image(f"{n}") for n in range(5)))

    found = await images.images()

    assert [row.id for row in found] == list("01234")
    assert [call.params.get("marker") for call in session.made] == [None, "1", "3"]


async def test_a_page_that_leads_to_itself_is_the_last():
    """Nothing new comes of asking again."""
    images, session = a_service()
    link = {"rel": "next", "href": "http://elsewhere/v2/images/detail?marker=a"}
    page = {"images": [image("a")], "images_links": [link]}
    session.replies["GET compute /images/detail"] = page

    assert [row.id for row in await images.images()] == ["a"]
    assert len(session.made) == 2


async def test_an_image_is_found_by_name_with_what_it_needs():
    """In glance's words."""
    images, _ = a_service(image("a", "other"), image("b"), image("c", status="SAVING"))

    found = await images.find("tiny")

    assert found is not None
    assert (found.id, found.status, found.min_ram, found.min_disk) == ("b", "active", 512, 8)


async def test_an_image_of_another_name_is_not_taken():
    """Where the filter is passed over."""
    images, session = a_service()
    session.replies["GET compute /images/detail"] = {"images": [image("a", "other")]}
    session.replies["GET compute /images/{id}"] = (404, {"itemNotFound": {"message": "no"}})

    assert await images.find("tiny") is None


async def test_an_image_of_ours_is_found_by_its_properties():
    """Which nova shows as metadata, and cannot filter by."""
    ours = image("b", "built", metadata={"trellis_image": "debian-12"})
    images, session = a_service(image("a"), ours)

    found = await images.images({"trellis_image": "debian-12"})

    assert [row.id for row in found] == ["b"]
    assert "trellis_image" not in session.made[0].params


async def test_an_image_is_found_by_its_id():
    """As a label may name it."""
    images, session = a_service()
    session.replies["GET compute /images/{id}"] = {"image": image("a")}

    assert (await images.find("a")).id == "a"


async def test_a_list_without_end_is_an_error():
    """It is not followed for ever."""
    numbers = iter(range(10_000))

    def endless(call):
        id = f"{next(numbers)}"
        link = {"rel": "next", "href": f"http://elsewhere/?marker={id}"}
        return {"images": [image(id)], "images_links": [link]}

    images = NovaImages(CannedSession({"GET compute /images/detail": endless}), None, 5)
    with pytest.raises(CloudBrokenError, match="no end"):
        await images.images()
