"""The sshd of a simulated server, as far as a host key scan goes (RFC 4253, RFC 8731).

It speaks up to its key exchange reply and has no cryptography: its key is random bytes and the
signature proves nothing, which a scanner does not check either. It runs inside the caller's own
task: what is sent to it is answered at once.
"""

import hashlib
import struct
from collections.abc import Callable
from typing import Final

import trio

_BANNER: Final = b"SSH-2.0-OpenSSH_9.9 sim\r\n"
_LONGEST_BANNER: Final = 255
_LONGEST_PACKET: Final = 35_000
_DISCONNECT, _KEXINIT, _NEWKEYS, _ECDH_INIT, _ECDH_REPLY = 1, 20, 21, 30, 31
_KEY_TYPE: Final = b"ssh-ed25519"


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _packet(payload: bytes) -> bytes:
    padding = 8 - (len(payload) + 5) % 8
    if padding < 4:
        padding += 8
    return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)


def host_key_blob(key: bytes) -> bytes:
    """The public key as SSH sends it, and as ``known_hosts`` has it in base64."""
    return _string(_KEY_TYPE) + _string(key)


_LISTS: Final = (
    b"curve25519-sha256,curve25519-sha256@libssh.org",
    _KEY_TYPE,
    b"aes128-ctr,aes256-ctr",
    b"aes128-ctr,aes256-ctr",
    b"hmac-sha2-256",
    b"hmac-sha2-256",
    b"none",
    b"none",
    b"",
    b"",
)
_LISTS_BYTES: Final = b"".join(map(_string, _LISTS)) + bytes(5)


class SshStream(trio.abc.Stream):
    """A connection to the sshd of one server.

    Args:
        key: the server's own 32 bytes.
        alive: whether the server is still there; a connection to one that is not breaks.
    """

    def __init__(self, key: bytes, alive: Callable[[], bool]) -> None:
        self._key = key
        self._alive = alive
        self._inbox = bytearray()
        self._outbox = bytearray(_BANNER)
        self._greeted = False
        self._ended = False
        self._closed = False
        self._waiting = trio.lowlevel.ParkingLot()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Take what the client sends and prepare the answer.

        Raises:
            trio.BrokenResourceError: the server is gone or has hung up.
            trio.ClosedResourceError: this end is closed.
        """
        await trio.lowlevel.checkpoint()
        self._check()
        if self._ended:
            raise trio.BrokenResourceError("the server has hung up")
        self._inbox += data
        self._answer()
        self._waiting.unpark_all()

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once: there is always room."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What the server said; waits for it, and is empty once the server has hung up.

        Raises:
            trio.BrokenResourceError: the server is gone.
            trio.ClosedResourceError: this end is closed.
        """
        await trio.lowlevel.checkpoint()
        self._check()
        while not self._outbox and not self._ended:
            await self._waiting.park()
            self._check()
        count = len(self._outbox) if max_bytes is None else max_bytes
        said = bytes(self._outbox[:count])
        del self._outbox[:count]
        return said

    async def aclose(self) -> None:
        """Hang up; whoever waits on this end is told."""
        self._closed = True
        self._waiting.unpark_all()
        await trio.lowlevel.checkpoint()

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        if not self._alive():
            raise trio.BrokenResourceError("the server is gone")

    # ------------------------------------------------------------------------ the protocol

    def _answer(self) -> None:
        if not self._greeted:
            end = self._inbox.find(b"\n")
            if end < 0:
                self._ended = len(self._inbox) > _LONGEST_BANNER
                return
            greeting = bytes(self._inbox[:end])
            del self._inbox[: end + 1]
            if not greeting.startswith(b"SSH-2.0-"):
                self._outbox += b"Invalid SSH identification string.\r\n"
                self._ended = True
                return
            self._greeted = True
            cookie = hashlib.sha256(self._key).digest()[:16]
            self._outbox += _packet(bytes([_KEXINIT]) + cookie + _LISTS_BYTES)
        while not self._ended and len(self._inbox) >= 5:
            length, padding = struct.unpack_from(">IB", self._inbox)
            if length > _LONGEST_PACKET or padding >= length:
                self._ended = True
                return
            if len(self._inbox) < length + 4:
                return
            payload = bytes(self._inbox[5 : 4 + length - padding])
            del self._inbox[: 4 + length]
            self._take(payload)

    def _take(self, payload: bytes) -> None:
        kind = payload[0] if payload else 0
        if kind == _KEXINIT:
            if _KEY_TYPE not in _second_list(payload):
                text = b"no matching host key type"
                reason = struct.pack(">I", 3) + _string(text) + _string(b"")
                self._outbox += _packet(bytes([_DISCONNECT]) + reason)
                self._ended = True
        elif kind == _ECDH_INIT:
            theirs = payload[5:37]
            ours = hashlib.sha256(self._key + theirs).digest()
            signature = _string(_KEY_TYPE) + _string(ours + ours)
            body = _string(host_key_blob(self._key)) + _string(ours) + _string(signature)
            self._outbox += _packet(bytes([_ECDH_REPLY]) + body) + _packet(bytes([_NEWKEYS]))
        elif kind == _DISCONNECT:
            self._ended = True


def _second_list(kexinit: bytes) -> list[bytes]:
    """The host key types of a KEXINIT: the list behind the one of key exchanges."""
    try:
        (first,) = struct.unpack_from(">I", kexinit, 17)
        (second,) = struct.unpack_from(">I", kexinit, 21 + first)
    except struct.error:
        return []
    return kexinit[25 + first : 25 + first + second].split(b",")
