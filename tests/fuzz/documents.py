"""Documents of mappings, lists and values, and the same with one thing in them spoilt."""

from typing import Any


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything in a document, itself included: ``()``."""
    found = [path]
    items = tree.items() if isinstance(tree, dict) else ()
    for key, value in enumerate(tree) if isinstance(tree, list) else items:
        found += places(value, (*path, key))
    return found


def changed(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a document with something else at a place; ``...`` takes away what is there."""
    if not path:
        return None if value is ... else value
    key, *rest = path
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    if not rest and value is ...:
        del copy[key]
    else:
        copy[key] = changed(tree[key], tuple(rest), value)
    return copy
