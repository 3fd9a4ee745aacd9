"""What a project may still use: the cloud's reading, our records, and what others take.

A reading counts everybody's things at a moment when some of ours are on their way in or out,
so what others use is known only between two bounds. The estimate stays where it was while the
bounds allow it and moves to the nearer bound when they do not: it follows a stranger at once
and does not flicker with our own traffic.

A refusal is a fact that no figure can deny. Where the figures leave room for it, others are
held to use the least that explains it. Where they do not, they are wrong (quirks.md part 1 §5:
quota miscounted, not shown, not told), and the use at which it came becomes a *ceiling*. Above
a ceiling one create is tried now and then, seldom enough that no more than one in a hundred is
refused; when it is taken, the ceiling rises, by twice as much each time. While the quota cannot be
read after a refusal, the use at which it came is a ceiling too, until a reading says more.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final

import attrs
import trio

from trellis.model.node import Home, Node
from trellis.model.provider import Ceiling
from trellis.model.quota import RESOURCE_NAMES, Limit, Limits, QuotaReading, Resources
from trellis.scheduler.snapshot import QuotaView

FIRST_REFUSAL_S = 10.0
MOST_REFUSAL_S = 300.0
FIRST_TRY_S = 30.0
MOST_TRY_S = 3600.0
ACCEPTED_A_TRY: Final = 100
"""So many creates must have gone well for each one that is tried above a ceiling."""

_NOTHING: Final = Resources()
_KEYSTONE_ID: Final = re.compile(r"[0-9a-f]{32}\Z|[0-9a-f-]{36}\Z")
_AMOUNT: Final = r"(?<![a-z])({})(?![a-z])"
_WORDS: Final = {
    "instances": "instances?",
    "cores": "cores?|vcpus?",
    "ram_mib": "ram|memory",
    "floating_ips": "floating ?ips?",
    "ports": "ports?",
    "volumes": "volumes?|volumelimitexceeded",
    "volume_gib": "gigabytes",
}


class Quota:
    """The quota of one project in one region, shared by all providers that draw on it.

    Args:
        name: of the project and region, or of the cloud's entry while they are not known.
        wall: UTC seconds, to show when it was read.
        now: monotonic seconds, for all that lasts.
        sent: what ours may have used in the cloud just now, but for one node: everything of
            which a create was sent and that is not proved gone.

    Attributes:
        home: the project and region; None until the first login.
        refusals: creates that the cloud refused for it since the start.
        ceilings: where the cloud refused though by its figures there was room: by resource, the
            most that all together use.
        limits: the lower of what the cloud tells and the ceilings; all unknown before it is read.
        wakers: called when it should be read anew at once.
        turn: held by whoever reads it, as one reading serves all who share it.
    """

    def __init__(
        self,
        name: str,
        wall: Callable[[], float],
        *,
        now: Callable[[], float],
        sent: Callable[[Node], Resources] = lambda _: _NOTHING,
    ) -> None:
        self.name = name
        self._wall, self._now, self._sent = wall, now, sent
        self.home: Home | None = None
        self.reading: QuotaReading | None = None
        self.read_since: float | None = None
        self.others = Resources()
        self.refusals = 0
        self.ceilings: dict[str, int] = {}
        self.limits = Limits()
        self._evidence: dict[str, tuple[int, int]] = {}
        self._unread: dict[str, tuple[int, int]] = {}  # the evidence that made ceilings for now
        self._before_unread: dict[str, int] = {}  # the ceilings there were without it
        self._refused_at = -math.inf
        self._refused_until = 0.0
        self._refusal_s = FIRST_REFUSAL_S / 2
        self._step = 1
        self._try_s = FIRST_TRY_S / 2
        self._try_at = 0.0
        self._try_at_last = 0.0
        self._held_at = 0.0  # when a ceiling was learnt last, in UTC seconds
        self._recalled: tuple[Ceiling, ...] = ()
        self._accepted = 0
        self._opens = trio.Event()
        self.wakers: list[Callable[[], None]] = []
        self.turn = trio.Lock()

    # ------------------------------------------------------------------------- what is read

    def learn(
        self,
        reading: QuotaReading,
        *,
        certain: Resources,
        possible: Resources,
        proved: Resources = _NOTHING,
        begun_at: float = math.inf,
    ) -> None:
        """Take in a reading.

        Args:
            reading: what the cloud said.
            certain: what ours surely used all through the reading.
            possible: the most that ours may have used during it.
            proved: what ours has been given beyond doubt: of servers that have become active.
            begun_at: when it was asked for, in monotonic seconds. It explains no refusal that
                came after that: whoever took the last room may not be in it.
        """
        before, self.reading = self.reading, attrs.evolve(reading, read_at=self._wall())
        self.read_since = self._now()
        low = (reading.used - possible).at_least_zero()
        high = (reading.used - certain).at_least_zero()
        self.others = Resources(
            **{
                name: min(max(getattr(self.others, name), getattr(low, name)), getattr(high, name))
                for name in RESOURCE_NAMES
            }
        )
        if before is not None:
            self._forget_changed(before.limits, reading.limits)
        else:
            self._take_up(reading.limits)
        if begun_at >= self._refused_at:
            self._explain(high)
        self._raise(proved)
        self.limits = _lower(self.told, self.ceilings)
        if not self._evidence:
            self._open()

    def _forget_changed(self, before: Limits, after: Limits) -> None:
        """Another limit is a new start: what was learnt of the last one does not hold for it."""
        for name in RESOURCE_NAMES:
            if getattr(before, name) != getattr(after, name):
                self.ceilings.pop(name, None)
                self._refusal_s = FIRST_REFUSAL_S / 2

    def recall(self, ceilings: Iterable[Ceiling]) -> None:
        """Be told what an earlier process knew; it counts from the first reading on."""
        # A later release may have known more kinds of things.
        self._recalled = tuple(one for one in ceilings if one.resource in RESOURCE_NAMES)

    def _take_up(self, limits: Limits) -> None:
        """Hold to what is on record, unless the cloud tells another limit since."""
        for one in self._recalled:
            if _figure(getattr(limits, one.resource)) not in (None, one.told):
                continue
            self.ceilings[one.resource] = one.most
            self._held_at = one.at
            # The clock may have been set since: tried again no later than it was meant.
            left_s = min(MOST_TRY_S, max(0.0, one.at + MOST_TRY_S - self._wall()))
            self._try_s = FIRST_TRY_S
            self._try_at, self._try_at_last = self._now() + FIRST_TRY_S, self._now() + left_s

    def lasting(self) -> tuple[Ceiling, ...]:
        """What is to be known of it after a restart: not what the next reading may explain."""
        ceilings = self._before_unread if self._unread else self.ceilings
        return tuple(
            Ceiling(
                quota=self.name,
                resource=name,
                most=most,
                told=_figure(getattr(self.told, name)),
                at=self._held_at,
            )
            for name, most in sorted(ceilings.items())
        )

    def unread(self) -> None:
        """It could not be read after a refusal: what was refused is a ceiling until it can."""
        if self._evidence == self._unread:
            return
        if not self._unread:
            self._before_unread = dict(self.ceilings)
        self._unread = dict(self._evidence)
        for name, (ours, _) in self._evidence.items():
            self._hold_to(name, ours + getattr(self.others, name))
        self.limits = _lower(self.told, self.ceilings)

    def _explain(self, high: Resources) -> None:
        """See what the refusals since the last reading say, with the most others can use."""
        if self._unread:
            self.ceilings = {
                x: self._before_unread[x] for x in self.ceilings.keys() & self._before_unread
            }
            self._unread.clear()
        for name, (ours, size) in self._evidence.items():
            limit = getattr(self.told, name)
            least = limit + 1 - size - ours if limit is not None else None
            if least is not None and least <= getattr(high, name):
                used = max(getattr(self.others, name), int(least))
                self.others = attrs.evolve(self.others, **{name: used})
                continue
            self._hold_to(name, ours + getattr(self.others, name))
        self._evidence.clear()

    def _hold_to(self, name: str, total: int) -> None:
        """Use no more than this until a try shows that there is more."""
        self.ceilings[name] = min(total, self.ceilings.get(name, total))
        self._step, self._accepted = 1, 0
        self._held_at = self._wall()
        self._try_s = min(MOST_TRY_S, self._try_s * 2)
        self._try_at = self._now() + self._try_s
        self._try_at_last = self._now() + MOST_TRY_S

    def _raise(self, proved: Resources) -> None:
        """Where more than the ceiling is there after all, leave room for more."""
        raised = False
        for name, ceiling in list(self.ceilings.items()):
            total = getattr(proved, name) + getattr(self.others, name)
            if total > ceiling:
                self.ceilings[name] = total + self._step * max(1, total - ceiling)
                raised = True
        if raised:
            self._step *= 2
            self._try_s = FIRST_TRY_S / 2

    # --------------------------------------------------------------------- how creates fare

    def refused(self, node: Node, why: str) -> None:
        """The cloud refused a create for quota: hold it to be full until it is read anew.

        Args:
            node: the node that was refused.
            why: the cloud's words, which often name what was short.
        """
        self.refusals += 1
        size, ours = node.shape.resources, self._sent(node)
        for name in short_resources(why, size):
            most, least_size = getattr(ours, name), getattr(size, name)
            known = self._evidence.get(name)
            # Of several refusals the one that says most: with the least of ours around it.
            if known is None or most + least_size < sum(known):
                self._evidence[name] = most, least_size
        for wake in self.wakers:
            wake()
        now = self._refused_at = self._now()
        if now >= self._refused_until:
            self._refusal_s = min(MOST_REFUSAL_S, self._refusal_s * 2)
            self._refused_until = now + self._refusal_s

    def accepted(self) -> None:
        """A create went through: whatever was refused before, there is room again."""
        self._accepted += 1
        self._refusal_s = FIRST_REFUSAL_S / 2
        if not self._evidence:
            self._open()

    def _open(self) -> None:
        self._refused_until = 0.0
        self._opens.set()
        self._opens = trio.Event()

    async def wait_open(self) -> None:
        """Return once creates may be sent: at once, unless a refusal has to be looked into."""
        while left_s := self.closed_s:
            with trio.move_on_after(left_s):
                await self._opens.wait()

    @property
    def doubted(self) -> bool:
        """Whether a refusal has come in since it was read."""
        return bool(self._evidence)

    @property
    def closed_s(self) -> float:
        """Seconds for which no create should be sent: a refusal has not been looked into yet."""
        return max(0.0, self._refused_until - self._now())

    # ------------------------------------------------------------------ what may be planned

    def view(self, *, ours: Resources, freeing: Resources) -> QuotaView:
        """The quota as the planner reckons with it."""
        refused = ""
        if left_s := self.closed_s:
            refused = f"the cloud refused a create for quota; next try in {left_s:.0f} s"
        used = ours + self.others
        return QuotaView(
            limits=self.limits,
            used=used,
            told=self.told,
            freeing=freeing,
            refused=refused,
            one_more=self._may_try(used),
        )

    def overbooked(self, node: Node, ours: Resources) -> str:
        """Why a node that is planned and not created would be refused by now; "" if not.

        Args:
            ours: all that ours reserve, this node among it.
        """
        size = node.shape.resources
        used = ours + self.others - size
        if short := self.told.short_of(used, size):
            return f"the quota has become too small: {', '.join(short)}"
        # Of what is above a ceiling one is left, which may be the one that is tried.
        over = [
            x for x, most in self.ceilings.items() if getattr(size, x) and getattr(used, x) > most
        ]
        return f"the cloud refuses more than it told: {', '.join(over)}" if over else ""

    def _may_try(self, used: Resources) -> bool:
        """Whether one create above the ceilings may be tried: none is, and it is time."""
        if not self.ceilings or self._now() < self._try_at:
            return False
        if self._accepted < ACCEPTED_A_TRY and self._now() < self._try_at_last:
            return False
        return all(getattr(used, name) <= most for name, most in self.ceilings.items())

    @property
    def told(self) -> Limits:
        """The limits as the cloud last told them; all unknown before."""
        return self.reading.limits if self.reading is not None else Limits()


@lru_cache(maxsize=256)
def quota_name(home: Home) -> str:
    """What the cloud counts by: a project in a region, whoever's credentials lead there (rule 9).

    Keystone's ids are unique anywhere; an account number is not, and needs the cloud's host.
    """
    if _KEYSTONE_ID.match(home.project_id):
        return f"{home.project_id}/{home.region}"
    host = home.endpoint.partition("://")[2].partition("/")[0]
    return f"{home.project_id}/{home.region} at {host}"


def short_resources(why: str, size: Resources) -> tuple[str, ...]:
    """What a refusal names as short; servers if it names nothing that the node needs.

    Nova writes "Quota exceeded for cores, ram: Requested 2, 4096, but already used …", neutron
    "Quota exceeded for resources: ['port'].", cinder "… exceeds allowed gigabytes quota".
    """
    text = why.lower()
    told = text.partition("exceeded for")[2].partition("requested")[0] or text
    named = tuple(
        name
        for name, words in _WORDS.items()
        if getattr(size, name) and re.search(_AMOUNT.format(words), told)
    )
    return named or ("instances",)


def _figure(limit: Limit) -> int | None:
    """A limit that is a number; None if it is unlimited, or not told."""
    return int(limit) if limit is not None and math.isfinite(limit) else None


def _lower(limits: Limits, ceilings: Mapping[str, int]) -> Limits:
    """The limits with what refusals taught: the lower of both, by resource."""
    lower = {}
    for name, ceiling in ceilings.items():
        told = getattr(limits, name)
        lower[name] = ceiling if told is None else min(told, ceiling)
    return attrs.evolve(limits, **lower)
