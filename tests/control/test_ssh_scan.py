import base64
import contextlib
import gc
import os
import random
import re
import shutil
import struct
import subprocess
import weakref
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from trellis.control.ssh_scan import KINDS, NotReachableError, scan

SSHD = Path("/usr/sbin/sshd")
NAMES = {"ed25519": "ssh-ed25519", "ecdsa": "ecdsa-sha2-nistp256", "rsa": "ssh-rsa"}


def string(data):
    return struct.pack(">I", len(data)) + data


def blob_of(name, secret=b"k"):
    return string(name.encode()) + string(secret * 32)


def line_of(name, secret=b"k"):
    return f"{name} {base64.b64encode(blob_of(name, secret)).decode()}"


def packet(payload, padding=6):
    return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)


class FakeSshd:
    """The server's half of RFC 4253 as far as the reply that carries the host key.

    It reads strictly: wrong order, wrong framing or a public value of the wrong size fails the
    test through its nursery.
    """

    def __init__(
        self,
        algorithms=("rsa-sha2-512", "ecdsa-sha2-nistp256", "ssh-ed25519"),
        exchanges=("sntrup761x25519-sha512", "curve25519-sha256"),
        before_banner=b"",
        before_reply=b"",
        gives=None,
        withholds=(),
    ):
        self.algorithms = algorithms
        self.exchanges = exchanges
        self.before_banner = before_banner
        self.before_reply = before_reply
        self.gives = gives
        self.withholds = withholds
        self.asked = []
        self.public_values = []
        self.hellos = []

    async def serve(self, stream):
        async with stream:
            await stream.send_all(self.before_banner + b"SSH-2.0-Fake_1.0\r\n")
            unread = bytearray()

            async def exactly(count):
                while len(unread) < count:
                    data = await stream.receive_some(count - len(unread))
                    if not data:
                        raise EOFError
                    unread.extend(data)
                taken = bytes(unread[:count])
                del unread[:count]
                return taken

            async def message():
                length, padding = struct.unpack(">IB", await exactly(5))
                assert (length + 4) % 8 == 0
                assert padding >= 4
                return (await exactly(length - 1))[: length - 1 - padding]

            async def take_line():
                line = b""
                while not line.endswith(b"\n"):
                    line += await exactly(1)
                return line

            try:
                self.hellos.append(await take_line())
                theirs = await message()
                assert theirs[0] == 20
                lists = []
                rest = theirs[17:]
                for _ in range(10):
                    size = struct.unpack(">I", rest[:4])[0]
                    lists.append(rest[4 : 4 + size].decode().split(","))
                    rest = rest[4 + size :]
                assert rest == bytes(5)
                names = [self.exchanges, self.algorithms, ["aes128-ctr"], ["aes128-ctr"]]
                names += [["hmac-sha2-256"]] * 2 + [["none"]] * 2 + [[], []]
                body = b"".join(string(",".join(n).encode()) for n in names)
                await stream.send_all(packet(b"\x14" + bytes(16) + body + bytes(5)))
                chosen = next((a for a in lists[1] if a in self.algorithms), None)
                exchange = next((e for e in lists[0] if e in self.exchanges), None)
                if chosen is None or exchange is None:
                    text = string(b"no matching host key type found")
                    await stream.send_all(packet(b"\x01" + bytes(4) + text + string(b"")))
                    return
                self.asked.append(chosen)
                ask = await message()
                if chosen in self.withholds:
                    return
                assert ask[0] == 30
                self.public_values.append((exchange, ask[5:]))
                assert struct.unpack(">I", ask[1:5])[0] == len(ask) - 5
                name = self.gives or ("ssh-rsa" if chosen.startswith("rsa-") else chosen)
                reply = b"\x1f" + string(blob_of(name)) + string(b"f" * 32) + string(b"s" * 64)
                await stream.send_all(self.before_reply + packet(reply))
                await stream.receive_some(1)
            except (EOFError, trio.BrokenResourceError):
                pass  # the client may hang up at any moment: that is its right


class Trickle(trio.abc.HalfCloseableStream):
    """A stream on which a byte arrives every 0.1 s."""

    def __init__(self, inner):
        self.inner = inner
        self.send_all = inner.send_all
        self.send_eof = inner.send_eof
        self.aclose = inner.aclose
        self.wait_send_all_might_not_block = inner.wait_send_all_might_not_block

    send_all = send_eof = aclose = wait_send_all_might_not_block = None

    async def receive_some(self, max_bytes=None):
        await trio.sleep(0.1)
        return await self.inner.receive_some(1)


@pytest.fixture
def connect_to(nursery):
    """Turn a server's `serve(stream)` into the seam through which `scan` opens connections."""

    def connect_to(serve):
        async def connect(host, port):
            ours, theirs = trio.testing.memory_stream_pair()
            connect.made += 1
            connect.streams.append(ours)
            nursery.start_soon(serve, theirs)
            return ours

        connect.made = 0
        connect.streams = []
        return connect

    return connect_to


def saying(*chunks, hang=False):
    """A server that says this, whatever it hears, and hangs up (or never)."""

    async def serve(stream):
        async with stream:
            try:
                for chunk in chunks:
                    await stream.send_all(chunk)
                if hang:
                    await trio.sleep_forever()
            except trio.BrokenResourceError:
                pass

    return serve


class TestHostKeys:
    async def test_all_kinds_are_read_in_the_order_asked(self, connect_to):
        """The answer has a line for each kind, in the order of `kinds`, one connection each."""
        connect = connect_to(FakeSshd().serve)

        keys = await scan(connect, "node", 22)

        assert keys == tuple(line_of(NAMES[kind]) for kind in KINDS)
        assert connect.made == 3

    async def test_a_kind_the_server_lacks_costs_no_connection(self, connect_to):
        """What the first connection shows to be missing is not asked for again."""
        sshd = FakeSshd(algorithms=["rsa-sha2-256"])
        connect = connect_to(sshd.serve)

        keys = await scan(connect, "node", 22)

        assert keys == (line_of("ssh-rsa"),)
        assert sshd.asked == ["rsa-sha2-256"]
        assert connect.made == 1

    async def test_one_kind_costs_one_connection(self, connect_to):
        """A caller that wants one kind gets that one alone."""
        connect = connect_to(FakeSshd().serve)

        keys = await scan(connect, "node", 22, kinds=["ecdsa"])

        assert keys == (line_of("ecdsa-sha2-nistp256"),)
        assert connect.made == 1

    @pytest.mark.parametrize(
        ("exchange", "size"),
        [
            ("curve25519-sha256", 32),
            ("curve25519-sha256@libssh.org", 32),
            ("ecdh-sha2-nistp256", 65),
            ("diffie-hellman-group14-sha256", 256),
            ("diffie-hellman-group14-sha1", 256),
        ],
    )
    async def test_every_exchange_sends_a_value_of_its_own_size(self, connect_to, exchange, size):
        """Our half of each key exchange has the length that the exchange prescribes."""
        sshd = FakeSshd(exchanges=[exchange])

        await scan(connect_to(sshd.serve), "node", 22, kinds=["ed25519"])

        [(used, value)] = sshd.public_values
        assert used == exchange
        assert len(value) == size

    async def test_chatter_before_banner_and_reply_is_skipped(self, connect_to):
        """Lines before the banner, and ignore and debug messages, change nothing."""
        chatter = packet(b"\x02" + string(b"x")) + packet(b"\x04\x00" + string(b"y") + string(b""))
        sshd = FakeSshd(before_banner=b"welcome\r\nto us\n", before_reply=chatter)

        keys = await scan(connect_to(sshd.serve), "node", 22, kinds=["ed25519"])

        assert keys == (line_of("ssh-ed25519"),)

    async def test_the_same_seed_sends_the_same_bytes(self, connect_to):
        """With injected entropy a run can be repeated byte for byte."""
        sshd = FakeSshd()
        for _ in range(2):
            entropy = random.Random(7).randbytes
            await scan(connect_to(sshd.serve), "node", 22, kinds=["ed25519"], entropy=entropy)

        assert sshd.public_values[0] == sshd.public_values[1]

    async def test_a_slow_server_is_waited_for(self, connect_to, autojump_clock):
        """Bytes that trickle in one by one still make a key; time is the caller's affair."""

        connect = connect_to(FakeSshd().serve)

        async def connect_slowly(host, port):
            return Trickle(await connect(host, port))

        keys = await scan(connect_slowly, "node", 22, kinds=["ed25519"])

        assert keys == (line_of("ssh-ed25519"),)
        assert trio.current_time() > 10

    @pytest.mark.parametrize("kinds", [["dsa"], []])
    async def test_kinds_that_do_not_exist_are_a_bug_of_the_caller(self, connect_to, kinds):
        """A name that is none of `KINDS`, or no name, is refused before any connection."""
        connect = connect_to(FakeSshd().serve)

        with pytest.raises(ValueError, match="ed25519"):
            await scan(connect, "node", 22, kinds=kinds)

        assert connect.made == 0


class TestNoHostKeys:
    @pytest.mark.parametrize(
        ("serve", "says"),
        [
            (saying(), "without a word|broken off"),
            (saying(b"Exceeded MaxStartups\r\n"), "Exceeded MaxStartups"),
            (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 400), "HTTP/1.1 400"),
            (saying(bytes(9000)), "no SSH banner"),
            (saying(b"SSH-1.5-ancient\r\n" * 600), "SSH-1.5"),
            (saying(b"SSH-2.0-x\r\n"), "hung up"),
            (saying(b"SSH-2.0-x\r\n", struct.pack(">IB", 2**31, 4)), "2147483648 bytes"),
            (saying(b"SSH-2.0-x\r\n", struct.pack(">IB", 36_000, 4)), "36000 bytes"),
            (saying(b"SSH-2.0-x\r\n", struct.pack(">IB", 4, 200)), "200 of them padding"),
            (saying(b"SSH-2.0-x\r\n", struct.pack(">IB", 0, 0)), "packet of 0 bytes"),
            (saying(b"SSH-2.0-x\r\n", packet(b"\x14" + bytes(10))), "cut short"),
            (saying(b"SSH-2.0-x\r\n", packet(b"\x14" + bytes(16) + b"\xff" * 8)), "cut short"),
            (saying(b"SSH-2.0-x\r\n", packet(b"\x32")), "message 50 where 20 was due"),
            (saying(b"SSH-2.0-x\r\n", packet(b"\x01" + bytes(4) + string(b"busy"))), "busy"),
            (saying(b"SSH-2.0-x\r\n", *[packet(b"\x02" + bytes(30_000))] * 6), "140000 bytes"),
        ],
    )
    async def test_what_is_no_ssh_is_one_plain_error(self, connect_to, serve, says):
        """Whatever a server sends in SSH's place, the error is ours and says what was seen."""
        connect = connect_to(serve)

        with pytest.raises(NotReachableError, match="SSH at node port 2222") as caught:
            await scan(connect, "node", 2222)

        assert re.search(says, str(caught.value))
        assert connect.made == 1

    async def test_a_refused_connection_is_the_same_error(self):
        """An OSError of the way to the node comes out as the one error, with its text."""

        async def connect(host, port):
            raise ConnectionRefusedError(111, "Connection refused")

        with pytest.raises(NotReachableError, match="refused"):
            await scan(connect, "node", 22)

    async def test_a_refused_connection_leaves_nothing_to_collect(self):
        """Guests are looked at many times while they boot: each error goes with its frames."""

        class RefusedError(ConnectionRefusedError):
            """As Python's own, which cannot be watched."""

        left = []

        def refused():
            error = RefusedError(111, "Connection refused")
            left.append(weakref.ref(error))
            return error

        async def connect(host, port):
            raise refused()

        gc.disable()
        try:
            # Not by pytest.raises, which keeps the error.
            with contextlib.suppress(NotReachableError):
                await scan(connect, "node", 22)
            assert [error() for error in left] == [None]
        finally:
            gc.enable()

    async def test_nobody_listening_on_loopback(self):
        """The production way to a node, on a port that is closed."""
        with trio.socket.socket() as idle:
            await idle.bind(("127.0.0.1", 0))
            port = idle.getsockname()[1]

            with pytest.raises(NotReachableError, match=f"127.0.0.1 port {port}"):
                await scan(trio.open_tcp_stream, "127.0.0.1", port)

    async def test_a_connection_reset_is_the_same_error(self):
        """A reset in the middle, Trio's BrokenResourceError, is translated too."""

        async def connect(host, port):
            ours, _ = trio.testing.memory_stream_pair()
            ours.receive_stream.receive_some_hook = partial(_reset, ours)
            return ours

        with pytest.raises(NotReachableError, match="Connection reset"):
            await scan(connect, "node", 22)

    async def test_no_wanted_key_names_what_there_is(self, connect_to):
        """A server that has not made its keys yet is not reachable yet."""
        connect = connect_to(FakeSshd(algorithms=["ssh-dss"]).serve)

        with pytest.raises(NotReachableError, match=r"no ed25519 host key.*ssh-dss"):
            await scan(connect, "node", 22, kinds=["ed25519"])

    async def test_no_common_key_exchange_names_what_there_is(self, connect_to):
        """A server with unknown key exchanges only is named with them."""
        connect = connect_to(FakeSshd(exchanges=["future-kex"]).serve)

        with pytest.raises(NotReachableError, match="future-kex"):
            await scan(connect, "node", 22)

    async def test_a_key_of_another_kind_is_refused(self, connect_to):
        """The blob must call itself what was asked for."""
        connect = connect_to(FakeSshd(gives="ssh-dss").serve)

        with pytest.raises(NotReachableError, match="given 'ssh-dss'"):
            await scan(connect, "node", 22, kinds=["ed25519"])

    @pytest.mark.parametrize(
        ("withheld", "found"),
        [
            (("rsa-sha2-512",), ["ssh-ed25519", "ecdsa-sha2-nistp256"]),
            (("ssh-ed25519",), ["ecdsa-sha2-nistp256", "ssh-rsa"]),
            (("ssh-ed25519", "ecdsa-sha2-nistp256"), ["ssh-rsa"]),
        ],
        ids=["rsa", "the first", "the first two"],
    )
    async def test_a_kind_that_is_offered_and_withheld_is_left_out(
        self, connect_to, withheld, found
    ):
        """As Dropbear does with RSA where it has no such key: those that there are count."""
        connect = connect_to(FakeSshd(withholds=withheld).serve)

        keys = await scan(connect, "node", 22)

        assert found == [key.split()[0] for key in keys]

    async def test_a_server_that_withholds_all_it_offers_is_not_reachable(self, connect_to):
        """And the error says what it did."""
        connect = connect_to(FakeSshd(withholds=("ssh-ed25519", "rsa-sha2-512")).serve)

        with pytest.raises(NotReachableError, match=r"Fake_1\.0 hung up when asked for its key"):
            await scan(connect, "node", 22, kinds=["ed25519", "rsa"])

    async def test_failure_of_a_later_connection_is_no_group(self, connect_to):
        """All later connections refused at once: still one plain error."""
        sshd = FakeSshd()
        first = connect_to(sshd.serve)

        async def connect(host, port):
            if first.made:
                raise ConnectionRefusedError("too many")
            return await first(host, port)

        with pytest.raises(NotReachableError, match="too many"):
            await scan(connect, "node", 22)


async def _reset(stream):
    await stream.aclose()
    raise trio.BrokenResourceError from ConnectionResetError("Connection reset by peer")


class TestCancellation:
    @pytest.mark.parametrize("said", [b"", b"SSH-2.0-x\r\n", b"SSH-2.0-x\r\n\0\0\1\0\4"])
    async def test_the_callers_deadline_ends_it_and_closes_the_connection(
        self, connect_to, autojump_clock, said
    ):
        """A server that falls silent at any point holds nobody beyond his deadline."""
        connect = connect_to(saying(said, hang=True) if said else saying(hang=True))

        with trio.move_on_after(7) as scope:
            await scan(connect, "node", 22)

        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(7)
        [stream] = connect.streams
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some(1)


class TestBanner:
    async def test_a_port_that_is_open_but_no_ssh_is_not_reachable(self, connect_to):
        """An open port is less than an SSH server."""
        with pytest.raises(NotReachableError, match="it hung up after 'nope'"):
            await scan(connect_to(saying(b"nope\r\n")), "node", 22)


@pytest.fixture(scope="module")
def host_key_files(tmp_path_factory):
    """Host keys of the three kinds, made by OpenSSH itself."""
    if not SSHD.exists() or not shutil.which("ssh-keygen"):
        pytest.skip(f"needs {SSHD} and ssh-keygen: apt-get install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    files = {}
    for kind in KINDS:
        files[kind] = folder / kind
        command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", files[kind]]
        subprocess.run(command, check=True, capture_output=True)
    return files


@pytest.fixture
async def real_sshd(host_key_files, tmp_path, nursery):
    """A way to a real sshd: in inetd mode, one process a connection, no port and no root."""

    def start(*options, kinds=KINDS):
        config = tmp_path / "sshd_config"
        keys = [f"HostKey {host_key_files[kind]}" for kind in kinds]
        config.write_text("\n".join([*keys, "UsePAM no", "StrictModes no", *options]) + "\n")
        if os.geteuid() == 0:
            # Debian's unit makes this folder; sshd refuses to start as root without it.
            Path("/run/sshd").mkdir(exist_ok=True)

        async def connect(host, port):
            await trio.lowlevel.checkpoint()
            ours, theirs = trio.socket.socketpair()

            async def serve():
                command = [str(SSHD), "-i", "-e", "-f", str(config)]
                with theirs:
                    await trio.run_process(
                        command, stdin=theirs, stdout=theirs, capture_stderr=True, check=False
                    )

            nursery.start_soon(serve)
            return trio.SocketStream(ours)

        return connect

    return start


class TestRealSshd:
    async def test_keys_are_those_on_its_disk(self, real_sshd, host_key_files):
        """All three keys of an unmodified OpenSSH come out as in its .pub files."""
        keys = await scan(real_sshd(), "node", 22)

        on_disk = [host_key_files[k].with_suffix(".pub").read_text().strip() for k in KINDS]
        assert list(keys) == on_disk

    @pytest.mark.parametrize(
        "exchange",
        ["ecdh-sha2-nistp256", "diffie-hellman-group14-sha256", "diffie-hellman-group14-sha1"],
    )
    async def test_every_other_exchange_is_accepted_by_it(
        self, real_sshd, host_key_files, exchange
    ):
        """OpenSSH takes our public value in each of the older key exchanges."""
        connect = real_sshd(f"KexAlgorithms {exchange}")

        [key] = await scan(connect, "node", 22, kinds=["ed25519"])

        assert key == host_key_files["ed25519"].with_suffix(".pub").read_text().strip()

    async def test_missing_kinds_are_left_out(self, real_sshd, host_key_files):
        """A host with an RSA key alone answers with that."""
        keys = await scan(real_sshd(kinds=["rsa"]), "node", 22)

        assert keys == (host_key_files["rsa"].with_suffix(".pub").read_text().strip(),)
