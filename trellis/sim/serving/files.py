"""The files that `trellis cloud` writes: a ``clouds.yaml``, and a ``trellis.yaml`` to go with it.

Both say in their first line who wrote them; a file without that line is somebody's own and is
never written over.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import attrs
import yaml

from trellis.errors import ConfigError
from trellis.sim.cloud import CloudSpec, FlavorSpec, NetworkSpec, SimCloud
from trellis.sim.entries import STOCK, cloud_entry, type_of
from trellis.spi.registry import ProviderRegistry

MARK: Final = "# Written by `trellis cloud`, and written anew by the next one in this folder."
_MOST_HEAD: Final = 200
DISK_GIB: Final = 20
"""Size of the volumes from which servers boot where no flavor has a disk."""


@attrs.frozen
class Folder:
    """The folder of a running `trellis cloud`; made by `claimed`."""

    path: Path

    @property
    def clouds_yaml(self) -> Path:
        """Where the clouds and their credentials are described."""
        return self.path / "clouds.yaml"

    @property
    def configuration(self) -> Path:
        """A configuration for `trellis serve`."""
        return self.path / "trellis.yaml"

    def write(self, path: Path, document: object) -> None:
        """Write one of the files whole, readable by its owner only.

        Raises:
            ConfigError: it cannot be written, or is not ours.
        """
        text = f"{MARK}\n{yaml.safe_dump(document, sort_keys=False, width=100)}"
        new = path.with_name(f".{path.name}.new")
        try:
            _refuse_foreign(path)
            new.unlink(missing_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            new.replace(path)
        except OSError as error:
            raise _unusable(path, error) from None


@contextmanager
def claimed(path: Path) -> Iterator[Folder]:
    """Make the folder if need be, and hold it while the block runs.

    Raises:
        ConfigError: it cannot be written to, has files of somebody's own by these names, or
            another process holds it.
    """
    folder = Folder(path.absolute())
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        for file in (folder.clouds_yaml, folder.configuration):
            _refuse_foreign(file)
        descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(path, error) from None
    with open(descriptor, "r+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                [
                    f"{path}: another `trellis cloud` (process {lock.read().strip() or '?'}) "
                    "serves from this folder; stop it, or give this one another: --folder DIR"
                ]
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield folder


def _refuse_foreign(path: Path) -> None:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.read(_MOST_HEAD)
    except FileNotFoundError:
        return
    if head.partition("\n")[0] != MARK:
        raise ConfigError(
            [
                f"{path}: `trellis cloud` did not write this file, and leaves it alone; "
                "choose another folder with --folder DIR, or move the file away"
            ]
        )


def _unusable(path: Path, error: OSError) -> ConfigError:
    reason = error.strerror or error
    return ConfigError(
        [f"{path}: cannot be written: {reason}; choose another folder with --folder DIR"]
    )


# ------------------------------------------------------------------------- what they say


def clouds_document(clouds: Sequence[SimCloud], types: ProviderRegistry) -> dict[str, Any]:
    """The contents of a ``clouds.yaml``.

    Args:
        types: the provider types there are: a twin is for that of its name, if it is there.
    """
    return {"clouds": {cloud.spec.name: cloud_entry(cloud, types) for cloud in clouds}}


def configuration_document(
    specs: Sequence[CloudSpec],
    own: str | None,
    types: ProviderRegistry,
    *,
    ssh_port: int,
    reachable: bool,
) -> dict[str, Any]:
    """The contents of a ``trellis.yaml``.

    Args:
        specs: the clouds.
        types: the provider types there are.
        own: text of the scenario's own configuration, which is kept but for what the machines
            need; None makes one with the labels ``small`` and ``large`` on every region.
        ssh_port: where nodes answer.
        reachable: whether anything does.
    """
    if own is not None:
        document: dict[str, Any] = yaml.safe_load(own)
        document.setdefault("store", "sqlite:trellis.db")
        document.setdefault("web", {"listen": "127.0.0.1:8480"})
    else:
        document = {
            "deployment": "sim",
            "store": "sqlite:trellis.db",
            "web": {"listen": "127.0.0.1:8480"},
            "labels": [{"name": "small"}, {"name": "large"}],
            "providers": [
                _provider(spec, region, types)
                for spec in specs
                for region in spec.regions
                if region not in spec.behaviour.regions_not_activated
            ],
        }
    for provider in document.get("providers") or ():
        for pool in provider.get("pools") or ():
            if not reachable:
                pool["host-key-checking"] = False
            for label in pool.get("labels") or ():
                label["connection-port"] = ssh_port
    return document


def _provider(spec: CloudSpec, region: str, types: ProviderRegistry) -> dict[str, Any]:
    flavors = _flavors(spec, region)
    small, large = flavors[0], flavors[min(1, len(flavors) - 1)]
    diskless = region in spec.behaviour.diskless_regions
    more = {"boot-from-volume": True, "volume-size": DISK_GIB} if diskless else {}
    image = next(image.name for image in spec.images if image.status == "active")
    name = spec.name if len(spec.regions) == 1 else f"{spec.name}-{region.lower()}"
    pool: dict[str, Any] = {"name": "main"}
    if spec.quota.instances >= 0:
        pool["max-servers"] = spec.quota.instances
    kind = type_of(spec, types)
    networks = _networks(spec)
    # Where servers get a public address at once, a plugin knows which network that is.
    if kind == STOCK or not any(network.external for network in networks):
        pool["networks"] = [network.name for network in networks]
    return {
        "name": name,
        "type": kind,
        "cloud": spec.name,
        "region-name": region,
        "sweep": "delete",
        "pools": [
            {
                **pool,
                "labels": [
                    {"name": label, "cloud-image": image, "flavor-name": flavor.name, **more}
                    for label, flavor in (("small", small), ("large", large))
                ],
            }
        ],
    }


def _flavors(spec: CloudSpec, region: str) -> list[FlavorSpec]:
    """Flavors of which a server comes up and answers there, the smallest first."""
    missing = {name for where, name in spec.behaviour.missing_flavors if where == region}
    found = [
        flavor
        for flavor in spec.flavors
        if flavor.placeable
        and flavor.name not in missing
        and (flavor.disk_gib or region in spec.behaviour.diskless_regions)
        and not any(fnmatch(flavor.name, silent) for silent in spec.behaviour.silent_flavors)
    ]
    return sorted(found, key=lambda flavor: (flavor.ram_mib, flavor.cores))


def _networks(spec: CloudSpec) -> list[NetworkSpec]:
    """Those a server is put on: with one that leads outside all, else the first."""
    attachable = [network for network in spec.networks if network.attachable]
    outside = [network for network in attachable if network.external or network.reachable]
    return attachable if outside else attachable[:1]
