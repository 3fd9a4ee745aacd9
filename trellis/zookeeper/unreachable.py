"""Why no session could be opened, host by host, and what to do about it."""

import contextlib
import socket
import ssl
import time
from typing import Final

from trellis.zookeeper.session import Servers, Tls

# OpenSSL's numbers of what is wrong with a certificate (x509_vfy.h).
_NOT_YET_VALID, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64
_UNKNOWN_ISSUER: Final = frozenset({2, 7, 18, 19, 20, 21})

ASK_S: Final = 2.0
NOT_SERVING: Final = "not currently serving requests"
_LONGEST_ANSWER: Final = 4096
_WHY: Final = {
    "read-only": (
        "it is read-only, as it has no quorum: bring up the other servers, and see that they"
        " reach each other"
    ),
    NOT_SERVING: (
        "it does not serve, as it has no quorum: bring up the other servers, and see that they"
        " reach each other"
    ),
}
"""What `mode_of` finds, for a person."""


class Failures:
    """What failed last at each host; written in kazoo's thread, read in any.

    Args:
        servers: as configured; without TLS there is less that can be wrong.
    """

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._reasons: dict[str, str] = {}
        self._silent = dict[str, tuple[str, int]]()
        """Name and port of those that end connections without a word."""
        self._now = ""
        self._at = ("", 0)

    def trying(self, host: str, port: int) -> None:
        """A connection to this host is made now."""
        self._now, self._at = _host_port(host, port), (host, port)
        # Not replaced: a host may have several addresses, of which the last is no better.
        self._reasons.setdefault(self._now, "no answer yet")

    def failed(self, error: OSError) -> None:
        """It could not be made."""
        self._reasons[self._now] = _reason(error, self._servers)

    def dropped(self, text: str) -> None:
        """It was made, and ended before there was a session; or it could not be made."""
        if self._reasons.get(self._now) == "no answer yet":
            self._reasons[self._now] = _dropped(text, self._servers)
            self._silent[self._now] = self._at

    def unknown(self, host: str, why: str) -> None:
        """The name has no address."""
        self._reasons[host] = f"the name does not resolve ({why}): correct it, or the DNS"

    def again(self) -> None:
        """There is a session: what comes from now on is news."""
        self._reasons.clear()
        self._silent.clear()

    def ask_why(self) -> None:
        """Ask those why that end connections without a word; blocks as `mode_of` does.

        A server without a quorum ends ours as any server does that has too many; but what it is
        it tells whoever asks.
        """
        for where, (host, port) in dict(self._silent).items():
            if why := _WHY.get(mode_of(host, port, self._servers.tls), ""):
                self._reasons[where] = why

    def text(self) -> str:
        """All of it, for a person."""
        reasons = dict(self._reasons)
        for host in self._servers.hosts:
            name = host.rpartition(":")[0].strip("[]")
            if host not in reasons and name not in reasons:
                reasons[host] = f"no answer within {self._servers.timeout_s:g} s"
        return "; ".join(f"{host}: {why}" for host, why in reasons.items())


def mode_of(host: str, port: int, tls: Tls | None) -> str:
    """What a server says that it is, as ``srvr`` has it: ``leader``, ``standalone``, ``read-only``.

    Blocks, for three times `ASK_S` at most.

    Returns:
        `NOT_SERVING` if it says no more than that; "" if nothing is known.
    """
    answer = b""
    until = time.monotonic() + ASK_S
    with (
        contextlib.suppress(OSError),  # what it has said until then counts
        socket.create_connection((host, port), ASK_S) as plain,
        plain
        if tls is None
        else ssl_context(tls).wrap_socket(plain, server_hostname=host) as asked,
    ):
        asked.sendall(b"srvr")
        while time.monotonic() < until and (part := asked.recv(_LONGEST_ANSWER)):
            answer = (answer + part)[:_LONGEST_ANSWER]
    if NOT_SERVING.encode() in answer:
        return NOT_SERVING
    modes = (line for line in answer.decode(errors="replace").splitlines() if "Mode: " in line)
    return next(modes, "").removeprefix("Mode: ")


def ssl_context(tls: Tls) -> ssl.SSLContext:
    """TLS as configured: our certificate, the CA that is believed, and the server's name.

    Raises:
        OSError: a file cannot be used; the text names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.check_name
    for key, file in (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key)):
        try:
            file.read_bytes()
        except OSError as error:
            raise OSError(f"zookeeper-tls: {key}: cannot read {file}: {error.strerror}") from error
    try:
        context.load_verify_locations(tls.ca)
    except OSError as error:
        raise OSError(f"zookeeper-tls: ca: {tls.ca} holds no certificate in PEM") from error
    try:
        # A key with a passphrase would otherwise ask for it at the terminal.
        context.load_cert_chain(tls.cert, tls.key, password="")
    except OSError as error:
        raise OSError(
            f"zookeeper-tls: {tls.cert} and {tls.key} are no certificate and its key in PEM"
            f" ({_ssl_words(error)})"
        ) from error
    return context


def _reason(error: OSError, servers: Servers) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return _certificate(error)
        case ssl.SSLEOFError() | ConnectionResetError() if servers.tls is not None:
            return (
                "the connection was closed in the TLS handshake: is this the port for TLS"
                " (ZooKeeper's secureClientPort, usually 2281)?"
            )
        case ssl.SSLError():
            return (
                f"TLS failed ({_ssl_words(error)}): is this the port for TLS (ZooKeeper's"
                " secureClientPort, usually 2281), and is our certificate of a CA it believes?"
            )
        case ConnectionRefusedError():
            return "nothing listens there: is ZooKeeper running, and is the port right?"
        case TimeoutError():
            return "no answer: is it running, and does a firewall let us through?"
        case socket.gaierror():
            return f"the name does not resolve ({error.strerror}): correct it, or the DNS"
        case _:
            return error.strerror or str(error)


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    said = error.verify_message
    match error.verify_code:
        case code if code == _EXPIRED:
            return f"its certificate has expired ({said}): renew it, or correct the clock here"
        case code if code == _NOT_YET_VALID:
            return f"its certificate is not valid yet ({said}): is the clock right, here and there?"
        case code if code in (_OTHER_NAME, _OTHER_ADDRESS):
            return (
                f"its certificate is for another name ({said}): in zookeeper-servers, call it"
                " by a name of its certificate, or give it a certificate for this one; whoever"
                " trusts all that this CA has signed may say check-name: false in zookeeper-tls"
            )
        case code if code in _UNKNOWN_ISSUER:
            return (
                f"its certificate is of a CA that we do not believe ({said}):"
                " zookeeper-tls: ca: has to be the file of the CA that signed it"
            )
        case _:
            return f"its certificate cannot be believed ({said})"


def _dropped(text: str, servers: Servers) -> str:
    if servers.tls is None:
        return (
            f"it closed the connection or did not answer ({text}): is it serving (a quorum, no"
            " limit of connections)? A port for TLS wants zookeeper-tls"
        )
    return (
        f"it closed the connection or did not answer ({text}): is it serving, and does it"
        " believe the CA of our certificate?"
    )


def _ssl_words(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
