"""How builds are recorded: each step with what it means for the image."""

from collections.abc import Callable
from typing import Final

import attrs

from trellis.model.image import Artifact, Build, BuildState, ImageRecord
from trellis.model.names import BuildId
from trellis.model.records import Change
from trellis.store.store import Store

FIRST_WAIT_S: Final = 60.0
LONGEST_WAIT_S: Final = 6 * 3600.0
"""Until the next build after one that failed: a minute, doubled with each failure."""


def back_off_s(failures: int) -> float:
    """How long the next build waits after so many that failed one after the other."""
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures - 1, 30))


@attrs.frozen
class BuildRecords:
    """Writes the steps of builds. Each reads and stages with no await between.

    Every method raises StoreFailedError if it cannot be made durable. A build that is no longer
    where its step begins is left alone: somebody else has taken it further.
    """

    store: Store
    wall: Callable[[], float]

    async def phase(self, build_id: BuildId, phase: str) -> None:
        """The build is in another phase."""
        build = self._in(build_id, BuildState.BUILDING)
        if build is not None and build.phase != phase:
            await self.store.commit([Change(build, attrs.evolve(build, phase=phase))])

    async def progress(self, build_id: BuildId, lines: int, last: str) -> None:
        """The build's log has grown.

        Args:
            lines: how many it has.
            last: the last of them, without what is secret.
        """
        build = self._in(build_id, BuildState.BUILDING)
        if build is not None and build.log_lines != lines:
            after = attrs.evolve(build, log_lines=lines, log_last=last)
            await self.store.commit([Change(build, after)])

    async def ready(self, build_id: BuildId, artifacts: tuple[Artifact, ...]) -> None:
        """The build has made its files; the image builds well."""
        build, now = self._in(build_id, BuildState.BUILDING), self.wall()
        if build is None:
            return
        after = build.became(BuildState.READY, now, artifacts=artifacts, ready_at=now, phase="")
        changes = [Change(build, after)]
        image = self.store.head(ImageRecord, build.image)
        if image is not None and (image.failures or image.fault):
            well = attrs.evolve(image, failures=0, not_before=0.0, fault="")
            changes.append(Change(image, well))
        await self.store.commit(changes)

    async def failed(self, build_id: BuildId, fault: str, *, counts: bool) -> None:
        """The build has failed, and nothing of it is left but its log.

        Args:
            build_id: the build.
            fault: why.
            counts: whether the next one waits for it; not if it was no fault of the recipe.
        """
        build, now = self._in(build_id, BuildState.BUILDING), self.wall()
        if build is None:
            return
        changes = [Change(build, build.became(BuildState.FAILED, now, fault=fault, phase=""))]
        if counts:
            image = self.store.head(ImageRecord, build.image)
            record = ImageRecord(name=build.image) if image is None else image
            failures = record.failures + 1
            after = attrs.evolve(
                record, failures=failures, not_before=now + back_off_s(failures), fault=fault
            )
            changes.append(Change(image, after))
        await self.store.commit(changes)

    async def gone(self, build_id: BuildId) -> None:
        """The files of the build are deleted."""
        build = self._in(build_id, BuildState.DELETING)
        if build is not None:
            after = build.became(BuildState.GONE, self.wall(), artifacts=no_files(build))
            await self.store.commit([Change(build, after, archive=True)])

    def _in(self, build_id: BuildId, state: BuildState) -> Build | None:
        build = self.store.head(Build, build_id)
        return build if build is not None and build.state is state else None


def no_files(build: Build, formats: tuple[str, ...] | None = None) -> tuple[Artifact, ...]:
    """The files of a build once those of some formats, or all, are deleted here."""
    return tuple(
        attrs.evolve(one, path="") if formats is None or one.format in formats else one
        for one in build.artifacts
    )
