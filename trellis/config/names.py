"""Names in a marked tree: where they stand, which are there twice, which stand for nothing."""

from collections.abc import Iterator

import attrs

from trellis.config.document import Fault, Mapping, Mark, Path, Scalar, Sequence
from trellis.config.structure import MOST_HINTS, near, shown


@attrs.frozen
class Name:
    """A name in a file, and where it stands."""

    text: str
    mark: Mark
    path: Path


def twice(found: list[Name], what: str) -> list[Fault]:
    """Names that are there twice, each a fault at its second place."""
    first: dict[str, Name] = {}
    faults = []
    for name in found:
        if first.setdefault(name.text, name) is not name:
            line = first[name.text].mark.line + 1
            message = f"{what} {shown(name.text)} is there twice (first on line {line})"
            faults.append(Fault(name.mark, name.path, message))
    return faults


def dangling(used: list[Name], known: list[Name], what: str, where: str) -> list[Fault]:
    """Names that stand for nothing, each a fault."""
    there = dict.fromkeys(name.text for name in known)
    unknown = [name for name in used if name.text not in there]
    return [
        Fault(
            name.mark,
            name.path,
            f"{what} {shown(name.text)} is not among {where}"
            + (near(name.text, there) if i < MOST_HINTS else ""),
        )
        for i, name in enumerate(unknown)
    ]


def mappings(parent: Mapping, key: str, path: Path) -> Iterator[tuple[Mapping, Path]]:
    """The mappings in the list at *key*, with their paths."""
    children = parent.get(key)
    if isinstance(children, Sequence):
        for i, child in enumerate(children.items):
            if isinstance(child, Mapping):
                yield child, (*path, key, i)


def name_at(tree: Mapping, key: str, path: Path) -> Name | None:
    """The text at *key*, if there is one."""
    value = tree.get(key)
    if isinstance(value, Scalar) and isinstance(value.value, str):
        return Name(value.value, value.mark, (*path, key))
    return None


def names(parent: Mapping, key: str, path: Path, name: str = "name") -> list[Name]:
    """What the mappings in the list at *key* have at *name*."""
    found = (name_at(child, name, at) for child, at in mappings(parent, key, path))
    return [one for one in found if one is not None]
