"""Which of several places is best for a request, and why, in words.

In this order: the fewest launches (a ready node beats a new one), the lowest priority number,
and the least load. Load is what a provider has of ours for its weight, or without weights how
full it would be; it counts the more, the more launches failed there lately and the longer they
take. So load goes where room is, away from what fails, and back when it fails no more.
"""

import heapq
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from trellis.scheduler.answers import Fit
from trellis.scheduler.room import Room
from trellis.scheduler.snapshot import ProviderView, Snapshot, Track
from trellis.spi.provider import Offer

GONE_WELL: Final = 2.0
"""So many launches are taken to have gone well before any: one failure is not yet a record, and
no record is so bad that nothing is tried any more."""
WORK_S: Final = 60.0
"""What a launch is compared with, as work that begins when the node is ready: ten seconds more
until then are little, and minutes are much."""
SLOWEST: Final = 0.5
"""A provider that takes for ever to launch gets no less than this part of its share."""
MOST_RIVALS: Final = 3
MOST_REFUSALS: Final = 2
MOST_REFUSAL_LETTERS: Final = 90

Key = tuple[int, int, float, float, str]
"""Launches, priority, load, how full the place would be, the provider's name; the lowest wins."""
_ELSEWHERE: Final = ("does not offer ", "the request insists on ", "the request prefers ")
"""How reasons begin for which nobody would look at that provider."""


@attrs.frozen
class _Standing:
    """How launches of some labels have gone at a provider.

    Attributes:
        success: 1 if all went well, and towards 0 the more failed.
        speed: 1 at the fastest provider, `SLOWEST` at the slowest.
        track: that of the label that went worst; None if nothing is known.
        slow: that of the label that took longest, and how long it takes at the fastest.
    """

    success: float = 1.0
    speed: float = 1.0
    track: Track | None = None
    slow: tuple[float, float] | None = None

    @property
    def failed(self) -> int:
        return self.track.failed if self.track is not None else 0


_UNKNOWN: Final = _Standing()


@attrs.frozen
class _Weighed:
    """A fit with its place among others, and what that comes from.

    Attributes:
        plain: the load, had nothing ever failed or been slow.
        failing: how many times that is more for what failed.
    """

    fit: Fit
    key: Key
    plain: float
    failing: float
    standing: _Standing


class Preference:
    """Puts the places that a pass could use into an order."""

    def __init__(self, snapshot: Snapshot, room: Room) -> None:
        self._snapshot, self._room = snapshot, room
        self._weighted = any(p.weight is not None for p in snapshot.providers.values())
        self._standings: dict[tuple[str, tuple[str, ...]], _Standing] = {}
        self._fastest: dict[str, float] = {}
        # By the fit itself: room that changes makes other fits.
        self._weighed: dict[int, _Weighed] = {}

    def key(self, fit: Fit) -> Key:
        """Where a fit stands among others: the lowest is the best."""
        return self._weigh(fit).key

    def shelf_key(self, provider: ProviderView, offer: Offer) -> Key:
        """The same for one node that is to be kept ready."""
        standing = self._standing(provider.name, (offer,))
        plain, failing, fill = self._load(provider, (offer,), standing)
        load = plain * failing / standing.speed
        return 1, priority_of(provider, (offer,)), load, fill, provider.name

    def _weigh(self, fit: Fit) -> _Weighed:
        known = self._weighed.get(id(fit))
        if known is None or known.fit is not fit:
            provider = self._snapshot.providers[fit.provider]
            standing = self._standing(provider.name, fit.offers)
            plain, failing, fill = self._load(provider, fit.offers, standing)
            load = plain * failing / standing.speed
            key = len(fit.slots), fit.priority, load, fill, fit.provider
            known = self._weighed[id(fit)] = _Weighed(fit, key, plain, failing, standing)
        return known

    # -------------------------------------------------------------------------- the load

    def _load(
        self, provider: ProviderView, offers: Sequence[Offer], standing: _Standing
    ) -> tuple[float, float, float]:
        """The load with these launches, how many times that for failures, and how full it is."""
        fill = plain = self._room.fill(provider, offers)
        # What failed is gone from there at once: without counting it a cloud on which
        # everything fails would always be the emptiest.
        failed = standing.failed
        with_failed = self._room.fill(provider, offers, failed) if failed else fill
        if self._weighted:
            count = self._room.nodes(provider) + len(offers)
            plain, with_failed = count / _weight(provider), (count + failed) / _weight(provider)
        failing = (with_failed / plain if plain else 1.0) / standing.success
        return plain, failing, with_failed if not self._weighted else fill

    def _standing(self, provider: str, offers: Sequence[Offer]) -> _Standing:
        if not offers or not self._snapshot.tracks:
            return _UNKNOWN
        labels = tuple(offer.label for offer in offers)
        found = self._standings.get((provider, labels))
        if found is None:
            found = self._standings[provider, labels] = self._look_up(provider, labels)
        return found

    def _look_up(self, provider: str, labels: Sequence[str]) -> _Standing:
        """The worst of each: a set is ready when its last node is."""
        found = _UNKNOWN
        for label in dict.fromkeys(labels):
            track = self._snapshot.tracks.get((provider, label))
            if track is None:
                continue
            success = (track.ready + GONE_WELL) / (track.ready + track.failed + GONE_WELL)
            if success < found.success:
                found = attrs.evolve(found, success=success, track=track)
            if track.took_s is not None:
                fastest = self._fastest_of(label)
                speed = max(SLOWEST, (WORK_S + fastest) / (WORK_S + track.took_s))
                if speed < found.speed:
                    found = attrs.evolve(found, speed=speed, slow=(track.took_s, fastest))
        return found

    def _fastest_of(self, label: str) -> float:
        if label not in self._fastest:
            self._fastest[label] = min(
                track.took_s
                for (_, of_label), track in self._snapshot.tracks.items()
                if of_label == label and track.took_s is not None
            )
        return self._fastest[label]

    # -------------------------------------------------------------------------- in words

    def words(self, chosen: Fit, rivals: Sequence[Fit], refusals: Mapping[str, str]) -> str:
        """Why a fit was chosen among others.

        Args:
            rivals: the other fits there were.
            refusals: by provider, why there was none.
        """
        text = f"{chosen.provider}: {len(chosen.take)} ready, {len(chosen.slots)} to launch"
        if rivals:
            mine = self._weigh(chosen)
            best = heapq.nsmallest(MOST_RIVALS, map(self._weigh, rivals), key=_key_of)
            text += f", because {self._for(mine, best[0])}"
            for rival in best:
                text += f"; {rival.fit.provider} less: {self._against(rival, mine)}"
        left = max(0, len(rivals) - MOST_RIVALS)
        telling = {n: why for n, why in refusals.items() if not why.startswith(_ELSEWHERE)}
        for name, why in list(telling.items())[:MOST_REFUSALS]:
            text += f"; {name} not: {_cut(why)}"
        left += max(0, len(telling) - MOST_REFUSALS)
        return f"{text}; {left} more came after it" if left else text

    def _for(self, chosen: _Weighed, next_best: _Weighed) -> str:
        if chosen.key[0] < next_best.key[0]:
            return "more of it is ready there"
        if chosen.key[1] < next_best.key[1]:
            return f"its priority is {chosen.fit.priority}"
        return self._share(chosen)

    def _against(self, rival: _Weighed, chosen: _Weighed) -> str:
        """Why a fit came after the one that was chosen: what weighed most."""
        if rival.key[0] > chosen.key[0]:
            return f"{rival.key[0]} to launch there"
        if rival.key[1] > chosen.key[1]:
            return f"its priority is {rival.fit.priority}"
        by_load = rival.plain / (chosen.plain or 1.0)
        by_failures = rival.failing / chosen.failing
        by_time = chosen.standing.speed / rival.standing.speed
        most = max(by_load, by_failures, by_time)
        if most <= 1.0:
            return "it is as good, and comes after it by name"
        track, slow = rival.standing.track, rival.standing.slow
        if track is not None and most == by_failures:
            lately = f"{self._snapshot.tracked_s / 60:.0f} min"
            of = track.ready + track.failed
            return f"{track.failed} of {of} launches failed in the last {lately}"
        if slow is not None and most == by_time:
            return f"launches take {slow[0]:.0f} s there, {slow[1]:.0f} s at the fastest"
        return self._share(rival)

    def _share(self, weighed: _Weighed) -> str:
        provider = self._snapshot.providers[weighed.fit.provider]
        if not self._weighted:
            full = 100 * weighed.plain
            shown = f"{full:.0f}" if full >= 10 else f"{full:.2g}"
            return f"its room is then {shown} % full"
        return f"it has {self._room.nodes(provider)} nodes for a weight of {_weight(provider):g}"


def priority_of(provider: ProviderView, offers: Sequence[Offer]) -> int:
    """The priority of a place: the highest number of the pools that are launched in."""
    named = {offer.pool for offer in offers}
    found = [pool.priority for pool in provider.pools if pool.name in named or not named]
    return max(found) if named else min(found, default=0)


def _key_of(weighed: _Weighed) -> Key:
    return weighed.key


def _weight(provider: ProviderView) -> float:
    return 1.0 if provider.weight is None else provider.weight


def _cut(text: str) -> str:
    return text if len(text) <= MOST_REFUSAL_LETTERS else f"{text[: MOST_REFUSAL_LETTERS - 2]} …"
