"""The pools that launchers register: ours, and who else could serve a request.

A request fails when every registered pool has declined it. So it matters that all of ours are
registered, and that those of others, which may be starting as we are, have had time to be.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from random import Random
from typing import Any, Final

import attrs
import structlog
import trio

from trellis.spi.demand import OfferedPool
from trellis.zookeeper.errors import DisconnectedError, NoSuchZnodeError
from trellis_zuul.ground import Ground
from trellis_zuul.mirror import Znode
from trellis_zuul.paths import POOLS
from trellis_zuul.raw_object import NotAnObjectError, read_object

log = structlog.get_logger()

SETTLED_S: Final = 10.0
"""No pool came or went for so long: those that start together have all been seen."""
LOOK_S: Final = 60.0
"""How often is looked at what we offer, though nobody told of a change."""

_VERSION: Final = version("trellis-zuul")


class PoolIds:
    """The ids of our pools; they outlive sessions, so that declines hold over them.

    A pool that offers or launches other labels has another id: what it declined before it may
    serve now.
    """

    def __init__(self, deployment: str, random: Random) -> None:
        self._deployment, self._random = deployment, random
        self._ids: dict[tuple[str, str], tuple[tuple[frozenset[str], frozenset[str]], str]] = {}

    def of(self, offer: OfferedPool) -> str:
        """The id of a pool with these labels."""
        key = (offer.provider, offer.pool)
        labels, id_ = self._ids.get(key, (None, ""))
        if labels != (offer.labels, offer.launches):
            unique = f"{self._random.getrandbits(128):032x}"
            id_ = f"{self._deployment}-PoolWorker.{offer.provider}-{offer.pool}-{unique}"
            self._ids[key] = ((offer.labels, offer.launches), id_)
        return id_


@attrs.frozen
class _Registered:
    """What somebody's component says; of one that cannot be read, that it is there."""

    id: str
    labels: frozenset[str] | None


class Pools:
    """All pools as they are registered now, ours among them.

    Args:
        ground: of the session; its mirror of pools must not run yet.
        ids: of our pools.
    """

    def __init__(self, ground: Ground, ids: PoolIds) -> None:
        self._ground, self._ids = ground, ids
        self._registered: dict[str, _Registered] = {}
        self._wanted: dict[str, OfferedPool] = {}
        self._made: dict[str, tuple[str, bytes]] = {}
        self._told: dict[object, Callable[[], None]] = {}
        self._told_of_ours: dict[object, Callable[[], None]] = {}
        self._changed_at = trio.current_time()
        self._nudged = trio.Event()
        self._settled = False
        ground.pools.tell(self._take)

    # ------------------------------------------------------------------------ questions

    @property
    def own(self) -> tuple[str, ...]:
        """The ids of our pools."""
        return tuple(self._wanted)

    def offer_of(self, provider: str, pool: str) -> tuple[str, OfferedPool] | None:
        """The id of a pool of ours, and what it offers; None if it is offered no longer."""
        for id_, offer in self._wanted.items():
            if (offer.provider, offer.pool) == (provider, pool):
                return id_, offer
        return None

    def shut(self, labels: Collection[str]) -> str:
        """Why the configuration lets none of our providers launch these labels; "" if one may.

        One that a person has paused may: a pause ends, by a word or by itself, and a request that
        was declined for it would fail for good.
        """
        launches: dict[str, set[str]] = {}
        for offer in self._wanted.values():
            launches.setdefault(offer.provider, set()).update(offer.launches)
        if not launches or any(those.issuperset(labels) for those in launches.values()):
            return ""
        shut = dict.fromkeys(
            f"{label} in {offer.provider}/{offer.pool}"
            for label in dict.fromkeys(labels)
            for offer in self._wanted.values()
            if label in offer.labels - offer.launches
        )
        return f"no node of it may be launched: limits are 0 ({', '.join(shut)})" if shut else ""

    def have_declined(self, declined_by: Collection[str]) -> bool:
        """Whether all of ours are among those that declined. Without any, they have not."""
        return bool(self._wanted) and self._wanted.keys() <= set(declined_by)

    def nobody_is_left(self, declined_by: Collection[str]) -> bool:
        """Whether every registered pool has declined, and all there are have been seen."""
        return self._settled and {one.id for one in self._registered.values()} <= set(declined_by)

    def others_may_serve(self, labels: Collection[str], declined_by: Collection[str]) -> bool:
        """Whether a pool that is not ours offers these labels and has not declined."""
        return any(
            one.labels is not None
            and one.labels.issuperset(labels)
            and one.id not in self._wanted
            and one.id not in declined_by
            for one in self._registered.values()
        )

    def telling(self, told: Callable[[], None]) -> AbstractContextManager[None]:
        """Have *told* called when a pool comes or goes, and when they have settled."""
        return _among(self._told, told)

    def telling_of_ours(self, told: Callable[[], None]) -> AbstractContextManager[None]:
        """Have *told* called when ours offer or launch something else."""
        return _among(self._told_of_ours, told)

    # ---------------------------------------------------------------------- registering

    async def run(  # noqa: ASYNC114 - it is started by `_serve` alone
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep our pools registered, until cancelled; started once they are.

        Raises:
            SessionLostError: the session is over, and with it their registrations.
            NotAllowedError: they may not be registered.
        """
        started = False
        async with trio.open_nursery() as nursery:
            while True:
                self._nudged = nudged = trio.Event()
                try:
                    offers = await self._register()
                except DisconnectedError:
                    await self._ground.session.wait_connected()
                    await self._ground.pools.refresh()
                    self._find_ours()
                    continue
                if not started:
                    started = True
                    nursery.start_soon(self._follow_offers, offers)
                    task_status.started()
                with trio.move_on_after(self._look_again_in()):
                    await nudged.wait()
                self._settle()

    async def _follow_offers(self, known: tuple[OfferedPool, ...]) -> None:
        while True:
            known = await self._ground.port.wait_offers(known)
            self._nudged.set()

    def _look_again_in(self) -> float:
        left = self._changed_at + SETTLED_S - trio.current_time()
        return min(LOOK_S, left) if left > 0.0 else LOOK_S

    async def _register(self) -> tuple[OfferedPool, ...]:
        """Register what is offered now, which is returned."""
        offers = self._ground.port.offers()
        wanted = {self._ids.of(offer): offer for offer in offers}
        if wanted != self._wanted:
            ids_changed = wanted.keys() != self._wanted.keys()
            self._wanted = wanted
            if ids_changed:
                self._became_other()
                _tell(self._told_of_ours)
        session = self._ground.session
        for id_ in [id_ for id_ in self._made if id_ not in wanted]:
            await self._unregister(id_)
        for id_, offer in wanted.items():
            data = _component(id_, offer, self._ground.deployment)
            made = self._made.get(id_)
            if made is None:
                name = f"{POOLS}/{self._ground.deployment}"
                path = await session.create(name, data, ephemeral=True, sequence=True)
                self._made[id_] = (path, data)
            elif made[1] != data:
                try:
                    await session.write(made[0], data)
                except NoSuchZnodeError:
                    self._made.pop(id_, None)
                    self._nudged.set()
                else:
                    self._made[id_] = (made[0], data)
        return offers

    async def _unregister(self, id_: str) -> None:
        path, _data = self._made[id_]
        try:
            await self._ground.session.delete(path)
        except NoSuchZnodeError:
            log.debug("zuul_pool_gone_already", pool=id_)
        self._made.pop(id_, None)

    def _find_ours(self) -> None:
        """Take stock of what this session has registered: an answer was lost."""
        self._made = {}
        for path in self._ground.pools:
            znode = self._ground.pools.get(path)
            stat = None if znode is None else znode.stat
            if znode is None or stat is None or stat.ephemeral_owner != self._ground.session.id:
                continue
            id_ = _read(path, znode.data).id
            # Of two of one id the second is made away with, as any that is not wanted.
            self._made[path if id_ in self._made else id_] = (path, znode.data)

    # ------------------------------------------------------------------------- settling

    def _take(self, path: str, _before: Znode | None, now: Znode | None) -> None:
        known = self._registered.get(path)
        if now is None:
            self._registered.pop(path, None)
            for id_ in [id_ for id_, made in self._made.items() if made[0] == path]:
                del self._made[id_]
            self._nudged.set()
        else:
            self._registered[path] = _read(path, now.data)
        if self._registered.get(path) != known:
            self._became_other()

    def _became_other(self) -> None:
        self._changed_at = trio.current_time()
        self._settled = False
        self._nudged.set()
        _tell(self._told)

    def _settle(self) -> None:
        seen = {one.id for one in self._registered.values()}
        quiet = trio.current_time() >= self._changed_at + SETTLED_S
        if not self._settled and quiet and self._wanted and self._wanted.keys() <= seen:
            self._settled = True
            _tell(self._told)


@contextmanager
def _among(those: dict[object, Callable[[], None]], told: Callable[[], None]) -> Iterator[None]:
    key = object()
    those[key] = told
    try:
        yield
    finally:
        del those[key]


def _tell(those: dict[object, Callable[[], None]]) -> None:
    for told in tuple(those.values()):
        told()


def _read(path: str, data: bytes) -> _Registered:
    try:
        whole = read_object(data)
    except NotAnObjectError as error:
        log.warning("zuul_pool_unreadable", path=path, why=str(error))
        return _Registered(path, None)
    id_, labels = whole.get("id"), whole.get("supported_labels")
    readable = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    return _Registered(
        id_ if isinstance(id_, str) and id_ else path,
        frozenset(labels) if readable and isinstance(labels, list) else None,
    )


def _component(id_: str, offer: OfferedPool, deployment: str) -> bytes:
    """What is registered of a pool, with the keys of Nodepool's."""
    document: Mapping[str, Any] = {
        "hostname": deployment,
        "id": id_,
        "kind": "pool",
        "model_api": 0,
        "name": offer.pool,
        "paused": offer.paused or not offer.launches,
        "priority": offer.priority,
        "provider_name": offer.provider,
        "state": "running",
        "supported_labels": sorted(offer.labels),
        "version": _VERSION,
    }
    return json.dumps(document, sort_keys=True).encode()
