"""Images that take from a parent what they do not say themselves.

Works on the marked tree, before values are made of it: there it is still known which keys an
image has of its own, and a fault keeps the place where it stands.
"""

from collections.abc import Callable
from typing import Any, Final

import attrs

from trellis.config.document import Entry, Mapping, Scalar, Sequence, Tree
from trellis.config.kinds import key_of
from trellis.spi.config import APPENDED, MERGED, OWN

_PARENT: Final = "parent"


def inherited(tree: Mapping, class_of: Callable[[Mapping], type]) -> Mapping:
    """The document with every image as it is once its line of parents is resolved.

    What an image has resolved is not in it any more as ``parent``, so that a configuration that
    is shown can be read again. Parents that are not there, or that go round in a ring, are left
    for the check of references to tell.

    Args:
        class_of: the configuration class of an image's mapping, which says of each key how it is
            inherited.
    """
    images = tree.get("images")
    if not isinstance(images, Sequence):
        return tree
    named = {
        name: item
        for item in images.items
        if isinstance(item, Mapping) and (name := _text(item, "name")) is not None
    }
    resolved = Sequence(
        images.mark, [_resolved(item, named, class_of, ()) for item in images.items]
    )
    entry = tree.entries["images"]
    return Mapping(tree.mark, {**tree.entries, "images": Entry(entry.mark, resolved)})


def _resolved(
    image: Tree,
    named: dict[str, Mapping],
    class_of: Callable[[Mapping], type],
    line: tuple[str, ...],
) -> Tree:
    if not isinstance(image, Mapping):
        return image
    parent_name = _text(image, _PARENT)
    parent = named.get(parent_name or "")
    if parent_name is None or parent is None or parent is image or parent_name in line:
        return image
    above = _resolved(parent, named, class_of, (*line, parent_name))
    assert isinstance(above, Mapping)
    if _PARENT in above.entries:
        return image  # its line does not end
    # The type first: it may be the parent's, and says how all else is inherited.
    typed = Mapping(image.mark, {**_only(above, "type"), **image.entries})
    how = _how(class_of(typed))
    own = {key: entry for key, entry in image.entries.items() if key != _PARENT}
    entries = {key: entry for key, entry in above.entries.items() if how.get(key) != OWN}
    entries.pop("name", None)
    for key, entry in own.items():
        under = entries.get(key)
        joined = None if under is None else _joined(how.get(key), under.value, entry.value)
        entries[key] = entry if joined is None else Entry(entry.mark, joined)
    return Mapping(image.mark, entries)


def _joined(how: str | None, under: Tree, own: Tree) -> Tree | None:
    if how == APPENDED and isinstance(under, Sequence) and isinstance(own, Sequence):
        return Sequence(own.mark, [*under.items, *own.items])
    if how == MERGED and isinstance(under, Mapping) and isinstance(own, Mapping):
        return Mapping(own.mark, {**under.entries, **own.entries})
    return None


def _how(cls: type) -> dict[str, Any]:
    return {key_of(field): field.metadata.get("inherit") for field in attrs.fields(cls)}


def _only(tree: Mapping, key: str) -> dict[str, Entry]:
    return {key: tree.entries[key]} if key in tree.entries else {}


def _text(tree: Mapping, key: str) -> str | None:
    value = tree.get(key)
    return value.value if isinstance(value, Scalar) and isinstance(value.value, str) else None
