"""The sshd of simulated servers: when it answers, and what a host key scan gets from it."""

import base64
import struct

import pytest
import trio
from cloud_session import cloud_of, session_of

from trellis.control.ssh_scan import scan
from trellis.sim.cloud import Faults, ImageSpec, NetworkSpec, connector, floating_networks
from trellis.sim.cloud.ssh import SshStream, host_key_blob


def string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def packet(payload: bytes) -> bytes:
    padding = 8 - (len(payload) + 5) % 8 + 8
    return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)


def kexinit(kind: bytes) -> bytes:
    lists = [b"curve25519-sha256", kind, *([b"aes128-ctr"] * 2), *([b"hmac-sha2-256"] * 2)]
    lists += [b"none", b"none", b"", b""]
    return packet(b"\x14" + bytes(16) + b"".join(map(string, lists)) + bytes(5))


class Client:
    """As much of an SSH client as reads a host key."""

    def __init__(self, stream: trio.abc.Stream, piece: int) -> None:
        self.stream = stream
        self.piece = piece
        self.said = b""

    async def take(self, count: int) -> bytes:
        while len(self.said) < count:
            more = await self.stream.receive_some(self.piece)
            if not more:
                raise EOFError
            self.said += more
        taken, self.said = self.said[:count], self.said[count:]
        return taken

    async def banner(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            line += await self.take(1)
        return line

    async def packet(self) -> bytes:
        length, padding = struct.unpack(">IB", await self.take(5))
        assert (length + 4) % 8 == 0
        return (await self.take(length - 1))[: length - 1 - padding]


async def scanned(stream: trio.abc.Stream, kind: bytes = b"ssh-ed25519", piece: int = 4096):
    """The host key blob, or None if the server has none of this kind."""
    client = Client(stream, piece)
    assert (await client.banner()).startswith(b"SSH-2.0-")
    for part in (b"SSH-2.0-test\r\n", kexinit(kind), packet(b"\x1e" + string(bytes(32)))):
        for place in range(0, len(part), piece):
            try:
                await stream.send_all(part[place : place + piece])
            except trio.BrokenResourceError:
                break
    answers = [await client.packet()]
    answers.append(await client.packet())
    if answers[1][0] == 1:
        return None
    assert (answers[0][0], answers[1][0]) == (20, 31)
    (count,) = struct.unpack_from(">I", answers[1], 1)
    return answers[1][5 : 5 + count]


class TestScan:
    @pytest.mark.parametrize("piece", [1, 7, 4096])
    async def test_the_servers_own_key_is_found(self, autojump_clock, piece):
        """The key exchange names the server's key, in whatever pieces it goes over the wire."""
        stream = SshStream(b"k" * 32, lambda: True)

        assert await scanned(stream, piece=piece) == host_key_blob(b"k" * 32)

    async def test_the_daemons_own_scanner_reads_it(self, autojump_clock):
        """What Trellis scans is what the cloud says the server has."""
        async with session_of(cloud_of()) as session:
            server_id = await session.create_active()
            await trio.sleep(3)
            (host,) = session.cloud.servers()[0].addresses

            keys = await scan(session.cloud.connect, host, 22)
            blob = host_key_blob(session.cloud.host_key(server_id))
            assert keys == (f"ssh-ed25519 {base64.b64encode(blob).decode()}",)

    async def test_there_is_no_key_of_another_kind(self, autojump_clock):
        """A client that wants another kind of key is hung up on with the reason."""
        stream = SshStream(b"k" * 32, lambda: True)

        assert await scanned(stream, kind=b"ssh-rsa") is None

    async def test_one_who_speaks_no_ssh_is_hung_up_on(self, autojump_clock):
        """An HTTP client learns that it is in the wrong place."""
        stream = SshStream(b"k" * 32, lambda: True)
        await stream.receive_some()
        await stream.send_all(b"GET / HTTP/1.1\r\n")

        assert b"Invalid SSH" in await stream.receive_some()
        assert await stream.receive_some() == b""

    async def test_a_blob_is_what_known_hosts_has(self):
        """The key in base64 begins as every ed25519 key does."""
        text = base64.b64encode(host_key_blob(bytes(32))).decode()
        assert text.startswith("AAAAC3NzaC1lZDI1NTE5AAAAI")


class TestReach:
    async def test_the_guest_refuses_until_it_has_booted(self, autojump_clock):
        """ACTIVE is not booted: connections are refused for the guest's boot time."""
        async with session_of(cloud_of()) as session:
            server_id = await session.create_active()
            (server,) = session.cloud.servers()
            (host,) = server.addresses
            with pytest.raises(ConnectionRefusedError):
                await session.cloud.connect(host, 22)
            await trio.sleep(3)
            stream = await session.cloud.connect(host, 22)

            key = session.cloud.host_key(server_id)
            assert await scanned(stream) == host_key_blob(key)
            with pytest.raises(ConnectionRefusedError):
                await session.cloud.connect(host, 80)

    async def test_a_guest_may_never_answer(self, autojump_clock):
        """ACTIVE for ever and refused for ever."""
        async with session_of(cloud_of(faults=Faults(no_ssh=1.0))) as session:
            await session.create_active()
            await trio.sleep(10_000)
            (server,) = session.cloud.servers()
            with pytest.raises(ConnectionRefusedError):
                await session.cloud.connect(server.addresses[0], 22)

    async def test_a_deleted_server_breaks_its_connections(self, autojump_clock):
        """A connection does not outlive the server, and its address leads nowhere."""
        async with session_of(cloud_of()) as session:
            server_id = await session.create_active()
            await trio.sleep(3)
            (host,) = session.cloud.servers()[0].addresses
            stream = await session.cloud.connect(host, 22)
            session.cloud.remove_server(server_id)

            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
            with pytest.raises(OSError, match="no server at"):
                await session.cloud.connect(host, 22)
            assert not session.cloud.has_address(host)

    async def test_a_private_address_is_reached_by_its_floating_ip_only(self, autojump_clock):
        """Behind a router the fixed address leads nowhere, the floating one to the server."""
        async with session_of(cloud_of(networks=floating_networks())) as session:
            server_id = await session.create_active()
            await trio.sleep(3)
            fixed = session.cloud.servers()[0].addresses[0]
            port_id = await session.port_of(server_id)
            answer = await session.floating_ip(port_id=port_id)
            floating = answer.json()["floatingip"]["floating_ip_address"]

            assert not session.cloud.has_address(fixed)
            stream = await session.cloud.connect(floating, 22)
            key = session.cloud.host_key(server_id)
            assert await scanned(stream) == host_key_blob(key)

    @pytest.mark.parametrize("baked", [True, False])
    async def test_keys_are_each_servers_own_unless_baked_into_the_image(
        self, autojump_clock, baked
    ):
        """Two servers share a host key exactly when their image has one."""
        images = (ImageSpec(name="tiny", baked_host_key=baked),)
        async with session_of(cloud_of(images=images)) as session:
            keys = [session.cloud.host_key(await session.create(name)) for name in ("a", "b")]
            assert (keys[0] == keys[1]) is baked

    async def test_one_connector_serves_several_clouds(self, autojump_clock):
        """Each address leads to the cloud that has it."""
        one, two = cloud_of(name="one"), cloud_of(name="two", number=1)
        connect = connector([one, two])
        async with session_of(one), session_of(two) as session:
            server_id = await session.create_active()
            await trio.sleep(3)
            stream = await connect(two.servers()[0].addresses[0], 22)

            assert await scanned(stream) == host_key_blob(two.host_key(server_id))
            with pytest.raises(OSError, match="no server at"):
                await connect("192.0.2.1", 22)

    def test_clouds_with_the_same_addresses_are_refused(self):
        """The error says what to change."""
        net = (NetworkSpec(name="flat", reachable=True, cidr="100.64.9.0/24"),)
        with pytest.raises(ValueError, match="give their specs different numbers"):
            connector([cloud_of(name="one"), cloud_of(name="two", networks=net)])
