"""The loop over images: what is decided becomes records, and only once."""

from contextlib import asynccontextmanager
from random import Random
from types import SimpleNamespace

import attrs
import trio
import trio.testing

from trellis.control.fleet import Fleet
from trellis.control.images.book import ImageBook
from trellis.control.images.in_use import InUse
from trellis.control.images.service import FORMATS_WAIT_S, Images
from trellis.control.nudge import Nudge
from trellis.control.policy import ImagePolicy, InForce
from trellis.images.snapshot import ProviderPlace
from trellis.model.image import (
    Artifact,
    Build,
    BuildState,
    ImageRecord,
    Standing,
    Upload,
    UploadState,
)
from trellis.model.node import Node, NodeState
from trellis.model.provider import Pause
from trellis.model.records import Change
from trellis.spi.config import ImageConfig, ProviderConfig
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Store
from trellis.testing.builders import NOW, a_node, a_shape
from trellis.world import World

IMAGE = "debian"
HOUR = 3600.0


def wall():
    return NOW + trio.current_time()


class ScriptedBuilds:
    """Builds take ten minutes; what they make is told at once."""

    def __init__(self, service):
        self._service = service
        self.files_deleted = []

    async def run(self):
        async with trio.open_nursery() as nursery:
            begun = set()
            while True:
                for build in list(self._service.book.builds.values()):
                    if (build.id, build.state) in begun:
                        continue
                    begun.add((build.id, build.state))
                    if build.state is BuildState.BUILDING:
                        nursery.start_soon(self._build, build)
                    elif build.state is BuildState.DELETING:
                        nursery.start_soon(self._delete, build)
                await self._service.moved.wait(at_most=60.0)

    async def _build(self, build):
        await trio.sleep(600.0)
        before = self._service.store.head(Build, build.id)
        after = before.became(
            BuildState.READY, wall(), ready_at=wall(),
            artifacts=tuple(
                Artifact(format=one, path=f"{build.base}.{one}", size=1, md5="m", sha256="s")
                for one in build.formats
            ),
        )  # fmt: skip
        await self._service.store.commit([Change(before, after)])

    async def _delete(self, build):
        self._service.moved()
        gone = build.became(BuildState.GONE, wall())
        await self._service.store.commit([Change(build, gone, archive=True)])

    async def delete_files(self, build, formats):
        on_record = self._service.store.get(Build, build.id)
        assert [one.path for one in on_record.artifacts if one.format in formats] == [""]
        self.files_deleted.append((build.number, formats))


class Service:
    """The service between a store, and a provider that uploads at once."""

    def __init__(self, store, config, place=None):
        self.store = store
        self.book, self.fleet = ImageBook(), Fleet()
        for kind in (ImageRecord, Build, Upload):
            self.book.load(store.all(kind).values())
        self.fleet.load(store.all(Node).values())
        self.moved = Nudge()
        self.place = place or ProviderPlace(name="alpha", images=frozenset({IMAGE}), format="raw")
        self.policy = SimpleNamespace(
            images=ImagePolicy(configs={IMAGE: config}, recipes={IMAGE: "r1"})
        )
        self.provider = SimpleNamespace(
            config=ProviderConfig(name="alpha", type="openstack", cloud="one", region_name="R"),
            image_place=lambda: self.place,
        )
        self.builds = ScriptedBuilds(self)
        nudge = Nudge()
        self.images = Images(
            store=store,
            book=self.book,
            in_use=InUse(self.fleet, self.book, freed=nudge),
            world=World(wall=wall, random=Random(1), transport=None),
            in_force=InForce(self.policy),
            providers={"alpha": self.provider},
            builds=self.builds,
            nudge=nudge,
        )
        store.subscribe(self._committed)

    def _committed(self, batch):
        self.book.apply(batch.changes)
        self.fleet.apply(batch.changes)
        self.moved()

    async def uploads(self):
        """What is to be uploaded is there a minute later; what is to be deleted is gone."""
        while True:
            for upload in self.book.at_provider("alpha"):
                if upload.state is UploadState.UPLOADING:
                    await trio.sleep(60.0)
                    await self.uploaded(upload)
                elif upload.state is UploadState.DELETING:
                    gone = upload.became(UploadState.GONE, wall())
                    await self.store.commit([Change(upload, gone, archive=True)])
            await trio.sleep(20.0)

    async def uploaded(self, upload):
        after = upload.became(
            UploadState.READY, wall(), ready_at=wall(), external_id=f"there-{upload.id}",
            standing=Standing.PROMOTED,
        )  # fmt: skip
        await self.store.commit([Change(upload, after)])

    def record(self):
        return self.book.record(IMAGE)

    async def remember(self, **changes):
        before = self.store.head(ImageRecord, IMAGE)
        record = before or ImageRecord(name=IMAGE)
        await self.store.commit([Change(before, attrs.evolve(record, **changes))])

    def ready(self):
        there = self.book.at("alpha", IMAGE)
        return [int(one.build_id[-10:]) for one in there if one.state is UploadState.READY]

    async def boot(self, number=1):
        """A node is launched from what is at the provider of a build."""
        upload = next(x for x in self.book.at("alpha", IMAGE) if int(x.build_id[-10:]) == number)
        node = a_node(state=NodeState.BUILDING, shape=a_shape(image_id=upload.external_id))
        await self.store.commit([Change(None, node)])
        return node


@asynccontextmanager
async def a_service(*, log=None, run=True, uploads=True, place=None, **config):
    given = {"name": IMAGE, "rebuild_age": 24 * HOUR, "keep_uploads": 1, "keep_builds": 1, **config}
    async with Store.open(log or SimulatedLog(Random(1)), deployment="test", wall=wall) as store:
        service = Service(store, ImageConfig(**given), place)
        async with trio.open_nursery() as nursery:
            if run:
                nursery.start_soon(service.images.run)
            if uploads:
                nursery.start_soon(service.uploads)
            yield service
            nursery.cancel_scope.cancel()


async def test_an_image_is_built_and_uploaded_and_in_time_replaced(autojump_clock):
    async with a_service() as service:
        await trio.sleep(HOUR)
        (build,) = service.book.builds.values()
        (upload,) = service.book.uploads.values()
        assert (build.id, build.formats, build.recipe) == ("debian-0000000001", ("raw",), "r1")
        assert build.base.endswith("/images/debian-0000000001")
        assert build.log.endswith("/images/debian-0000000001.log")
        assert (upload.id, upload.cloud, upload.region) == ("debian-0000000001.1", "one", "R")
        assert upload.artifact == build.artifacts[0]

        await trio.sleep(24 * HOUR)
        assert service.ready() == [2]
        assert list(service.book.builds) == ["debian-0000000002"]
        assert service.record().next_build == 3


async def test_numbers_rise_over_a_restart(autojump_clock):
    log = SimulatedLog(Random(1))
    async with a_service(log=log):
        await trio.sleep(HOUR)
    async with a_service(log=log.reopen()) as service:
        await trio.sleep(24 * HOUR)

        assert service.ready() == [2]
        assert [one.id for one in service.book.uploads.values()] == ["debian-0000000002.2"]


async def test_what_was_begun_before_a_restart_is_not_begun_again(autojump_clock):
    log = SimulatedLog(Random(1))
    async with a_service(log=log):
        await trio.sleep(300.0)
    async with a_service(log=log.reopen(), uploads=False) as service:
        await trio.sleep(HOUR)

        assert service.record().next_build == 2
        assert [one.state for one in service.book.uploads.values()] == [UploadState.UPLOADING]


async def test_what_nodes_were_made_from_goes_once_the_last_is_gone(autojump_clock):
    async with a_service() as service:
        await trio.sleep(HOUR)
        node = await service.boot()
        await trio.sleep(26 * HOUR)
        assert service.ready() == [2, 1]

        gone = attrs.evolve(node, state=NodeState.GONE)
        await service.store.commit([Change(node, gone, archive=True)])
        await trio.sleep(0.5)  # long before it would look again by itself
        states = {one.build_id[-1]: one.state for one in service.book.uploads.values()}
        assert states == {"2": UploadState.READY, "1": UploadState.DELETING}


async def test_a_launch_that_is_staged_at_that_moment_keeps_its_image(autojump_clock):
    """Between the look and the deletion a node of it is on its way to the log."""
    async with a_service(run=False) as service:
        await service.images.one_pass()
        await service.builds._build(next(iter(service.book.builds.values())))
        await service.images.one_pass()
        await trio.sleep(120.0)
        assert service.ready() == [1]
        service.place = attrs.evolve(service.place, images=frozenset())
        (upload,) = service.book.uploads.values()
        node = a_node(state=NodeState.BUILDING, shape=a_shape(image_id=upload.external_id))
        pending = service.store.stage([Change(None, node)])

        await service.images.one_pass()

        await pending.durable()
        assert service.book.uploads[upload.id].state is UploadState.READY


async def test_who_pins_at_that_moment_keeps_what_he_pins(autojump_clock):
    """The deletion is overtaken, and the next pass sees the pin."""
    async with a_service(run=False) as service:
        await service.images.one_pass()
        await service.builds._build(next(iter(service.book.builds.values())))
        await service.images.one_pass()
        await trio.sleep(120.0)
        service.place = attrs.evolve(service.place, images=frozenset())
        settled = service.store.settled

        async def settled_then_pinned():
            await settled()
            record = service.store.head(ImageRecord, IMAGE)
            service.store.stage([Change(record, attrs.evolve(record, wanted="pinned, say"))])

        service.store.settled = settled_then_pinned
        await service.images.one_pass()

        (upload,) = service.book.uploads.values()
        assert upload.state is UploadState.READY


async def test_a_wish_is_met_once(autojump_clock):
    async with a_service() as service:
        await trio.sleep(HOUR)
        await service.remember(
            wanted="a new kernel", wanted_by="ada", pause=Pause(by="bob", reason="", since=0.0)
        )
        await trio.sleep(HOUR)

        (build,) = service.book.builds.values()
        assert (build.number, build.why, build.by) == (2, "a new kernel", "ada")
        assert (service.record().wanted, service.record().wanted_by) == ("", "")


async def test_two_wanted_at_once_are_numbered_apart(autojump_clock):
    """Two uploads of one image decided upon in one pass: both are recorded."""
    async with a_service(run=False, uploads=False) as service:
        beta = attrs.evolve(service.place, name="beta")
        provider = SimpleNamespace(
            config=ProviderConfig(name="beta", type="openstack", cloud="two"),
            image_place=lambda: beta,
        )
        service.images._providers = {"alpha": service.provider, "beta": provider}
        await service.images.one_pass()
        await service.builds._build(next(iter(service.book.builds.values())))
        await service.images.one_pass()

        assert {one.provider: one.id[-1] for one in service.book.uploads.values()} == {
            "alpha": "1",
            "beta": "2",
        }


async def test_it_waits_for_a_format_at_most_so_long(autojump_clock):
    place = ProviderPlace(name="alpha", images=frozenset({IMAGE}))
    async with a_service(place=place) as service:
        await trio.sleep(FORMATS_WAIT_S - 1.0)
        assert not service.book.builds
        await trio.sleep(2.0)
        (build,) = service.book.builds.values()
        assert build.formats == ("qcow2",)


async def test_files_go_where_the_configuration_says_so(autojump_clock):
    async with a_service(delete_after_upload=True) as service:
        await trio.sleep(HOUR)

        assert service.builds.files_deleted == [(1, ("raw",))]


async def test_a_crash_is_followed_by_another_try(autojump_clock):
    async with a_service() as service:
        broken = service.images.snapshot
        service.images.snapshot = lambda: 1 / 0
        await trio.sleep(10.0)
        service.images.snapshot = broken
        await trio.sleep(HOUR)

        assert service.ready() == [1]


async def test_nothing_wakes_it_where_nothing_is_to_do(autojump_clock):
    async with a_service() as service:
        await trio.sleep(HOUR)
        passes = 0
        one_pass = service.images.one_pass

        async def counted():
            nonlocal passes
            passes += 1
            await one_pass()

        service.images.one_pass = counted
        await trio.sleep(10 * HOUR)

        assert 500 < passes <= 601
