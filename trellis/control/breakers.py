"""What a failed launch is put down to, and who may launch while something is left alone.

A failure is put down to the widest thing that it can be explained by and that has not worked
since: the region before the image, the image before the label. So one dead image does not close
a region, and a dead region does not close each image of it.
"""

import enum
import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import trio

from trellis.control.breaker import Row
from trellis.control.breaker_book import Book, Entry, Key, is_open
from trellis.model.breaker import BreakerStatus, Scope, Stage
from trellis.model.names import NodeId
from trellis.model.node import Node
from trellis.scheduler.snapshot import Held, Spot
from trellis.spi.config import ProviderConfig
from trellis.spi.provider import Offer
from trellis.store.store import Store
from trellis.world import World


class Cause(enum.Enum):
    """How a launch failed, as far as it says what is at fault."""

    CREATE = "create"
    """The create was answered 5xx or not at all: the region."""
    CAPACITY = "capacity"
    """*No valid host*: the pool's flavor and zone."""
    REJECTED = "rejected"
    """The cloud calls the create wrong: the label of the pool."""
    BOOT = "boot"
    """The server did not come up or does not answer: what of, only the others tell."""


REGION = Key(Scope.REGION, (), "the region")
READING = Key(Scope.REGION, ("reading",), "reading the region")


class Everywhere:
    """What is about all providers: labels whose launches fail at several of them.

    Attributes:
        moved: set and replaced whenever a breaker anywhere changes.
        listeners: called when one here changes.
    """

    def __init__(self, store: Store, world: World, building: Callable[[NodeId], bool]) -> None:
        self.book = Book("", store=store, wall=world.wall, random=world.random, building=building)
        self.moved = trio.Event()
        self.listeners: list[Callable[[], None]] = []
        self._rows: dict[str, Row] = {}

    def tell(self) -> None:
        """Wake all who wait for a breaker to change."""
        self.moved.set()
        self.moved = trio.Event()

    def failed(self, node: Node, reason: str) -> None:
        """A launch of a label did not come up, at a provider where others may."""
        entry, now = self.book.at(_everywhere(node.label)), trio.current_time()
        row = self._rows.setdefault(node.label, Row())
        row.failed(node.provider)
        if not entry.breaker.closed:
            again = entry.breaker.failed(now, node.id, Stage.READY, reason)
        elif again := row.shared(entry.breaker.rule.after):
            entry.breaker.trip(now, row.total, node.id, Stage.READY, reason)
        if again:
            self.book.opened(entry)
            self._changed()

    def ready(self, node: Node) -> None:
        """A launch of a label came up: it is not the label."""
        self._rows.pop(node.label, None)
        entry = self.book.find(_everywhere(node.label)) if self.book.knows_any else None
        if entry is None:
            return
        if entry.breaker.passed(trio.current_time(), node.id, Stage.READY):
            self.book.closed(entry, f"node {node.id} came up at {node.provider}")
            self._changed()
        self.book.forget(entry)

    def forget(self, provider: str) -> None:
        """What failed there was the provider's own fault."""
        for row in self._rows.values():
            row.forget(provider)

    def reset(self, breaker_id: str, why: str) -> bool:
        """Close one by a person's word; returns whether there is such a one."""
        entry = self.book.named(breaker_id)
        if entry is None:
            return False
        self._rows.pop(entry.key.parts[0], None)
        self.book.closed(entry, why)
        self._changed()
        return True

    def _changed(self) -> None:
        self.tell()
        for listener in self.listeners:
            listener()


class Breakers:
    """The breakers over the launches of one provider.

    Args:
        probe_s: how long a launch may be the probe.
        changed: called when more or less may be launched than before.
        on_trial: whether a launch tries a new image. How those fare is counted elsewhere, and
            what they fail of is no other launch's trouble.
    """

    def __init__(
        self,
        provider: str,
        *,
        store: Store,
        world: World,
        everywhere: Everywhere,
        building: Callable[[NodeId], bool],
        probe_s: Callable[[], float],
        changed: Callable[[], None],
        on_trial: Callable[[Node], bool] = lambda _: False,
    ) -> None:
        self._on_trial = on_trial
        self.book = Book(
            provider, store=store, wall=world.wall, random=world.random, building=building
        )
        self.everywhere = everywhere
        self._building = building
        self._probe_s, self._tell = probe_s, changed
        self._row = Row()
        self._last: dict[str, tuple[Key, NodeId, str]] = {}
        everywhere.listeners.append(changed)

    def close(self) -> None:
        """Be told of nothing any more."""
        self.everywhere.listeners.remove(self._tell)

    async def run(self) -> None:
        """Tell whenever launches are held back no longer, until cancelled."""
        while True:
            lifted_at = self._next_lifted(trio.current_time())
            with trio.move_on_at(lifted_at) as waited:
                await self.everywhere.moved.wait()
            if waited.cancelled_caught:
                self._tell()

    def _next_lifted(self, now: float) -> float:
        """When the next launches may be probes that may not be now; inf if none are held back."""
        times = (
            at
            for book in (self.book, self.everywhere.book)
            for entry in book.open_ones()
            if not entry.key.about_reading
            # What lets others go first, or what nobody waits for, has its turn so much later.
            for at in (entry.breaker.due_at + n * entry.breaker.wait_s for n in range(3))
            if at > now
        )
        return min(times, default=math.inf)

    # ------------------------------------------------------------------------ who may go

    def region_words(self) -> str:
        """Why no launch at all may go now; "" while one may."""
        if not self.book.open_ones():
            return ""
        entry = self.book.find(REGION)
        if entry is None or entry.breaker.turn(trio.current_time()):
            return ""
        return self.book.words(entry)

    def held(self, offers: Iterable[Offer], pool: str) -> dict[str, tuple[Held, ...]]:
        """By label of a pool, what holds its launches back."""
        if not self._any_open():
            return {}
        found = {
            offer.label: tuple(self._held(offer.label, pool, offer.shape.image_id))
            for offer in offers
        }
        return {label: held for label, held in found.items() if held}

    def spots(self, pool: str) -> Mapping[Spot, Held]:
        """Flavors and zones of a pool that the cloud had no capacity for."""
        open_ones = self.book.open_ones()
        if not open_ones:
            return {}
        return {
            (entry.key.parts[1], entry.key.parts[2] or None): self.book.held(entry)
            for entry in open_ones
            if entry.key.scope is Scope.CAPACITY and entry.key.parts[0] == pool
        }

    def against(self, node: Node) -> str:
        """Why a launch that is not sent must not be; "" where it may or might soon."""
        for book, entry in self._over(node):
            if is_open(entry):
                return book.words(entry)
        return ""

    def region_fails(self) -> bool:
        """Whether nothing at all is known to come up there since it failed again and again."""
        entry = self.book.find(REGION)
        return entry is not None and not entry.breaker.closed

    def must_wait(self, node: Node) -> bool:
        """Whether another launch is the probe of what this one depends on."""
        now = trio.current_time()
        return any(entry.breaker.holder(now) != node.id for _, entry in self._over(node))

    def launched(self, node: Node) -> None:
        """A launch was decided: where a probe is wanted it is it, of all that it depends on.

        All or none: two that hold a turn each and wait for the other's would wait for long.
        """
        now, over = trio.current_time(), [entry.breaker for _, entry in self._over(node)]
        if all(b.turn(now) or b.holder(now) == node.id for b in over):
            for breaker in over:
                breaker.take(now, node.id, self._probe_s())

    async def turn(self, node: Node) -> None:
        """Wait while another launch is the probe of what this one depends on.

        It returns also where nothing may go at all: see `against`. Cancelling it changes nothing.
        """
        while True:
            self.launched(node)
            over, now = list(self._over(node)), trio.current_time()
            if not self.must_wait(node):
                for book, entry in over:
                    book.probing(entry)
                await trio.lowlevel.checkpoint()
                return
            if any(is_open(entry) for _, entry in over):
                await trio.lowlevel.checkpoint()
                return
            others = [b.breaker.probe_until for _, b in over if b.breaker.holder(now) != node.id]
            # None is left where a turn has ended since it was asked for: look again at once.
            with trio.move_on_at(min((until for until in others if until > now), default=now)):
                await self.everywhere.moved.wait()

    def ended(self, node_id: NodeId) -> None:
        """A launch is over, however: if it proved nothing, the next one has its turn."""
        gave_back = False
        for book in (self.book, self.everywhere.book):
            for entry in book.open_ones():
                gave_back |= entry.breaker.give_back(node_id)
        if gave_back:
            self._changed()

    def resumed(self) -> None:
        """The tasks of launches begin anew: a probe that is over could perhaps not say so."""
        for book in (self.book, self.everywhere.book):
            for probe in [entry.breaker.probe for entry in book.open_ones()]:
                if probe is not None and not self._building(probe):
                    self.ended(probe)

    # --------------------------------------------------------------------- how it went

    def passed(self, node: Node, stage: Stage) -> None:
        """A launch came this far."""
        now, changed = trio.current_time(), False
        for key in _keys(node) if self.book.knows_any else ():
            entry = self.book.find(key)
            if entry is None:
                continue
            due_at = entry.breaker.due_at
            closed = entry.breaker.passed(now, node.id, stage)
            changed = changed or entry.breaker.due_at != due_at
            if closed:
                self.book.closed(entry, f"node {node.id} {_CAME[stage]}")
            self.book.forget(entry)
        if stage is Stage.READY:
            self._settle_row(node)
            self.everywhere.ready(node)
        if changed:
            self._changed()

    def failed(self, node: Node, cause: Cause, reason: str) -> None:
        """A launch failed; what of, *cause* and the launches before it tell."""
        if cause in (Cause.REJECTED, Cause.BOOT) and self._on_trial(node):
            return
        match cause:
            case Cause.CREATE:
                self._charge(REGION, node, Stage.CREATED, reason)
            case Cause.CAPACITY:
                self._charge(_capacity(node), node, Stage.ACTIVE, reason)
            case Cause.REJECTED:
                self._charge(_label(node), node, Stage.ACTIVE, reason)
            case Cause.BOOT:
                self._not_come_up(node, reason)

    def _not_come_up(self, node: Node, reason: str) -> None:
        region, image = self.book.at(REGION), _image(node)
        shape = node.shape
        self._row.failed(shape.image_id)
        self._last[shape.image_id] = image, node.id, reason
        if not region.breaker.closed and region.breaker.stage is Stage.READY:
            # Nothing comes up there: that says nothing of this image.
            self._charge(REGION, node, Stage.READY, reason)
            return
        if self._row.shared(region.breaker.rule.after):
            self._blame_region(region, node, reason)
            return
        if self._charge(image, node, Stage.READY, reason) or not self.book.at(image).breaker.closed:
            self.everywhere.failed(node, reason)
            return
        # Its image has come up since with other labels, if it is this label's turn to open.
        self._charge(_label(node), node, Stage.READY, reason)
        self.everywhere.failed(node, reason)

    def _blame_region(self, region: Entry, node: Node, reason: str) -> None:
        """Several images fail and none comes up: it is not the images."""
        now = trio.current_time()
        for kind in self._row.counts:
            entry = self.book.find(self._last[kind][0])
            if entry is not None and entry.breaker.closed:
                entry.breaker.reset()
            elif entry is not None:
                self.book.closed(entry, "no image at all comes up there")
        self.everywhere.forget(self.book.owner)
        region.breaker.trip(now, self._row.total, node.id, Stage.READY, reason)
        self.book.opened(region)
        self._changed()

    def _settle_row(self, node: Node) -> None:
        """One came up, so the region works: what failed all the while is at fault itself."""
        now = trio.current_time()
        for kind, count in self._row.counts.items():
            key, last, reason = self._last[kind]
            entry = self.book.at(key)
            again = count >= entry.breaker.rule.after and entry.breaker.closed
            if again and kind != node.shape.image_id:
                entry.breaker.trip(now, count, last, Stage.READY, reason)
                self.book.opened(entry)
                self._changed()
        self._row.clear()
        self._last.clear()

    def _charge(self, key: Key, node: Node, stage: Stage, reason: str) -> bool:
        entry = self.book.at(key)
        opened = entry.breaker.failed(trio.current_time(), node.id, stage, reason)
        if opened:
            self.book.opened(entry)
            self._changed()
        return opened

    # ------------------------------------------------------------------- reading the cloud

    def unusable(self, scope: Scope, cloud: str, reason: str, again_in_s: float) -> None:
        """The provider cannot be used at all, because of its account or of what answers there.

        Such a breaker holds no launch back, as the provider's health does; its probe is to read
        the cloud, which needs no launch.
        """
        account = Key(Scope.ACCOUNT, (), f"account {cloud}")
        key, other = (account, READING) if scope is Scope.ACCOUNT else (READING, account)
        entry, now = self.book.at(key), trio.current_time()
        was_closed, breaker = entry.breaker.closed, entry.breaker
        failures = breaker.failures + (again_in_s > 0.0 or was_closed)
        breaker.trip(now, failures, NodeId(""), Stage.CREATED, reason)
        breaker.due_at = now + again_in_s
        if was_closed:
            self._close_if_open(other, f"it is {key.subject}")
            self.book.opened(entry)

    def usable(self, why: str) -> None:
        """The provider can be used, or its trouble is none that waiting ends."""
        for key in (Key(Scope.ACCOUNT), READING):
            self._close_if_open(key, why)

    def _close_if_open(self, key: Key, why: str) -> None:
        entry = self.book.find(key)
        if entry is not None and not entry.breaker.closed:
            self.book.closed(entry, why)

    # ----------------------------------------------------------------------- for people

    def statuses(self, *, everywhere: bool = False) -> tuple[BreakerStatus, ...]:
        """Those of this provider that are not closed, or those that concern all as well."""
        wide = self.everywhere.book.statuses() if everywhere else ()
        return (*self.book.statuses(), *wide)

    def reset(self, breaker_id: str, why: str) -> bool:
        """Close one by a person's word; returns whether there is such a one."""
        entry = self.book.named(breaker_id)
        if entry is None:
            return False
        self._row.clear()
        self.book.closed(entry, why)
        self._changed()
        return True

    def keep_only(
        self,
        offers: Mapping[tuple[str, str], Offer],
        config: ProviderConfig,
        images: Iterable[str] = (),
    ) -> None:
        """Close and drop those about what is offered no longer: nothing else would ever do it.

        Closed only when a probe is due: what a reading of the cloud lacks may be in the next one.

        Args:
            images: ids of images that are offered beside those of the offers: our own.
        """
        labels = {(pool.name, label.name) for pool in config.pools for label in pool.labels}
        images = {*images, *(offer.shape.image_id for offer in offers.values())}
        flavors = {(pool, offer.shape.flavor_id) for (pool, _), offer in offers.items()}
        for entry in list(self.book.entries()):
            parts = entry.key.parts
            match entry.key.scope:
                case Scope.IMAGE:
                    offered = parts[0] in images
                case Scope.LABEL:
                    offered = (parts[0], parts[1]) in labels
                case Scope.CAPACITY:
                    offered = (parts[0], parts[1]) in flavors
                case _:
                    offered = True
            if offered or not entry.breaker.turn(trio.current_time()):
                continue
            if not entry.breaker.closed:
                self.book.closed(entry, "it is offered no longer")
            self.book.forget(entry, anyway=True)

    # ---------------------------------------------------------------------------- inside

    def _any_open(self) -> bool:
        return bool(self.book.open_ones() or self.everywhere.book.open_ones())

    def _held(self, label: str, pool: str, image_id: str) -> Iterator[Held]:
        region = self.book.find(REGION)
        if region is not None and not region.breaker.closed:
            # Another image than those that failed tells more: it goes first, if one is wanted.
            suspect = image_id in self._row.counts
            yield self.book.held(region, later_s=region.breaker.wait_s if suspect else 0.0)
        for key in (Key(Scope.IMAGE, (image_id,)), Key(Scope.LABEL, (pool, label))):
            entry = self.book.find(key)
            if entry is not None and not entry.breaker.closed:
                yield self.book.held(entry)
        wide = self.everywhere.book.find(_everywhere(label))
        if wide is not None and not wide.breaker.closed:
            yield self.everywhere.book.held(wide)

    def _over(self, node: Node) -> Iterator[tuple[Book, Entry]]:
        """The breakers over a launch that are not closed."""
        if not self._any_open():
            return
        for key in _keys(node):
            entry = self.book.find(key)
            if entry is not None and not entry.breaker.closed:
                yield self.book, entry
        wide = self.everywhere.book.find(_everywhere(node.label))
        if wide is not None and not wide.breaker.closed:
            yield self.everywhere.book, wide

    def _changed(self) -> None:
        self.everywhere.tell()
        self._tell()


_CAME = {
    Stage.CREATED: "was taken by the cloud",
    Stage.ACTIVE: "became active",
    Stage.READY: "became ready",
}


def _keys(node: Node) -> tuple[Key, ...]:
    return REGION, _image(node), _label(node), _capacity(node)


def _image(node: Node) -> Key:
    return Key(Scope.IMAGE, (node.shape.image_id,), f"image {node.shape.image_name}")


def _label(node: Node) -> Key:
    return Key(Scope.LABEL, (node.pool, node.label), f"label {node.label} of pool {node.pool}")


def _capacity(node: Node) -> Key:
    shape = node.shape
    subject = f"pool {node.pool}, flavor {shape.flavor_name}, {node.az or 'any zone'}"
    return Key(Scope.CAPACITY, (node.pool, shape.flavor_id, node.az or ""), subject)


def _everywhere(label: str) -> Key:
    return Key(Scope.EVERYWHERE, (label,), f"label {label} at several providers")
