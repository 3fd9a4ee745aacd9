"""Names that must be unique, and names that must stand for something.

Works on the marked tree, so that it finds its faults beside those of types and keys.
"""

from collections.abc import Iterator

from trellis.config.document import Fault, Mapping, Scalar
from trellis.config.names import Name, dangling, mappings, name_at, names, twice
from trellis.config.structure import shown


def reference_faults(tree: Mapping) -> tuple[list[Fault], list[Fault]]:
    """Check names across the file.

    Returns:
        The faults, and the warnings: labels that no pool offers, providers that offer nothing,
        host keys that are not read.
    """
    faults: list[Fault] = []
    warnings: list[Fault] = []
    labels = names(tree, "labels", ())
    images = names(tree, "images", ())
    faults += twice(labels, "label")
    faults += twice(images, "image")
    faults += twice(names(tree, "tenants", ()), "tenant")
    faults += twice(names(tree, "providers", ()), "provider")
    faults += twice(names(tree, "demand-sources", ()), "demand source")
    faults += _parent_faults(tree, images)
    abstract = _abstract(tree)
    offered: set[str] = set()
    for provider, provider_path in mappings(tree, "providers", ()):
        faults += twice(names(provider, "pools", provider_path), "pool")
        pools = list(mappings(provider, "pools", provider_path))
        for pool, pool_path in pools:
            pool_labels = names(pool, "labels", pool_path)
            faults += twice(pool_labels, "label")
            faults += dangling(pool_labels, labels, "label", "the top-level 'labels'")
            offered.update(name.text for name in pool_labels)
            used = [
                name
                for label, path in mappings(pool, "labels", pool_path)
                if (name := name_at(label, "image", path))
            ]
            faults += dangling(used, images, "image", "the top-level 'images'")
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
    places = list(mappings(tree, "labels", ()))
    for provider, provider_path in mappings(tree, "providers", ()):
        for pool, pool_path in mappings(provider, "pools", provider_path):
            places += [(pool, pool_path), *mappings(pool, "labels", pool_path)]
    for place, path in places:
        says = place.get("host-key-checking")
        if isinstance(says, Scalar) and says.value is False:
            name = name_at(place, "name", path)
            whose = shown(name.text) if name is not None else "this"
            yield Fault(
                says.mark,
                (*path, "host-key-checking"),
                f"host keys of {whose} are NOT checked: its nodes are handed out unseen, and "
                "whoever logs in to one cannot tell it from another machine",
            )


def _parent_faults(tree: Mapping, images: list[Name]) -> list[Fault]:
    parents = {}
    for image, path in mappings(tree, "images", ()):
        name, parent = name_at(image, "name", path), name_at(image, "parent", path)
        if name and parent:
            parents[name.text] = parent
    faults = dangling(list(parents.values()), images, "image", "the top-level 'images'")
    for ring in _on_rings({child: parent.text for child, parent in parents.items()}):
        message = f"image {shown(ring)} is its own ancestor"
        faults.append(Fault(parents[ring].mark, parents[ring].path, message))
    return faults


def _abstract(tree: Mapping) -> set[str]:
    found = set()
    for image, path in mappings(tree, "images", ()):
        name, says = name_at(image, "name", path), image.get("abstract")
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
