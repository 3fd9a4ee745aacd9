"""Bodies that come piece by piece over a socket of loopback: at full speed, and into files."""

from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import httpx
import pytest
import trio
from cloud_session import QUICK
from image_calls import Clock, caller_of, md5

from trellis.config.addresses import ListenAddress
from trellis.sim.cloud import CloudSpec, Faults, Quota, SimCloud
from trellis.sim.cloud.spooled import Spooled
from trellis.sim.serving.downloads import Downloads
from trellis.sim.serving.front import Front, root_of
from trellis.sim.serving.http import listener, serve_http

SIZE = 3 * 1024 * 1024 + 17
DATA = Random(7).randbytes(SIZE)


class Served:
    """A served cloud, a caller of it in the same process, and where it is."""

    def __init__(self, cloud, port, client, nursery):
        self.cloud, self.port, self.client, self.nursery = cloud, port, client, nursery
        self.caller = caller_of(cloud, Clock())

    def url(self, path):
        return f"{self.cloud.root}/RegionOne{path}"

    async def put(self, image_id, content, **headers):
        headers = {**self.caller.headers, "Content-Type": "application/octet-stream", **headers}
        path = f"/image/v2/images/{image_id}/file"
        return await self.client.put(self.url(path), content=content, headers=headers)

    async def open(self, image_id, *more, length=SIZE):
        """A connection on which an upload begins."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        token = self.caller.headers["x-auth-token"]
        lines = [
            f"PUT /test/RegionOne/image/v2/images/{image_id}/file HTTP/1.1", "Host: x",
            f"X-Auth-Token: {token}", "Content-Type: application/octet-stream",
            f"Content-Length: {length}", *more, "", "",
        ]  # fmt: skip
        await stream.send_all("\r\n".join(lines).encode())
        return stream

    async def until(self, image_id, status):
        with trio.fail_after(10.0):
            await trio.lowlevel.checkpoint()
            while self.caller.shown(image_id)["status"] != status:  # noqa: ASYNC110
                await trio.sleep(0.01)


@asynccontextmanager
async def served(keep: Path | None = None, **changes):
    bound = listener(ListenAddress.from_text("127.0.0.1:0"))
    port = bound.socket.getsockname()[1]
    spec = CloudSpec(**{"name": "test", **QUICK, **changes})
    cloud = SimCloud(spec, random=Random(1), root=root_of(f"http://127.0.0.1:{port}", "test"))
    async with (
        trio.open_nursery() as nursery,
        httpx.AsyncClient(timeout=30.0, trust_env=False) as client,
    ):
        nursery.start_soon(serve_http, bound, Front({"test": cloud}, keep_images=keep))
        yield Served(cloud, port, client, nursery)
        nursery.cancel_scope.cancel()


async def pieces(data=DATA, size=100_000):
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("way", ["length", "chunks"])
async def test_all_of_it_is_stored(way):
    """With its length said or in chunks; and the connection is good for the next call."""
    async with served() as here:
        for _ in range(2):
            image_id = here.caller.create()
            answer = await here.put(image_id, DATA if way == "length" else pieces())
            assert answer.status_code == 204
            assert here.caller.shown(image_id)["checksum"] == md5(DATA)
        shown = await here.client.get(
            here.url(f"/image/v2/images/{image_id}"), headers=here.caller.headers
        )
        assert shown.json()["size"] == len(DATA)


async def test_files_are_kept_and_go_with_their_images(tmp_path):
    """That very file, byte by byte; it can be downloaded again."""
    async with served(tmp_path) as here:
        image_id = here.caller.create()
        await here.put(image_id, DATA)
        (image,) = (one for one in here.cloud.images() if one.who)
        got = await here.client.get(
            here.url(f"/image/v2/images/{image_id}/file"), headers=here.caller.headers
        )
        kept = Path(image.file)

        assert kept.parent == tmp_path
        assert kept.read_bytes() == DATA
        assert got.content == DATA
        here.caller.image("DELETE", f"/images/{image_id}")
        assert [*tmp_path.iterdir()] == []


async def test_a_machine_knows_the_file_it_boots(tmp_path):
    """And its format: for what stands behind the servers."""
    async with served(tmp_path, boot=QUICK["latency"].get, guest=QUICK["latency"].get) as here:
        image_id = here.caller.create(disk_format="qcow2")
        await here.put(image_id, DATA)
        server_id = here.caller.booted(image_id)
        (machine,) = here.cloud.machines()
        assert machine.server_id == server_id
        assert machine.image_file is not None
        assert (machine.image_file.read_bytes() == DATA, machine.image_format) == (True, "qcow2")


async def test_a_client_that_hangs_up_leaves_a_queued_image(tmp_path):
    """And no file."""
    async with served(tmp_path) as here:
        image_id = here.caller.create()
        stream = await here.open(image_id)
        await stream.send_all(DATA[:100_000])
        await here.until(image_id, "saving")
        await stream.aclose()
        await here.until(image_id, "queued")
        assert [*tmp_path.iterdir()] == []


async def test_a_client_that_waits_to_be_told_is_told_to_go_on():
    """By 100 Continue, and not before it has been let in."""
    async with served() as here:
        image_id = here.caller.create()
        stream = await here.open(image_id, "Expect: 100-continue")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(DATA)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 204 ")
        await stream.aclose()


@pytest.mark.parametrize("expects", [True, False], ids=["waiting", "sending"])
async def test_a_refusal_comes_early_and_is_heard(expects):
    """Before the body is read to its end, and without the connection being reset under it."""
    async with served(quota=Quota(image_mib=1)) as here:
        image_id = here.caller.create()
        more = ["Expect: 100-continue"] if expects else []
        stream = await here.open(image_id, *more, length=10**12)
        if not expects:
            await stream.send_all(DATA)
        answer = b""
        with trio.fail_after(10.0):
            while chunk := await stream.receive_some():
                answer += chunk
        await stream.aclose()

        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in answer.lower()
        assert b"image_size_total" in answer
        assert here.caller.shown(image_id)["status"] == "queued"


async def heard(stream):
    """What answers an upload: nothing where the connection breaks or ends."""
    try:
        await stream.send_all(DATA)
        return await stream.receive_some()
    except trio.BrokenResourceError:
        return b""


async def test_the_connection_breaks_in_the_middle():
    """Under the client that sends; the image is queued again."""
    async with served(faults=Faults(upload_dropped=1.0, upload_dropped_at=(0.4, 0.4))) as here:
        image_id = here.caller.create()
        stream = await here.open(image_id)
        assert await heard(stream) == b""
        await stream.aclose()
        assert here.caller.shown(image_id)["status"] == "queued"


async def test_an_upload_hangs_until_the_client_gives_up():
    """Nothing more is taken than what lies in buffers; then the connection is let go."""
    async with served(faults=Faults(upload_hangs=1.0, upload_dropped_at=(0.1, 0.1))) as here:
        image_id = here.caller.create()
        stream = await here.open(image_id)
        with trio.move_on_after(0.5) as patience:
            await stream.send_all(DATA[: len(DATA) // 2])
            await stream.receive_some()
        await stream.aclose()
        assert patience.cancelled_caught
        assert here.caller.shown(image_id)["status"] == "saving"


async def test_the_web_is_looked_at(tmp_path):
    """An import by download fetches the file over HTTP; one that is not there fails."""
    (tmp_path / "kept").mkdir()
    async with served(tmp_path / "kept", image_import=QUICK["latency"].get) as here:
        downloads = Downloads(here.nursery, keep_images=tmp_path / "kept")
        here.cloud.fetch_by(downloads.of(here.cloud.spec))
        source = here.caller.upload(DATA[:50_000])
        # A GET without a token is refused: an import of it fails, as of any address that does.
        there, missing = here.caller.create(), here.caller.create()
        web = trio.socket.socket()
        await web.bind(("127.0.0.1", 0))
        web.listen()

        async def answer_once():
            peer, _ = await web.accept()
            await peer.recv(65536)
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA)
            async with trio.SocketStream(peer) as stream:
                await stream.send_all(head + DATA)

        here.nursery.start_soon(answer_once)
        for image_id, uri in (
            (there, f"http://127.0.0.1:{web.getsockname()[1]}/a.raw"),
            (missing, here.url(f"/image/v2/images/{source}/file")),
        ):
            body = {"method": {"name": "web-download", "uri": uri}}
            answer = here.caller.image("POST", f"/images/{image_id}/import", body=body)
            assert answer.status == 202
        await here.until(there, "active")
        await here.until(missing, "queued")
        web.close()

        assert here.caller.shown(there)["checksum"] == md5(DATA)
        assert len([*(tmp_path / "kept").iterdir()]) == 1


@pytest.mark.parametrize("end", ["failed", "deleted"])
async def test_no_file_is_kept_of_an_import_that_comes_to_nothing(tmp_path, end):
    kept = tmp_path / "kept"
    kept.mkdir()
    faults = Faults(import_fails=1.0)
    async with served(kept, image_import=QUICK["latency"].get, faults=faults) as here:
        got = []
        here.cloud.fetch_by(lambda uri, tell: got.append(tell))
        image_id = here.caller.create()
        body = {"method": {"name": "web-download", "uri": "http://web.example/a"}}
        assert here.caller.image("POST", f"/images/{image_id}/import", body=body).status == 202
        file = kept / "upload-1"
        file.write_bytes(DATA)
        got[0](Spooled(size=len(DATA), path=str(file)))
        if end == "deleted":
            assert here.caller.image("DELETE", f"/images/{image_id}").status == 204
        else:
            await here.until(image_id, "queued")

        assert [] == [*kept.iterdir()]


async def test_the_control_face_knows_images_and_objects():
    """Whose they are, and which servers were made from them; it can take one away."""
    async with served(object_storage=True) as here:
        image_id = here.caller.upload(DATA[:10], trellis_build="7")
        server_id = here.caller.booted(image_id)
        control = here.cloud.root.removesuffix("/test") + "/_sim/test"
        rows = (await here.client.get(f"{control}/images")).json()["images"]
        servers = (await here.client.get(f"{control}/servers")).json()["servers"]
        objects = (await here.client.get(f"{control}/objects")).json()["objects"]
        gone = await here.client.delete(f"{control}/images/{image_id}")
        again = await here.client.delete(f"{control}/images/{image_id}")

        (row,) = (one for one in rows if one["who"] == "ci")
        assert (row["id"], row["servers"]) == (image_id, [server_id])
        assert row["properties"] == {"trellis_build": "7"}
        assert (servers[0]["image_id"], servers[0]["image_name"]) == (image_id, "img")
        assert objects == []
        assert (gone.status_code, again.status_code) == (204, 404)
