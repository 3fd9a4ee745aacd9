"""What people see of images of a whole daemon, and what their words come to."""

import json
from collections import Counter
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from random import Random

import httpx
import msgspec
import pytest
import trio

from tests.daemon.image_stage import IMAGE, ImageStage
from tests.daemon.stage import MINUTE, Stage
from trellis.accounts import Accounts
from trellis.config import parse
from trellis.control.core import run_core
from trellis.live.view import screen
from trellis.model.image import Standing
from trellis.sim.cloud.cloud import connector
from trellis.sim.image_story import SimulatedDisk, SimulatedGround, simulated_builders
from trellis.web.app import make_app
from trellis.world import World

PROMOTED, CANARY = Standing.PROMOTED, Standing.CANARY


def face_of(core):
    """A client of the daemon's own face, without a socket."""
    transport = httpx.ASGITransport(app=make_app(core.port, core.operator))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8480/api/v1")


async def events_of(core):
    """All events so far."""
    found, last = [], core.operator.last_event()
    async with aclosing(core.operator.events(0)) as events:
        async for event in events:
            found.append(event)
            if event.id >= last:
                break
    return found


async def kinds_of_events(core):
    """The kinds of all events so far, each with how often it came."""
    return Counter(event.type for event in await events_of(core))


async def place_of(face, provider="alpha"):
    image = (await face.get(f"/images/{IMAGE}")).json()
    return next(one for one in image["places"] if one["provider"] == provider)


async def test_rollback_by_rest_deletes_idle_nodes_and_serves_the_older_build(
    tmp_path, autojump_clock
):
    """And what is shown says so everywhere: the image, its nodes, the status, the metrics."""
    stage = ImageStage(tmp_path)
    await stage.recorded(("alpha", 1, PROMOTED), ("alpha", 2, PROMOTED), ("beta", 1, PROMOTED))
    async with stage.running() as core, face_of(core) as face:
        served = await stage.served(await stage.ask("alpha"))
        (node,) = [(await face.get(f"/nodes/{one}")).json() for one in served.nodes]
        before = await place_of(face)
        answer = await face.post(
            f"/images/{IMAGE}/rollback", json={"provider": "alpha", "by": "ann", "reason": "bad"}
        )
        after = await place_of(face)
        again = await stage.served(await stage.ask("alpha"))
        (older,) = [(await face.get(f"/nodes/{one}")).json() for one in again.nodes]
        there = await place_of(face)
        metrics = (await face.get("http://127.0.0.1:8480/metrics")).text
        status = (await face.get("/status")).json()

    assert answer.status_code == 200, answer.text
    assert (before["build_id"], after["build_id"]) == ("debian-0000000002", "debian-0000000001")
    assert after["pin"]["by"] == "ann"
    assert node["upload"].startswith("debian-0000000002.")
    assert older["upload"].startswith("debian-0000000001.")
    assert older["image"] == "debian-0000000001"
    by_build = {one["build_id"]: one for one in there["uploads"]}
    assert by_build["debian-0000000002"]["standing"] == "withdrawn"
    assert (by_build["debian-0000000001"]["nodes"], by_build["debian-0000000002"]["nodes"]) == (
        1, 1,
    )  # fmt: skip
    assert 'trellis_image_pinned{image="debian",provider="alpha"} 1.0' in metrics
    assert 'trellis_image_pinned{image="debian",provider="beta"} 0.0' in metrics
    shown = [line.plain.split() for line in screen(status, 120, 40)]
    assert ["debian", "alpha", "1"] in [words[:3] for words in shown if "withdrawn" in words]


async def test_label_without_its_image_says_why_everywhere(tmp_path, autojump_clock):
    """At one provider; the other serves."""
    stage = ImageStage(tmp_path)
    await stage.recorded(("beta", 1, PROMOTED), keep_files=False)
    async with stage.running() as core, face_of(core) as face:
        await stage.served(await stage.ask("beta"))
        request = await stage.ask("alpha")
        await trio.sleep(MINUTE)
        place = await place_of(face)
        (label,) = (await face.get("/labels")).json()["items"]
        (pool,) = (await face.get("/providers/alpha")).json()["pools"]
        explained = (await face.get(f"/requests/{request}/explain")).json()

    assert place["missing"] is True
    reason = f"image {IMAGE} {place['words'].removeprefix('it ')}"
    assert label["missing"]["alpha/main"] == reason
    assert label["offered_by"] == ["beta/main"]
    assert pool["missing"]["small"] == reason
    declined = {one["provider"]: one["reason"] for one in explained["declined"]}
    assert reason in declined["alpha"]


async def test_canary_is_seen_on_trial_with_its_figures(tmp_path, autojump_clock):
    """Until it is promoted by its trial, or by a person."""
    stage = ImageStage(tmp_path)
    await stage.recorded(("alpha", 1, PROMOTED), ("alpha", 2, CANARY), ("beta", 1, PROMOTED))
    async with stage.running() as core, face_of(core) as face:
        await stage.demand(25)
        on_trial = await place_of(face)
        promoted = await face.post(f"/images/{IMAGE}/promote", json={"provider": "alpha"})
        after = await place_of(face)
        told = await kinds_of_events(core)

    canary = next(one for one in on_trial["uploads"] if one["standing"] == "canary")
    assert (canary["share"], canary["trial"]["needed"]) == (0.1, 5)
    assert 1 <= canary["trial"]["ready"] < 5
    assert canary["trial"]["before_ready"] > canary["trial"]["ready"]
    assert promoted.status_code == 200
    assert after["build_id"] == "debian-0000000002"
    assert told["upload.promoted"] == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("rollback", {"provider": "beta"}, 422),
        ("pin", {"build": "debian-0000000009"}, 404),
        ("promote", {}, 422),
        ("upload", {}, 404),
        ("uploads", {"provider": "gamma"}, 422),
    ],
)
async def test_what_cannot_be_is_refused_with_what_to_do(
    tmp_path, autojump_clock, path, body, status
):
    """In the words of the part that knows."""
    stage = ImageStage(tmp_path)
    await stage.recorded(("alpha", 1, PROMOTED), ("beta", 1, PROMOTED), keep_files=False)
    async with stage.running() as core, face_of(core) as face:
        refused = await face.post(f"/images/{IMAGE}/{path}", json=body)

    assert refused.status_code == status, refused.text
    assert refused.json()["remedy"]
    assert msgspec.json.decode(refused.content)["type"].startswith("urn:trellis:problem:")


BUILT_HERE = """
deployment: stage
labels: [{name: small}]
images:
  - {name: debian, type: simulated, takes: 10m, size: 200000, rebuild-age: 0}
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    pools: &pools
      - name: main
        max-servers: 10
        labels: [{name: small, image: debian, flavor-name: ci-1c-1g}]
  - {name: beta, type: openstack, cloud: beta, pools: *pools}
"""


@asynccontextmanager
async def building(stage, folder):
    """The core of a stage that builds images on a disk of its own."""
    disk = SimulatedDisk()
    builders = simulated_builders(disk, Random(5))
    configuration = parse(
        BUILT_HERE, stage.types, builders, file="stage", folder=folder
    ).configuration
    world = World(
        wall=stage.wall,
        random=Random(stage.seed),
        connect=connector(stage.clouds.values()),
        transport=stage.wires,
        image_source=disk.source,
    )
    accounts = Accounts(
        read=stage.read,
        registry=stage.types,
        deployment="stage",
        world=world,
        configs=configuration.providers,
    )
    async with run_core(
        configuration,
        world=world,
        record_log=stage.log,
        accounts=accounts,
        builders=builders,
        build_ground=SimulatedGround(disk),
    ) as core:
        stage.core = core
        yield core


async def until(face, fits, within_s=60 * MINUTE):
    """The image once it is so."""
    with trio.fail_after(within_s):
        while not fits(image := (await face.get(f"/images/{IMAGE}")).json()):  # noqa: ASYNC110
            await trio.sleep(5)
    return image


async def test_build_is_watched_from_the_wish_until_every_provider_boots_from_it(
    tmp_path, autojump_clock
):
    """Its log, its phase, its uploads, and in the end a node of it."""
    stage = Stage(tmp_path)
    async with building(stage, tmp_path) as core, face_of(core) as face:
        wanted = await face.post(f"/images/{IMAGE}/builds", json={"by": "ann", "reason": "first"})
        where = wanted.headers["location"].removeprefix("/api/v1")
        under_way = await until(face, lambda image: image["builds"])
        log = await face.get(f"{where}/log?follow=true")
        built = (await face.get(where)).json()
        text = (await face.get(f"{where}/log?lines=1")).text
        done = await until(face, lambda image: all(one["build_id"] for one in image["places"]))
        served = await stage.served(await stage.ask("beta"))
        node = (await face.get(f"/nodes/{served.nodes[0]}")).json()
        metrics = (await face.get("http://127.0.0.1:8480/metrics")).text
        kinds = await kinds_of_events(core)

    build = built["id"]
    assert where.endswith(build)
    assert under_way["builds"][0]["why"].endswith("first")
    assert "event: line" in log.text
    assert json.loads(log.text.rpartition("data: ")[2])["state"] == "ready"
    assert text.count("\n") == 1
    assert (built["state"], built["artifacts"][0]["bytes"]) == ("ready", 200_000)
    assert {one["build_id"] for one in done["places"]} == {build}
    assert node["upload"].startswith(f"{build}.")
    assert 'trellis_image_builds_total{end="ready",image="debian"} 1.0' in metrics
    assert 'trellis_image_upload_bytes_total{provider="alpha"} 200000.0' in metrics
    assert set(kinds) >= KINDS


async def test_log_of_a_build_is_told_in_the_events_now_and_then(tmp_path, autojump_clock):
    """Not more often than every 30 s, and only while it grows."""
    stage = Stage(tmp_path)
    async with building(stage, tmp_path) as core, face_of(core) as face:
        await face.post(f"/images/{IMAGE}/builds", json={})
        done = await until(face, lambda image: image["builds"] and image["builds"][0]["ready_at"])
        told = [event for event in await events_of(core) if event.type == "build.progress"]

    assert len(told) == 3  # it has a line in each of its three phases, minutes apart
    assert told[-1].data == {"lines": "4", "last": f"compress: {done['builds'][0]['id']}"}
    assert all(after.at - before.at >= 30 for before, after in pairwise(told))
    assert told[0].about == (IMAGE,)


async def test_build_under_way_is_ended_by_deleting_it(tmp_path, autojump_clock):
    """It has failed by a person's word, nobody waits longer for the next, and nothing is left."""
    stage = Stage(tmp_path)
    async with building(stage, tmp_path) as core, face_of(core) as face:
        await face.post(f"/images/{IMAGE}/builds", json={})
        image = await until(face, lambda image: image["builds"])
        build = image["builds"][0]["id"]
        await trio.sleep(60)
        ended = await face.delete(f"/images/{IMAGE}/builds/{build}", params={"by": "ann"})
        image = await until(face, lambda image: image["builds"][-1]["state"] == "failed")
        again = await face.delete(f"/images/{IMAGE}/builds/nope", params={"by": "ann"})

    assert (ended.status_code, again.status_code) == (200, 404)
    assert image["builds"][-1]["fault"] == "stopped by ann"
    assert image["failures"] == 0


KINDS = {"image.wanted", "build.building", "build.phase", "build.ready", "upload.uploading",
         "upload.ready"}  # fmt: skip
