"""Builds at work: what the records of builds ask for is done here, and recorded.

A build under way belongs to this process: one that an earlier process has left is undone and has
failed. Several images are built at once, each in a slot with a cache of its own; of one image there
is one build at a time.
"""

import math
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs
import structlog
import trio

from trellis.control.images.book import ImageBook
from trellis.control.images.build_ground import CACHE, SCRATCH, BuildGround
from trellis.control.images.build_log import BuildLogs, LiveLog
from trellis.control.images.build_records import BuildRecords
from trellis.control.images.masking import Mask
from trellis.control.nudge import Nudge
from trellis.control.policy import InForce
from trellis.errors import BuildError, RefusedError
from trellis.model.image import Artifact, Build, BuildState
from trellis.model.names import BuildId
from trellis.model.provider import StoreMeta
from trellis.spi.config import ImageConfig
from trellis.spi.image import BuildOrder, ImageBuilder, SizedBuilder
from trellis.spi.registry import ImageBuilderRegistry
from trellis.store.store import Store

log = structlog.get_logger()

LOOK_AGAIN_S: Final = 60.0
TIDY_S: Final = 3600.0
PHASE_S: Final = 1.0
"""Phases are recorded no more often."""
PROGRESS_S: Final = 30.0
"""How far the log has come is recorded so often, which is an event."""
LEAST_FREE: Final = 2 * 1024**3
"""Bytes that have to be free for a build whose builder cannot tell what it needs."""
ROOM_S: Final = 30.0
"""So long a builder may take to tell."""
_UNDO_S: Final = 240.0
_MIB: Final = 1024**2

Maker = Callable[[ImageConfig], ImageBuilder | None]


def maker_of(registry: ImageBuilderRegistry) -> Maker:
    """What makes the builder of an image; None where no plugin has its type."""

    def make(config: ImageConfig) -> ImageBuilder | None:
        registration = registry.get(config.type)
        return None if registration is None else registration.factory(config)

    return make


@attrs.define(eq=False)
class _Work:
    """A build, or the deletion of one, that is under way."""

    image: str
    slot: int | None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    stopped: str = ""


class Building:
    """Builds images and deletes builds, as their records say.

    Attributes:
        logs: of all builds.
        strangers: names in the folder of images that belong to no record, as last seen.

    Args:
        store: where the records are.
        book: the records of images, indexed.
        wall: UTC seconds since the epoch.
        in_force: the policy, whose images, folders and workers count.
        maker: makes the builder of an image.
        ground: where the files are.
        least_free: bytes that have to be free before a build whose builder cannot tell more.
    """

    def __init__(
        self,
        *,
        store: Store,
        book: ImageBook,
        wall: Callable[[], float],
        in_force: InForce,
        maker: Maker,
        ground: BuildGround | None = None,
        least_free: int = LEAST_FREE,
    ) -> None:
        self._book, self._wall, self._in_force = book, wall, in_force
        self._maker, self._least_free = maker, least_free
        self._ground = BuildGround() if ground is None else ground
        self._records = BuildRecords(store, wall)
        meta = store.get(StoreMeta, "store")
        self._deployment = "" if meta is None else meta.deployment
        self.logs = BuildLogs(self._ground, book.is_building)
        self.strangers: tuple[str, ...] = ()
        self._nudge = Nudge()
        self._new: set[BuildId] = set()
        self._work: dict[BuildId, _Work] = {}
        self._again_at: dict[BuildId, float] = {}
        self._tidied_at = -math.inf
        book.on_build.append(self._changed)
        book.on_released.append(self._nudge)

    # ----------------------------------------------------------------- what others may do

    async def delete_files(self, build: Build, formats: tuple[str, ...]) -> None:
        """Delete files of a build that its record has no longer.

        What cannot be deleted goes with the build.
        """
        paths = [
            path.with_name(f"{path.name}{suffix}")
            for one in build.artifacts
            if one.format in formats and one.path
            for path in (Path(one.path),)
            for suffix in ("", ".md5", ".sha256")
        ]
        if faults := await self._ground.remove_files(paths):
            log.warning("build_files_left", build=build.id, why="; ".join(faults))

    def stop(self, build_id: BuildId, by: str, reason: str) -> None:
        """End a build that is under way, at a person's word; it has failed then.

        Its processes are ended in good order, which may take a minute.

        Raises:
            RefusedError: it is not under way.
        """
        work = self._work.get(build_id)
        # One that has ended is at work until the last of its log is written.
        if work is None or work.slot is None or not self._book.is_building(build_id):
            raise RefusedError(
                f"build {build_id} is not under way",
                remedy="See `trellis image show` for its state; a finished build can be deleted.",
            )
        work.stopped = f"stopped by {by or 'a person'}" + (f": {reason}" if reason else "")
        work.scope.cancel()

    # ------------------------------------------------------------------------- the loop

    async def run(self) -> None:
        """Do what the records ask for, until cancelled.

        Cancelled, it ends the builds that are under way in good order. Their records stay as they
        are: the next process finds them, and has them failed.

        Raises:
            StoreFailedError: nothing can be recorded any more (in a group).
        """
        async with trio.open_nursery() as nursery:
            while True:
                for build in sorted(self._book.builds.values(), key=lambda one: one.created_at):
                    self._begin(nursery, build)
                if trio.current_time() >= self._tidied_at + TIDY_S:
                    await self._tidy()
                await self._nudge.wait(at_most=LOOK_AGAIN_S)

    def _begin(self, nursery: trio.Nursery, build: Build) -> None:
        """Begin what a build needs now, if it is its turn."""
        if build.id in self._work:
            return
        if build.state is BuildState.DELETING:
            if self._book.is_read(build.id):
                return  # what reads its files tells when it has ended
            if trio.current_time() >= self._again_at.get(build.id, -math.inf):
                self._start(nursery, self._delete, build, _Work(build.image, None))
        elif build.state is BuildState.BUILDING and build.id not in self._new:
            self._start(nursery, self._undo, build, _Work(build.image, None))
        elif build.state is BuildState.BUILDING:
            taken = {work.slot for work in self._work.values()}
            slots = range(self._in_force.policy.images.workers)
            slot = next((one for one in slots if one not in taken), None)
            alone = all(work.image != build.image for work in self._work.values())
            if slot is not None and alone:
                self._new.discard(build.id)
                self._start(nursery, self._build, build, _Work(build.image, slot))

    def _start(
        self,
        nursery: trio.Nursery,
        act: "Callable[[Build, _Work], object]",
        build: Build,
        work: _Work,
    ) -> None:
        self._work[build.id] = work
        nursery.start_soon(self._do, act, build, work)

    async def _do(self, act: "Callable[[Build, _Work], object]", build: Build, work: _Work) -> None:
        try:
            await act(build, work)  # type: ignore[misc]
        finally:
            del self._work[build.id]
            self._nudge()

    def _changed(self, before: Build | None, after: Build | None) -> None:
        if after is None:
            self._tidied_at = -math.inf
        elif before is None and after.state is BuildState.BUILDING:
            self._new.add(after.id)
        self._nudge()

    # ------------------------------------------------------------------------- a build

    async def _build(self, build: Build, work: _Work) -> None:
        config = self._in_force.policy.images.configs.get(build.image)
        builder, bug = self._builder(config)
        try:
            mask = Mask(() if builder is None else builder.secrets())
        except Exception as crash:  # noqa: BLE001
            builder, bug, mask = None, _bug(crash), Mask(())
        async with self.logs.writing(build.id, Path(build.log), mask) as live:
            live.line(f"build {build.id} of {', '.join(build.formats)}: {build.why}")
            try:
                if bug is not None:
                    raise bug
                made = await self._made(build, work, config, builder, live)
            except BuildError as error:
                await self._failed(build, work, live, str(error))
            else:
                took_s = self._wall() - build.created_at
                files = ", ".join(f"{one.format} ({one.size} bytes)" for one in made)
                live.line(f"build {build.id} is ready after {took_s:.0f} s: {files}")
                log.info("build_ready", build=build.id, took_s=round(took_s, 1))
                await self._records.ready(build.id, made)
        self._tidied_at = -math.inf

    def _builder(self, config: ImageConfig | None) -> tuple[ImageBuilder | None, BuildError | None]:
        """The builder of an image; or what is wrong with it, which may be anybody's."""
        try:
            return (None if config is None else self._maker(config)), None
        except Exception as crash:  # noqa: BLE001
            return None, _bug(crash)

    async def _failed(self, build: Build, work: _Work, live: LiveLog, error: str) -> None:
        fault, last = live.mask(work.stopped or error), " ⏎ ".join(live.last)
        live.line(f"build {build.id} failed: {fault}")
        log.warning("build_failed", build=build.id, why=fault, log=build.log)
        if last and not work.stopped:
            fault = f"{fault}. Its log ends with: {last}"
        await self._records.failed(build.id, fault, counts=not work.stopped)

    async def _made(
        self,
        build: Build,
        work: _Work,
        config: ImageConfig | None,
        builder: ImageBuilder | None,
        live: LiveLog,
    ) -> tuple[Artifact, ...]:
        """Run the builder, within its time, and look at what it made.

        Raises:
            BuildError: there is nothing of use; nothing of it is left.
        """
        if config is None or builder is None:
            raise BuildError(
                f"image {build.image} is not configured, or no plugin has its type "
                f"{build.builder!r}: see `trellis plugin list`"
            )
        order = await self._order(build, work.slot or 0)
        await self._room_for(build, config, builder, order)
        try:
            return await self._run(build, work, config, builder, order, live)
        except BuildError as error:
            failed = error
        # A builder that keeps its word has left nothing.
        for left in await self._ground.clear(order):
            live.line(f"left behind: {left}")
        raise failed

    async def _run(
        self,
        build: Build,
        work: _Work,
        config: ImageConfig,
        builder: ImageBuilder,
        order: BuildOrder,
        live: LiveLog,
    ) -> tuple[Artifact, ...]:
        watch = _Watch(live)
        made: tuple[Artifact, ...] | BuildError | None = None
        with work.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._record_phases, build.id, watch)
                nursery.start_soon(self._record_progress, build.id, live)
                with trio.move_on_after(config.build_timeout):
                    made = await _outcome(builder, order, watch)
                nursery.cancel_scope.cancel()
        if work.stopped:
            raise BuildError(work.stopped)
        if made is None:
            raise BuildError(
                f"not ready after {config.build_timeout:g} s (build-timeout), and ended. See its "
                "log for what took so long"
            )
        if isinstance(made, BuildError):
            raise made
        await self._look_at(made, build)
        return made

    async def _order(self, build: Build, slot: int) -> BuildOrder:
        base = Path(build.base)
        try:
            folder = await self._ground.real(base.parent)
            owner = await self._ground.owner(folder, self._deployment)
        except OSError as error:
            raise BuildError(
                f"the folder of images {base.parent} cannot be used: {error.strerror}. Give the "
                "daemon's user the right to write there, or correct `images-dir`"
            ) from error
        if owner != self._deployment:
            raise BuildError(
                f"the folder of images {folder} is that of deployment {owner!r}: set `images-dir` "
                "to another one, as builds of both have the same names"
            )
        return BuildOrder(
            build_id=build.id,
            image=build.image,
            formats=build.formats,
            base=folder / base.name,
            scratch=folder / SCRATCH / build.id,
            cache=folder / CACHE / f"slot-{slot}",
            elements_dirs=tuple(
                Path(os.path.abspath(one)) for one in self._in_force.policy.images.elements_dirs
            ),
        )

    async def _room_for(
        self, build: Build, config: ImageConfig, builder: ImageBuilder, order: BuildOrder
    ) -> None:
        """Refuse to begin a build that would most likely fill the disk.

        Raises:
            BuildError: there is too little room.
        """
        folder = order.base.parent
        if config.build_room_mib is not None:
            needed = config.build_room_mib * _MIB
            words = f"{config.build_room_mib} MiB have to be (build-room-mib)"
        elif (told := await _room_told(builder, order)) is not None:
            needed, words = told, f"this build needs {_mib(told)} MiB"
        else:
            of_image = self._book.of_image(build.image).builds
            ready = [one for one in of_image if one.ready_at is not None]
            last = sum(one.size for one in ready[0].artifacts) if ready else 0
            needed = max(self._least_free, 3 * last)
            words = (
                f"a build may need {_mib(needed)} MiB (three times what the last one took, 2 GiB "
                "at least; `build-room-mib` says otherwise)"
            )
        try:
            free = await self._ground.free(folder)
        except OSError as error:
            raise BuildError(f"the room in {folder} cannot be seen: {error.strerror}") from error
        if free < needed:
            raise BuildError(
                f"{folder} has {_mib(free)} MiB free, and {words}. Make room there, set "
                "`images-dir` to another disk, or keep fewer builds"
            )

    async def _look_at(self, made: tuple[Artifact, ...], build: Build) -> None:
        """Believe no builder that says it has made what is not there.

        Raises:
            BuildError: something is missing.
        """
        fault = ""
        if missing := set(build.formats) - {one.format for one in made}:
            fault = f"it made no {', '.join(sorted(missing))}"
        for one in made:
            try:
                size = await self._ground.size(Path(one.path))
            except OSError as error:
                fault = f"{one.path}: {error.strerror}"
            else:
                if size != one.size:
                    fault = f"{one.path} has {size} bytes, and not {one.size}"
        if fault:
            raise BuildError(f"the builder {build.builder} has failed without a word: {fault}")

    async def _record_phases(self, build_id: BuildId, watch: "_Watch") -> None:
        while True:
            await watch.entered.wait()
            watch.entered = trio.Event()
            await self._records.phase(build_id, watch.name)
            await trio.sleep(PHASE_S)

    async def _record_progress(self, build_id: BuildId, live: LiveLog) -> None:
        while True:
            await trio.sleep(PROGRESS_S)
            await self._records.progress(build_id, live.lines, next(reversed(live.last), ""))

    # ------------------------------------------------- what an earlier process has left

    async def _undo(self, build: Build, _work: _Work) -> None:
        """End a build of an earlier process: it cannot be gone on with."""
        builder, _ = self._builder(self._in_force.policy.images.configs.get(build.image))
        try:
            mask = Mask(() if builder is None else builder.secrets())
        except Exception:  # noqa: BLE001
            # It is not asked for words then, of which nobody knows what is secret.
            builder, mask = None, Mask(())
        fault = "the daemon ended during the build"
        try:
            order = await self._order(build, 0)
            if builder is not None and (wrong := await _cleaned(builder, order)):
                fault += f"; {wrong}"
            # Whoever built it, what is known of by all builds is undone by all means.
            if left := await self._ground.clear(order):
                fault += f"; left behind: {'; '.join(left)}"
        except BuildError as error:
            fault += f"; {error}"
        fault = mask(fault)
        log.warning("build_ended_with_daemon", build=build.id, why=fault)
        async with self.logs.writing(build.id, Path(build.log), mask) as live:
            live.line(f"build {build.id} failed: {fault}")
            await self._records.failed(build.id, fault, counts=False)

    # --------------------------------------------------------------------- what goes

    async def _delete(self, build: Build, _work: _Work) -> None:
        if faults := await self._ground.remove_build(Path(build.base)):
            log.warning("build_files_left", build=build.id, why="; ".join(faults))
            self._again_at[build.id] = trio.current_time() + LOOK_AGAIN_S
            return
        self._again_at.pop(build.id, None)
        await self._records.gone(build.id)

    async def _is_anothers(self, folder: Path) -> bool:
        """Whether nothing in the folder of images is ours to delete."""
        try:
            return await self._ground.owner(folder, self._deployment) != self._deployment
        except OSError:
            return True  # as a folder that is not there yet

    async def _tidy(self) -> None:
        """Delete old logs and old files of nobody, and tell of files that stay."""
        self._tidied_at = trio.current_time()
        policy, builds = self._in_force.policy.images, set(self._book.builds)
        if await self._is_anothers(policy.folder):
            return
        # A name that was ever built stays in the book, also when it is configured no longer.
        for image in sorted({*self._book.names(), *policy.configs}):
            most = policy.logs_kept if image in policy.configs else 0
            gone = await self._ground.prune_logs(policy.logs, image, builds, most)
            if gone:
                log.info("build_logs_deleted", image=image, count=len(gone))
        strangers = tuple(await self._ground.strangers(policy.folder, builds))
        if strangers and strangers != self.strangers:
            log.warning(
                "image_files_unknown",
                folder=str(policy.folder),
                files=", ".join(strangers[:10]),
                count=len(strangers),
                remedy="delete what is not needed: no record tells of it",
            )
        self.strangers = strangers


class _Watch:
    """What a builder tells of a build.

    Attributes:
        name: of the phase it is in.
        entered: set when there is one to be recorded.
    """

    def __init__(self, live: LiveLog) -> None:
        self._live = live
        self.name = ""
        self.entered = trio.Event()

    def line(self, text: str) -> None:
        self._live.say(text)

    def phase(self, name: str) -> None:
        self.name = self._live.mask(name)[:60]
        self.entered.set()


async def _outcome(
    builder: ImageBuilder, order: BuildOrder, watch: _Watch
) -> tuple[Artifact, ...] | BuildError:
    """Build; a bug in the builder, which may be anybody's, is a build that failed."""
    try:
        return await builder.build(order, watch)
    except BuildError as error:
        return error
    except Exception as crash:  # noqa: BLE001
        # Into the build's log, where secrets are masked: its text may have any.
        for line in "".join(traceback.format_exception(crash)).splitlines():
            watch.line(line)
        return _bug(crash)


async def _room_told(builder: ImageBuilder, order: BuildOrder) -> int | None:
    """What a builder says that it needs; None where it cannot tell, or not in time.

    Raises:
        BuildError: it sees that it will fail, or has a bug.
    """
    if not isinstance(builder, SizedBuilder):
        return None
    told: int | None = None
    with trio.move_on_after(ROOM_S):
        try:
            told = await builder.room(order)
        except BuildError:
            raise
        except Exception as crash:
            raise _bug(crash) from crash
    return told


async def _cleaned(builder: ImageBuilder, order: BuildOrder) -> BuildError | None:
    """Have a builder undo what it has left; say what is wrong with that."""
    try:
        await builder.clean(order)
    except BuildError as error:
        return error
    except Exception as crash:  # noqa: BLE001
        return _bug(crash)
    return None


def _bug(crash: Exception) -> BuildError:
    return BuildError(
        f"the builder has a bug: {type(crash).__name__}: {crash}. Tell those who made its plugin"
    )


def _mib(size: int) -> int:
    return size // _MIB
