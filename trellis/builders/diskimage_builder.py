"""Images made by diskimage-builder, or by any command that takes its command line."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from trellis.builders.checksums import artifact_of
from trellis.builders.conversion import Conversion
from trellis.builders.dib_log import DibLog
from trellis.builders.process import Command, find_program, run
from trellis.builders.secrets import LEAST, secrets_of
from trellis.builders.tools import system_path
from trellis.builders.workplace import discard, remove, workplace
from trellis.errors import BuildError
from trellis.model.image import Artifact
from trellis.spi.config import APPENDED, MERGED, NOT_OF_THE_NODE, ImageConfig, not_empty
from trellis.spi.image import BuildOrder, BuildWatch

FORMATS: Final = ("qcow2", "raw", "vhd")
OURS: Final = ("DIB_IMAGE_CACHE", "TMP_DIR", "TMPDIR")
"""Variables that the site does not set: two builds that share a folder fail."""
_NOT_THEIRS: Final = ("TRELLIS_", "OS_")
"""Beginnings of the names of the daemon's own variables: they may hold its credentials."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def _variables(_config: object, _field: "attrs.Attribute[Any]", value: Mapping[str, str]) -> None:
    for name, text in value.items():
        if not _VARIABLE.match(name):
            raise ValueError(f"{name!r} is no name of an environment variable")
        if "\0" in text:
            raise ValueError(f"the value of {name} has a NUL character")


def _secrets(config: object, field: "attrs.Attribute[Any]", value: Mapping[str, str]) -> None:
    _variables(config, field, value)
    for name, text in value.items():
        if len(text) < LEAST:
            raise ValueError(
                f"the value of {name} has less than {LEAST} characters: masked, it would take the "
                "log to pieces. Put it into `env-vars` if it is no secret"
            )


def _elements(_config: object, _field: object, value: tuple[str, ...]) -> None:
    for element in value:
        if not element or element.startswith("-") or element.split() != [element]:
            raise ValueError(
                f"{element!r} is no name of an element; options go into `build-command`"
            )


def _command(_config: object, _field: object, value: str) -> None:
    not_empty(_config, _field, value)
    try:
        shlex.split(value)
    except ValueError as error:
        raise ValueError(f"cannot be split into words as a shell does: {error}") from error


@attrs.frozen(kw_only=True)
class DiskImageConfig(ImageConfig):
    """An image that is built here by diskimage-builder, or by a command that takes its arguments.

    Attributes:
        elements: of diskimage-builder; a parent's go before them.
        release: of the distribution, for the elements (``DIB_RELEASE``).
        env_vars: the build's environment, over the daemon's; a parent's lie under them. Values
            are never shown. ``DIB_IMAGE_CACHE`` and ``TMP_DIR`` are not taken from here, as each
            build has its own, nor is ``TMPDIR``, as it would hold in the image too.
        secret_env_vars: more of them, whose values are masked in the log. So are those whose
            names sound secret, and credentials in URLs.
        build_command: the command, with arguments of its own if it has any.
        elements_dir: a folder with elements of this image, before the common ``elements-dir``.
        makes_vhd: whether the command makes vhd by itself; if left out, where there is a
            `vhd-util`, as diskimage-builder needs it. Else vhd is made of the raw image.
        qemu_img_options: given to qemu-img for qcow2.
    """

    elements: tuple[str, ...] = attrs.field(
        default=(), validator=_elements, metadata={**NOT_OF_THE_NODE, "inherit": APPENDED}
    )
    release: str | None = attrs.field(default=None, metadata=NOT_OF_THE_NODE)
    env_vars: Mapping[str, str] = attrs.field(
        factory=dict,
        repr=False,
        validator=_variables,
        metadata={**NOT_OF_THE_NODE, "inherit": MERGED},
    )
    secret_env_vars: Mapping[str, str] = attrs.field(
        factory=dict,
        repr=False,
        validator=_secrets,
        metadata={**NOT_OF_THE_NODE, "inherit": MERGED},
    )
    build_command: str = attrs.field(
        default="disk-image-create", validator=_command, metadata=NOT_OF_THE_NODE
    )
    elements_dir: Path | None = attrs.field(default=None, metadata=NOT_OF_THE_NODE)
    makes_vhd: bool | None = attrs.field(default=None, metadata=NOT_OF_THE_NODE)
    qemu_img_options: str = attrs.field(default="compat=0.10", metadata=NOT_OF_THE_NODE)


class DiskImageBuilder:
    """Builds one image by diskimage-builder; see `trellis.spi.image.ImageBuilder`.

    Args:
        config: the image.
        environment: the daemon's, which the build's is made of.
    """

    def __init__(
        self, config: DiskImageConfig, environment: Mapping[str, str] | None = None
    ) -> None:
        self._config = config
        self._daemons = dict(os.environ if environment is None else environment)

    async def build(self, order: BuildOrder, watch: BuildWatch) -> tuple[Artifact, ...]:
        """See `ImageBuilder.build`."""
        environment = self._environment(order)
        plan = self._plan(order, environment, watch.line)
        async with workplace(order, watch):
            watch.phase("starting")
            await self._run(order, plan, environment, watch)
            if plan.convert:
                watch.phase("converting to vhd")
                await self._make_vhd(order, environment, watch)
            watch.phase("checksums")
            files = [(_file(order, format), format) for format in order.formats]
            return tuple([await artifact_of(path, format) for path, format in files])

    async def clean(self, order: BuildOrder) -> None:
        """See `ImageBuilder.clean`."""
        await discard(order)

    def secrets(self) -> tuple[str, ...]:
        """See `ImageBuilder.secrets`."""
        config = self._config
        environment = {**self._daemons, **config.env_vars, **config.secret_env_vars}
        return secrets_of(environment, config.secret_env_vars)

    # ----------------------------------------------------------------------- what is run

    def _environment(self, order: BuildOrder) -> dict[str, str]:
        config = self._config
        kept = {
            name: value
            for name, value in self._daemons.items()
            if not name.startswith(_NOT_THEIRS) and name != "NOTIFY_SOCKET"
        }
        # A diskimage-builder that is installed with Trellis is beside its Python.
        path = f"{system_path(kept.get('PATH', ''))}:{Path(sys.executable).parent}"
        made = {"PATH": path, "DIB_IMAGE_NAME": order.image, "DIB_IMAGE_FILENAME": str(order.base)}
        if config.release is not None:
            made["DIB_RELEASE"] = config.release
        own = () if config.elements_dir is None else (config.elements_dir.absolute(),)
        if folders := [str(folder) for folder in (*own, *order.elements_dirs)]:
            made["ELEMENTS_PATH"] = ":".join(folders)
        temporary = str(order.scratch / "tmp")
        ours = {"DIB_IMAGE_CACHE": str(order.cache), "TMP_DIR": temporary}
        given = {**kept, **made, **config.env_vars, **config.secret_env_vars, **ours}
        # diskimage-builder hands its environment on into the image while that is made, where no
        # folder of this host is: there, packages fail that ask TMPDIR (Debian's ca-certificates).
        given.pop("TMPDIR", None)
        return given

    def _plan(
        self, order: BuildOrder, environment: Mapping[str, str], line: Callable[[str], None]
    ) -> "_Plan":
        """What the command is to make, and what of it is converted by us.

        Raises:
            BuildError: something for it is not installed, or a format is not known.
        """
        if unknown := [format for format in order.formats if format not in FORMATS]:
            raise BuildError(
                f"image {order.image}: diskimage-builder makes no {', '.join(unknown)} here: "
                f"formats are {', '.join(FORMATS)}"
            )
        words = shlex.split(self._config.build_command)
        program = find_program(words[0], environment)
        if program is None:
            raise BuildError(
                f"the build command {words[0]!r} of image {order.image} is not there, or cannot "
                f"be run: looked for in PATH ({environment['PATH']}). Install it "
                "(`pip install diskimage-builder` beside Trellis), or correct `build-command`"
            )
        makes_vhd = self._config.makes_vhd
        if makes_vhd is None:
            makes_vhd = find_program("vhd-util", environment) is not None
        convert = "vhd" in order.formats and not makes_vhd
        types = list(order.formats)
        if convert:
            self._conversion(order, environment, line).find(
                "to make vhd (there is no `vhd-util` either)"
            )
            types = [format for format in types if format not in ("vhd", "raw")] + ["raw"]
            line(
                "vhd: there is no `vhd-util`: qemu-img makes it of the raw image, and it is marked "
                "as made by Xen's tools, as Rackspace wants it"
            )
        options = ["-x", "-t", ",".join(types), "--checksum", "--no-tmpfs"]
        if "qcow2" in types and self._config.qemu_img_options:
            options += ["--qemu-img-options", self._config.qemu_img_options]
        options += ["-o", str(order.base), *self._config.elements]
        # It is run in another folder.
        words = [os.path.abspath(program), *words[1:], *options]
        return _Plan(words=tuple(words), types=tuple(types), convert=convert)

    async def _run(
        self,
        order: BuildOrder,
        plan: "_Plan",
        environment: Mapping[str, str],
        watch: BuildWatch,
    ) -> None:
        for name in OURS:
            if name in self._config.env_vars:
                watch.line(f"env-vars: {name} is not taken from there: each build has its own")
        watch.line(f"command: {shlex.join(plan.words)}")
        heard = DibLog(watch)
        command = Command(words=plan.words, environment=environment, scratch=order.scratch)
        try:
            code = await run(command, heard.line)
        except OSError as error:
            raise BuildError(
                f"the build command {plan.words[0]} cannot be started: {error.strerror}. Look at "
                "its first line, and whether the daemon's user may run it"
            ) from error
        if code != 0:
            raise BuildError(f"the build command {_ended(code)}{heard.reason()}")
        missing = [one for one in plan.types if not _file(order, one).exists()]
        if missing:
            raise BuildError(
                f"the build command ended well, but made no {order.base}.{missing[0]}: it has to "
                "take the command line of disk-image-create, with -t and -o"
            )

    async def _make_vhd(
        self,
        order: BuildOrder,
        environment: Mapping[str, str],
        watch: BuildWatch,
    ) -> None:
        conversion = self._conversion(order, environment, watch.line)
        raw = _file(order, "raw")
        await conversion.convert(raw, "raw", _file(order, "vhd"), "vhd")
        if "raw" not in order.formats:
            for beside in ("raw", "raw.md5", "raw.sha256"):
                await trio.to_thread.run_sync(remove, _file(order, beside))

    def _conversion(
        self, order: BuildOrder, environment: Mapping[str, str], line: Callable[[str], None]
    ) -> Conversion:
        return Conversion(
            environment=environment,
            scratch=order.scratch,
            qcow2_options=self._config.qemu_img_options,
            line=line,
        )


@attrs.frozen(kw_only=True)
class _Plan:
    """The command's words, the formats it makes, and whether a vhd is made from its raw image."""

    words: tuple[str, ...]
    types: tuple[str, ...]
    convert: bool


def _file(order: BuildOrder, format: str) -> Path:
    return order.base.with_name(f"{order.base.name}.{format}")


def _ended(code: int) -> str:
    if code < 0:
        return f"was ended by signal {-code}"
    return f"ended with exit code {code}"
