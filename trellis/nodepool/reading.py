"""From the text of a nodepool.yaml or a secure file to its values, or to all its faults."""

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, Final

import attrs

from trellis.config.document import (
    DocumentError,
    Fault,
    Mark,
    Path,
    Scalar,
    Sequence,
    Tree,
    read_document,
)
from trellis.config.document import Mapping as TreeMapping
from trellis.config.loading import in_order
from trellis.config.structure import INVALID, Structurer, shown
from trellis.errors import ConfigError
from trellis.nodepool import model
from trellis.nodepool.faults import file_faults, secure_faults, unknown_keys
from trellis.nodepool.substitution import Text, substitute

OPENSTACK: Final = "openstack"
_FAKE: Final = "fake"


@attrs.frozen(kw_only=True)
class Source:
    """A file that was read, by which its values know their places.

    Attributes:
        name: what messages call it.
    """

    name: str
    tree: TreeMapping
    text: Text

    def mark(self, path: Path) -> Mark:
        """Where the key (or the item) at *path* stands; where it would, if it is not there."""
        at: Tree = self.tree
        mark = at.mark
        for step in path:
            if isinstance(at, TreeMapping) and isinstance(step, str) and step in at.entries:
                entry = at.entries[step]
                mark, at = entry.mark, entry.value
            elif isinstance(at, Sequence) and isinstance(step, int) and step < len(at.items):
                at = at.items[step]
                mark = at.mark
            else:
                break
        return self.text.in_file(mark)

    def place(self, path: Path) -> str:
        """``file:line:column`` of the key (or the item) at *path*."""
        mark = self.mark(path)
        return f"{self.name}:{mark.line + 1}:{mark.column + 1}"


@attrs.frozen(kw_only=True)
class FileProvider:
    """A provider as one file has it.

    Attributes:
        driver: its driver; what begins with ``fake`` has that of this name, as Nodepool has it.
        config: its keys, if the driver is ``openstack``.
        labels: names of labels that it offers, whatever its driver.
        backing: names of labels that it launches through Nodepool for its own nodes.
    """

    source: Source
    path: Path
    name: str
    driver: str
    config: model.OpenStackProvider | None
    labels: tuple[str, ...] = ()
    backing: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Tenant:
    """One of ``tenant-resource-limits``."""

    source: Source
    path: Path
    name: str
    limits: Mapping[str, int]


@attrs.frozen(kw_only=True)
class NodepoolFile:
    """A nodepool.yaml without faults."""

    source: Source
    config: model.Configuration
    providers: tuple[FileProvider, ...]
    tenants: tuple[Tenant, ...]

    @property
    def launches(self) -> bool:
        """Whether a launcher reads it: a provider in it has pools, or is of another driver."""
        return any(p.config is None or p.config.pools for p in self.providers)

    @property
    def builds(self) -> bool:
        """Whether a builder reads it: an image in it has more than a name."""
        return any(
            getattr(image, field.name)
            for image in self.images
            for field in attrs.fields(model.DiskImage)
            if field.name != "name"
        )

    @property
    def images(self) -> tuple[model.DiskImage, ...]:
        """Its ``diskimages``."""
        return self.config.diskimages or ()


@attrs.frozen(kw_only=True)
class SecureFile:
    """A secure file without faults."""

    source: Source
    config: model.Secure


def read_nodepool(text: str, environment: Mapping[str, str], *, file: str) -> NodepoolFile:
    """Read a nodepool.yaml.

    Args:
        environment: where ``%(NODEPOOL_X)`` is taken from.
        file: what messages call it.

    Raises:
        ConfigError: with every fault, in the order of the file.
    """
    source, faults = _source(text, environment, file)
    structurer = Structurer(folder=FilePath())
    config = structurer.instance(source.tree, model.Configuration, ())
    providers = tuple(_providers(source, structurer))
    tenants = tuple(_tenants(source, structurer))
    _webapp(source, structurer)
    faults += structurer.faults + file_faults(source.tree, _openstack(source.tree))
    if faults:
        raise _error(faults, source)
    assert config is not INVALID
    return NodepoolFile(source=source, config=config, providers=providers, tenants=tenants)


def read_secure(text: str, environment: Mapping[str, str], *, file: str) -> SecureFile:
    """Read a secure file, which Nodepool's services take by ``-s``.

    Args:
        environment: as `read_nodepool` takes it.
        file: what messages call it.

    Raises:
        ConfigError: as `read_nodepool`.
    """
    source, faults = _source(text, environment, file)
    structurer = Structurer(folder=FilePath())
    config = structurer.instance(source.tree, model.Secure, ())
    faults += structurer.faults + secure_faults(source.tree)
    if faults:
        raise _error(faults, source)
    assert config is not INVALID
    return SecureFile(source=source, config=config)


def _source(text: str, environment: Mapping[str, str], file: str) -> tuple[Source, list[Fault]]:
    replaced = substitute(text, environment)
    if replaced.faults:
        raise ConfigError(in_order(list(replaced.faults), file))
    try:
        tree, faults = read_document(replaced.text)
    except DocumentError as error:
        source = Source(name=file, tree=TreeMapping(Mark()), text=replaced)
        raise _error([error.fault], source) from None
    if not isinstance(tree, TreeMapping):
        what = "a list" if isinstance(tree, Sequence) else "one text"
        source = Source(name=file, tree=TreeMapping(Mark()), text=replaced)
        message = f"expected keys and values (labels: …), got {what}"
        raise _error([Fault(tree.mark, (), message)], source)
    return Source(name=file, tree=tree, text=replaced), faults


def _error(faults: list[Fault], source: Source) -> ConfigError:
    text = source.text
    found = [
        attrs.evolve(fault, mark=text.in_file(fault.mark), message=text.masked(fault.message))
        for fault in faults
    ]
    return ConfigError(in_order(found, source.name))


def _providers(source: Source, structurer: Structurer) -> Iterator[FileProvider]:
    for path, tree in _items(source.tree, "providers", structurer):
        name, driver = _text(tree, "name"), driver_of(tree)
        config = None
        if driver == OPENSTACK:
            config = structurer.instance(tree, model.OpenStackProvider, path)
            if config is INVALID:
                continue
        elif name is None:
            message = "required key 'name' is missing, or no text"
            structurer.faults.append(Fault(tree.mark, path, message))
            continue
        yield FileProvider(
            source=source,
            path=path,
            name=name or "",
            driver=driver,
            config=config,
            labels=tuple(dict.fromkeys(_offered(tree))),
            backing=tuple(dict.fromkeys(_backing(tree))),
        )


def driver_of(provider: TreeMapping) -> str:
    """The driver of a provider's mapping."""
    # Nodepool's tests are why: `nodepool/config.py: get_provider_config`.
    if (_text(provider, "name") or "").startswith(_FAKE):
        return _FAKE
    return _text(provider, "driver") or OPENSTACK


def _openstack(tree: TreeMapping) -> tuple[int, ...]:
    """Which of the providers have the driver ``openstack``."""
    found = tree.get("providers")
    items = found.items if isinstance(found, Sequence) else []
    return tuple(
        i
        for i, item in enumerate(items)
        if isinstance(item, TreeMapping) and driver_of(item) == OPENSTACK
    )


def _tenants(source: Source, structurer: Structurer) -> Iterator[Tenant]:
    for path, tree in _items(source.tree, "tenant-resource-limits", structurer):
        name, limits = _text(tree, "tenant-name"), {}
        if name is None or not name.strip():
            message = "required key 'tenant-name' is missing, or no text"
            structurer.faults.append(Fault(tree.mark, path, message))
            continue
        for key, entry in tree.entries.items():
            if key != "tenant-name":
                value = structurer.value(entry.value, int, (*path, key))
                limits[key] = value
        yield Tenant(source=source, path=path, name=name, limits=limits)


def _webapp(source: Source, structurer: Structurer) -> None:
    tree = source.tree.get("webapp")
    if tree is None or (isinstance(tree, Scalar) and tree.value is None):
        return
    if not isinstance(tree, TreeMapping):
        structurer.faults.append(Fault(tree.mark, ("webapp",), "expected a mapping"))
        return
    known = {"port": int, "listen_address": str}
    structurer.faults += unknown_keys(tree, known, ("webapp",))
    for key, kind in known.items():
        if key in tree.entries:
            structurer.value(tree.entries[key].value, kind, ("webapp", key))


def _items(
    tree: TreeMapping, key: str, structurer: Structurer
) -> Iterator[tuple[Path, TreeMapping]]:
    """The mappings of a list at the top; faults of what is none are noted."""
    found = tree.get(key)
    if found is None or (isinstance(found, Scalar) and found.value is None):
        return
    if not isinstance(found, Sequence):
        structurer.faults.append(Fault(found.mark, (key,), "expected a list"))
        return
    for i, item in enumerate(found.items):
        if isinstance(item, TreeMapping):
            yield (key, i), item
        else:
            got = shown(item.text) if isinstance(item, Scalar) else "a list"
            message = f"expected a mapping, got {got}"
            structurer.faults.append(Fault(item.mark, (key, i), message))


def _offered(provider: TreeMapping) -> Iterator[str]:
    """Names of labels in the pools of a provider, in the shapes that the drivers have them."""
    for pool in _mappings(provider.get("pools")):
        for label in _mappings(pool.get("labels")):
            if (name := _text(label, "name")) is not None:
                yield name
        for node in _mappings(pool.get("nodes")):  # of the static driver
            yield from _texts(node.get("labels"))


def _backing(provider: TreeMapping) -> Iterator[str]:
    for pool in _mappings(provider.get("pools")):
        for label in _mappings(pool.get("labels")):
            if (name := _text(label, "backing-label")) is not None:
                yield name


def _mappings(tree: Any) -> Iterator[TreeMapping]:
    if isinstance(tree, Sequence):
        yield from (item for item in tree.items if isinstance(item, TreeMapping))


def _texts(tree: Any) -> Iterator[str]:
    for item in tree.items if isinstance(tree, Sequence) else [tree]:
        if isinstance(item, Scalar) and isinstance(item.value, str):
            yield item.value


def _text(tree: TreeMapping, key: str) -> str | None:
    value = tree.get(key)
    return value.value if isinstance(value, Scalar) and isinstance(value.value, str) else None
