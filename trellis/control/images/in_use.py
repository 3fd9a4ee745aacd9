"""Which images in clouds nodes were made from that are not proved gone."""

from collections import Counter
from collections.abc import Callable

from trellis.control.fleet import Fleet
from trellis.control.images.book import ImageBook
from trellis.model.names import UploadId
from trellis.model.node import Node

Place = tuple[str, str]
"""A provider and the id of an image in its cloud."""


class InUse:
    """Counts the nodes of each image, kept up by the fleet's changes.

    Args:
        freed: called when the last node that was made from an upload of ours is gone.
    """

    def __init__(self, fleet: Fleet, book: ImageBook, freed: Callable[[], None]) -> None:
        self._book, self._freed = book, freed
        self._moved: Counter[str] = Counter()
        self._count = Counter(_place(node) for node in fleet.nodes.values())
        fleet.on_node.append(self._see)

    def uploads(self) -> frozenset[UploadId]:
        """The uploads that nodes which are not proved gone were made from."""
        return frozenset(
            upload.id
            for place, upload in self._book.by_external.items()
            if self._count.get(place, 0) > 0
        )

    def nodes(self, provider: str, external_id: str) -> int:
        """How many nodes that are not proved gone were made from an image."""
        return self._count.get((provider, external_id), 0)

    def moved(self, image: str) -> int:
        """A number that is another one whenever the nodes of one of its uploads are others."""
        return self._moved[image]

    def _see(self, before: Node | None, after: Node | None) -> None:
        for node in (before, after):
            upload = self._book.by_external.get(_place(node)) if node is not None else None
            if upload is not None:
                self._moved[upload.image] += 1
        if after is not None:
            self._count[_place(after)] += 1
        if before is not None:
            was = _place(before)
            self._count[was] -= 1
            if not self._count[was]:
                del self._count[was]
                if was in self._book.by_external:
                    self._freed()


def _place(node: Node) -> Place:
    return node.provider, node.shape.image_id
