"""Which live requests there are by what they were asked with: no look-up goes through them all."""

from collections import Counter
from collections.abc import Iterable, Mapping

from trellis.model.asked import words_of
from trellis.model.names import RequestId
from trellis.model.records import Change
from trellis.model.request import ENDED, NodeRequest


class AskIndex:
    """Live requests by the words of their asks, and counts of those of each demand source."""

    def __init__(self) -> None:
        self._of_word: dict[str, dict[RequestId, None]] = {}
        self._of_source: dict[str, Counter[str]] = {}

    def load(self, requests: Iterable[NodeRequest]) -> None:
        """Take in what the store holds at the start."""
        for request in requests:
            self._move(None, request)

    def see(self, change: Change) -> None:
        """Take in one durable change."""
        if isinstance(change.after, NodeRequest):
            assert change.before is None or isinstance(change.before, NodeRequest)
            self._move(change.before, None if change.archive else change.after)

    def named(self, word: str) -> tuple[RequestId, ...]:
        """The live requests with this word, the newest first."""
        return tuple(reversed(self._of_word.get(word, {})))

    def by_source(self) -> Mapping[str, Mapping[str, int]]:
        """How many live requests each demand source has, by state; those with none left out."""
        return self._of_source

    def _move(self, before: NodeRequest | None, after: NodeRequest | None) -> None:
        if before is not None:
            self._count(before, -1)
        if after is not None:
            self._count(after, +1)
        if before is None and after is not None:
            for word in words_of(after.ask):
                self._of_word.setdefault(word, {})[after.id] = None
        elif before is not None and after is None:
            for word in words_of(before.ask):
                there = self._of_word.get(word, {})
                there.pop(before.id, None)
                if not there:
                    self._of_word.pop(word, None)

    def _count(self, request: NodeRequest, sign: int) -> None:
        source = request.ask.source
        if source is None or request.state in ENDED:
            return
        counts = self._of_source.setdefault(source, Counter())
        counts[request.state.value] += sign
        if not counts[request.state.value]:
            del counts[request.state.value]
        if not counts:
            del self._of_source[source]
