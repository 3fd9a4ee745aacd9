"""The loop over images: nudge, snapshot, pure plan, commit. Builders and providers act on it."""

import math
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

import attrs
import structlog
import trio

from trellis.control.images.book import ImageBook
from trellis.control.images.build_records import no_files
from trellis.control.images.in_use import InUse
from trellis.control.lineage import mark_of
from trellis.control.nudge import Nudge
from trellis.control.policy import InForce
from trellis.control.supervise import supervise
from trellis.errors import ConflictError
from trellis.images.decisions import (
    DeleteBuild,
    DeleteFiles,
    DeleteUpload,
    ForgetBuild,
    ImageDecision,
    ImagesPlan,
    StartBuild,
    StartUpload,
)
from trellis.images.plan import plan
from trellis.images.snapshot import ImagesSnapshot, ImageView, ProviderPlace
from trellis.model.image import (
    Build,
    BuildState,
    ImageRecord,
    Upload,
    UploadState,
    build_id,
    upload_id,
)
from trellis.model.records import Change
from trellis.spi.config import ProviderConfig
from trellis.store.staging import Pending
from trellis.store.store import Store
from trellis.world import World

log = structlog.get_logger()

RESYNC_S: Final = 60.0
"""So long at most until everything is looked at again, whatever nudges were lost."""
FORMATS_WAIT_S: Final = 180.0
"""So long builds wait, after the start, for providers that have not told the format they take."""


class AtWork(Protocol):
    """What is needed of a provider at work."""

    config: ProviderConfig

    def image_place(self) -> ProviderPlace:
        """What of images matters there."""
        ...


class Builds(Protocol):
    """What acts on the records of builds."""

    async def run(self) -> None:
        """Build what is to be built, delete what is to be deleted, until cancelled."""
        ...

    async def delete_files(self, build: Build, formats: tuple[str, ...]) -> None:
        """Delete files of a build, of some formats, that its record has no longer."""
        ...


class Images:
    """Decides what is built, uploaded and deleted, and commits it, one pass after the other.

    Attributes:
        nudge: asks for a pass soon.
        waiting: what the last pass found to be waited for.

    Args:
        providers: those at work, by name.
        builds: acts on the records of builds; without it nothing is built.
    """

    def __init__(
        self,
        *,
        store: Store,
        book: ImageBook,
        in_use: InUse,
        world: World,
        in_force: InForce,
        providers: Mapping[str, AtWork],
        nudge: Nudge,
        builds: Builds | None = None,
    ) -> None:
        self._store, self._book, self._in_use = store, book, in_use
        self._world, self._in_force = world, in_force
        self._providers, self._builds, self.nudge = providers, builds, nudge
        self.waiting = ImagesPlan(
            decisions=(), builds_wait={}, uploads_wait={}, look_again_at=math.inf
        )
        self._began = math.nan
        for told in (book.on_image, book.on_build, book.on_upload):
            told.append(self._changed)
        book.on_released.append(nudge)

    # ------------------------------------------------------------------------- the loop

    async def run(self, *others: Callable[[], Awaitable[None]]) -> None:
        """Decide and have it done until cancelled; a crash of one leaves the others at work.

        Args:
            others: what else is about images and runs as long, each started again by itself.

        Raises:
            StoreFailedError: nothing can be recorded any more (in a group).
        """
        self._began = trio.current_time()
        tasks = [self._decide, *others]
        if self._builds is not None:
            tasks.append(self._builds.run)
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(self._supervised, task)

    async def _supervised(self, run: Callable[[], Awaitable[None]]) -> None:
        name = getattr(run, "__qualname__", "images")
        await supervise(name, run, on_crash=lambda _name, _crash: None)

    async def _decide(self) -> None:
        while True:
            await self.one_pass()
            await self.nudge.wait(at_most=self._quiet_s())

    def _quiet_s(self) -> float:
        """Until something is due by itself."""
        wait_s = min(RESYNC_S, self.waiting.look_again_at - self._world.wall())
        if not self._hurried():
            wait_s = min(wait_s, self._began + FORMATS_WAIT_S - trio.current_time())
        # What is due is due a moment later too, where two clocks differ by a rounding.
        return max(0.1, wait_s)

    def _changed(self, _before: object, _after: object) -> None:
        self.nudge()

    # ------------------------------------------------------------------------ one pass

    async def one_pass(self) -> None:
        """Look at everything once, and commit what is decided."""
        found = plan(self.snapshot())
        if any(_deletes(decision) for decision in found.decisions):
            # What was staged before is seen now: a launch may have been on its way to the log,
            # from the very image that is to go. None begins meanwhile, as it is not chosen.
            first = {_subject(decision) for decision in found.decisions}
            await self._store.settled()
            found = plan(self.snapshot())
            found = attrs.evolve(
                found,
                decisions=tuple(x for x in found.decisions if _subject(x) in first),
            )
        self.waiting = found
        await self._act(found)

    def snapshot(self) -> ImagesSnapshot:
        """The images as they are now."""
        policy, book = self._in_force.policy.images, self._book
        names = dict.fromkeys((*policy.configs, *book.names()))
        building = sum(one.state is BuildState.BUILDING for one in book.builds.values())
        return ImagesSnapshot(
            now=self._world.wall(),
            images={name: self._view(name) for name in names},
            providers={name: running.image_place() for name, running in self._providers.items()},
            in_use=self._in_use.uploads(),
            read=book.read(),
            slots_left=policy.workers - building if self._builds is not None else 0,
            hurried=self._hurried(),
            logs_kept=policy.logs_kept,
        )

    def _view(self, name: str) -> ImageView:
        policy, there = self._in_force.policy.images, self._book.of_image(name)
        return ImageView(
            name=name,
            config=policy.configs.get(name),
            recipe=policy.recipes.get(name, ""),
            record=there.record,
            builds=there.builds,
            uploads=there.uploads,
        )

    def _hurried(self) -> bool:
        return not trio.current_time() < self._began + FORMATS_WAIT_S

    # -------------------------------------------------------------------------- the acts

    async def _act(self, found: ImagesPlan) -> None:
        """Commit each decision as a batch of its own, all in one wait for durability.

        A decision overtaken by somebody else's write is dropped: the next pass sees the world
        as it is then.
        """
        staged, files = list[Pending | None](), list[DeleteFiles]()
        records = dict(self._book.images)
        overtaken = False
        for decision in found.decisions:
            if isinstance(decision, DeleteFiles) and self._builds is None:
                continue
            try:
                staged.append(self._store.stage(self._changes(decision, records)))
            except ConflictError as conflict:
                log.debug("decision_overtaken", decision=type(decision).__name__, by=str(conflict))
                overtaken = True
            else:
                _tell(decision)
                files += [decision] if isinstance(decision, DeleteFiles) else []
        for commit in staged:
            if commit is not None:
                await commit.durable()
        for deleted in files:
            if self._builds is not None:
                await self._builds.delete_files(deleted.build, deleted.formats)
        if overtaken:
            # Without this the next pass would see the same world and decide the same.
            await self._store.settled()
            self.nudge()

    def _changes(self, decision: ImageDecision, records: dict[str, ImageRecord]) -> list[Change]:
        """What a decision comes to; *records* are the newest of the images, as far as staged.

        The record of the image is part of each batch, also where nothing of it changes: whoever
        pins or rolls back at this moment must not find that deleted which he goes back to.
        """
        now = self._world.wall()
        match decision:
            case StartBuild():
                return self._start_build(decision, records, now)
            case StartUpload():
                return self._start_upload(decision, records, now)
            case DeleteUpload(upload=upload):
                gone = upload.became(UploadState.DELETING, now)
                return [Change(upload, gone, why=decision.reason), *_as_is(records, upload.image)]
            case DeleteBuild(build=build):
                after = build.became(BuildState.DELETING, now)
                return [Change(build, after, why=decision.reason), *_as_is(records, build.image)]
            case ForgetBuild(build=build):
                after = build.became(BuildState.GONE, now)
                return [Change(build, after, why=decision.reason, archive=True)]
            case DeleteFiles(build=build):
                # Before they are deleted: who pins the build from now on knows it has none.
                after = attrs.evolve(build, artifacts=no_files(build, decision.formats))
                return [Change(build, after), *_as_is(records, build.image)]

    def _start_build(
        self, decision: StartBuild, records: dict[str, ImageRecord], now: float
    ) -> list[Change]:
        policy, name = self._in_force.policy.images, decision.image
        config, before = policy.configs[name], records.get(name)
        record = ImageRecord(name=name) if before is None else before
        new_id = build_id(name, record.next_build)
        build = Build(
            id=new_id,
            image=name,
            number=record.next_build,
            state=BuildState.BUILDING,
            state_at=now,
            created_at=now,
            builder=config.type,
            formats=decision.formats,
            recipe=policy.recipes[name],
            why=decision.reason,
            by=decision.by,
            login=config.login,
            properties=config.metadata,
            base=str(_absolute(policy.folder) / new_id),
            log=str(_absolute(policy.logs) / f"{new_id}.log"),
        )
        after = attrs.evolve(record, next_build=record.next_build + 1, wanted="", wanted_by="")
        records[name] = after
        return [Change(before, after), Change(None, build, why=decision.reason)]

    def _start_upload(
        self, decision: StartUpload, records: dict[str, ImageRecord], now: float
    ) -> list[Change]:
        build, provider = decision.build, self._providers[decision.provider].config
        config, before = self._in_force.policy.images.configs[build.image], records[build.image]
        upload = Upload(
            id=upload_id(build.id, before.next_upload),
            build_id=build.id,
            image=build.image,
            provider=provider.name,
            cloud=provider.cloud,
            region=provider.region_name or "",
            artifact=decision.artifact,
            name=build.id,
            state=UploadState.UPLOADING,
            state_at=now,
            created_at=now,
            why=decision.reason,
            login=build.login,
            properties=config.metadata,
            origin=mark_of(self._store),
        )
        after = attrs.evolve(before, next_upload=before.next_upload + 1)
        records[build.image] = after
        # The build is part of the batch: what is being deleted meanwhile is uploaded nowhere.
        return [
            Change(before, after),
            Change(build, build),
            Change(None, upload, why=decision.reason),
        ]


def _deletes(decision: ImageDecision) -> bool:
    return isinstance(decision, DeleteUpload | DeleteBuild | DeleteFiles)


def _subject(decision: ImageDecision) -> tuple[str, str, str]:
    kind = type(decision).__name__
    match decision:
        case StartBuild(image=image):
            return kind, image, ""
        case StartUpload(build=build, provider=provider):
            return kind, build.id, provider
        case DeleteUpload(upload=upload):
            return kind, upload.id, ""
        case DeleteBuild(build=build) | ForgetBuild(build=build) | DeleteFiles(build=build):
            return kind, build.id, ""


def _as_is(records: Mapping[str, ImageRecord], image: str) -> list[Change]:
    record = records.get(image)
    return [] if record is None else [Change(record, record)]


def _absolute(path: Path) -> Path:
    # No file is asked: where the daemon was started from is all that a relative path lacks.
    return Path.cwd() / path


def _tell(decision: ImageDecision) -> None:
    kind, subject, provider = _subject(decision)
    more = {"provider": provider} if provider else {}
    log.info("image_decision", decision=kind, subject=subject, why=decision.reason, **more)
