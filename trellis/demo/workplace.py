"""Where the demo works: its folder, its address, and the daemon's configuration."""

import errno
import fcntl
import os
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import yaml

from trellis.config.addresses import ListenAddress
from trellis.errors import ConfigError

MINI_IMAGE: Final = "mini-image"
"""In the demo's clouds: the build command that comes with it."""
_LOCK: Final = ".trellis-demo"
_MADE: Final = (
    "trellis.yaml", "demo.db", "demo.db-wal", "demo.db-shm", "demo.db.lock",
    "daemon.log", "clouds.log",
)  # fmt: skip
_FOLDERS: Final = ("clouds", "images")


@attrs.define
class Workplace:
    """The folder of a running demo; made by `workplace`.

    Attributes:
        keep: it stays, for somebody to look into.
    """

    path: Path
    keep: bool

    @property
    def clouds(self) -> Path:
        """Folder for the clouds' files."""
        return self.path / "clouds"

    @property
    def configuration(self) -> Path:
        """The daemon's configuration."""
        return self.path / "trellis.yaml"

    @property
    def clouds_log(self) -> Path:
        """What the clouds' process writes."""
        return self.path / "clouds.log"

    @property
    def daemon_log(self) -> Path:
        """What the daemon writes."""
        return self.path / "daemon.log"

    def configure(self, written: Path, listen: ListenAddress) -> None:
        """Write the daemon's configuration from the one that the clouds have written.

        Raises:
            ConfigError: it cannot be written.
        """
        document: dict[str, Any] = yaml.safe_load(written.read_text(encoding="utf-8"))
        document |= {"store": "sqlite:demo.db", "web": {"listen": str(listen)}}
        for image in document.get("images", ()):
            if image.get("build-command") == MINI_IMAGE:
                image["build-command"] = f"{shlex.quote(sys.executable)} -m trellis.demo.mini_image"
        self._write(document)

    def want_no_images(self) -> None:
        """Take the images out of the daemon's configuration, which it sees and takes up.

        Raises:
            ConfigError: it cannot be written.
        """
        document = yaml.safe_load(self.configuration.read_text(encoding="utf-8"))
        document.pop("images", None)
        for provider in document["providers"]:
            for pool in provider["pools"]:
                pool["labels"] = [label for label in pool["labels"] if "image" not in label]
        self._write(document)

    def _write(self, document: dict[str, Any]) -> None:
        text = yaml.safe_dump(document, sort_keys=False, width=100)
        new = self.configuration.with_suffix(".new")
        try:
            new.write_text(text, encoding="utf-8")
            new.replace(self.configuration)
        except OSError as error:
            raise _unusable(self.path, error) from None


@contextmanager
def workplace(folder: Path | None) -> Iterator[Workplace]:
    """Hold a folder while the block runs; one of its own, removed unless `keep` is set, if None.

    Raises:
        ConfigError: the folder cannot be used: not writable, somebody's own files, or another
            demo in it.
    """
    try:
        if folder is None:
            path = Path(tempfile.mkdtemp(prefix="trellis-demo-"))
        else:
            path = folder.absolute()
            path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ConfigError([f"--folder: {folder} is a file; name a folder"]) from None
    except OSError as error:
        raise _unusable(folder or Path(tempfile.gettempdir()), error) from None
    place = Workplace(path, keep=folder is not None)
    try:
        with _held(path):
            yield place
    finally:
        if not place.keep:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    try:
        own = {_LOCK, *_FOLDERS} | set(_MADE)
        if not (path / _LOCK).exists() and any(path.iterdir()):
            raise ConfigError(
                [
                    f"--folder: {path} has files in it that no `trellis demo` has made, and they "
                    "are left alone; name a folder that is empty or not there yet"
                ]
            )
        descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(path, error) from None
    with open(descriptor, "r+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                [
                    f"--folder: another `trellis demo` (process {lock.read().strip() or '?'}) "
                    f"works in {path}; end it, or give this one another folder"
                ]
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        try:
            # Records of an earlier demo's clouds mean nothing to the new ones.
            for name in own - {_LOCK, *_FOLDERS}:
                (path / name).unlink(missing_ok=True)
            shutil.rmtree(path / "images", ignore_errors=True)
        except OSError as error:
            raise _unusable(path, error) from None
        yield


def address(listen: ListenAddress) -> ListenAddress:
    """The address with a port that is free now.

    Raises:
        ConfigError: it cannot be listened at; says what to do.
    """
    host = "127.0.0.1" if listen.host == "localhost" else listen.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, listen.port))
            sock.listen()
            port = int(sock.getsockname()[1])
    except OSError as refused:
        why, remedy = refused.strerror or str(refused), "choose another"
        if refused.errno == errno.EADDRINUSE:
            why = "something listens there already: a daemon, or another demo"
            remedy = "end that, or choose another"
        raise ConfigError(
            [f"--listen: {listen} cannot be used: {why}; {remedy}: --listen 127.0.0.1:0 takes "
             "any free port"]
        ) from None  # fmt: skip
    return attrs.evolve(listen, port=port)


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        [
            f"{path}: cannot be used: {error.strerror or error}; choose a folder that you may "
            "write to with --folder DIR"
        ]
    )
