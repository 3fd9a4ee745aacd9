"""Choice, trials and acts on records of their own: two providers, and an image called debian."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from random import Random
from types import SimpleNamespace

import attrs
import trio
import trio.testing

from trellis.control.fleet import Fleet
from trellis.control.images.acts import ImageActs
from trellis.control.images.book import ImageBook
from trellis.control.images.choice import Choice
from trellis.control.images.trials import Trials
from trellis.model.image import (
    Artifact,
    Build,
    BuildState,
    ImageRecord,
    Standing,
    Upload,
    UploadState,
    build_id,
    upload_id,
)
from trellis.model.node import Node, NodeState, Resource, ResourceKind
from trellis.model.records import Change
from trellis.spi.config import ImageConfig, PoolConfig, PoolLabelConfig, ProviderConfig
from trellis.spi.provider import Inventory, Offer
from trellis.store.simulated import SimulatedLog
from trellis.store.staging import Committed
from trellis.store.store import Store
from trellis.testing.builders import NOW, a_home, a_node, a_server, a_shape
from trellis.world import World

IMAGE = "debian"
FILE = Artifact(format="qcow2", path="/images/debian.qcow2", size=7, md5="m", sha256="s")


def wall() -> float:
    return NOW + trio.current_time()


def a_build(number: int, **parts: object) -> Build:
    """A ready build of the image, with its file."""
    given = {
        "id": build_id(IMAGE, number),
        "image": IMAGE,
        "number": number,
        "state": BuildState.READY,
        "state_at": NOW,
        "created_at": NOW,
        "builder": "diskimage-builder",
        "formats": ("qcow2",),
        "recipe": "r",
        "ready_at": NOW,
        "artifacts": (FILE,),
    }
    return Build(**{**given, **parts})


def an_upload(number: int, provider: str = "alpha", **parts: object) -> Upload:
    """A canary of the build of this number, ready at a provider."""
    attempt = parts.pop("attempt", 2 * number + (provider != "alpha"))
    build = build_id(IMAGE, number)
    given = {
        "id": upload_id(build, attempt),
        "build_id": build,
        "image": IMAGE,
        "provider": provider,
        "cloud": provider,
        "region": "",
        "artifact": FILE,
        "name": build,
        "state": UploadState.READY,
        "state_at": NOW,
        "created_at": NOW,
        "ready_at": NOW,
        "external_id": f"{provider}-image-{number}",
    }
    return Upload(**{**given, **parts})


def promoted(number: int, provider: str = "alpha", **parts: object) -> Upload:
    """A promoted upload."""
    return an_upload(number, provider, standing=Standing.PROMOTED, **parts)


def withdrawn(number: int, provider: str = "alpha", **parts: object) -> Upload:
    """A withdrawn upload."""
    parts = {"standing_why": "it was bad", **parts}
    return an_upload(number, provider, standing=Standing.WITHDRAWN, **parts)


def an_own_offer(pool: str = "main", label: str = "small") -> Offer:
    """What a label of the image comes to before an upload is chosen."""
    shape = a_shape(image_id="", image_name=IMAGE)
    return Offer(pool=pool, label=label, shape=shape, image=IMAGE)


def an_inventory(*others: Offer) -> Inventory:
    """A label of the image, and what else there is."""
    offers = {(one.pool, one.label): one for one in (an_own_offer(), *others)}
    return Inventory(offers=offers, missing={}, home=a_home())


def _config(provider: str) -> ProviderConfig:
    label = PoolLabelConfig(name="small", image=IMAGE)
    pool = PoolConfig(name="main", labels=(label,))
    return ProviderConfig(name=provider, type="openstack", cloud=provider, pools=(pool,))


class House:
    """All of it, wired as in the core.

    Attributes:
        at_fault: why no failed launch says anything of its image; "" if each does.
        changes: so often the planner was told of something.
    """

    def __init__(self, store: Store, config: ImageConfig) -> None:
        self.store, self.configs = store, {IMAGE: config}
        self.book, self.fleet = ImageBook(), Fleet()
        for kind in (ImageRecord, Build, Upload):
            self.book.load(store.all(kind).values())
        self.fleet.load(store.all(Node).values())
        self.at_fault, self.changes = "", 0
        self.world = World(wall=wall, random=Random(1), transport=None)
        self.choice = Choice(self.book, self.fleet, lambda: self.configs)
        self.trials = Trials(
            store=store,
            book=self.book,
            fleet=self.fleet,
            world=self.world,
            choice=self.choice,
            at_fault=lambda _: self.at_fault,
            changed=self._changed,
        )
        self.providers = {
            name: SimpleNamespace(config=_config(name), dropped=False) for name in ("alpha", "beta")
        }
        self.acts = ImageActs(
            store=store,
            book=self.book,
            fleet=self.fleet,
            world=self.world,
            choice=self.choice,
            images=lambda: self.configs,
            providers=self.providers,
        )
        self._numbers: Iterator[int] = count(1 + len(self.fleet.nodes))
        store.subscribe(self._committed)
        for name in self.providers:
            self.choice.dressed(name, an_inventory())

    def _committed(self, batch: Committed) -> None:
        self.book.apply(batch.changes)
        self.fleet.apply(batch.changes)

    def _changed(self) -> None:
        self.changes += 1

    # ------------------------------------------------------------------------- records

    async def add(self, *records: object) -> None:
        await self.store.commit([Change(None, record) for record in records])

    def upload(self, number: int, provider: str = "alpha") -> Upload:
        """The upload of a build, as it is now."""
        build = build_id(IMAGE, number)
        return next(one for one in self.book.at(provider, IMAGE) if one.build_id == build)

    @property
    def record(self) -> ImageRecord:
        return self.book.record(IMAGE)

    def stable(self, provider: str = "alpha") -> int | None:
        """The number of the build that serves."""
        found = self.choice.choose(provider, IMAGE)
        return None if found is None else int(found.build_id[-10:])

    def canary(self, provider: str = "alpha") -> int | None:
        """The number of the build that is on trial beside it."""
        found = self.choice.canary(provider, IMAGE)
        return None if found is None else int(found.build_id[-10:])

    # ------------------------------------------------------------------------ launches

    async def launch(self, provider: str = "alpha") -> Node:
        """Record a launch, from the upload that is chosen for it."""
        number = next(self._numbers)
        node = a_node(number, state=NodeState.BUILDING, provider=provider, created_at=wall())
        upload = self.choice.for_launch(provider, IMAGE, node.id)
        assert upload is not None
        return await self._launched(node, upload)

    async def launch_from(self, number: int, provider: str = "alpha") -> Node:
        """Record a launch from the upload of a build."""
        node = a_node(next(self._numbers), state=NodeState.BUILDING, provider=provider)
        node = attrs.evolve(node, created_at=wall())
        return await self._launched(node, self.upload(number, provider))

    async def _launched(self, node: Node, upload: Upload) -> Node:
        node = attrs.evolve(node, shape=a_shape(image_id=upload.external_id))
        await self.add(node)
        return node

    async def ready(self, node: Node) -> Node:
        """The node becomes ready, for nobody."""
        resources = (a_server(int(node.id)),)
        now = wall()
        after = node.became(NodeState.READY, now, ready_at=now, resources=resources)
        await self.store.commit([Change(node, after)])
        return after

    async def failed(self, node: Node, *, in_doubt: bool = False) -> None:
        """The launch fails; in doubt, as its create was never answered."""
        server = Resource(kind=ResourceKind.SERVER, sent_at=wall())
        resources = (server,) if in_doubt else (a_server(int(node.id)),)
        after = node.became(NodeState.FAILED, wall(), fault="it does not answer")
        await self.store.commit([Change(node, attrs.evolve(after, resources=resources))])

    async def ended(self, node: Node, state: NodeState) -> None:
        """The launch ends in some other way."""
        await self.store.commit([Change(node, node.became(state, wall()))])

    async def settled(self) -> None:
        """Wait until trials have decided about all there is."""
        await trio.testing.wait_all_tasks_blocked()
        await self.store.settled()
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def a_house(
    *records: object, log: SimulatedLog | None = None, run: bool = True, **config: object
) -> AsyncIterator[House]:
    """A house with these records in its store, and trials at work."""
    given = ImageConfig(name=IMAGE, **{"canary_share": 0.25, "canary_nodes": 3, **config})
    record_log = log or SimulatedLog(Random(1))
    async with Store.open(record_log, deployment="test", wall=wall) as store:
        if records:
            await store.commit([Change(None, record) for record in records])
        house = House(store, given)
        async with trio.open_nursery() as nursery:
            if run:
                nursery.start_soon(house.trials.run)
            yield house
            nursery.cancel_scope.cancel()
