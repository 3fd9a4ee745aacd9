"""What a conversion has to tell: each change of behaviour, with its place in Nodepool's files."""

import enum
from collections.abc import Sequence

import attrs

from trellis.config.document import Path


class Kind(enum.StrEnum):
    """What a change asks of the operator."""

    TO_DO = "to-do"
    """Something has to be done by hand before the result does what Nodepool did."""
    STAYS = "stays"
    """It stays with Nodepool: Trellis has no driver for it."""
    NO_EQUAL = "no-equal"
    """The key has no equal: it is a comment in the result."""
    DIFFERS = "differs"
    """It is there, and does not behave the same."""


Fact = tuple[str, ...]
"""Names a thing that the comparison looks at: a kind, names, and a key at the end."""


@attrs.frozen(kw_only=True)
class Change:
    """One thing that is not as it was.

    Attributes:
        place: ``file:line:column`` of the key; "" for what concerns the whole.
        path: of the key in that file, with dots.
        key: the key alone.
        message: what changes, and what to do if anything is to be done. Holds no value of a
            variable of the environment, of user data, or of a property.
        explains: what the comparison may find differing because of it.
    """

    kind: Kind
    message: str
    place: str = ""
    path: str = ""
    key: str = ""
    explains: tuple[Fact, ...] = ()


@attrs.frozen(kw_only=True)
class Lines:
    """Changes of one kind, key and message: told once, with all their places.

    Attributes:
        places: of all of them.
        path: of the first.
    """

    kind: Kind
    message: str
    key: str
    path: str
    places: tuple[str, ...]


def grouped(changes: Sequence[Change]) -> tuple[Lines, ...]:
    """The changes as a person reads them: what is to be done first, the same told once."""
    found: dict[tuple[Kind, str, str], list[Change]] = {}
    for change in changes:
        found.setdefault((change.kind, change.key, change.message), []).append(change)
    order = list(Kind)
    return tuple(
        Lines(
            kind=kind,
            message=message,
            key=key,
            path=those[0].path,
            places=tuple(dict.fromkeys(change.place for change in those if change.place)),
        )
        for (kind, key, message), those in sorted(
            found.items(), key=lambda item: order.index(item[0][0])
        )
    )


def dotted(path: Path) -> str:
    """A path as messages write it."""
    keys = [key if key.isprintable() and key else repr(key) for key in map(str, path)]
    return ".".join(keys)
