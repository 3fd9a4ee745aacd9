"""The SSH banner and the host keys of a node, in plain Trio.

Speaks RFC 4253 as far as the server's key-exchange reply, which carries the host key, and hangs
up. No cryptography is needed for that: the secret is never computed, so any valid public value
will do for our half of the exchange. As with ssh-keyscan the keys are *claimed*, not proved
(the signature is not verified): trust on first use.

Costs one connection for each kind of key the server has, none for those it lacks: its first
message says which it has. Deadlines are the caller's.
"""

import base64
import os
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from trellis.errors import TrellisError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Open a stream to host and port; raises OSError."""

KINDS: Final = ("ed25519", "ecdsa", "rsa")

# By kind: the signature algorithms to ask for it (RFC 8709, 5656, 8332), and what the key in
# the answer may call itself.
_ALGORITHMS: Final = {
    "ed25519": ("ssh-ed25519",),
    "ecdsa": ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    "rsa": ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"),
}
_KEY_TYPES: Final = {**_ALGORITHMS, "rsa": ("ssh-rsa",)}

_CIPHERS: Final = (
    "aes128-ctr", "aes256-ctr", "chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com",
)  # fmt: skip
_MACS: Final = ("hmac-sha2-256", "hmac-sha2-512", "hmac-sha1")

_DISCONNECT, _IGNORE, _UNIMPLEMENTED, _DEBUG, _KEXINIT, _KEX_ASK, _KEX_REPLY = (
    1,
    2,
    3,
    4,
    20,
    30,
    31,
)

_HELLO: Final = b"SSH-2.0-trellis\r\n"
_MOST_BEFORE_BANNER: Final = 8192
_MOST_IN_PACKET: Final = 35_000  # RFC 4253 section 6.1
_MOST_IN_SCAN: Final = 4 * _MOST_IN_PACKET  # a server that never comes to the point

# The base point of NIST P-256: a valid public value that needs no arithmetic.
_P256_POINT: Final = bytes.fromhex(
    "04"
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)


class NotReachableError(TrellisError):
    """The node does not answer as an SSH server yet: refused, hung up, or not SSH.

    One class for all of it, because the remedy is one: try again until the deadline. The
    message says where and what was seen.
    """


async def scan(
    connect: Connect,
    host: str,
    port: int,
    *,
    kinds: Sequence[str] = KINDS,
    entropy: Callable[[int], bytes] = os.urandom,
) -> tuple[str, ...]:
    """Read the host keys of an SSH server, one connection for each kind it has.

    Cancellation closes the connection and leaves nothing behind.

    Args:
        connect: the way to the node.
        host: its address.
        port: its SSH port.
        kinds: of `KINDS`, those wanted, in the order of the answer. Each that the server has
            costs a connection: a simulation asks for one.
        entropy: gives as many random bytes as it is told; `random.Random.randbytes` where
            runs must repeat.

    Returns:
        Lines as ``ssh-ed25519 AAAA…``, at least one. Without a kind that the server offers, and
        hangs up when it is asked for: Dropbear 2022.83 offers RSA whether it has such a key or not.

    Raises:
        NotReachableError: no connection, no SSH, or none of the wanted keys yet (a node makes
            them while it boots).
        ValueError: a kind that is none of `KINDS`.
    """
    unknown = [kind for kind in kinds if kind not in _ALGORITHMS]
    if unknown or not kinds:
        raise ValueError(f"kinds of SSH host key must be of {KINDS}, not {tuple(kinds)}")
    offered, kind, key = await _first_key(connect, host, port, kinds, entropy)
    found = {kind: key}
    failures: list[NotReachableError] = []

    async def read_other(other: str) -> None:
        try:
            _, _, found[other] = await _one_key(connect, host, port, [other], entropy)
        except _WithheldError:
            return
        except NotReachableError as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        for other in kinds:
            if other not in found and not offered.isdisjoint(_ALGORITHMS[other]):
                nursery.start_soon(read_other, other)
    if failures:
        raise failures[0]
    return tuple(found[kind] for kind in kinds if kind in found)


async def _first_key(
    connect: Connect, host: str, port: int, kinds: Sequence[str], entropy: Callable[[int], bytes]
) -> tuple[frozenset[str], str, str]:
    """As `_one_key`, of the first kind that the server does not withhold."""
    left = list(kinds)
    while True:  # noqa: ASYNC913 - it connects
        try:
            return await _one_key(connect, host, port, left, entropy)
        except _WithheldError as error:
            left.remove(error.kind)
            if not left:
                raise


async def _one_key(
    connect: Connect, host: str, port: int, kinds: Sequence[str], entropy: Callable[[int], bytes]
) -> tuple[frozenset[str], str, str]:
    """Ask for the first of *kinds* that the server has: all that it offers, the kind, the key."""
    async with _opened(connect, host, port) as wire:
        # RFC 4253 section 7.1 lets us send ours before we have read theirs: a round trip less.
        await wire.send(_HELLO + _packet(_key_init(kinds, entropy)))
        banner = await wire.banner()
        exchanges, algorithms = _read_key_init(await wire.message(_KEXINIT))
        offered = frozenset(algorithms)
        # Both sides choose the first of the client's list that the server has too.
        wanted = [(kind, alg) for kind in kinds for alg in _ALGORITHMS[kind] if alg in offered]
        exchange = next((name for name in _EXCHANGES if name in exchanges), None)
        if not wanted:
            raise _Garbled(f"{banner} has no {' or '.join(kinds)} host key, only {algorithms}")
        if exchange is None:
            raise _Garbled(f"{banner} knows none of our key exchanges, only {exchanges}")
        kind = wanted[0][0]
        await wire.send(_packet(bytes([_KEX_ASK]) + _string(_EXCHANGES[exchange](entropy))))
        try:
            reply = await wire.message(_KEX_REPLY)
        except (_HungUp, trio.BrokenResourceError) as ended:
            where = f"SSH at {host} port {port}"
            raise _WithheldError(
                f"{where}: {banner} hung up when asked for its key", kind
            ) from ended
        blob, _ = _take_string(reply[1:])
        name = _take_string(blob)[0].decode("ascii", "replace")
        if name not in _KEY_TYPES[kind]:
            raise _Garbled(f"asked for a host key of kind {kind}, was given {name!r}")
        return offered, kind, f"{name} {base64.b64encode(blob).decode()}"


# ------------------------------------------------------------------------------ the wire


class _WithheldError(NotReachableError):
    """The server spoke SSH, offered a kind of host key, and hung up when it was asked for it."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class _Garbled(Exception):
    """What came is no SSH, or not the SSH we can use."""


class _HungUp(_Garbled):
    """The connection ended where more was due."""


@asynccontextmanager
async def _opened(connect: Connect, host: str, port: int) -> "AsyncGenerator[_Wire]":
    """Hold a connection, and turn all that may go wrong on it into one error."""
    try:
        async with await connect(host, port) as stream:
            yield _Wire(stream)
    except (OSError, trio.BrokenResourceError) as error:
        raise NotReachableError(f"SSH at {host} port {port}: {_said(error)}") from error
    except _Garbled as error:
        raise NotReachableError(f"SSH at {host} port {port}: {error}") from error


def _said(error: Exception) -> str:
    # A function of its own: an error that stays in a variable of the frame that raises it is a
    # cycle, and a refused connection is what most looks at a booting guest end with.
    cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) else error
    return str(cause or "broken off")


class _Wire:
    """The unencrypted beginning of an SSH connection. Memory and reading are bounded."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._unread = bytearray()
        self._budget = _MOST_IN_SCAN
        self._said = ""

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def banner(self) -> str:
        """Skip the lines that RFC 4253 section 4.2 allows before it, and return it."""
        read = 0
        while read < _MOST_BEFORE_BANNER:
            line = await self._line(_MOST_BEFORE_BANNER - read)
            read += len(line) + 1
            text = line.decode("utf-8", "replace").strip()
            if text.startswith(("SSH-2.0-", "SSH-1.99-")):
                return text
            self._said = text or self._said
        raise _Garbled(f"no SSH banner, but {self._said[:80]!r}")

    async def message(self, wanted: int) -> bytes:
        """The next message of this number; those that may be ignored are skipped."""
        while True:
            message = await self._next_packet()
            number = message[0]
            if number == wanted:
                return message
            if number == _DISCONNECT:
                reason, _ = _take_string(message[5:])
                raise _Garbled(f"it hung up: {reason.decode('utf-8', 'replace')[:200]!r}")
            if number not in (_IGNORE, _UNIMPLEMENTED, _DEBUG):
                raise _Garbled(f"message {number} where {wanted} was due")

    async def _next_packet(self) -> bytes:
        length, padding = struct.unpack(">IB", await self._exactly(5))
        if not padding + 2 <= length <= _MOST_IN_PACKET:
            raise _Garbled(f"a packet of {length} bytes, {padding} of them padding")
        return (await self._exactly(length - 1))[: length - 1 - padding]

    async def _line(self, most: int) -> bytes:
        while (end := self._unread.find(b"\n")) < 0:
            if len(self._unread) >= most:
                raise _Garbled(f"no SSH banner, but {bytes(self._unread[:80])!r}")
            await self._more()
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line

    async def _exactly(self, count: int) -> bytes:
        while len(self._unread) < count:
            await self._more()
        taken = bytes(self._unread[:count])
        del self._unread[:count]
        return taken

    async def _more(self) -> None:
        data = await self._stream.receive_some(4096)
        if not data:
            seen = self._said or self._unread[:80].decode("utf-8", "replace").strip()
            raise _HungUp("it hung up" + (f" after {seen!r}" if seen else " without a word"))
        self._budget -= len(data)
        if self._budget < 0:
            raise _Garbled(f"over {_MOST_IN_SCAN} bytes and still no host key")
        self._unread += data


# -------------------------------------------------------------------------- the messages


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _take_string(data: bytes) -> tuple[bytes, bytes]:
    """The string at the head of *data*, and the rest."""
    if len(data) < 4 or len(data) < 4 + (length := struct.unpack(">I", data[:4])[0]):
        raise _Garbled("a message cut short")
    return data[4 : 4 + length], data[4 + length :]


def _packet(payload: bytes) -> bytes:
    padding = 8 - (len(payload) + 5) % 8
    if padding < 4:
        padding += 8
    return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)


def _key_init(kinds: Sequence[str], entropy: Callable[[int], bytes]) -> bytes:
    """Our part of the negotiation, RFC 4253 section 7.1."""
    algorithms = [name for kind in kinds for name in _ALGORITHMS[kind]]
    lists = [
        list(_EXCHANGES), algorithms, _CIPHERS, _CIPHERS, _MACS, _MACS, ["none"], ["none"], [], [],
    ]  # fmt: skip
    names = b"".join(_string(",".join(names).encode()) for names in lists)
    return bytes([_KEXINIT]) + entropy(16) + names + bytes(5)


def _read_key_init(message: bytes) -> tuple[list[str], list[str]]:
    """Key exchanges and host key algorithms of the server."""
    exchanges, rest = _take_string(message[17:])
    algorithms, _ = _take_string(rest)
    return (
        exchanges.decode("ascii", "replace").split(","),
        algorithms.decode("ascii", "replace").split(","),
    )


def _any_group14_number(entropy: Callable[[int], bytes]) -> bytes:
    # One bit less than the prime of RFC 3526, so in range; positive as SSH's integers go.
    return b"\x40" + entropy(255)


# By name: what to send as our public value. All three are answered in the same form. The second
# and third are for hosts in FIPS mode and for those older than OpenSSH 6.5.
_EXCHANGES: Final[dict[str, Callable[[Callable[[int], bytes]], bytes]]] = {
    "curve25519-sha256": lambda entropy: entropy(32),
    "curve25519-sha256@libssh.org": lambda entropy: entropy(32),
    "ecdh-sha2-nistp256": lambda _: _P256_POINT,
    "diffie-hellman-group14-sha256": _any_group14_number,
    "diffie-hellman-group14-sha1": _any_group14_number,
}
