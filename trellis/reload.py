"""Taking up a changed configuration while the daemon runs (design §5b, rule 6).

On SIGHUP, and when one of the files changes: the configuration itself, clouds.yaml, secure.yaml
and the files of TLS that they name. A file that cannot be used leaves everything as it is.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog

from trellis.accounts import ReadCloud
from trellis.config import Configuration, changed_providers, load
from trellis.control.core import Core
from trellis.control.nudge import Nudge
from trellis.errors import ConfigError
from trellis.openstack.clouds import read_clouds
from trellis.spi.registry import DemandSourceRegistry, ImageBuilderRegistry, ProviderRegistry

log = structlog.get_logger()

LOOK_EVERY_S: Final = 1.0
BOUND_AT_START: Final = ("store", "web", "history_age", "disabled_plugins")

Stamp = dict[Path, tuple[int, int, int] | None]


class Reloading:
    """Watches the files and has the core work by what they say.

    Args:
        path: the configuration file.
        registry: the types of provider there are.
        configuration: the one at work now.
        core: what is to work by another one.
        read_cloud: gives the files of a cloud's TLS settings.
        sources: gives the paths that decide what clouds.yaml and secure.yaml are.
        builders: the types of image builder there are.
        demand_sources: the types of demand source there are.
    """

    def __init__(
        self,
        path: Path,
        registry: ProviderRegistry,
        configuration: Configuration,
        core: Core,
        read_cloud: ReadCloud,
        sources: Callable[[], Iterable[Path]] = lambda: read_clouds().sources(),
        builders: ImageBuilderRegistry | None = None,
        demand_sources: DemandSourceRegistry | None = None,
    ) -> None:
        self._builders, self._demand_sources = builders, demand_sources
        self._path, self._registry, self._core = path, registry, core
        self._read_cloud, self._sources = read_cloud, sources
        self._configuration = configuration
        self._asked = False
        self._wake = Nudge()
        self._files: tuple[Path, ...] = (path,)
        self._look_for_files()

    def ask(self) -> None:
        """Read everything anew soon, whether it has changed or not."""
        self._asked = True
        self._wake()

    async def run(self) -> None:
        """Look after the files until cancelled."""
        before = self._stamp()
        while True:
            await self._wake.wait(at_most=LOOK_EVERY_S)
            now = self._stamp()
            if now == before and not self._asked:
                continue
            # Who writes a file in several steps is not disturbed in between.
            while not self._asked and now != (now := await self._stamp_later()):
                pass
            changed = {file for file in now if now[file] != before[file]}
            asked, self._asked = self._asked, False
            if asked or self._path in changed:
                await self._take_up()
            if asked or changed - {self._path}:
                log.info("clouds_reread")
                await self._core.reread()
            self._look_for_files()
            # What has changed since it was read is taken up in the next round.
            before = self._stamp() | {file: now[file] for file in self._files if file in now}

    async def _stamp_later(self) -> Stamp:
        await self._wake.wait(at_most=LOOK_EVERY_S)
        return self._stamp()

    async def _take_up(self) -> None:
        try:
            loaded = load(self._path, self._registry, self._builders, self._demand_sources)
            if loaded.configuration.deployment != self._configuration.deployment:
                raise ConfigError(
                    [
                        f"{self._path}: deployment: it is {self._configuration.deployment!r} in "
                        f"the store and cannot become {loaded.configuration.deployment!r}: "
                        "another deployment needs a store of its own"
                    ]
                )
        except ConfigError as error:
            log.error(
                "configuration_not_taken_up",
                faults=error.faults,
                remedy="correct the file; until then everything goes on as it was configured",
            )
            self._core.operator.notices["configuration"] = (
                f"{self._path} has changed and was not taken up, {len(error.faults)} "
                f"fault{'s'[: len(error.faults) != 1]}: {error.faults[0]}"
            )
            return
        self._core.operator.notices.pop("configuration", None)
        before, now = self._configuration, loaded.configuration
        for warning in loaded.warnings:
            log.warning("configuration", warning=warning)
        for name in BOUND_AT_START:
            if getattr(before, name) != getattr(now, name):
                log.warning(
                    "configuration",
                    warning=f"{name.replace('_', '-')} has changed: that needs a restart",
                )
        changes = changed_providers(before, now)
        self._configuration = now
        await self._core.take_up(now)
        log.info(
            "configuration_taken_up",
            added=changes.added,
            removed=changes.removed,
            changed=changes.changed,
        )

    # -------------------------------------------------------------------------- the files

    def _look_for_files(self) -> None:
        """Note all files that matter, as far as they can be known now."""
        files: dict[Path, None] = {self._path: None}
        try:
            files.update(dict.fromkeys(self._sources()))
            for provider in self._configuration.providers:
                profile = self._registry.profile_name(provider.type)
                cloud = self._read_cloud(provider.cloud, provider.region_name, profile=profile)
                files.update(dict.fromkeys(cloud.files))
        except ConfigError:
            # Whoever needs them says what is wrong; here those known before count on.
            files.update(dict.fromkeys(self._files))
        self._files = tuple(files)

    def _stamp(self) -> Stamp:
        return {file: _stamp(file) for file in self._files}


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)
