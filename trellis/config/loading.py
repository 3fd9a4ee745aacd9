"""From the file to a `Configuration`, or to all its faults."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from trellis.config.configuration import Configuration
from trellis.config.document import (
    DocumentError,
    Fault,
    Mapping,
    Mark,
    Scalar,
    Sequence,
    Tree,
    read_document,
)
from trellis.config.document import Path as KeyPath
from trellis.config.inheritance import inherited
from trellis.config.references import reference_faults
from trellis.config.structure import INVALID, Structurer, near, shown
from trellis.errors import ConfigError
from trellis.spi.config import (
    DEFAULT_BUILDER,
    DemandSourceConfig,
    ImageConfig,
    ProviderConfig,
)
from trellis.spi.registry import DemandSourceRegistry, ImageBuilderRegistry, ProviderRegistry

MAX_BYTES: Final = 4 * 1024 * 1024
MOST_FAULTS: Final = 1000

_BROUGHT_BY: Final = {"zuul": "trellis-zuul"}
"""Types of demand source that Trellis's own distributions bring, which need not be installed."""


@attrs.frozen(kw_only=True)
class Loaded:
    """A configuration that can be used.

    Attributes:
        warnings: what may be a mistake, each as ``file:line:column: path: message``.
    """

    configuration: Configuration
    warnings: tuple[str, ...]


def load(
    path: Path,
    registry: ProviderRegistry,
    builders: ImageBuilderRegistry | None = None,
    sources: DemandSourceRegistry | None = None,
) -> Loaded:
    """Read the configuration file.

    Args:
        path: the file; relative paths in it are taken from its folder.
        registry: the types of provider there are.
        builders: the types of image builder; None knows the keys that all of them have.
        sources: the types of demand source; None, as for *builders*.

    Raises:
        ConfigError: with every fault that can be seen at once, in the order of the file.
    """
    return parse(_read(path), registry, builders, sources, file=str(path), folder=path.parent)


def parse(
    text: str,
    registry: ProviderRegistry,
    builders: ImageBuilderRegistry | None = None,
    sources: DemandSourceRegistry | None = None,
    *,
    file: str,
    folder: Path,
) -> Loaded:
    """Make a configuration of a text; touches no file.

    Args:
        file: what messages call it.
        folder: what relative paths in it are relative to.

    Raises:
        ConfigError: as `load`.
    """
    tree, faults = _tree(text, file)
    structurer = Structurer(folder=folder)
    structurer.variants = _variants(registry, builders, sources, structurer.faults)
    configuration = structurer.instance(_inherited(tree, builders), Configuration, ())
    reference, warnings = reference_faults(tree)
    faults += _once(structurer.faults) + reference
    if configuration is INVALID or faults:
        raise ConfigError(_in_order(faults, file))
    images = configuration.images_dir
    configuration = attrs.evolve(
        configuration,
        store=configuration.store.within(folder),
        # Records name files below it: a daemon that is started elsewhere must find them again.
        images_dir=(images if tree.get("images-dir") is not None else folder / images).absolute(),
    )
    return Loaded(configuration=configuration, warnings=_in_order(warnings, file))


def read_text(path: Path) -> str:
    """Read a YAML file of another kind as text.

    Raises:
        ConfigError: it cannot be read, is too large, or is not UTF-8.
    """
    return _read(path)


def read_tree(path: Path) -> tuple[Mapping, list[Fault]]:
    """Read a YAML file of another kind as a marked tree, with the faults seen so far.

    Raises:
        ConfigError: it cannot be read, or is no YAML mapping.
    """
    return _tree(_read(path), str(path))


def faults_within(
    tree: Mapping,
    registry: ProviderRegistry,
    builders: ImageBuilderRegistry | None = None,
    sources: DemandSourceRegistry | None = None,
    *,
    folder: Path,
    path: KeyPath,
) -> list[Fault]:
    """What is wrong with a configuration that stands inside another document, at *path*."""
    structurer = Structurer(folder=folder)
    structurer.variants = _variants(registry, builders, sources, structurer.faults)
    structurer.instance(_inherited(tree, builders), Configuration, path)
    reference, _ = reference_faults(tree)
    return _once(structurer.faults) + [attrs.evolve(x, path=(*path, *x.path)) for x in reference]


def in_order(faults: list[Fault], file: str) -> tuple[str, ...]:
    """The faults as messages, in the order of the file."""
    return _in_order(faults, file)


def disabled_plugins(path: Path) -> tuple[str, ...]:
    """Read ``disabled-plugins`` alone, which is needed before plugins are.

    Everything else in the file, and a wrong value of this key, is left for `load` to judge.

    Raises:
        ConfigError: the file cannot be read, or is no YAML mapping.
    """
    tree, _faults = _tree(_read(path), str(path))
    names = tree.get("disabled-plugins")
    if not isinstance(names, Sequence):
        return ()
    return tuple(
        item.value
        for item in names.items
        if isinstance(item, Scalar) and isinstance(item.value, str)
    )


def _inherited(tree: Mapping, builders: ImageBuilderRegistry | None) -> Mapping:
    types = _ImageTypes(builders, [])
    return inherited(tree, lambda image: types.choose(image, ()) or ImageConfig)


def _once(faults: list[Fault]) -> list[Fault]:
    """Each fault where it stands, and not again for every image that inherits it."""
    return list({(fault.mark, fault.message): fault for fault in reversed(faults)}.values())


def _variants(
    registry: ProviderRegistry,
    builders: ImageBuilderRegistry | None,
    sources: DemandSourceRegistry | None,
    faults: list[Fault],
) -> dict[type, Callable[[Mapping, KeyPath], type | None]]:
    return {
        ProviderConfig: _ProviderTypes(registry, faults).choose,
        ImageConfig: _ImageTypes(builders, faults).choose,
        DemandSourceConfig: _SourceTypes(sources, faults).choose,
    }


@attrs.frozen
class _ImageTypes:
    """Finds the configuration class of an image entry by its ``type``."""

    registry: ImageBuilderRegistry | None
    faults: list[Fault]

    def choose(self, tree: Mapping, path: KeyPath) -> type | None:
        if self.registry is None:
            return ImageConfig
        entry = tree.get("type")
        name = entry.value if isinstance(entry, Scalar) else None
        if entry is None:
            name = DEFAULT_BUILDER
        if isinstance(name, str) and (registration := self.registry.get(name)):
            return registration.configuration_class
        known = ", ".join(self.registry.types()) or "none is registered"
        message = (
            f"no plugin registers the image builder {shown(str(name))}"
            f"{near(str(name), self.registry.types())} (types are: {known}; "
            "`trellis plugin list` shows plugins that failed)"
        )
        mark, place = (tree.mark, path) if entry is None else (entry.mark, (*path, "type"))
        self.faults.append(Fault(mark, place, message))
        return None


@attrs.frozen
class _SourceTypes:
    """Finds the configuration class of a demand source's entry by its ``type``."""

    registry: DemandSourceRegistry | None
    faults: list[Fault]

    def choose(self, tree: Mapping, path: KeyPath) -> type | None:
        if self.registry is None:
            return DemandSourceConfig
        entry = tree.get("type")
        known = ", ".join(self.registry.types()) or "none is registered"
        if entry is None:
            message = f"required key 'type' is missing; types are: {known}"
            self.faults.append(Fault(tree.mark, path, message))
            return None
        name = entry.value if isinstance(entry, Scalar) else None
        if isinstance(name, str):
            if registration := self.registry.get(name):
                return registration.configuration_class
            brought = _BROUGHT_BY.get(name)
            remedy = f"; `pip install {brought}` brings it" if brought else ""
            message = (
                f"no plugin registers the demand source {shown(name)}"
                f"{near(name, (*self.registry.types(), *_BROUGHT_BY)) if not brought else ''}"
                f"{remedy} (types are: {known}; `trellis plugin list` shows plugins that failed)"
            )
        else:
            message = f"expected text, the name of a type; types are: {known}"
        self.faults.append(Fault(entry.mark, (*path, "type"), message))
        return None


@attrs.frozen
class _ProviderTypes:
    """Finds the configuration class of a provider entry by its ``type``."""

    registry: ProviderRegistry
    faults: list[Fault]

    def choose(self, tree: Mapping, path: KeyPath) -> type | None:
        entry = tree.get("type")
        known = ", ".join(self.registry.types()) or "none is registered"
        if entry is None:
            message = f"required key 'type' is missing; types are: {known}"
            if "driver" in tree.entries:
                message = f"the key 'driver' is called 'type' here; types are: {known}"
            self.faults.append(Fault(tree.mark, path, message))
            return None
        name = entry.value if isinstance(entry, Scalar) else None
        if isinstance(name, str):
            if registration := self.registry.get(name):
                return registration.configuration_class
            message = (
                f"no plugin registers the type {shown(name)}{near(name, self.registry.types())}"
                f" (types are: {known}; `trellis plugin list` shows plugins that failed)"
            )
        else:
            message = f"expected text, the name of a type; types are: {known}"
        self.faults.append(Fault(entry.mark, (*path, "type"), message))
        return None


def _read(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a directory" if path.is_dir() else "no regular file"
            raise ConfigError([f"{path}: is {kind}; name the configuration file itself"])
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError([f"{path}: there is no such file: name another, or write it"]) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError([f"{path}: cannot be read: {reason}"]) from None
    if len(data) > MAX_BYTES:
        raise ConfigError([f"{path}: is larger than {MAX_BYTES // 1024**2} MiB: not read"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n")
        column = error.start - (before.rfind(b"\n") + 1)
        message = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        fault = Fault(Mark(line, column), (), message)
        raise ConfigError([fault.render(str(path))]) from None


def _tree(text: str, file: str) -> tuple[Mapping, list[Fault]]:
    tree: Tree
    try:
        tree, faults = read_document(text)
    except DocumentError as error:
        raise ConfigError([error.fault.render(file)]) from None
    if not isinstance(tree, Mapping):
        what = "a list" if isinstance(tree, Sequence) else "one text"
        message = f"expected keys and values (deployment: …), got {what}"
        raise ConfigError([Fault(tree.mark, (), message).render(file)])
    return tree, faults


def _in_order(faults: list[Fault], file: str) -> tuple[str, ...]:
    ordered = sorted(faults, key=lambda fault: fault.mark)
    # An anchored value that is used twice is looked at twice.
    lines = tuple(dict.fromkeys(fault.render(file) for fault in ordered))
    if len(lines) > MOST_FAULTS:
        return (*lines[:MOST_FAULTS], f"{file}: … and {len(lines) - MOST_FAULTS} more")
    return lines
