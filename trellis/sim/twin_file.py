"""``twin: NAME`` in a file: a cloud's other keys are laid over those of the twin."""

from typing import Any, Final

import attrs

from trellis.config.document import Entry, Fault, Mapping, Scalar, Sequence
from trellis.config.document import Path as KeyPath
from trellis.config.kinds import key_of
from trellis.config.structure import near, shown
from trellis.sim.cloud.spec import CloudSpec
from trellis.sim.clouds import TWINS

_KEY: Final = "twin"


def name_twins(tree: Mapping, faults: list[Fault]) -> None:
    """Look at the twins that clouds name: each must be there, and gives its name where none is.

    Args:
        tree: of the file; names are added to it.
        faults: where those of the file are noted.
    """
    for path, cloud in _clouds(tree):
        if _KEY not in cloud.entries:
            continue
        named = cloud.entries[_KEY].value
        value = named.value if isinstance(named, Scalar) else None
        if not isinstance(value, str):
            continue  # that it must be text is said by who reads it
        if value not in TWINS:
            known = ", ".join(sorted(TWINS)) or "none"
            message = f"there is no twin {shown(value)}{near(value, TWINS)} (twins are: {known})"
            faults.append(Fault(named.mark, (*path, _KEY), message))
        elif "name" not in cloud.entries:
            cloud.entries["name"] = Entry(cloud.mark, Scalar(named.mark, value, value))


def stock_of(cloud: Mapping) -> CloudSpec:
    """What holds for a cloud where the file says nothing: its twin, or a stock cloud."""
    named = cloud.get(_KEY)
    made = TWINS.get(str(named.value)) if isinstance(named, Scalar) else None
    return CloudSpec(name="stock") if made is None else made()


def with_twins(
    clouds: tuple[CloudSpec, ...], tree: Mapping, faults: list[Fault]
) -> tuple[CloudSpec, ...]:
    """The clouds, those of a twin with all that the file does not say as the twin has it.

    Groups of settings (``quota``, ``behaviour``, …) are laid over key by key, lists as a whole.

    Args:
        clouds: as they were read, the file's keys only.
        tree: what they were read from.
        faults: where what does not fit together is noted.
    """
    found: list[CloudSpec] = []
    for spec, (path, cloud) in zip(clouds, _clouds(tree), strict=True):
        if spec.twin is None:
            found.append(spec)
            continue
        base = TWINS[spec.twin]()
        taken = {cidr for other in found for cidr in other.outside}
        if "regions" in cloud.entries or taken.intersection(base.outside):
            # One range a region, and they are others now; or the same twin was there before.
            base = attrs.evolve(base, outside=())
        try:
            found.append(_laid_over(base, spec, cloud))
        except ValueError as error:
            message = f"it does not fit twin {spec.twin}: {error}"
            faults.append(Fault(cloud.mark, path, message))
            found.append(spec)
    return tuple(found)


def _laid_over(base: Any, given: Any, tree: Mapping) -> Any:
    """*base* with those values of *given* whose keys are in the tree."""
    changes = {}
    for field in attrs.fields(type(base)):
        entry = tree.entries.get(key_of(field))
        if entry is None or not field.init:
            continue
        under, over = getattr(base, field.name), getattr(given, field.name)
        tree_of = entry.value
        if isinstance(tree_of, Mapping) and type(under) is type(over) and is_group_of(under):
            over = _laid_over(under, over, tree_of)
        changes[field.alias or field.name] = over
    return attrs.evolve(base, **changes)


def is_group_of(value: Any) -> bool:
    """Whether a value is a group of settings, each of which may be left out."""
    return attrs.has(type(value)) and all(
        field.default is not attrs.NOTHING for field in attrs.fields(type(value))
    )


def _clouds(tree: Mapping) -> list[tuple[KeyPath, Mapping]]:
    clouds = tree.get("clouds")
    items = clouds.items if isinstance(clouds, Sequence) else ()
    return [(("clouds", n), item) for n, item in enumerate(items) if isinstance(item, Mapping)]
