"""What makes the wires: the settings of a transport, and the factory that world gives."""

import os
import ssl
from collections.abc import Callable
from typing import TypeAlias

import attrs
import httpx

from trellis.errors import ConfigError
from trellis.http.httpx_wire import Transport
from trellis.http.lanes import LaneTransport


@attrs.frozen(kw_only=True)
class TransportSettings:
    """What the wires of one account need to know.

    Attributes:
        cloud: the account's name, for messages.
        verify: whether the server's certificate is checked.
        cacert: file or folder of the authorities to trust; None for the bundled public ones.
        cert: file of the client's certificate, with its key in it unless ``key`` is given.
        key: file of the client's key.
        lanes: how many connections may be open at once, to all origins together.
        idle_s: seconds after which an unused connection is closed. Apache, in front of many
            OpenStack services, closes its side after 5.
    """

    cloud: str = ""
    verify: bool = True
    cacert: str | None = None
    cert: str | None = None
    key: str | None = None
    lanes: int = 20
    idle_s: float = 30.0


TransportFactory: TypeAlias = Callable[[TransportSettings], Transport]
"""Makes the wires of one account, which are closed with ``aclose``."""


def lane_transports() -> TransportFactory:
    """The factory for real wires; its transports share one TLS context for equal settings.

    A context costs 40 ms. It is made anew when one of its files has changed, so that a new
    transport after a change of the authorities trusts the new ones.

    Raises (the factory):
        ConfigError: a file of the TLS settings cannot be read or used.
    """
    contexts: dict[tuple[object, ...], ssl.SSLContext] = {}

    def make(settings: TransportSettings) -> httpx.AsyncBaseTransport:
        files = tuple(
            (path, _version(path, settings.cloud))
            for path in (settings.cacert, settings.cert, settings.key)
            if path
        )
        key = (settings.verify, settings.cacert, settings.cert, settings.key, files)
        if key not in contexts:
            contexts[key] = tls_context(settings)
        return LaneTransport(settings.lanes, tls=contexts[key], idle_s=settings.idle_s)

    return make


def tls_context(settings: TransportSettings) -> ssl.SSLContext:
    """Make the TLS context of these settings.

    Raises:
        ConfigError: a file cannot be read, or holds no certificate or no fitting key.
    """
    source = f"cloud {settings.cloud}"
    if settings.cacert is None:
        context = httpx.create_ssl_context(trust_env=False)
    else:
        try:
            if os.path.isdir(settings.cacert):
                context = ssl.create_default_context(capath=settings.cacert)
            else:
                context = ssl.create_default_context(cafile=settings.cacert)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                [
                    f"{source}: cacert: {settings.cacert} cannot be used as a bundle of "
                    f"certificates: {error}. Give a PEM file that this user can read."
                ]
            ) from error
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.cert is not None:
        try:
            # An empty password: a locked key must fail here, not ask on the terminal.
            context.load_cert_chain(settings.cert, settings.key, password="")
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                [
                    f"{source}: cert: {settings.cert} with key {settings.key or '(in cert)'} "
                    f"cannot be used: {error}. Give PEM files that fit, the key without passphrase."
                ]
            ) from error
    return context


def _version(path: str, cloud: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise ConfigError(
            [f"cloud {cloud}: {path} (cacert, cert or key) cannot be read: {error.strerror}"]
        ) from error
    return (status.st_mtime_ns, status.st_size)
