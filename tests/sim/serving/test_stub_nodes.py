"""Stub nodes: each server answers at its own address on loopback, and only while it is up."""

import socket

import pytest
import trio
from served import clouds_of, spec_of

from trellis.control.ssh_scan import NotReachableError, scan
from trellis.sim.cloud import Lognormal, NetworkSpec, floating_networks
from trellis.sim.serving import stub_nodes
from trellis.sim.serving.stub_nodes import StubNodes

TWO_NETS = (NetworkSpec(name="front", external=True), NetworkSpec(name="back", external=True))


async def key_at(host: str, port: int) -> str:
    with trio.fail_after(10.0):
        (key,) = await scan(trio.open_tcp_stream, host, port, kinds=["ed25519"])
    return key


async def test_every_server_has_its_own_address_and_key(tmp_path):
    """Two clouds, two regions, two networks: no address is used twice, and each has its key."""
    specs = (
        spec_of("one", regions=("a", "b"), networks=TWO_NETS),
        spec_of("two", networks=TWO_NETS, number=1),
    )
    async with clouds_of(tmp_path, *specs, machines=StubNodes()) as clouds:
        found: dict[str, str] = {}
        for name, region in (("one", "a"), ("one", "b"), ("two", "RegionOne")):
            account = await clouds.account(name, region)
            for network in ("front", "back"):
                server_id = await account.create(network=network)
                (address,) = await account.addresses(server_id)
                found[address] = await key_at(address, clouds.served.ssh_port)

    assert len(found) == len(set(found.values())) == 6
    assert all(address.startswith("127.") for address in found)


async def test_a_guest_that_has_not_booted_refuses(tmp_path):
    """A reset at once, as from a host where nothing listens yet."""
    spec = spec_of(guest=Lognormal(600.0, 600.0))
    async with clouds_of(tmp_path, spec, machines=StubNodes()) as clouds:
        account = await clouds.account()
        (address,) = await account.addresses(await account.create())
        with pytest.raises(NotReachableError, match=r"reset|broken off|hung up"):
            await key_at(address, clouds.served.ssh_port)


async def test_nothing_answers_where_no_server_is(tmp_path):
    """Neither at a free address nor at that of a server that is gone."""
    async with clouds_of(tmp_path, machines=StubNodes()) as clouds:
        account = await clouds.account()
        server_id = await account.create()
        (address,) = await account.addresses(server_id)
        await account.call("DELETE", f"/compute/v2.1/servers/{server_id}")
        for host in (address, "127.0.0.1"):
            with pytest.raises(NotReachableError):
                await key_at(host, clouds.served.ssh_port)


async def test_a_private_network_is_reached_by_a_floating_ip_only(tmp_path):
    """Its own addresses are not on loopback; the floating one is."""
    spec = spec_of(networks=floating_networks())
    async with clouds_of(tmp_path, spec, machines=StubNodes()) as clouds:
        account = await clouds.account()
        server_id = await account.create(network="ci-net")
        (fixed,) = await account.addresses(server_id)
        (port,) = (await account.call("GET", "/network/v2.0/ports")).json()["ports"]
        wanted = {"floating_network_id": await account.network("public"), "port_id": port["id"]}
        made = await account.call("POST", "/network/v2.0/floatingips", json={"floatingip": wanted})
        floating = made.json()["floatingip"]["floating_ip_address"]
        key = await key_at(floating, clouds.served.ssh_port)

    assert fixed.startswith("10.")
    assert floating.startswith("127.")
    assert key.startswith("ssh-ed25519 ")


async def test_a_connection_breaks_when_its_server_dies(tmp_path):
    """Whoever talks to it notices; the other nodes go on."""
    async with clouds_of(tmp_path, machines=StubNodes()) as clouds:
        account = await clouds.account()
        server_id = await account.create()
        (address,) = await account.addresses(server_id)
        async with await trio.open_tcp_stream(address, clouds.served.ssh_port) as stream:
            banner = await stream.receive_some(100)
            await clouds.say(f"one/servers/{server_id}", do="remove")
            await stream.send_all(b"SSH-2.0-test\r\n")
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some(100)

    assert banner.startswith(b"SSH-2.0-")


def test_it_listens_on_loopback_only():
    """At every address, and bound to the one interface that leads nowhere."""
    with stub_nodes._listener(0).socket as sock:
        device = sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)

    assert device.rstrip(b"\0") == b"lo"
