"""Images in simulation: a builder that takes virtual time, and a disk for what it makes.

What a kill leaves on a disk stays there: the disk outlives the incarnations of the daemon.
"""

import errno
import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

import attrs
import trio

from trellis.control.images.build_ground import BuildGround
from trellis.errors import BuildError
from trellis.model.image import Artifact
from trellis.model.names import BuildId
from trellis.plugin_host import PluginHost, built_in_plugins
from trellis.sim.clock import sleep
from trellis.spi.config import ImageConfig, Seconds, above_zero, at_least, at_most
from trellis.spi.image import BuildOrder, BuildWatch
from trellis.spi.registry import ImageBuilderRegistry

SIMULATED: Final = "simulated"
"""The type of the builder."""
_PHASES: Final = ("root", "install", "compress")
_PIECE: Final = 64 * 1024
_ROOM: Final = 1 << 40


@attrs.frozen(kw_only=True)
class SimulatedImageConfig(ImageConfig):
    """An image that a simulation builds; only `trellis simulate` knows this type.

    Images of other types are built there as if they were of this one, with its defaults.

    Attributes:
        takes: about how long a build takes; it is drawn between half and three halves of it.
        fails: share of builds that fail.
        size: of each file, in bytes.
    """

    takes: Seconds = attrs.field(default=Seconds(60), validator=above_zero)
    fails: float = attrs.field(default=0.0, validator=(at_least(0), at_most(1)))
    size: int = attrs.field(default=3 * _PIECE, validator=at_least(1))


@attrs.define(eq=False)
class SimulatedDisk:
    """The files of the daemon's host, as far as images are concerned.

    Attributes:
        files: by path, what they hold is told by this text; None is one that is being written.
        logs: by path.
    """

    files: dict[str, str | None] = attrs.field(factory=dict)
    logs: dict[str, bytes] = attrs.field(factory=dict)
    sizes: dict[str, int] = attrs.field(factory=dict)

    def source(self, path: str, size: int) -> "SimulatedSource":
        """The file of an artifact, for an upload."""
        return SimulatedSource(self, path, size)


class SimulatedSource:
    """A file of a simulated disk (`trellis.spi.image.ImageSource`)."""

    def __init__(self, disk: SimulatedDisk, path: str, size: int) -> None:
        self._disk, self._path, self.size = disk, path, size

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `ImageSource.open`."""
        await trio.lowlevel.checkpoint()
        text = self._disk.files.get(self._path)
        if text is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", self._path)
        yield _Pieces(text, self.size)


class _Pieces(AsyncIterator[bytes]):
    def __init__(self, text: str, size: int) -> None:
        self._piece = _content(text)
        self._left = size

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._left:
            raise StopAsyncIteration
        piece = self._piece[: min(self._left, _PIECE)]
        self._left -= len(piece)
        return piece


def _content(text: str) -> bytes:
    return (text.encode() * (_PIECE // len(text) + 1))[:_PIECE]


class SimulatedGround(BuildGround):
    """A simulated disk as the builds know theirs."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk

    async def real(self, folder: Path) -> Path:
        """See `BuildGround.real`."""
        await trio.lowlevel.checkpoint()
        return folder

    async def owner(self, folder: Path, deployment: str) -> str:  # noqa: ARG002
        """See `BuildGround.owner`."""
        await trio.lowlevel.checkpoint()
        return deployment

    async def free(self, folder: Path) -> int:  # noqa: ARG002
        """See `BuildGround.free`."""
        await trio.lowlevel.checkpoint()
        return _ROOM

    async def size(self, path: Path) -> int:
        """See `BuildGround.size`."""
        await trio.lowlevel.checkpoint()
        if self._disk.files.get(str(path)) is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        return self._disk.sizes[str(path)]

    async def remove_build(self, base: Path) -> list[str]:
        """See `BuildGround.remove_build`."""
        await trio.lowlevel.checkpoint()
        self._remove(path for path in self._disk.files if path.startswith(f"{base}."))
        return []

    async def remove_files(self, paths: Collection[Path]) -> list[str]:
        """See `BuildGround.remove_files`."""
        await trio.lowlevel.checkpoint()
        self._remove(map(str, paths))
        return []

    async def clear(self, order: BuildOrder) -> list[str]:
        """See `BuildGround.clear`."""
        return await self.remove_build(order.base)

    async def strangers(self, folder: Path, builds: Collection[BuildId]) -> list[str]:
        """See `BuildGround.strangers`; whatever no record claims stays, for the verdict."""
        await trio.lowlevel.checkpoint()
        bases = tuple(f"{folder / build}." for build in builds)
        return sorted(Path(path).name for path in self._disk.files if not path.startswith(bases))

    async def prune_logs(
        self, folder: Path, image: str, kept: Collection[BuildId], most: int
    ) -> list[str]:
        """See `BuildGround.prune_logs`."""
        await trio.lowlevel.checkpoint()
        mine = sorted(path for path in self._disk.logs if path.startswith(f"{folder / image}-"))
        old = [path for path in mine[: max(0, len(mine) - most)] if Path(path).stem not in kept]
        for path in old:
            del self._disk.logs[path]
        return [Path(path).name for path in old]

    async def append(self, log: Path, text: str) -> None:
        """See `BuildGround.append`."""
        await trio.lowlevel.checkpoint()
        self._disk.logs[str(log)] = self._disk.logs.get(str(log), b"") + text.encode()

    async def read(self, log: Path, position: int, most: int) -> bytes:
        """See `BuildGround.read`."""
        await trio.lowlevel.checkpoint()
        return self._disk.logs.get(str(log), b"")[position : position + most]

    async def last_lines(self, log: Path, lines: int) -> int:
        """See `BuildGround.last_lines`."""
        await trio.lowlevel.checkpoint()
        text = self._disk.logs.get(str(log), b"")
        wanted = text.splitlines(keepends=True)[-lines:] if lines else []
        return len(text) - sum(map(len, wanted))

    def _remove(self, paths: Iterable[str]) -> None:
        for path in list(paths):
            self._disk.files.pop(path, None)
            self._disk.sizes.pop(path, None)


@attrs.frozen
class SimulatedBuilder:
    """Builds on a simulated disk (`trellis.spi.image.ImageBuilder`).

    Args:
        alive: False once the incarnation of the daemon was killed: nothing is undone then.
    """

    _config: SimulatedImageConfig
    _disk: SimulatedDisk
    _chance: Random
    _alive: Callable[[], bool]

    async def build(self, order: BuildOrder, watch: BuildWatch) -> tuple[Artifact, ...]:
        """See `ImageBuilder.build`."""
        takes_s = self._config.takes * self._chance.uniform(0.5, 1.5)
        fails_in = self._chance.choice(_PHASES) if self._fails() else ""
        paths = {name: f"{order.base}.{name}" for name in order.formats}
        done = False
        try:
            self._disk.files.update(dict.fromkeys(paths.values()))
            for phase in _PHASES:
                watch.phase(phase)
                watch.line(f"{phase}: {order.build_id}")
                await sleep(takes_s / len(_PHASES))
                if phase == fails_in:
                    raise BuildError(f"phase {phase} failed, as it happens in a simulation")
            done = True
        finally:
            if not done and self._alive():
                for path in paths.values():
                    self._disk.files.pop(path, None)
        return tuple(self._made(order, name, path) for name, path in paths.items())

    async def clean(self, order: BuildOrder) -> None:
        """See `ImageBuilder.clean`."""
        await trio.lowlevel.checkpoint()
        for name in order.formats:
            self._disk.files.pop(f"{order.base}.{name}", None)

    def secrets(self) -> tuple[str, ...]:
        """See `ImageBuilder.secrets`."""
        return ()

    def _fails(self) -> bool:
        return self._chance.random() < self._config.fails

    def _made(self, order: BuildOrder, name: str, path: str) -> Artifact:
        text = f"{order.build_id} as {name}\n"
        self._disk.files[path], self._disk.sizes[path] = text, self._config.size
        piece, left = _content(text), self._config.size
        digests = [hashlib.md5(usedforsecurity=False), hashlib.sha256(), hashlib.sha512()]
        while left:
            part = piece[: min(left, _PIECE)]
            left -= len(part)
            for digest in digests:
                digest.update(part)
        md5, sha256, sha512 = (digest.hexdigest() for digest in digests)
        return Artifact(
            format=name, path=path, size=self._config.size, md5=md5, sha256=sha256, sha512=sha512
        )


def simulated_builders(
    disk: SimulatedDisk, chance: Random, alive: Callable[[], bool] = lambda: True
) -> ImageBuilderRegistry:
    """The builders of a simulation: one, whatever type an image is of."""
    registry = ImageBuilderRegistry()

    def make(config: ImageConfig) -> SimulatedBuilder:
        if not isinstance(config, SimulatedImageConfig):
            config = SimulatedImageConfig(name=config.name)
        return SimulatedBuilder(config, disk, chance, alive)

    registry.add(SIMULATED, make, SimulatedImageConfig)
    for real in _real_builders().registrations():
        registry.add(real.type, make, real.configuration_class)
    return registry


@cache
def _real_builders() -> ImageBuilderRegistry:
    """Those that come with Trellis, for what their images are configured with."""
    return PluginHost(built_in_plugins()).image_builders
