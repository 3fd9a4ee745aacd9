"""Which images go to which providers, with which properties, and what is run after."""

from collections.abc import Mapping

import attrs

from trellis.nodepool.recipes import Recipe, texts
from trellis.nodepool.site import Site, SiteProvider

Upload = tuple[str, str]
"""An image and a provider, by name."""


@attrs.frozen(kw_only=True)
class Uploads:
    """The uploads of a site, and how what Nodepool says of them can be said by Trellis.

    Nodepool gives each upload properties of its own; Trellis has those of an image and those of a
    provider, which go over them.

    Attributes:
        wanted: the properties of each upload.
        of_images: properties to give to images.
        of_providers: properties to give to providers.
        lost: names of properties that neither can carry.
        hooks: the command of an image, where all its providers have the same; None where they
            have not.
    """

    wanted: Mapping[Upload, Mapping[str, str]]
    of_images: Mapping[str, Mapping[str, str]]
    of_providers: Mapping[str, Mapping[str, str]]
    lost: Mapping[Upload, tuple[str, ...]]
    hooks: Mapping[str, str | None]


def uploads_of(site: Site, recipes: Mapping[str, Recipe]) -> Uploads:
    """Look at the images that labels name: these are uploaded."""
    wanted: dict[Upload, dict[str, str]] = {}
    hooks: dict[str, set[str]] = {}
    for provider in site.providers:
        for image in named_images(provider):
            if image in recipes:
                wanted[image, provider.name] = _properties(recipes[image], provider)
                hooks.setdefault(image, set()).add(provider.said.value.post_upload_hook or "")
    of_images = {
        image: _common([items for (i, _), items in wanted.items() if i == image])
        for image in dict.fromkeys(i for i, _ in wanted)
    }
    of_providers: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys(p for _, p in wanted):
        there = {i: items for (i, p), items in wanted.items() if p == name}
        common = _common(list(there.values()))
        of_providers[name] = {
            key: value
            for key, value in common.items()
            if any(of_images[image].get(key) != value for image in there)
        }
    lost = {}
    for (image, name), items in wanted.items():
        carried = {**of_images[image], **of_providers[name]}
        if missing := tuple(key for key, value in items.items() if carried.get(key) != value):
            lost[image, name] = missing
    return Uploads(
        wanted=wanted,
        of_images=of_images,
        of_providers=of_providers,
        lost=lost,
        hooks={i: next(iter(these)) if len(these) == 1 else None for i, these in hooks.items()},
    )


def named_images(provider: SiteProvider) -> tuple[str, ...]:
    """The images that labels of a provider name."""
    return tuple(
        dict.fromkeys(
            label.diskimage
            for pool in provider.pools
            for label in pool.value.labels or ()
            if label.diskimage is not None
        )
    )


def _properties(recipe: Recipe, provider: SiteProvider) -> dict[str, str]:
    own = provider.image(recipe.name)
    meta = own.value.meta if own is not None else None
    return texts({**recipe.metadata, **(meta or {})})[0]


def _common(all_items: list[dict[str, str]]) -> dict[str, str]:
    if not all_items:
        return {}
    return {
        key: value
        for key, value in all_items[0].items()
        if all(items.get(key) == value for items in all_items[1:])
    }
