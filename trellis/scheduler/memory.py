"""What is kept from one pass for the next: answers, as long as what they follow from is the same.

Most passes are for one provider's sake: something came up, failed or is gone there. The others
stand as they stood, and so do the answers about them. A plan made with a memory is the plan
made without one; only its cost differs.
"""

from collections.abc import Container, Iterable, Sequence
from typing import Self

import attrs

from trellis.model.node import Node
from trellis.scheduler.answers import Answers
from trellis.scheduler.snapshot import PoolView, ProviderView, QuotaView

Situation = tuple[object, ...]
"""All that some answers follow from, as values that do not change."""


@attrs.frozen(kw_only=True)
class Situations:
    """What there is of a quota and of the providers that share it, by how often it changes.

    Attributes:
        lasting: what is offered and could be used one day.
        room: what is used of it, what is idle, and what is held back.
        leaving: what is being deleted.
    """

    lasting: Situation
    room: Situation
    leaving: Situation

    @classmethod
    def of(
        cls,
        quota: QuotaView,
        sharing: Sequence[ProviderView],
        idle: Iterable[tuple[Node, bool]],
    ) -> Self:
        """Those of a quota.

        Args:
            idle: the idle nodes of the providers, each with whether it is outdated.
        """
        pools = [pool for provider in sharing for pool in provider.pools]
        return cls(
            lasting=(quota.whole, *map(_provider_lasting, sharing), *map(_pool_lasting, pools)),
            room=(
                quota.limits,
                quota.used,
                quota.refused,
                quota.one_more,
                *map(_provider_room, sharing),
                *map(_pool_room, pools),
                *idle,
            ),
            leaving=(quota.freeing, *map(_pool_leaving, pools)),
        )


@attrs.define
class _Known:
    situations: Situations
    answers: Answers


class Memory:
    """The answers of the passes so far, by quota. One planner has one."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def recall(self, quota: str, now: Situations) -> Answers:
        """The answers that still hold; whoever finds out more adds it to them."""
        known = self._known.get(quota)
        if known is None:
            known = self._known[quota] = _Known(now, Answers())
            return known.answers
        before, known.situations = known.situations, now
        if before.lasting != now.lasting:
            known.answers = Answers()
        elif before.room != now.room:
            known.answers = known.answers.with_other_room()
        elif before.leaving != now.leaving:
            known.answers = known.answers.with_others_leaving()
        known.answers.trim()
        return known.answers

    def forget_but(self, quotas: Container[str]) -> None:
        """Forget what is about quotas that there are no longer."""
        for name in [name for name in self._known if name not in quotas]:
            del self._known[name]


def _provider_lasting(provider: ProviderView) -> Situation:
    return provider.name, len(provider.pools)


def _pool_lasting(pool: PoolView) -> Situation:
    return (
        pool.name,
        pool.priority,
        pool.weight,
        pool.limits,
        pool.ignores_quota,
        tuple(pool.offers.items()),
        tuple(pool.missing.items()),
        tuple(pool.label_limits.items()),
    )


def _provider_room(provider: ProviderView) -> Situation:
    return (
        provider.barred,
        provider.paused,
        provider.launches_left,
        # Answers are kept from before anything was launched: then any turn will do.
        provider.turns_left is None or provider.turns_left > 0,
        tuple(provider.zone_nodes.items()),
    )


def _pool_room(pool: PoolView) -> Situation:
    return (
        pool.used,
        tuple(pool.label_used.items()),
        tuple(pool.spots_held.items()),
        tuple((label, tuple(held)) for label, held in pool.labels_held.items()),
    )


def _pool_leaving(pool: PoolView) -> Situation:
    return pool.freeing, tuple(pool.label_freeing.items())
