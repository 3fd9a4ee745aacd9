"""The panel of images as a person sees it: what serves, what comes, and what is wrong."""

import pytest
from image_fakes import (
    T0,
    a_build_status,
    a_canary,
    a_place,
    an_image,
    an_upload_status,
    building,
    uploading,
    withdrawn,
)

from trellis.model.image import Pin
from trellis.model.names import BuildId

PLACES = "#images .place"
MARKUP = "<img src=x onerror=\"document.title='owned'\">"


def full_image(name="debian-12"):
    """An image with something of everything."""
    pin = Pin(build_id=BuildId("debian-12-0000000007"), by="ann", reason="r", at=T0)
    missing = {"missing": True, "built_at": None, "words": "it is being uploaded there"}
    return an_image(
        name,
        builds=(building(), a_build_status()),
        places=(
            a_place("ovh-bhs1", uploads=(a_canary(), an_upload_status())),
            a_place("rax-dfw", pin=pin, uploads=(withdrawn("rax-dfw"), an_upload_status())),
            a_place("hp-east", uploads=(uploading("hp-east"),), **missing),
            a_place("vexxhost-ca-ymq-1", uploads=(), **{**missing, "words": "413 " * 40}),
        ),
    )


@pytest.fixture
def images(face):
    """The images of a face; an own list for each test."""
    face.do(lambda: face.board.images.put(full_image()))
    return face.board.images


def test_panel_shows_what_serves_what_comes_and_what_is_wrong(watched, face, images):
    """Each provider with its build, its trial, its upload; bars say what they stand for."""
    watched.open(face)
    (row,) = watched.texts("#images tbody tr")
    places = dict(zip(("ovh", "rax", "hp", "vex"), watched.texts(PLACES), strict=True))
    bars = watched.page.locator("#images .bar")
    told = [bars.nth(n).get_attribute("aria-label") for n in range(bars.count())]

    assert "build 7" in row
    assert "8 building" in row
    assert "8 canary 2 of 5 ready, 1 failed" in " ".join(places["ovh"].split())
    assert "7 pinned by ann" in places["rax"]
    assert "8 withdrawn" in places["rax"]
    assert "4 of 4 launches failed" in places["rax"]
    assert "25 %, 64 MiB/s, 24s left" in places["hp"]
    assert "it is being uploaded" not in places["hp"]
    assert told == [
        "build 8: install.d, about 6m left", "2 of 5 ready",
        "upload of 8: uploading 25 %, 64 MiB/s, 24s left",
    ]  # fmt: skip
    assert watched.complaints() == []


@pytest.mark.parametrize(("scheme", "red"), [("light", "176, 36, 27"), ("dark", "255, 144, 135")])
def test_withdrawn_is_red(watched, face, images, scheme, red):
    """In both schemes, with a sign for those who see no red."""
    watched.page.emulate_media(color_scheme=scheme)
    watched.open(face)
    colour = "e => getComputedStyle(e).color"

    chip = watched.page.locator("#images .image-withdrawn")

    assert chip.evaluate(colour) == f"rgb({red})"
    assert "✕" in chip.evaluate("e => getComputedStyle(e, '::before').content")


@pytest.mark.parametrize("width", [420, 800, 1280, 1900])
def test_panel_fits_every_width(watched, face, images, width):
    """Neither the page nor a provider's block is wider than there is room."""
    watched.page.set_viewport_size({"width": width, "height": 900})
    watched.open(face)
    wide = watched.page.evaluate(
        f"[...document.querySelectorAll('{PLACES}')]"
        ".filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)"
    )

    assert watched.page.evaluate("document.documentElement.scrollWidth") == width
    assert wide == []


def test_panel_is_not_there_where_no_image_is_built(watched, face):
    """Clouds' own images need none."""
    face.do(face.board.images.known.clear)

    watched.open(face)

    assert watched.page.locator("#images-section").is_hidden()


def test_panel_follows_what_happens(watched, face, images):
    """An event of an image brings it up to date, long before the page looks of itself."""
    watched.open(face)
    watched.page.wait_for_timeout(700)

    face.do(lambda: images.put(full_image("fedora-41")))
    face.tell("upload.withdrawn", "debian-12-0000000008.13")

    watched.page.wait_for_selector("#images tbody tr:nth-child(2)", timeout=3000)


def test_texts_of_others_stay_text(watched, face):
    """Builders, clouds and people wrote them."""
    bad = an_image(
        MARKUP, words=MARKUP, fault=MARKUP, failures=1, builds=(),
        places=(a_place(MARKUP, missing=True, built_at=None, words=MARKUP, uploads=()),),
    )  # fmt: skip
    face.do(lambda: face.board.images.put(bad))

    watched.open(face)

    assert watched.page.evaluate("document.querySelectorAll('#images img').length") == 0
    assert "owned" not in watched.page.title()
    assert watched.texts("#images tbody tr").pop().count("onerror") >= 4
