"""A daemon's core between two simulated clouds, the first of which can be made bad in many ways."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import httpx
import structlog.testing
import trio
import yaml

from trellis.accounts import Accounts
from trellis.config import Configuration, parse
from trellis.control.core import Core, run_core
from trellis.http import TransportFactory, TransportSettings
from trellis.model.names import NodeId, RequestId
from trellis.model.node import NodeState
from trellis.model.request import Ask, NodeRequest, RequestState
from trellis.model.status import Health, ProviderStatus
from trellis.openstack.clouds import CloudConfig, read_clouds
from trellis.sim.cloud.cloud import SimCloud, connector
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import CloudSpec
from trellis.sim.cloud.transport import SimTransport
from trellis.sim.simulate import builtin_types
from trellis.spi.registry import DemandSourceRegistry, ProviderRegistry
from trellis.store.simulated import SimulatedLog
from trellis.world import World
from trellis.zookeeper.opening import open_session
from trellis.zookeeper.session import OpenSession

EPOCH = 1_767_225_600.0
MINUTE = 60.0

Carry = Callable[[httpx.Request], Awaitable[httpx.Response]]
Meddle = Callable[[httpx.Request, Carry], Awaitable[httpx.Response]]

CONFIGURATION = """
deployment: stage
labels: [{name: small}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    pools: &pools
      - name: main
        max-servers: 10
        labels: [{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]
  - {name: beta, type: openstack, cloud: beta, pools: *pools}
"""


def wall() -> float:
    return EPOCH + trio.current_time()


class Meddler(httpx.AsyncBaseTransport):
    """The wires to a cloud, with somebody on them if the stage says so."""

    def __init__(self, stage: "Stage", cloud: str) -> None:
        self._stage, self._cloud = stage, cloud
        self._inner = SimTransport(stage.clouds[cloud])
        stage.open_wires += 1

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._stage.calls.append((self._cloud, request.method, request.url.path))
        meddle = self._stage.meddle if self._cloud == "alpha" else None
        if meddle is None:
            return await self._inner.handle_async_request(request)
        return await meddle(request, self._inner.handle_async_request)

    async def aclose(self) -> None:
        self._stage.open_wires -= 1


class Stage:
    """Two clouds, alpha and beta, and a clouds.yaml that names them.

    Attributes:
        wall: the wall clock of the daemon's host; the clouds have one that is right.
        seed: of the daemon's chance.
        zookeeper: opens the daemon's sessions with ZooKeeper.
        meddle: what sits on alpha's wires; None lets all calls through.
        calls: all calls made: cloud, method, path.
        entry: alpha's in clouds.yaml; `write` puts it there, without it if it is None.
    """

    def __init__(
        self,
        folder: Path,
        *,
        alpha: CloudSpec | None = None,
        configuration: str = CONFIGURATION,
        types: ProviderRegistry | None = None,
        sources: DemandSourceRegistry | None = None,
    ) -> None:
        self.types, self.sources = types or builtin_types(), sources
        alpha = alpha or CloudSpec(name="alpha")
        self.clouds = {
            "alpha": SimCloud(alpha, wall=wall, random=Random(1)),
            "beta": SimCloud(CloudSpec(name="beta", number=1), wall=wall, random=Random(2)),
        }
        self.wall: Callable[[], float] = wall
        self.seed = 4
        self.zookeeper: OpenSession = open_session
        self.meddle: Meddle | None = None
        self.calls: list[tuple[str, str, str]] = []
        self.open_wires = 0
        self.events: list[MutableMapping[str, Any]] = []
        self.core: Core | None = None
        self.configuration = configuration
        self.log = SimulatedLog(Random(3))
        self._file = folder / "clouds.yaml"
        self._others = {"beta": _entry(self.clouds["beta"])}
        self.entry: dict[str, Any] | None = _entry(self.clouds["alpha"])
        self.write()

    @property
    def alpha(self) -> SimCloud:
        return self.clouds["alpha"]

    def write(self) -> None:
        """Write clouds.yaml as the entries are now."""
        mine = {} if self.entry is None else {"alpha": self.entry}
        self._file.write_text(yaml.safe_dump({"clouds": mine | self._others}))

    def read(self, name: str, region: str | None, *, profile: str | None = None) -> CloudConfig:
        profiles = {name: found.entry for name, found in self.types.profiles().items()}
        clouds = read_clouds({"OS_CLIENT_CONFIG_FILE": str(self._file)}, profiles=profiles)
        return clouds.get(name, region, profile=profile)

    @asynccontextmanager
    async def running(self, transports: TransportFactory | None = None) -> AsyncIterator[Core]:
        """Run the core; its log is caught in `events`. Run again, it is a restart."""
        registry, configuration = self.types, self._parsed()
        world = World(
            wall=self.wall,
            random=Random(self.seed),
            connect=connector(self.clouds.values()),
            transport=transports or self.wires,
            zookeeper=self.zookeeper,
        )
        accounts = Accounts(
            read=self.read,
            registry=registry,
            deployment=configuration.deployment,
            world=world,
            configs=configuration.providers,
        )
        with structlog.testing.capture_logs() as self.events:
            async with run_core(
                configuration,
                world=world,
                record_log=self.log,
                accounts=accounts,
                sources=self.sources,
            ) as core:
                self.core = core
                yield core
        self.log = self.log.reopen()

    def _parsed(self) -> Configuration:
        return parse(
            self.configuration,
            self.types,
            None,
            self.sources,
            file="stage",
            folder=self._file.parent,
        ).configuration

    async def take_up(self, configuration: str) -> None:
        """Have the running core work by another configuration."""
        assert self.core is not None
        self.configuration = configuration
        await self.core.take_up(self._parsed())

    def wires(self, settings: TransportSettings) -> httpx.AsyncBaseTransport:
        return Meddler(self, settings.cloud)

    # ------------------------------------------------------------------------ what is seen

    def status(self, name: str = "alpha") -> ProviderStatus:
        assert self.core is not None
        return self.core.operator.provider(name)

    async def becomes(
        self, health: Health, name: str = "alpha", within_s: float = 15 * MINUTE
    ) -> ProviderStatus:
        """Wait until a provider's health is this."""
        ends_at = trio.current_time() + within_s
        while (status := self.status(name)).health is not health:
            told = f"{name} is {status.health.value}: {status.reason}"
            assert trio.current_time() < ends_at, told
            await trio.sleep(1.0)
        return status

    async def gone(self, node_id: NodeId, within_s: float = 20 * MINUTE) -> None:
        """Wait until a node is gone."""
        assert self.core is not None
        ends_at = trio.current_time() + within_s
        while (node := await self.core.operator.node(node_id)).state is not NodeState.GONE:
            assert trio.current_time() < ends_at, f"node {node_id} is {node.state.value}"
            await trio.sleep(1.0)

    def health_told(self, health: Health, name: str = "alpha") -> list[str]:
        """The reasons given in the log whenever a provider became this."""
        return [
            event["reason"]
            for event in self.events
            if event["event"] == "provider_health"
            and (event["provider"], event["health"]) == (name, health.value)
        ]

    def created(self, name: str = "alpha") -> int:
        return len(self.clouds[name].ledger.of(What.SERVER_CREATED))

    def logins(self) -> list[tuple[str, str, str]]:
        """The attempts to log in at alpha, right or wrong."""
        return [c for c in self.calls if c[0] == "alpha" and c[2].endswith("/auth/tokens")]

    # --------------------------------------------------------------------- what is asked

    async def ask(
        self, provider: str | None = None, labels: tuple[str, ...] = ("small",)
    ) -> RequestId:
        assert self.core is not None
        ask = Ask(labels=labels, requestor="test", provider=provider)
        return (await self.core.port.submit(ask)).id

    async def served(self, request_id: RequestId, within_s: float = 15 * MINUTE) -> NodeRequest:
        """Wait until a request is fulfilled."""
        assert self.core is not None
        request = await self.core.port.request(request_id)
        with trio.move_on_after(within_s):
            request = await self.core.port.wait(request_id)
        assert RequestState.FULFILLED is request.state, (
            await self.core.port.explain_request(request_id)
        ).words
        return request

    async def release(self, request: NodeRequest) -> None:
        assert self.core is not None
        assert request.lease_id is not None
        await self.core.port.release(request.lease_id)


def _entry(cloud: SimCloud) -> dict[str, Any]:
    credentials = cloud.spec.credentials
    return {
        "auth_type": "v3password",
        "region_name": "RegionOne",
        "auth": {
            "auth_url": cloud.auth_url,
            "username": credentials.username,
            "password": credentials.password,
            "user_domain_name": credentials.user_domain,
            "project_name": credentials.project,
            "project_domain_name": credentials.project_domain,
        },
    }


# ------------------------------------------------------------------------ bad wires


def refused(*paths: str) -> Meddle:
    """Nobody listens there."""

    async def meddle(request: httpx.Request, carry: Carry) -> httpx.Response:
        if not _concerned(request, paths):
            return await carry(request)
        await trio.lowlevel.checkpoint()
        raise httpx.ConnectError("[Errno 111] Connection refused", request=request)

    return meddle


def hanging(*paths: str) -> Meddle:
    """Calls are taken and never answered."""

    async def meddle(request: httpx.Request, carry: Carry) -> httpx.Response:
        if not _concerned(request, paths):
            return await carry(request)
        await trio.sleep_forever()
        raise AssertionError

    return meddle


def answering(status: int, body: bytes, *paths: str, **headers: str) -> Meddle:
    """The same answer whatever is asked."""

    async def meddle(request: httpx.Request, carry: Carry) -> httpx.Response:
        if not _concerned(request, paths):
            return await carry(request)
        await trio.sleep(0.05)
        return httpx.Response(status, content=body, headers=headers, request=request)

    return meddle


def rewriting(change: Callable[[bytes], bytes], *paths: str) -> Meddle:
    """Answers that are good but for what *change* does to their bodies."""

    async def meddle(request: httpx.Request, carry: Carry) -> httpx.Response:
        response = await carry(request)
        if response.status_code >= 300 or not _concerned(request, paths):
            return response
        headers = [(k, v) for k, v in response.headers.items() if k != "content-length"]
        body = change(await response.aread())
        return httpx.Response(response.status_code, content=body, headers=headers, request=request)

    return meddle


def in_the_token(change: Callable[[dict[str, Any]], None]) -> Meddle:
    """Tokens are given out with other contents."""

    def rewrite(body: bytes) -> bytes:
        found = json.loads(body)
        if "token" in found:
            change(found["token"])
        return json.dumps(found).encode()

    return rewriting(rewrite, "/auth/tokens")


def _concerned(request: httpx.Request, paths: tuple[str, ...]) -> bool:
    return not paths or any(path in request.url.path for path in paths)
