"""What differs between two configurations, and what makes a node what it is."""

import hashlib
import json
from typing import Any

import attrs

from trellis.config.configuration import Configuration
from trellis.config.kinds import looks_secret
from trellis.config.rendering import as_plain
from trellis.spi.config import ImageConfig

LabelPlace = tuple[str, str, str]
"""Names of a provider, a pool of it, and a label of that."""


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


def label_hashes(configuration: Configuration) -> dict[LabelPlace, str]:
    """For each label of each pool a stable hash of all that makes its nodes what they are.

    Limits, time-outs and other fields marked ``NOT_OF_THE_NODE`` do not count, nor do fields
    whose names sound secret: a rotated password makes no other node. User data does count.
    The same over restarts and releases, as long as no field is added that counts.
    """
    labels = {label.name: _of_the_node(label) for label in configuration.labels}
    # What a builder makes an image of makes no node: another recipe is another upload, in time.
    images = {image.name: _of_the_node(image, ImageConfig) for image in configuration.images}
    hashes: dict[LabelPlace, str] = {}
    for provider in configuration.providers:
        at_provider = _of_the_node(provider)
        for pool in provider.pools:
            at_pool = _of_the_node(pool)
            for label in pool.labels:
                parts = [at_provider, at_pool, _of_the_node(label), labels.get(label.name, "{}")]
                parts += [images[label.image]] if label.image in images else []
                canonical = f"[{','.join(parts)}]".encode()
                hashes[provider.name, pool.name, label.name] = hashlib.sha256(
                    canonical
                ).hexdigest()[:16]
    return hashes


def _of_the_node(part: Any, cls: type[Any] | None = None) -> str:
    plain = as_plain(part, masked=False)
    kept = {
        key: value
        for field in attrs.fields(cls or type(part))
        if field.metadata.get("makes_node", True)
        and not looks_secret(field.name)
        # A value left at its default does not count, so a new field changes no hash.
        and getattr(part, field.name) != field.default
        and (value := plain.get(key := field.name.replace("_", "-"))) not in (None, [], {})
    }
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), default=str)
