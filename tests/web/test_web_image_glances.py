"""Images in the one answer for live views, and in the metrics."""

import attrs
import pytest
from image_fakes import (
    T0,
    a_build,
    a_build_status,
    a_canary,
    a_place,
    an_image,
    an_upload_status,
    building,
    uploading,
    withdrawn,
)
from prometheus_client.parser import text_string_to_metric_families

from trellis.model.image import BuildState, Pin
from trellis.model.names import BuildId
from trellis.model.provider import Pause

SENDING = a_place(
    "hp-east",
    missing=True,
    built_at=None,
    age_s=None,
    words="it is being uploaded there",
    uploads=(uploading("hp-east"),),
)
PIN = Pin(build_id=BuildId("debian-12-0000000007"), by="ann", reason="r", at=T0)


@pytest.fixture
def images(board):
    """One image, which is on trial, bad, pinned and on its way, each at another provider."""
    board.images.put(
        an_image(
            builds=(building(), a_build_status()),
            places=(
                a_place("ovh-bhs1", uploads=(a_canary(), an_upload_status())),
                a_place("rax-dfw", uploads=(withdrawn("rax-dfw"), an_upload_status())),
                a_place("ovh-gra9", pin=PIN),
                SENDING,
            ),
        )
    )
    return board.images


async def test_status_has_each_image_in_brief(client, images):
    """What serves, what comes, and how far it is."""
    (image,) = (await client.get("/api/v1/status")).json()["images"]

    assert (image["build"], image["building"], image["building_share"]) == (7, 8, 0.5)
    assert image["building_words"] == "install.d, about 6m left"
    places = {place["provider"]: place for place in image["places"]}
    (canary,) = places["ovh-bhs1"]["coming"]
    assert (canary["build"], canary["state"], canary["words"]) == (
        8, "canary", "canary, 2 of 5 ready, 1 failed",
    )  # fmt: skip
    assert canary["trial"]["needed"] == 5
    (bad,) = places["rax-dfw"]["coming"]
    assert (bad["state"], bad["words"][:20]) == ("withdrawn", "4 of 4 launches fail")
    assert places["ovh-gra9"]["pinned_by"] == "ann"
    (sent,) = places["hp-east"]["coming"]
    assert (sent["state"], sent["share"]) == ("uploading", 0.25)
    assert (places["hp-east"]["build"], places["hp-east"]["missing"]) == (None, True)


async def test_older_uploads_are_not_what_comes(client, board):
    """What is kept to go back to stands behind what serves."""
    older = an_upload_status(serving=False, share=0.0)
    board.images.put(an_image(places=(a_place(uploads=(an_upload_status(), older)),)))

    (image,) = (await client.get("/api/v1/status")).json()["images"]

    assert image["places"][0]["coming"] == []


async def test_pause_and_failures_are_told(client, board):
    """Who stopped it, and why the last build failed; not one that was followed by a good one."""
    pause = Pause(by="ann", reason="", since=T0)
    failed = attrs.evolve(a_build(8), state=BuildState.FAILED, ready_at=None, fault="no space")
    board.images.put(
        an_image(pause=pause, fault="no space", failures=1, builds=(a_build_status(failed),))
    )
    board.images.put(an_image("fedora-41", fault="an old story"))

    first, second = (await client.get("/api/v1/status")).json()["images"]

    assert (first["paused_by"], first["fault"], first["build"]) == ("ann", "no space", None)
    assert (second["paused_by"], second["fault"]) == (None, "")


async def test_metrics_show_age_trial_and_rate(client, images):
    """By image and provider."""
    text = (await client.get("/metrics")).text
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("trellis_image_")
    }

    assert found["trellis_image_age_seconds", "debian-12", "ovh-bhs1"] == 7200
    assert ("trellis_image_age_seconds", "debian-12", "hp-east") not in found
    assert found["trellis_image_missing", "debian-12", "hp-east"] == 1
    assert found["trellis_image_pinned", "debian-12", "ovh-gra9"] == 1
    assert found["trellis_image_building", "debian-12"] == 1
    assert found["trellis_image_bytes", "debian-12", "qcow2"] == 2 * 1024**3
    assert found["trellis_image_upload_rate_bytes", "debian-12", "hp-east"] == 64 * 1024**2
    assert found["trellis_image_canary_nodes", "debian-12", "failed", "ovh-bhs1"] == 1
    assert found["trellis_image_canary_nodes", "debian-12", "ovh-bhs1", "ready"] == 2
    standing = "trellis_image_uploads_by_standing"
    assert found[standing, "debian-12", "rax-dfw", "withdrawn"] == 1
    assert found[standing, "debian-12", "promoted", "rax-dfw"] == 1
    assert found[standing, "debian-12", "hp-east", "promoted"] == 0


@pytest.mark.parametrize(
    ("elapsed_s", "usual_s", "share", "words"),
    [
        (90.0, None, None, "root.d, 90s so far"),
        (90.0, 100.0, 0.9, "root.d, about 10s left"),
        (900.0, 100.0, 0.99, "root.d, 15m so far"),
    ],
    ids=["first", "as-usual", "longer-than-usual"],
)
async def test_build_is_as_far_as_the_last_one_was(client, board, elapsed_s, usual_s, share, words):
    """One that takes longer is not done for that."""
    build = attrs.evolve(building().build, phase="root.d")
    status = a_build_status(build, elapsed_s=elapsed_s, usual_s=usual_s)
    board.images.put(an_image(builds=(status,)))

    (image,) = (await client.get("/api/v1/status")).json()["images"]

    assert (image["building_share"], image["building_words"]) == (share, words)
