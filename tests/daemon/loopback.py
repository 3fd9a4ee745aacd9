"""A simulated cloud behind TLS on loopback, with a certificate nobody has signed but itself."""

import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import h11
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from trellis.sim.cloud.wire import Request, Response

Answer = Callable[[Request], Response]


def self_made_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self-made")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "cloud.pem", folder / "cloud.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


async def open_port() -> tuple[trio.SocketListener, int]:
    """A listener on a free port of loopback."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    return listener, listener.socket.getsockname()[1]


async def serve_tls(
    listener: trio.SocketListener, answer: Answer, certificate: Path, key: Path
) -> None:
    """Answer calls over TLS until cancelled; what a client breaks off is its own business."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    handler: Callable[[trio.SocketStream], Awaitable[None]] = partial(
        _connection, answer=answer, context=context
    )
    await trio.serve_listeners(handler, [listener])


async def _connection(
    socket: trio.SocketStream, *, answer: Answer, context: ssl.SSLContext
) -> None:
    stream = trio.SSLStream(socket, context, server_side=True, https_compatible=True)
    http = h11.Connection(h11.SERVER)
    body = b""
    head: h11.Request | None = None
    try:
        async with stream:
            while True:  # noqa: ASYNC913 - it reads or sends, or ends
                event = http.next_event()
                match event:
                    case h11.NEED_DATA:
                        http.receive_data(await stream.receive_some())
                    case h11.Request():
                        head, body = event, b""
                    case h11.Data():
                        body += bytes(event.data)
                    case h11.EndOfMessage():
                        assert head is not None
                        await stream.send_all(_spoken(http, answer(_request(head, body))))
                        http.start_next_cycle()
                    case _:
                        return
    except (trio.BrokenResourceError, h11.ProtocolError):
        return


def _request(head: h11.Request, body: bytes) -> Request:
    path, _, query = head.target.decode().partition("?")
    headers = {name.decode(): value.decode() for name, value in head.headers}
    return Request(head.method.decode(), path, query, headers, body)


def _spoken(http: h11.Connection, answer: Response) -> bytes:
    headers = {k: v for k, v in answer.headers.items() if k.lower() != "content-length"}
    length = {"Content-Length": str(len(answer.body))}
    spoken = http.send(
        h11.Response(status_code=answer.status, headers=list((headers | length).items()))
    )
    spoken += http.send(h11.Data(data=answer.body))
    return spoken + http.send(h11.EndOfMessage())
