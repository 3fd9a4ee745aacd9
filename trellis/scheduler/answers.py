"""What a pass finds out about providers, in a shape that the next pass can use again.

An answer is about labels, not about a request: whoever asks for the same labels may use it.
"""

from typing import Final

import attrs

from trellis.model.node import Node
from trellis.model.quota import Resources
from trellis.spi.provider import Offer

MOST_ANSWERS: Final = 2000
"""So many answers of a kind are kept for one quota; with more all are asked for again."""

Wanted = tuple[tuple[str, ...], int, tuple[tuple[int, int], ...]]
"""Labels, and what an answer about them depends on beyond their provider: the launch budget as
far as it matters to so many, and of each label with a limit how many there are and may be."""

About = tuple[str, Wanted]
"""The provider that an answer is about, and what is wanted of it."""


@attrs.frozen(kw_only=True)
class Offered:
    """What a provider offers for some labels.

    Attributes:
        offers: one for each label, of whichever pool has it.
        zones: those that all the labels have in common, by name; None stands for: name none.
        alike: every pool that has a label has it in the same zones.
    """

    offers: tuple[Offer, ...]
    zones: tuple[str | None, ...]
    alike: bool


@attrs.frozen(kw_only=True)
class Fit:
    """How nodes of some labels can be had on a provider, all in one zone.

    Attributes:
        take: idle nodes by their place among the labels.
        slots: the places that are left, and *offers* what to launch for each.
        size: what all of them come to.
        priority: of the pools that are launched in, the highest number.
    """

    provider: str
    az: str | None
    take: tuple[tuple[int, Node], ...]
    slots: tuple[int, ...]
    offers: tuple[Offer, ...]
    size: Resources
    priority: int = 100


@attrs.frozen
class Clearing:
    """Idle nodes that would have to go for some labels to fit; *enough* of them or not."""

    gone: tuple[Node, ...]
    enough: bool


@attrs.frozen
class Answers:
    """Answers about the providers of one quota, each with what it is about.

    Attributes:
        offered: the offers for labels, or why there are none.
        never: what labels come to at least, or why they would not fit even into an empty
            project.
        fits: how labels can be had, or why they cannot; with nodes that are ready, or without.
        clearings: what is in their way; None where idle nodes are not what is.
        shelf: where one more node of a label can be made ready; None is nowhere.
        kept: the answers once room has been kept for labels, by provider and labels.
    """

    offered: dict[tuple[str, tuple[str, ...]], Offered | str] = attrs.field(factory=dict)
    never: dict[tuple[str, tuple[str, ...]], Resources | str] = attrs.field(factory=dict)
    fits: dict[tuple[About, bool], Fit | str] = attrs.field(factory=dict)
    clearings: dict[About, Clearing | None] = attrs.field(factory=dict)
    shelf: dict[About, tuple[str | None, Offer] | None] = attrs.field(factory=dict)
    kept: dict[tuple[str, tuple[str, ...]], "Answers"] = attrs.field(factory=dict)

    def with_other_room(self) -> "Answers":
        """What still holds when room has been taken, or has become free."""
        return Answers(offered=self.offered, never=self.never)

    def with_others_leaving(self) -> "Answers":
        """What still holds when something else than before is being deleted."""
        kept = {about: answers.with_others_leaving() for about, answers in self.kept.items()}
        return attrs.evolve(self, clearings={}, kept=kept)

    def keeping(self, provider: str, labels: tuple[str, ...]) -> "Answers":
        """The answers that hold when room has been kept for *labels* on top of all else."""
        known = self.kept.get((provider, labels))
        if known is None:
            known = self.kept[provider, labels] = self.with_other_room()
        return known

    def trim(self) -> None:
        """Forget all where there are too many, so that what is kept stays bounded."""
        for kind in (self.offered, self.never, self.fits, self.clearings, self.shelf, self.kept):
            if len(kind) > MOST_ANSWERS:
                kind.clear()
