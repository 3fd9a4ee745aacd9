"""One provider's uploads on the virtual clock: its cloud, its store, and a planner of a line."""

from contextlib import asynccontextmanager
from random import Random

import attrs
import trio

from tests.control.scripted_images import PIECE, ScriptedImages, ScriptedSource
from tests.control.scripted_provider import ScriptedProvider
from trellis.control.health import ProviderHealth
from trellis.control.images.book import ImageBook
from trellis.control.images.uploading import Uploading
from trellis.model.image import Artifact, ImageRecord, Upload, UploadState, build_id, upload_id
from trellis.model.records import Change
from trellis.spi.config import ImageConfig, ProviderConfig
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Store
from trellis.testing.builders import NOW
from trellis.world import World

SIZE = 100 * PIECE
IMAGE = "debian-12"
BUILD = build_id(IMAGE, 1)


def an_artifact(**parts):
    given = {"format": "qcow2", "path": "/images/one.qcow2", "size": SIZE}
    return Artifact(**{**given, "md5": "0" * 32, "sha256": "0" * 64, **parts})


def an_upload(number=1, **parts):
    given = {
        "id": upload_id(BUILD, number),
        "build_id": BUILD,
        "image": IMAGE,
        "provider": "alpha",
        "cloud": "alpha",
        "region": "RegionOne",
        "artifact": an_artifact(),
        "name": BUILD,
        "state": UploadState.UPLOADING,
        "state_at": NOW,
        "created_at": NOW,
        "origin": "store-1",
    }
    return Upload(**{**given, **parts})


async def eventually(fact, *, within_s, every_s=0.01):
    """Wait until something is so."""
    with trio.fail_after(within_s):
        while True:
            if fact():
                return
            await trio.sleep(every_s)


class UploadStage:
    """What outlives a process: the cloud and the disk."""

    def __init__(self, **config):
        self.log = SimulatedLog(Random(1))
        self.provider = ScriptedProvider()
        self.images = self.provider.images = ScriptedImages()
        self.source = ScriptedSource(SIZE)
        self.booted = set()
        given = {"name": "alpha", "type": "openstack", "cloud": "alpha", "region_name": "RegionOne"}
        self.config = ProviderConfig(**{**given, **config})
        self.image = ImageConfig(name=IMAGE, canary_share=0.05)

    @asynccontextmanager
    async def process(self, *, open_health=True):
        """A process of the daemon; where the block ends it is cancelled, as by a stop."""
        self.log = self.log.reopen()
        async with Store.open(
            self.log, deployment="test", wall=lambda: NOW + trio.current_time()
        ) as store:
            process = UploadProcess(self, store)
            if open_health:
                process.health.opened()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(process.uploading.run)
                yield process
                nursery.cancel_scope.cancel()

    async def killed_at(self, at_s, begin):
        """A process that begins an upload and is killed at a time, its disk cut off first."""
        async with self.process() as process:
            with trio.move_on_at(at_s) as life:
                await begin(process)
                await trio.sleep_forever()
            assert life.cancelled_caught
            self.log.crash()

    def usable(self):
        """Ids of the images there from which servers could be made."""
        return [one.id for one in self.images.kept.values() if one.status == "active"]


class UploadProcess:
    def __init__(self, stage, store):
        self.stage, self.store = stage, store
        self.book = ImageBook()
        for cls in (ImageRecord, Upload):
            self.book.load(store.all(cls).values())
        store.subscribe(lambda committed: self.book.apply(committed.changes))
        world = World(
            wall=lambda: NOW + trio.current_time(),
            transport=None,
            image_source=lambda path, size: stage.source,
        )
        world.wall()  # its process begins now
        self.health = ProviderHealth("alpha", world.wall, lambda: None)
        self.home_trouble = ""
        self.uploading = Uploading(
            config=stage.config,
            deployment="test",
            provider=stage.provider,
            store=store,
            world=world,
            book=self.book,
            health=self.health,
            foreign=lambda home: self.home_trouble,
            image_config=lambda name: stage.image,
            booted=lambda image_id: image_id in stage.booted,
        )
        self.world = world

    async def begin(self, number=1, **parts):
        upload = an_upload(number, created_at=self.world.wall(), **parts)
        await self.store.commit([Change(None, upload)])
        return upload.id

    async def until(self, upload, *states, within_s=3600):
        """The upload once it is in one of these states; GONE is out of the book."""
        with trio.fail_after(within_s):
            while True:
                now = self.book.uploads.get(upload)
                if now is None and UploadState.GONE in states:
                    return await self.store.history(Upload, upload)
                if now is not None and now.state in states:
                    return now
                await trio.sleep(0.5)

    async def plan(self):
        """Have one upload ready: begin another attempt whenever one has failed, and may be."""
        number = 1 + max([int(one.rpartition(".")[2]) for one in self.book.uploads], default=0)
        while True:
            live = [one.state for one in self.book.uploads.values()]
            waits = self.place().not_before > self.world.wall()
            if UploadState.READY in live:
                return
            if UploadState.UPLOADING not in live and not waits:
                known = await self.store.history(Upload, upload_id(BUILD, number))
                while known is not None:
                    number += 1
                    known = await self.store.history(Upload, upload_id(BUILD, number))
                await self.begin(number)
                number += 1
            await trio.sleep(1.0)

    def place(self):
        return self.book.record(IMAGE).place("alpha")

    async def change(self, upload, **parts):
        before = self.store.head(Upload, upload)
        await self.store.commit([Change(before, attrs.evolve(before, **parts))])
