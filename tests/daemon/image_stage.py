"""A daemon between two clouds that have uploads of an image, some of which do not boot."""

import json
from contextlib import aclosing
from pathlib import Path
from random import Random

import attrs
import httpx
import trio

from tests.daemon.stage import EPOCH, MINUTE, Meddler, Stage, wall
from trellis.http import TransportSettings
from trellis.model.image import (
    Artifact,
    Build,
    BuildState,
    Standing,
    Upload,
    UploadState,
    build_id,
    upload_id,
)
from trellis.model.node import Node, NodeState
from trellis.model.records import Change
from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.spec import CloudSpec, ImageSpec, Latency, fixed
from trellis.store.store import Store

IMAGE = "debian"
CONFIGURATION = """
deployment: stage
labels: [{name: small}]
images:
  - {name: debian, rebuild-age: 0, canary-share: 0.1, canary-nodes: 5, canary-quiet: 2h}
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    launch-retries: 100
    pools: &pools
      - name: main
        max-servers: 40
        labels: [{name: small, image: debian, flavor-name: ci-1c-1g}]
  - {name: beta, type: openstack, cloud: beta, pools: *pools}
"""
ALPHA = CloudSpec(
    name="alpha",
    images=tuple(ImageSpec(name=build_id(IMAGE, n)) for n in (1, 2, 3)),
    boot=fixed(8.0),
    guest=fixed(3.0),
    latency=Latency.of(fixed(0.1)),
)
FAULT = "Build of instance aborted: the guest does not start"


class ImageStage(Stage):
    """Builds 1, 2 and 3 are images of both clouds; which of them are uploads a test says.

    Attributes:
        failing: cloud and number of the build whose servers end in ERROR.
        booted: creates that the clouds took: cloud and number of the build.
        requests_failed: launches for a request that failed, by cloud and number of the build.
    """

    def __init__(self, folder: Path, configuration: str = CONFIGURATION) -> None:
        super().__init__(folder, alpha=ALPHA, configuration=configuration)
        beta = attrs.evolve(ALPHA, name="beta", number=1)
        self.clouds["beta"] = SimCloud(beta, wall=wall, random=Random(2))
        self.failing: set[tuple[str, int]] = set()
        self.booted: list[tuple[str, int]] = []

    def wires(self, settings: TransportSettings) -> httpx.AsyncBaseTransport:
        return _Wires(self, settings.cloud)

    def number_of(self, cloud: str, image_id: str) -> int:
        """The number of the build that an image in a cloud is of."""
        names = {image.id: image.name for image in self.clouds[cloud].images()}
        return int(names[image_id][-10:])

    def image_id(self, cloud: str, number: int) -> str:
        return next(
            image.id
            for image in self.clouds[cloud].images()
            if image.name == build_id(IMAGE, number)
        )

    async def recorded(self, *uploads: tuple[str, int, Standing], keep_files: bool = True) -> None:
        """Put builds and uploads on record, as an earlier process would have left them."""
        log = self.log
        async with Store.open(log, deployment="stage", wall=self.wall) as store:
            numbers = dict.fromkeys(number for _, number, _ in uploads)
            changes = [Change(None, _build(number, keep_files)) for number in numbers]
            for attempt, (cloud, number, standing) in enumerate(uploads, 1):
                image_id = self.image_id(cloud, number)
                changes.append(Change(None, _upload(attempt, cloud, number, standing, image_id)))
            await store.commit(changes)
        self.log = log.reopen()

    def upload(self, number: int, provider: str = "alpha") -> Upload:
        """The upload of a build at a provider, as it is on record."""
        assert self.core is not None
        build = build_id(IMAGE, number)
        there = self.core.book.at(provider, IMAGE)
        return next(one for one in there if one.build_id == build)

    def nodes_of(self, number: int, provider: str = "alpha") -> list[Node]:
        """The live nodes that were made from a build."""
        assert self.core is not None
        image_id = self.image_id(provider, number)
        nodes = self.core.fleet.by_provider.get(provider, {}).values()
        return [node for node in nodes if node.shape.image_id == image_id]

    def idle(self, provider: str = "alpha") -> list[Node]:
        assert self.core is not None
        nodes = self.core.fleet.by_provider.get(provider, {}).values()
        return [node for node in nodes if node.state is NodeState.READY]

    async def demand(self, requests: int, *, at_once: int = 10, provider: str = "alpha") -> None:
        """So many requests, one node each, of which so many run at a time; all are served."""
        slots = trio.CapacityLimiter(at_once)

        async def one() -> None:
            async with slots:
                served = await self.served(await self.ask(provider), within_s=40 * MINUTE)
                await self.release(served)

        async with trio.open_nursery() as nursery:
            for _ in range(requests):
                nursery.start_soon(one)

    async def events_of(self, kind: str) -> list[tuple[str, str]]:
        """Subject and reason of all events of a kind so far."""
        assert self.core is not None
        found, last = [], self.core.operator.last_event()
        async with aclosing(self.core.operator.events(0)) as events:
            async for event in events:
                if event.type == kind:
                    found.append((event.subject, event.why))
                if event.id >= last:
                    break
        return found


class _Wires(Meddler):
    """Servers of a bad build end in ERROR once they are made."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        stage, cloud = self._stage, self._cloud
        assert isinstance(stage, ImageStage)
        create = request.method == "POST" and request.url.path.endswith("/servers")
        image_id = json.loads(await request.aread())["server"]["imageRef"] if create else ""
        answer = await super().handle_async_request(request)
        if create and answer.status_code == 202:
            number = stage.number_of(cloud, image_id)
            stage.booted.append((cloud, number))
            if (cloud, number) in stage.failing:
                server_id = json.loads(await answer.aread())["server"]["id"]
                stage.clouds[cloud].fail_server(server_id, FAULT)
        return answer


def _build(number: int, keep_files: bool) -> Build:
    path = f"/images/{number}.qcow2" if keep_files else ""
    return Build(
        id=build_id(IMAGE, number),
        image=IMAGE,
        number=number,
        state=BuildState.READY,
        state_at=EPOCH,
        created_at=EPOCH,
        builder="diskimage-builder",
        formats=("qcow2",),
        recipe="",
        ready_at=EPOCH,
        artifacts=(Artifact(format="qcow2", path=path, size=1, md5="m", sha256="s"),),
    )


def _upload(attempt: int, cloud: str, number: int, standing: Standing, image_id: str) -> Upload:
    build = _build(number, True)
    return Upload(
        id=upload_id(build.id, attempt),
        build_id=build.id,
        image=IMAGE,
        provider=cloud,
        cloud=cloud,
        region="RegionOne",
        artifact=build.artifacts[0],
        name=build.id,
        state=UploadState.READY,
        state_at=EPOCH,
        created_at=EPOCH,
        ready_at=EPOCH,
        external_id=image_id,
        standing=standing,
    )
