"""Names that must be unique, and names that must stand for something.

Works on the marked tree, so that it finds its faults beside those of types and keys.
"""

from collections.abc import Iterator

import attrs

from trellis.config.document import Fault, Mapping, Mark, Path, Scalar, Sequence, Tree
from trellis.config.structure import MOST_HINTS, near, shown


@attrs.frozen
class _Name:
    text: str
    mark: Mark
    path: Path


def reference_faults(tree: Mapping) -> tuple[list[Fault], list[Fault]]:
    """Check names across the file.

    Returns:
        The faults, and the warnings: labels that no pool offers, providers that offer nothing,
        host keys that are not read.
    """
    faults: list[Fault] = []
    warnings: list[Fault] = []
    labels = _names(tree, "labels", ())
    images = _names(tree, "images", ())
    faults += _twice(labels, "label")
    faults += _twice(images, "image")
    faults += _twice(_names(tree, "tenants", ()), "tenant")
    faults += _twice(_names(tree, "providers", ()), "provider")
    faults += _twice(_names(tree, "demand-sources", ()), "demand source")
    faults += _parent_faults(tree, images)
    abstract = _abstract(tree)
    offered: set[str] = set()
    for provider, provider_path in _mappings(tree, "providers", ()):
        faults += _twice(_names(provider, "pools", provider_path), "pool")
        pools = list(_mappings(provider, "pools", provider_path))
        for pool, pool_path in pools:
            pool_labels = _names(pool, "labels", pool_path)
            faults += _twice(pool_labels, "label")
            faults += _dangling(pool_labels, labels, "label", "labels")
            offered.update(name.text for name in pool_labels)
            used = [
                name
                for label, path in _mappings(pool, "labels", pool_path)
                if (name := _name(label, "image", path))
            ]
            faults += _dangling(used, images, "image", "images")
            faults += [
                Fault(
                    name.mark,
                    name.path,
                    f"image {shown(name.text)} is abstract: it is never built; name one that is",
                )
                for name in used
                if name.text in abstract
            ]
        if not pools:
            warnings.append(Fault(provider.mark, provider_path, "has no pools: launches nothing"))
    warnings += _unchecked(tree)
    warnings += [
        Fault(label.mark, label.path, f"no pool offers the label {shown(label.text)}")
        for label in labels
        if label.text not in offered
    ]
    return faults, warnings


def _unchecked(tree: Mapping) -> Iterator[Fault]:
    """Where the file has host keys not read, which is worth a word each time it is read."""
    places = list(_mappings(tree, "labels", ()))
    for provider, provider_path in _mappings(tree, "providers", ()):
        for pool, pool_path in _mappings(provider, "pools", provider_path):
            places += [(pool, pool_path), *_mappings(pool, "labels", pool_path)]
    for place, path in places:
        says = place.get("host-key-checking")
        if isinstance(says, Scalar) and says.value is False:
            name = _name(place, "name", path)
            whose = shown(name.text) if name is not None else "this"
            yield Fault(
                says.mark,
                (*path, "host-key-checking"),
                f"host keys of {whose} are NOT checked: its nodes are handed out unseen, and "
                "whoever logs in to one cannot tell it from another machine",
            )


def _parent_faults(tree: Mapping, images: list[_Name]) -> list[Fault]:
    parents = {}
    for image, path in _mappings(tree, "images", ()):
        name, parent = _name(image, "name", path), _name(image, "parent", path)
        if name and parent:
            parents[name.text] = parent
    faults = _dangling(list(parents.values()), images, "image", "images")
    for ring in _on_rings({child: parent.text for child, parent in parents.items()}):
        message = f"image {shown(ring)} is its own ancestor"
        faults.append(Fault(parents[ring].mark, parents[ring].path, message))
    return faults


def _abstract(tree: Mapping) -> set[str]:
    found = set()
    for image, path in _mappings(tree, "images", ()):
        name, says = _name(image, "name", path), image.get("abstract")
        if name is not None and isinstance(says, Scalar) and says.value is True:
            found.add(name.text)
    return found


def _on_rings(parents: dict[str, str]) -> list[str]:
    """The names whose line of parents comes back to them."""
    on_rings: list[str] = []
    seen: set[str] = set()
    for start in parents:
        line: dict[str, None] = {}
        at = start
        while at in parents and at not in seen:
            seen.add(at)
            line[at] = None
            at = parents[at]
        if at in line:
            names = list(line)
            on_rings += names[names.index(at) :]
    return on_rings


def _twice(names: list[_Name], what: str) -> list[Fault]:
    first: dict[str, Mark] = {}
    faults = []
    for name in names:
        mark = first.setdefault(name.text, name.mark)
        if mark is not name.mark:
            message = f"{what} {shown(name.text)} is there twice (first on line {mark.line + 1})"
            faults.append(Fault(name.mark, name.path, message))
    return faults


def _dangling(used: list[_Name], known: list[_Name], what: str, where: str) -> list[Fault]:
    names = dict.fromkeys(name.text for name in known)
    unknown = [name for name in used if name.text not in names]
    return [
        Fault(
            name.mark,
            name.path,
            f"{what} {shown(name.text)} is not among the top-level {where!r}"
            # Looking for near matches takes time for each.
            + (near(name.text, names) if i < MOST_HINTS else ""),
        )
        for i, name in enumerate(unknown)
    ]


def _mappings(parent: Mapping, key: str, path: Path) -> Iterator[tuple[Mapping, Path]]:
    children = parent.get(key)
    if isinstance(children, Sequence):
        for i, child in enumerate(children.items):
            if isinstance(child, Mapping):
                yield child, (*path, key, i)


def _name(tree: Mapping, key: str, path: Path) -> _Name | None:
    value: Tree | None = tree.get(key)
    if isinstance(value, Scalar) and isinstance(value.value, str):
        return _Name(value.value, value.mark, (*path, key))
    return None


def _names(parent: Mapping, key: str, path: Path) -> list[_Name]:
    found = (_name(child, "name", at) for child, at in _mappings(parent, key, path))
    return [name for name in found if name]
