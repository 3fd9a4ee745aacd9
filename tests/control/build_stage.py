"""Builds at work on records of their own: shell scripts, or builders that are played."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import attrs
import trio

from tests.builders.workshop import MAKE_FILES, TAKE_ARGUMENTS, a_script
from trellis.builders.diskimage_builder import DiskImageBuilder, DiskImageConfig
from trellis.control.images.book import ImageBook
from trellis.control.images.building import Building
from trellis.control.policy import ImagePolicy, InForce
from trellis.model.image import Build, BuildState, ImageRecord, build_id
from trellis.model.records import Change
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Store
from trellis.testing.builders import NOW

GOOD = TAKE_ARGUMENTS + MAKE_FILES


def wall() -> float:
    return NOW + trio.current_time()


@attrs.frozen(kw_only=True)
class _Images:
    images: ImagePolicy


class BuildStage:
    """A folder, a store and `Building` on both.

    Attributes:
        built: order and watch of each build of a builder that is played.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.images = folder / "images"
        self.images.mkdir(exist_ok=True)
        self.book = ImageBook()
        for kind in (ImageRecord, Build):
            self.book.load(store.all(kind).values())
        store.subscribe(lambda batch: self.book.apply(batch.changes))
        self.in_force = InForce(
            _Images(images=ImagePolicy(folder=self.images, logs=self.images, logs_kept=3))
        )
        self.makers = {}
        self.building = Building(
            store=store,
            book=self.book,
            wall=wall,
            in_force=self.in_force,
            maker=self._make,
            least_free=0,
        )

    def _make(self, config):
        return self.makers.get(config.name, DiskImageBuilder)(config)

    def policy(self, **changes) -> None:
        """Have other parts of the policy be in force."""
        images = attrs.evolve(self.in_force.policy.images, **changes)
        self.in_force.policy = _Images(images=images)

    def image(self, name: str, script: str = GOOD, maker=DiskImageBuilder, **keys) -> None:
        """Configure an image that is built by a script."""
        command = a_script(self.folder, script, f"build-{name}")
        config = DiskImageConfig(name=name, **{"build_command": command, **keys})
        self.makers[name] = maker
        self.policy(configs={**self.in_force.policy.images.configs, name: config})

    async def order(self, name: str, *formats: str) -> Build:
        """Record that a build of it is to be done."""
        before = self.store.head(ImageRecord, name)
        record = before or ImageRecord(name=name)
        new_id = build_id(name, record.next_build)
        build = Build(
            id=new_id,
            image=name,
            number=record.next_build,
            state=BuildState.BUILDING,
            state_at=wall(),
            created_at=wall(),
            builder="diskimage-builder",
            formats=formats or ("qcow2",),
            recipe="r",
            why="it was asked for",
            base=str(self.images / new_id),
            log=str(self.images / f"{new_id}.log"),
        )
        after = attrs.evolve(record, next_build=record.next_build + 1)
        await self.store.commit([Change(before, after), Change(None, build)])
        return build

    async def until(self, build: Build, *states: BuildState) -> Build:
        """Wait until a build is in one of these states."""
        with trio.fail_after(60):
            while True:
                now = self.store.get(Build, build.id)
                if now is None or now.state in states:
                    return now
                await trio.sleep(0.01)

    async def built(self, name: str, *formats: str) -> Build:
        """Have a build done, to its end."""
        build = await self.order(name, *formats)
        return await self.until(build, BuildState.READY, BuildState.FAILED)

    def log_of(self, build: Build) -> list[str]:
        return Path(build.log).read_text().splitlines()

    def files(self) -> list[str]:
        """What is in the folder of images but for logs and caches."""
        names = (path.name for path in self.images.iterdir())
        return sorted(name for name in names if not name.endswith(".log") and name[0] != ".")


@asynccontextmanager
async def a_stage(folder: Path, log: SimulatedLog | None = None) -> AsyncIterator[BuildStage]:
    """A stage whose builds are at work as long as the block lasts."""
    log = log or SimulatedLog(Random(1))
    async with Store.open(log, deployment="test", wall=wall) as store:
        stage = BuildStage(folder, store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.building.run)
            yield stage
            nursery.cancel_scope.cancel()


async def eventually(holds):
    with trio.fail_after(30):  # noqa: ASYNC912 - what is so already needs no wait
        while not holds():  # noqa: ASYNC110 - files and processes tell nobody
            await trio.sleep(0.01)


async def events_of(stage, subject):
    return [event.type for event in await stage.store.events_about(subject, 100)]
