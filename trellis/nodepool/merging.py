"""What several files say of one thing: values with their places, put together key by key."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

import attrs

from trellis.config.document import Path
from trellis.nodepool.reading import Source

_T = TypeVar("_T", bound=attrs.AttrsInstance)

_LISTS: Final = frozenset({"pools", "diskimages", "cloud_images"})


def key_of(field: str) -> str:
    """The key of a field of the model, as the file has it."""
    return field.replace("_", "-")


@attrs.frozen(kw_only=True)
class Placed(Generic[_T]):
    """A value as one file has it."""

    value: _T
    source: Source
    path: Path

    def path_of(self, field: str = "") -> Path:
        """The path of one of its keys, or of itself."""
        return (*self.path, key_of(field)) if field else self.path

    def place(self, field: str = "") -> str:
        """``file:line:column`` of one of its keys, or of itself."""
        return self.source.place(self.path_of(field))


@attrs.frozen(kw_only=True)
class Merged(Generic[_T]):
    """A value as the files have it together.

    Attributes:
        parts: of the files, those that count most first.
    """

    value: _T
    parts: tuple[Placed[_T], ...]

    def part(self, field: str) -> Placed[_T]:
        """The file's part whose word on a key counts, or the first."""
        counts = getattr(self.value, field, None)
        said = [part for part in self.parts if getattr(part.value, field, None) is not None]
        return next(
            (part for part in said if getattr(part.value, field) == counts),
            said[0] if said else self.parts[0],
        )


@attrs.frozen(kw_only=True)
class Conflict:
    """A key that two files say differently.

    Attributes:
        path: of the key, in the file that does not count.
        place: where that is.
        counts: the place of what counts.
    """

    path: Path
    place: str
    counts: str


def first_of_each(
    found: Iterable[Placed[Any]], conflicts: list[Conflict]
) -> tuple[Placed[Any], ...]:
    """Of each name the first; others that are not the same are conflicts."""
    kept: dict[str, Placed[Any]] = {}
    for one in found:
        first = kept.setdefault(one.value.name, one)
        if first.value != one.value:
            conflicts.append(Conflict(path=one.path, place=one.place(), counts=first.place()))
    return tuple(kept.values())


def merged(
    parts: Sequence[Placed[_T]],
    building: Sequence[Placed[_T]],
    of_builders: Collection[str],
    conflicts: list[Conflict],
) -> Merged[_T]:
    """One value of all parts: of each key the first part's that has it.

    Args:
        building: the parts of builders' files.
        of_builders: the keys of which those of builders count.
        conflicts: what is said otherwise is added to them.
    """
    value = parts[0].value
    changes: dict[str, Any] = {}
    for field in attrs.fields(type(value)):
        if field.name in _LISTS or field.name in ("name", "driver"):
            continue
        order = building if field.name in of_builders else parts
        order = [*order, *(part for part in parts if part not in order)]
        said = [part for part in order if getattr(part.value, field.name) is not None]
        if said:
            changes[field.name] = getattr(said[0].value, field.name)
            conflicts += disagreeing(said, field.name)
    evolved: Any = attrs.evolve(value, **changes)  # type: ignore[misc]
    return Merged(value=evolved, parts=tuple(parts))


def disagreeing(said: Sequence[Placed[Any]], field: str) -> list[Conflict]:
    """The parts that say a key otherwise than the first does."""
    counts = said[0]
    return [
        Conflict(path=one.path_of(field), place=one.place(field), counts=counts.place(field))
        for one in said[1:]
        if getattr(one.value, field) != getattr(counts.value, field)
    ]
