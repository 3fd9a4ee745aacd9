"""Connections on loopback: kept, evicted, expired, given back."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import certifi
import httpx
import pytest
import trio
from scripted import a_call

from trellis.errors import AnswerLostError, ConfigError, UnreachableError
from trellis.http import Road, TransportSettings, lane_transports
from trellis.http.lanes import LaneTransport
from trellis.http.transport import tls_context

TLS = tls_context(TransportSettings())


class Server:
    """Answers every request on a connection with 200, after *slow* seconds."""

    def __init__(self) -> None:
        self.slow = 0.0
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.deserted = trio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def handle(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            pending = b""
            async for data in stream:
                pending += data
                while b"\r\n\r\n" in pending:
                    pending = pending.partition(b"\r\n\r\n")[2]
                    await trio.sleep(self.slow)
                    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        except trio.BrokenResourceError:
            pass
        finally:
            self.open -= 1
            if not self.open:
                self.deserted.set()


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listener.socket.getsockname()[1]
        await nursery.start(trio.serve_listeners, server.handle, [listener])
        yield server
        nursery.cancel_scope.cancel()


async def get(transport: LaneTransport, url: str) -> None:
    response = await transport.handle_async_request(httpx.Request("GET", url))
    await response.aread()
    await response.aclose()


async def test_sequential_calls_share_one_connection():
    """Last in, first out: one lane stays warm."""
    async with serving() as server, LaneTransport(10, tls=TLS) as transport:
        for _ in range(5):
            await get(transport, server.url)

        assert server.connections == 1
        assert (transport.statistics.open, transport.statistics.idle) == (1, 1)


async def test_never_more_connections_than_lanes():
    """Sixty tasks on three lanes are all served."""
    async with serving() as server, LaneTransport(3, tls=TLS) as transport:
        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(get, transport, server.url)

        assert server.most_open == 3
        assert transport.statistics.borrowed == 0


async def test_another_origin_evicts_the_oldest_idle_lane():
    """Lanes are counted over all origins together."""
    async with serving() as one, serving() as two, LaneTransport(2, tls=TLS) as transport:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get, transport, one.url)
            nursery.start_soon(get, transport, one.url)
        await get(transport, two.url)
        await get(transport, two.url)

        assert transport.statistics.open == 2
        assert two.connections == 1


async def test_idle_lanes_are_reaped_when_they_expire(mock_clock):
    """A call closes what nobody has used for long."""
    mock_clock.rate = 0.0
    async with serving() as server, LaneTransport(5, tls=TLS, idle_s=30.0) as transport:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(get, transport, server.url)
        before = transport.statistics.open
        mock_clock.jump(31.0)

        await get(transport, server.url)

        assert before == 5
        assert transport.statistics.open == 1


async def test_cancelled_calls_give_their_lanes_back():
    """Half of them cancelled at random moments: nothing is borrowed and all lanes work."""
    chance = random.Random(3)
    async with serving() as server, LaneTransport(5, tls=TLS) as transport:
        server.slow = 0.002

        async def perhaps() -> None:
            with trio.move_on_after(chance.uniform(0.0, 0.1)):
                await get(transport, server.url)

        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(perhaps)
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(get, transport, server.url)

        assert transport.statistics.borrowed == 0
        assert transport.statistics.waiting == 0
        assert transport.statistics.open <= 5


async def test_response_closed_halfway_frees_its_lane():
    """Whoever reads no further may leave."""
    async with serving() as server, LaneTransport(1, tls=TLS) as transport:
        response = await transport.handle_async_request(httpx.Request("GET", server.url))
        await response.aclose()

        await get(transport, server.url)

        assert transport.statistics.borrowed == 0


async def test_waiting_for_a_lane_counts_as_not_sent():
    """A call that never got a connection was certainly not carried out."""
    async with serving() as server, LaneTransport(1, tls=TLS) as transport:
        server.slow = 3600.0
        road = Road("acme", transport, random=random.Random(1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get, transport, server.url)
            await trio.testing.wait_all_tasks_blocked(0.01)
            with pytest.raises(UnreachableError, match="no connection"):
                await road.send(a_call("POST", url=server.url, budget_s=0.05))
            nursery.cancel_scope.cancel()


async def test_hung_after_sending_is_answer_lost():
    """On a new connection and on a kept one: the server may act on it yet."""
    async with serving() as server, LaneTransport(1, tls=TLS) as transport:
        road = Road("acme", transport, random=random.Random(1))
        server.slow = 3600.0
        with pytest.raises(AnswerLostError):
            await road.send(a_call("POST", url=server.url, budget_s=0.1))
        server.slow = 0.0
        await get(transport, server.url)
        server.slow = 3600.0
        with pytest.raises(AnswerLostError):
            await road.send(a_call("POST", url=server.url, budget_s=0.1))


async def test_refused_connection_is_unreachable():
    """Nobody listens on the port."""
    async with serving() as server:
        url = server.url
    transport = lane_transports()(TransportSettings(cloud="acme"))
    road = Road("acme", transport, random=random.Random(1))

    with pytest.raises(UnreachableError, match=r"acme: POST compute .*127\.0\.0\.1"):
        await road.send(a_call("POST", url=url))

    await transport.aclose()


async def test_closing_ends_all_connections():
    """Nothing stays open behind the transport."""
    async with serving() as server:
        transport = LaneTransport(3, tls=TLS)
        await get(transport, server.url)

        await transport.aclose()

        assert transport.statistics.open == 0
        with trio.fail_after(2):
            await server.deserted.wait()


def test_one_context_for_equal_settings(tmp_path):
    """A TLS context costs 40 ms; a changed file of authorities makes a new one."""
    bundle = tmp_path / "ca.pem"
    bundle.write_text(_bundle())
    make = lane_transports()
    settings = TransportSettings(cacert=str(bundle))

    first, second = make(settings), make(settings)
    bundle.write_text(_bundle() + "\n\n")
    third = make(settings)

    assert first._tls is second._tls
    assert first._tls is not third._tls


@pytest.mark.parametrize("key", ["cacert", "cert"])
def test_unusable_tls_file_names_setting_and_path(tmp_path, key):
    """An operator reads which file is wrong."""
    broken = tmp_path / "broken.pem"
    broken.write_text("this is no certificate")

    with pytest.raises(ConfigError, match=f"acme: {key}: .*broken.pem"):
        tls_context(TransportSettings(cloud="acme", **{key: str(broken)}))


def test_missing_tls_file_names_its_path(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.pem .*cannot be read: No such file"):
        lane_transports()(TransportSettings(cloud="acme", cacert=str(tmp_path / "gone.pem")))


def _bundle() -> str:
    """The bundled public authorities' first certificate."""
    text = Path(certifi.where()).read_text(encoding="utf-8")
    end = "-----END CERTIFICATE-----"
    return text[: text.index(end) + len(end)]
