"""How a conversion tells of a key: as a comment where it would stand, and in the report."""

from typing import Any

import attrs

from trellis.nodepool.merging import Merged, Placed, key_of
from trellis.nodepool.report import Change, Fact, Kind, dotted
from trellis.nodepool.writing import Block, shown_key


@attrs.define
class Telling:
    """Gathers the changes of a conversion."""

    changes: list[Change] = attrs.field(factory=list)

    def say(
        self,
        block: Block | None,
        said: Placed[Any] | Merged[Any],
        field: str,
        message: str,
        *,
        kind: Kind = Kind.DIFFERS,
        comment: str | None = None,
        explains: tuple[Fact, ...] = (),
    ) -> None:
        """Tell of a key that Nodepool's files have.

        Args:
            block: where the comment stands; None writes none.
            field: of the model; "" is the whole.
            comment: what the comment shows of the key; the key with its value if left out, and
                nothing of it if empty.
            explains: what the comparison may find differing because of it.
        """
        part = said.part(field) if isinstance(said, Merged) else said
        if block is not None:
            if comment is None and field:
                comment = shown_key(key_of(field), getattr(part.value, field))
            block.say(f"Nodepool's `{comment}`: {message}" if comment else message)
        self.changes.append(
            Change(
                kind=kind,
                message=message,
                place=part.place(field),
                path=dotted(part.path_of(field)),
                key=key_of(field),
                explains=explains,
            )
        )

    def drop(
        self,
        block: Block,
        said: Placed[Any] | Merged[Any],
        field: str,
        message: str,
        *,
        comment: str | None = None,
        explains: tuple[Fact, ...] = (),
    ) -> None:
        """Tell of a key without an equal, if the files have it."""
        part = said.part(field) if isinstance(said, Merged) else said
        if getattr(part.value, field) is not None:
            self.say(
                block, said, field, message,
                kind=Kind.NO_EQUAL, comment=comment, explains=explains,
            )  # fmt: skip

    def general(
        self, message: str, *, kind: Kind = Kind.DIFFERS, explains: tuple[Fact, ...] = ()
    ) -> None:
        """Tell of something that concerns the whole."""
        self.changes.append(Change(kind=kind, message=message, explains=explains))
