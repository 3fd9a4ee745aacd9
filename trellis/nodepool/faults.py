"""Names in one file: that none is given twice, and that each stands for something.

Works on the marked tree, so that these faults are told beside those of types and keys. What
Nodepool takes without a word (of two things of one name, the last) is a fault here: nobody can
tell which of them was meant.
"""

from collections.abc import Collection, Iterable

from trellis.config.document import Fault, Mapping, Path, Scalar
from trellis.config.names import Name, dangling, mappings, name_at, names, twice
from trellis.config.structure import near, shown


def file_faults(tree: Mapping, openstack: Collection[int]) -> list[Fault]:
    """Check the names of a nodepool.yaml.

    Args:
        openstack: which of its providers have the driver ``openstack``; of the others only the
            names are looked at.
    """
    labels, images = names(tree, "labels", ()), names(tree, "diskimages", ())
    faults = twice(labels, "label") + twice(images, "diskimage")
    faults += twice(names(tree, "providers", ()), "provider")
    faults += twice(names(tree, "tenant-resource-limits", (), "tenant-name"), "tenant")
    faults += _parent_faults(tree, images)
    abstract = {
        name.text
        for image, path in mappings(tree, "diskimages", ())
        if (name := name_at(image, "name", path)) is not None and _is_true(image, "abstract")
    }
    for provider, path in mappings(tree, "providers", ()):
        if path[-1] in openstack:
            faults += _provider_faults(provider, path, labels, images, abstract)
    return faults


def secure_faults(tree: Mapping) -> list[Fault]:
    """Check the names of a secure file."""
    return twice(names(tree, "diskimages", ()), "diskimage")


def unknown_keys(tree: Mapping, known: Iterable[str], path: Path) -> list[Fault]:
    """The keys of a mapping that are not known, each a fault."""
    known = list(known)
    return [
        Fault(entry.mark, (*path, key[:60]), f"unknown key{near(key, known)}")
        for key, entry in tree.entries.items()
        if key not in known
    ]


def _provider_faults(
    provider: Mapping,
    path: Path,
    labels: list[Name],
    images: list[Name],
    abstract: set[str],
) -> list[Fault]:
    its_images = names(provider, "diskimages", path)
    clouds = names(provider, "cloud-images", path)
    faults = twice(its_images, "diskimage") + twice(clouds, "cloud image")
    faults += twice(names(provider, "pools", path), "pool")
    faults += _image_faults(its_images, images, abstract)
    for pool, pool_path in mappings(provider, "pools", path):
        pool_labels = names(pool, "labels", pool_path)
        faults += twice(pool_labels, "label")
        faults += dangling(pool_labels, labels, "label", "the top-level 'labels'")
        faults += _image_faults(names(pool, "labels", pool_path, "diskimage"), images, abstract)
        used = names(pool, "labels", pool_path, "cloud-image")
        faults += dangling(used, clouds, "cloud image", "the provider's 'cloud-images'")
    return faults


def _image_faults(used: list[Name], images: list[Name], abstract: set[str]) -> list[Fault]:
    return dangling(used, images, "diskimage", "the top-level 'diskimages'") + [
        Fault(name.mark, name.path, f"diskimage {shown(name.text)} is abstract: it is never built")
        for name in used
        if name.text in abstract
    ]


def _parent_faults(tree: Mapping, images: list[Name]) -> list[Fault]:
    parents = {}
    for image, path in mappings(tree, "diskimages", ()):
        name, parent = name_at(image, "name", path), name_at(image, "parent", path)
        if name is not None and parent is not None and parent.text:
            parents[name.text] = parent
    faults = dangling(list(parents.values()), images, "diskimage", "the top-level 'diskimages'")
    for child, parent in parents.items():
        at, seen = child, set[str]()
        while at in parents and at not in seen:
            seen.add(at)
            at = parents[at].text
        if at == child:
            message = f"diskimage {shown(child)} is its own ancestor"
            faults.append(Fault(parent.mark, parent.path, message))
    return faults


def _is_true(tree: Mapping, key: str) -> bool:
    value = tree.get(key)
    return isinstance(value, Scalar) and value.value is True
