"""Images that were built elsewhere: fetched, checked, unpacked, and converted."""

import errno
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal
from urllib.parse import unquote, urlsplit

import attrs
import trio

from trellis.builders.checksums import PIECE, artifact_of
from trellis.builders.conversion import Conversion
from trellis.builders.qcow2 import refuse_foreign
from trellis.builders.secrets import credentials_in
from trellis.builders.tools import system_path
from trellis.builders.unpacking import packing_of, unpack
from trellis.builders.workplace import discard, workplace
from trellis.errors import BuildError
from trellis.http.download import DownloadError, checked, download, shown, size_of
from trellis.http.transport import TransportFactory, lane_transports
from trellis.model.image import Artifact
from trellis.spi.config import NOT_OF_THE_NODE, ImageConfig
from trellis.spi.image import BuildOrder, BuildWatch

FORMATS: Final = ("qcow2", "raw", "vhd")
_SUFFIXES: Final = {"qcow2": "qcow2", "img": "raw", "raw": "raw", "vhd": "vhd"}
_BESIDE: Final = 16 * 1024**2
"""Bytes that are needed beside the files: manifests, logs, what a file system takes for itself."""
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}\Z")


def _sha256(_config: object, _field: object, value: str) -> None:
    if value and not _SHA256.match(value):
        raise ValueError("must be 64 hexadecimal digits, as `sha256sum` prints them")


def _url(_config: object, _field: object, value: str) -> None:
    if value and not value.startswith("file:"):
        try:
            checked(value)
        except DownloadError as error:
            raise ValueError(str(error)) from error


@attrs.frozen(kw_only=True)
class ArtifactConfig(ImageConfig):
    """An image that was built elsewhere, as by a pipeline of CI.

    Attributes:
        url: where the file is: ``https:``, ``file:``, or ``http:`` on loopback. Credentials in it
            are sent to that server, and are never shown.
        sha256: of the file as it is fetched, packed if it is.
        source_format: of the file, unpacked: ``qcow2``, ``raw`` or ``vhd``; by its name if left
            out, where ``.img`` is raw.
    """

    url: str = attrs.field(default="", validator=_url, repr=False, metadata=NOT_OF_THE_NODE)
    sha256: str = attrs.field(default="", validator=_sha256, metadata=NOT_OF_THE_NODE)
    source_format: Literal["qcow2", "raw", "vhd"] | None = attrs.field(
        default=None, metadata=NOT_OF_THE_NODE
    )

    def __attrs_post_init__(self) -> None:
        """Refuse what can never be fetched; what a parent may give is looked at when it is built.

        Raises:
            ValueError: something is missing.
        """
        if not self.abstract and self.parent is None:
            self.complete()

    def complete(self) -> None:
        """Refuse it if something that takes a value has none.

        Raises:
            ValueError: it lacks its URL or its checksum.
        """
        for key, value in (("url", self.url), ("sha256", self.sha256)):
            if not value:
                raise ValueError(f"an image of type artifact needs the key {key!r}")


class ArtifactBuilder:
    """Fetches one image; see `trellis.spi.image.ImageBuilder`.

    Args:
        config: the image.
        transport: makes what carries the download; real connections if left out.
        environment: of the programs that unpack and convert; the daemon's if left out.
    """

    def __init__(
        self,
        config: ArtifactConfig,
        transport: TransportFactory | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._config = config
        self._transport = transport
        given = dict(os.environ if environment is None else environment)
        self._environment = {**given, "PATH": system_path(given.get("PATH", ""))}

    async def build(self, order: BuildOrder, watch: BuildWatch) -> tuple[Artifact, ...]:
        """See `ImageBuilder.build`."""
        try:
            self._config.complete()
        except ValueError as error:
            raise BuildError(f"image {order.image}: {error}") from error
        source_format = self._source_format(order)
        conversion = Conversion(
            environment=self._environment, scratch=order.scratch, qcow2_options="", line=watch.line
        )
        if set(order.formats) - {source_format}:
            conversion.find(f"to make {', '.join(order.formats)} of {source_format}")
        async with workplace(order, watch) as temporary:
            fetched = temporary / "fetched"
            watch.phase("fetching")
            await self._fetch(fetched, watch)
            packing = await trio.to_thread.run_sync(packing_of, fetched)
            source = fetched
            if packing is not None:
                watch.phase(f"unpacking {packing}")
                source = temporary / "unpacked"
                await unpack(fetched, packing, source, self._environment, order.scratch, watch.line)
                await trio.to_thread.run_sync(fetched.unlink)
            await trio.to_thread.run_sync(refuse_foreign, source, source_format)
            return await self._finish(order, source, source_format, conversion, watch)

    async def room(self, order: BuildOrder) -> int | None:
        """See `SizedBuilder.room`: told of a file that is neither packed nor grows when converted.

        How large a file is that is to be fetched, its server is asked.
        """
        try:
            source_format = self._source_format(order)
        except BuildError:
            return None  # the build says so, with all that it says besides
        others = set(order.formats) - {source_format}
        if others and source_format != "raw":
            return None  # what is in it is larger than the file, nobody knows by how much
        size = await self._size()
        # A file of blocks that are all in use is a little larger than what is in them.
        return None if size is None else size + len(others) * (size + size // 32) + _BESIDE

    async def _size(self) -> int | None:
        """The size of the file; None if it is packed, or cannot be told."""
        url = self._config.url
        if url.startswith("file:"):
            return await trio.to_thread.run_sync(_plain_size, _local(url))
        if urlsplit(url).path.rpartition(".")[2].lower() not in _SUFFIXES:
            return None  # it may be packed
        try:
            return await size_of(url, self._transport or lane_transports())
        except DownloadError:
            return None  # fetching it says why, if it cannot be fetched

    async def clean(self, order: BuildOrder) -> None:
        """See `ImageBuilder.clean`."""
        await discard(order)

    def secrets(self) -> tuple[str, ...]:
        """See `ImageBuilder.secrets`."""
        query = urlsplit(self._config.url).query
        found = (*credentials_in(self._config.url), query)
        return tuple(text for text in found if len(text) >= 4)

    # ------------------------------------------------------------------------ its steps

    def _source_format(self, order: BuildOrder) -> str:
        if unknown := [format for format in order.formats if format not in FORMATS]:
            raise BuildError(
                f"image {order.image}: {', '.join(unknown)} cannot be made of a file that is "
                f"fetched: formats are {', '.join(FORMATS)}"
            )
        if self._config.source_format is not None:
            return self._config.source_format
        name = urlsplit(self._config.url).path.rpartition("/")[2].lower()
        for suffix in reversed(name.split(".")[1:]):
            if suffix in _SUFFIXES:
                return _SUFFIXES[suffix]
        raise BuildError(
            f"image {order.image}: its format cannot be told by the name {name!r}: give "
            "`source-format`"
        )

    async def _fetch(self, target: Path, watch: BuildWatch) -> None:
        config = self._config
        where = shown(config.url)
        watch.line(f"fetching {where}")
        taken = hashlib.sha256()
        try:
            with target.open("wb", buffering=0) as file:
                held = _Held(file, taken)
                if config.url.startswith("file:"):
                    size = await trio.to_thread.run_sync(_copy, _local(config.url), held)
                else:
                    transport = self._transport or lane_transports()
                    size = await download(config.url, transport, held.take)
                    await held.flush()
        except DownloadError as error:
            raise BuildError(
                f"the image cannot be fetched: {error}. See whether the file is there and may be "
                "read, then correct `url`"
            ) from error
        except OSError as error:
            full = error.errno == errno.ENOSPC
            raise BuildError(
                f"{error.filename or target}: {error.strerror}. "
                + ("Make room where `images-dir` is" if full else "Correct `url`, or its rights")
            ) from error
        watch.line(f"{size} bytes, sha256 {taken.hexdigest()}")
        if taken.hexdigest() != config.sha256.lower():
            raise BuildError(
                f"{where} is not what was meant: its sha256 is {taken.hexdigest()}, and the "
                f"configuration says {config.sha256.lower()}. If the file was meant to change, "
                "correct `sha256`; else do not use it"
            )

    async def _finish(
        self,
        order: BuildOrder,
        source: Path,
        source_format: str,
        conversion: Conversion,
        watch: BuildWatch,
    ) -> tuple[Artifact, ...]:
        made: dict[str, Path] = {
            format: order.base.with_name(f"{order.base.name}.{format}") for format in order.formats
        }
        for format, target in made.items():
            if format != source_format:
                watch.phase(f"converting to {format}")
                await conversion.convert(source, source_format, target, format)
        if source_format in made:
            # Last: the others are made of it.
            await trio.to_thread.run_sync(os.replace, source, made[source_format])
        watch.phase("checksums")
        return tuple([await artifact_of(path, format) for format, path in made.items()])


class _Held:
    """Collects what comes and writes it, with its checksum, a MiB at a time beside the loop."""

    def __init__(self, file: BinaryIO, taken: Any) -> None:
        self._file, self._sum = file, taken
        self._pieces: list[bytes] = []
        self._size = 0

    async def take(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= PIECE:
            await self.flush()

    async def flush(self) -> None:
        whole, self._pieces, self._size = b"".join(self._pieces), [], 0
        await trio.to_thread.run_sync(self.write, whole)

    def write(self, piece: bytes) -> None:
        self._sum.update(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[self._file.write(rest) :]


def _copy(source: Path, held: _Held) -> int:
    size = 0
    with source.open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            trio.from_thread.check_cancelled()
            held.write(piece)
            size += len(piece)
    return size


def _plain_size(path: Path) -> int | None:
    try:
        return None if packing_of(path) is not None else path.stat().st_size
    except OSError:
        return None  # fetching it says why


def _local(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))
