"""Bodies that come piece by piece to a simulated cloud, in the same process on virtual time."""

from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import attrs
import httpx
import pytest
import trio
from cloud_session import QUICK
from image_calls import Clock, caller_of, md5

from trellis.http.message import Call
from trellis.http.wire import Progress, UnreadableBodyError, WireError
from trellis.sim.cloud import CloudSpec, Faults, Outage, OutageKind, Quota, SimCloud, SimTransport
from trellis.sim.cloud.spec import Behaviour, RateLimit
from trellis.sim.cloud.spooled import SMALL
from trellis.sim.cloud.swift_account import account_of
from trellis.sim.cloud.transport import SimWire
from trellis.sim.clouds import TWINS

PIECE = 64 * 1024
DATA = bytes(range(256)) * 4096
"""A MiB."""


@attrs.define
class File:
    """A body of a road's call, that tells how much of it was read."""

    data: bytes = DATA
    pause_s: float = 0.0
    breaks_at: int | None = None
    read: int = 0
    open_now: int = 0

    @property
    def size(self) -> int:
        return len(self.data)

    @asynccontextmanager
    async def open(self):
        self.open_now += 1
        try:
            async with aclosing(self._pieces()) as pieces:
                yield pieces
        finally:
            self.open_now -= 1

    async def _pieces(self):
        for start in range(0, len(self.data), PIECE):
            if self.breaks_at is not None and start >= self.breaks_at:
                raise OSError("the disk is gone")
            await trio.sleep(self.pause_s)
            self.read += PIECE
            yield self.data[start : start + PIECE]


class Stage:
    """A cloud, a caller of it, and a wire."""

    def __init__(self, spec=None, region="RegionOne", **changes):
        spec = spec or CloudSpec(**{"name": "test", **QUICK, **changes})
        self.cloud = SimCloud(spec)
        self.caller = caller_of(self.cloud, Clock(), region)
        self.wire = SimWire(self.cloud)

    async def put(self, image_id, file, **headers):
        return await self.send("PUT", f"/image/v2/images/{image_id}/file", file, **headers)

    async def send(self, method, path, file, **headers):
        sent = {**self.caller.headers, "Content-Type": "application/octet-stream", **headers}
        call = Call(
            service="image",
            method=method,
            url=f"{self.cloud.root}/{self.caller.region}{path}",
            path_label="/images/{id}/file",
            headers=sent,
            stream=file,
        )
        return await self.wire.send(call, Progress())

    def shown(self, image_id):
        return self.caller.shown(image_id)


async def test_all_of_it_comes_and_is_hashed(autojump_clock):
    """The image is saving meanwhile; the file is opened once and closed."""
    stage, file = Stage(), File(pause_s=1.0)
    image_id = stage.caller.create()
    seen = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _():
            await trio.sleep(5.0)
            seen.append(stage.shown(image_id)["status"])

        answer = await stage.put(image_id, file)
    shown = stage.shown(image_id)

    assert answer.status == 204
    assert (seen, shown["status"]) == (["saving"], "active")
    assert (shown["size"], shown["checksum"]) == (len(DATA), md5(DATA))
    assert (file.read, file.open_now) == (len(DATA), 0)


async def test_long_ones_are_not_kept_in_memory(autojump_clock):
    """Only short ones can be had again."""
    stage = Stage()
    short, long = stage.caller.create(), stage.caller.create()
    await stage.put(short, File(DATA[:SMALL]))
    await stage.put(long, File(DATA))

    assert stage.caller.image("GET", f"/images/{short}/file").body == DATA[:SMALL]
    assert stage.caller.image("GET", f"/images/{long}/file").status == 501


@pytest.mark.parametrize(
    ("changes", "before", "status"),
    [
        ({"quota": Quota(image_mib=0)}, None, 413),
        ({}, b"filled", 409),
        ({"behaviour": Behaviour(front_mib_most=0)}, None, 413),
        (
            {"rate_limits": (RateLimit(calls=1, per_s=1e9, service="image", method="PUT"),)},
            b"",
            429,
        ),
    ],
    ids=["quota", "not queued", "front", "rate"],
)
async def test_a_refusal_comes_before_the_body(changes, before, status, autojump_clock):
    """Nothing of the file is read."""
    stage, file = Stage(**changes), File()
    image_id = stage.caller.create()
    if before is not None:
        stage.caller.image("PUT", f"/images/{image_id}/file", body=before)

    answer = await stage.put(image_id, file)

    assert (answer.status, file.read, file.open_now) == (status, 0, 0)


async def test_unknown_images_and_tokens_are_refused_before_the_body(autojump_clock):
    stage, file = Stage(), File()
    nobody = await stage.put("none", file)
    foreign = await stage.put(stage.caller.create(), file, **{"x-auth-token": "other"})
    assert (nobody.status, foreign.status, file.read) == (404, 401, 0)


async def test_an_outage_reads_nothing(autojump_clock):
    """A proxy answers in the service's place."""
    stage, file = Stage(), File()
    image_id = stage.caller.create()
    stage.cloud.set_outage(OutageKind.GATEWAY)
    assert (await stage.put(image_id, file)).status == 502
    assert file.read == 0


@pytest.mark.parametrize("stuck", [0.0, 1.0], ids=["noticed", "stuck"])
async def test_the_connection_breaks_at_a_share_of_the_body(stuck, autojump_clock):
    """The image is queued again, or saving for ever where Glance does not notice."""
    stage = Stage(faults=Faults(upload_dropped=1.0, image_stuck_saving=stuck))
    image_id, file = stage.caller.create(), File()
    with pytest.raises(WireError):
        await stage.put(image_id, file)

    assert 0.85 * len(DATA) <= file.read <= 0.95 * len(DATA)
    assert stage.shown(image_id)["status"] == ("saving" if stuck else "queued")
    assert stage.cloud.ledger.struck["upload-dropped"] == 1
    assert file.open_now == 0


async def test_an_upload_hangs(autojump_clock):
    """From a share of its body on nothing more is taken, nor answered; it stays saving."""
    faults = Faults(upload_hangs=1.0, upload_dropped_at=(0.5, 0.5))
    stage, file = Stage(faults=faults), File()
    image_id = stage.caller.create()
    with trio.move_on_after(50.0) as patience, pytest.raises(WireError):
        await stage.put(image_id, file)

    assert patience.cancelled_caught
    assert file.read == len(DATA) // 2
    assert stage.shown(image_id)["status"] == "saving"


async def test_a_caller_that_dies_leaves_a_queued_image(autojump_clock):
    """Cancelled in the middle; and one whose host has died never completes it."""
    stage, file = Stage(), File(pause_s=1.0)
    image_id = stage.caller.create()
    with trio.move_on_after(5.5):
        await stage.put(image_id, file)
    assert stage.shown(image_id)["status"] == "queued"
    assert file.open_now == 0

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _():
            with pytest.raises(WireError):
                await stage.put(image_id, File(pause_s=1.0))

        await trio.sleep(5.5)
        stage.wire.fence()
    assert stage.shown(image_id)["status"] == "queued"


async def test_a_file_that_cannot_be_read_ends_the_upload(autojump_clock):
    """The caller is told so, and the image is queued again."""
    stage = Stage()
    image_id = stage.caller.create()
    with pytest.raises(UnreadableBodyError, match="the disk is gone"):
        await stage.put(image_id, File(breaks_at=PIECE * 4))
    assert stage.shown(image_id)["status"] == "queued"


async def test_an_image_deleted_meanwhile_is_gone(autojump_clock):
    """The upload ends with 410, and nothing is left."""
    stage = Stage()
    image_id = stage.caller.create()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _():
            await trio.sleep(5.0)
            stage.caller.image("DELETE", f"/images/{image_id}")

        answer = await stage.put(image_id, File(pause_s=1.0))
    assert answer.status == 410
    assert [image for image in stage.cloud.images() if image.who] == []


async def test_a_lost_answer_leaves_the_image_active(autojump_clock):
    """All of the body came, and the word of it never did."""
    stage = Stage()
    image_id = stage.caller.create()
    stage.cloud.change(faults=Faults(lose_answer=1.0))
    with pytest.raises(WireError):
        await stage.put(image_id, File())
    await trio.sleep(1.0)
    assert stage.shown(image_id)["status"] == "active"


async def test_a_create_may_be_lost_after_it_acted(autojump_clock):
    """Of images alone: the fault has a name of its own."""
    stage = Stage(faults=Faults(image_create_lost=1.0))
    async with httpx.AsyncClient(transport=SimTransport(stage.cloud), timeout=5.0) as client:
        with pytest.raises(httpx.TransportError):
            await client.post(
                f"{stage.cloud.root}/RegionOne/image/v2/images",
                headers=stage.caller.headers,
                json={"name": "lost"},
            )
    await trio.sleep(1.0)
    assert [image.name for image in stage.cloud.images() if image.who] == ["lost"]
    assert stage.cloud.ledger.struck["image-create-lost"] == 1


async def test_an_upload_takes_as_long_as_the_cloud_is_slow(autojump_clock):
    stage = Stage(image_rate_mib_s=0.1)
    image_id, began = stage.caller.create(), trio.current_time()
    await stage.put(image_id, File())
    assert trio.current_time() - began == pytest.approx(10.0)


async def test_an_httpx_client_streams_too(autojump_clock):
    """With and without a length said."""
    stage = Stage()

    async def pieces():
        for start in range(0, len(DATA), PIECE):
            yield DATA[start : start + PIECE]

    async with httpx.AsyncClient(transport=SimTransport(stage.cloud)) as client:
        for content in (DATA, pieces()):
            image_id = stage.caller.create()
            answer = await client.put(
                f"{stage.cloud.root}/RegionOne/image/v2/images/{image_id}/file",
                headers={**stage.caller.headers, "Content-Type": "application/octet-stream"},
                content=content,
            )
            assert answer.status_code == 204
            assert stage.shown(image_id)["checksum"] == md5(DATA)


async def test_version_1_takes_all_with_one_post(autojump_clock):
    """Fields in headers; a broken upload leaves a killed image, as that version did."""
    stage = Stage(attrs.evolve(TWINS["hpcloud"](), latency=QUICK["latency"]), "region-a.geo-1")
    fields = {
        "x-image-meta-name": "trusty-1", "x-image-meta-disk_format": "qcow2",
        "x-image-meta-container_format": "bare", "x-image-meta-property-trellis_build": "1",
    }  # fmt: skip
    answer = await stage.send("POST", "/image/v1/images", File(), **fields)
    with trio.move_on_after(1.0):
        await stage.send("POST", "/image/v1/images", File(pause_s=1.0), **fields)
    fields["x-image-meta-disk_format"] = "floppy"
    wrong = await stage.send("POST", "/image/v1/images", File(), **fields)

    assert (answer.status, wrong.status) == (201, 400)
    states = [(image.name, image.status) for image in stage.cloud.images() if image.who]
    assert states == [("trusty-1", "active"), ("trusty-1", "killed")]


async def test_objects_are_streamed_too(autojump_clock):
    """To the file store of Rackspace's twin; one that breaks off leaves nothing."""
    stage = Stage(attrs.evolve(TWINS["rackspace"](), latency=QUICK["latency"]), "DFW")
    root = f"/object-store/v1/{account_of('700001', 'MossoCloudFS_')}"
    stage.caller.send("PUT", f"{root}/images")
    answer = await stage.send("PUT", f"{root}/images/a.vhd", File())
    with trio.move_on_after(1.5):
        await stage.send("PUT", f"{root}/images/b.vhd", File(pause_s=1.0))

    assert (answer.status, answer.headers["Etag"]) == (201, md5(DATA))
    assert [one.id for one in stage.cloud.objects()] == ["images/a.vhd"]


async def test_a_window_of_outages_may_begin_in_the_middle(autojump_clock):
    """What was let in goes on: the connection is there already."""
    outage = Outage(start=3.0, end=30.0, kind=OutageKind.REFUSE)
    stage = Stage(outages=(outage,))
    image_id = stage.caller.create()
    answer = await stage.put(image_id, File(pause_s=1.0))
    assert answer.status == 204
    assert Path(stage.cloud.images()[-1].file or ".") == Path()
