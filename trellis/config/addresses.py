"""Where the store is and where the web face listens, each written as one text."""

import ipaddress
import re
from pathlib import Path
from typing import Final, Self

import attrs

_PORT: Final = re.compile(r"[0-9]{1,5}\Z")


@attrs.frozen(kw_only=True)
class StoreAddress:
    """The file of the store, written ``sqlite:PATH``.

    Attributes:
        path: relative to the configuration file's folder until it is loaded, then absolute
            or relative to the working directory.
    """

    path: Path

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read ``sqlite:PATH``.

        Raises:
            ValueError: another kind of store, or no path.
        """
        kind, colon, path = text.partition(":")
        if kind == "zookeeper":
            raise ValueError("a store in ZooKeeper is not available yet; write sqlite:PATH")
        if kind != "sqlite" or not colon:
            raise ValueError(f"{text[:60]!r} is no store; write sqlite:PATH, as sqlite:trellis.db")
        if not path.strip() or path.endswith("/") or path.startswith("//"):
            raise ValueError("a path to a file must follow sqlite:, as in sqlite:trellis.db")
        return cls(path=Path(path))

    def within(self, folder: Path) -> Self:
        """The same with a relative path taken from *folder*."""
        return attrs.evolve(self, path=folder / self.path)

    def __str__(self) -> str:
        return f"sqlite:{self.path}"


@attrs.frozen(kw_only=True)
class ListenAddress:
    """A loopback address and port, written ``127.0.0.1:8480`` or ``[::1]:8480``.

    Attributes:
        port: 0 takes any free one.
    """

    host: str
    port: int

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read an address and a port.

        Raises:
            ValueError: it is none, or others than this machine could reach it.
        """
        host, colon, port = text.strip().rpartition(":")
        if not colon or not _PORT.match(port) or int(port) > 65535:
            raise ValueError(f"{text[:60]!r} is no address and port; write 127.0.0.1:8480")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError("put an IPv6 address in brackets, as in [::1]:8480")
        if not _is_loopback(host):
            raise ValueError(
                f"{host!r} is no loopback address, and others are refused for now: listen on "
                "127.0.0.1 and reach it through an SSH tunnel or a proxy that asks for a login"
            )
        return cls(host=host, port=int(port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
