"""What differs between two configurations, and what makes a node what it is."""

import hashlib
import json
from typing import Any

import attrs

from trellis.config.configuration import Configuration
from trellis.config.kinds import looks_secret
from trellis.config.rendering import as_plain


@attrs.frozen(kw_only=True)
class ProviderChanges:
    """Names of providers, each tuple in the order of its file.

    Attributes:
        changed: in both, and not the same.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def changed_providers(old: Configuration, new: Configuration) -> ProviderChanges:
    """Compare the providers of two configurations by name."""
    before = {provider.name: provider for provider in old.providers}
    after = {provider.name: provider for provider in new.providers}
    return ProviderChanges(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(name for name in after if name in before and after[name] != before[name]),
    )


def label_hash(configuration: Configuration, provider: str, pool: str, label: str) -> str:
    """A stable hash of all that makes a node of this label in this pool what it is.

    Limits, time-outs and other fields marked ``NOT_OF_THE_NODE`` do not count, nor do fields
    whose names sound secret: a rotated password makes no other node. User data does count.
    The same over restarts and releases, as long as no field is added that counts.

    Raises:
        KeyError: the configuration has no such provider, pool or label there.
    """
    at_provider = _the(configuration.providers, provider)
    at_pool = _the(at_provider.pools, pool)
    at_label = _the(at_pool.labels, label)
    parts: list[Any] = [at_provider, at_pool, at_label, _the(configuration.labels, label)]
    image, seen = at_label.image, set()
    while image is not None and image not in seen:
        seen.add(image)
        parts.append(found := _the(configuration.images, image))
        image = found.parent
    plain = [_of_the_node(part) for part in parts]
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _of_the_node(part: Any) -> dict[str, Any]:
    plain = as_plain(part, masked=False)
    return {
        key: value
        for field in attrs.fields(type(part))
        if field.metadata.get("makes_node", True)
        and not looks_secret(field.name)
        # A value left at its default does not count, so a new field changes no hash.
        and getattr(part, field.name) != field.default
        and (value := plain.get(key := field.name.replace("_", "-"))) not in (None, [], {})
    }


def _the(things: Any, name: str) -> Any:
    for thing in things:
        if thing.name == name:
            return thing
    raise KeyError(name)
