"""Several files of one Nodepool put together: launchers' and builders', as its services read them.

A launcher's file says what is launched, and names the images; a builder's says what they are made
of, and where they are uploaded. Providers stand in both. Where two files say different things, the
file whose service acts on it counts, and the other is a `Conflict`, to be told.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import attrs

from trellis.config.document import Path
from trellis.nodepool import model
from trellis.nodepool.lineage import images_of, short_names
from trellis.nodepool.merging import (
    Conflict,
    Merged,
    Placed,
    disagreeing,
    first_of_each,
    key_of,
    merged,
)
from trellis.nodepool.reading import FileProvider, NodepoolFile, SecureFile, Source, Tenant

_BUILDERS: Final = ("elements_dir", "images_dir", "build_log_dir", "build_log_retention")
_LAUNCHERS: Final = ("max_hold_age", "webapp", "zookeeper_timeout")
_OF_UPLOADS: Final = frozenset({"image_upload_timeout", "image_name_format", "post_upload_hook"})
_OF_IMAGE_UPLOADS: Final = frozenset({"pause", "meta"})


@attrs.frozen(kw_only=True)
class SiteProvider:
    """An OpenStack provider with its pools and images."""

    said: Merged[model.OpenStackProvider]
    pools: tuple[Placed[model.Pool], ...]
    images: tuple[Merged[model.ProviderImage], ...]
    cloud_images: tuple[Placed[model.CloudImage], ...]

    @property
    def name(self) -> str:
        """Its name."""
        return self.said.value.name

    def image(self, name: str) -> Merged[model.ProviderImage] | None:
        """How it gets an image that is built; None if its ``diskimages`` do not have it."""
        return next((image for image in self.images if image.value.name == name), None)

    def cloud_image(self, name: str) -> Placed[model.CloudImage] | None:
        """The image of this name that its cloud has."""
        return next((image for image in self.cloud_images if image.value.name == name), None)


@attrs.frozen(kw_only=True)
class Setting:
    """A key at the top of a file."""

    value: Any
    source: Source
    path: Path


@attrs.frozen(kw_only=True)
class Site:
    """What becomes one trellis.yaml.

    Attributes:
        name: of the launcher's file, without suffix and folder; "" if it is all files.
        files: names of the files it is of.
        labels: by name; of ``min-ready`` the most, of ``max-ready-age`` the shortest.
        others: providers of drivers other than ``openstack``.
        copies: images that one file has otherwise than the one that counts, by the names they
            get: parents of what is in that file.
        secrets: of the secure files, environment variables by image.
        settings: keys at the top that are no lists, by field.
    """

    name: str = ""
    files: tuple[str, ...] = ()
    labels: tuple[Merged[model.Label], ...] = ()
    images: tuple[Placed[model.DiskImage], ...] = ()
    providers: tuple[SiteProvider, ...] = ()
    others: tuple[FileProvider, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    copies: dict[str, Placed[model.DiskImage]] = attrs.field(factory=dict)
    secrets: dict[str, dict[str, str]] = attrs.field(factory=dict, repr=False)
    settings: dict[str, Setting] = attrs.field(factory=dict)
    conflicts: tuple[Conflict, ...] = ()


def sites(
    files: Sequence[NodepoolFile], secure: Sequence[SecureFile] = (), *, each: bool = False
) -> tuple[Site, ...]:
    """Put files together.

    Args:
        each: one site for each file with pools, of the providers and labels in it, with what the
            other files say of their images; or one of all.
    """
    files = list({file.source.name: file for file in files}.values())
    launchers = [file for file in files if file.launches]
    if not each or len(launchers) < 2:
        return (_site(files, files, secure, name=""),)
    names = short_names([file.source.name for file in launchers])
    return tuple(
        _site([file], [file, *(other for other in files if other is not file)], secure, name=name)
        for file, name in zip(launchers, names, strict=True)
    )


def _site(
    launchers: Sequence[NodepoolFile],
    files: Sequence[NodepoolFile],
    secure: Sequence[SecureFile],
    *,
    name: str,
) -> Site:
    conflicts: list[Conflict] = []
    builders = [file for file in files if file.builds] or list(files)
    launching = [file for file in launchers if file.launches] or list(launchers)
    own = [file for file in files if file in launchers]
    providers, others = _providers(own, files, builders, conflicts)
    images, copies = images_of(files, builders, conflicts)
    if name:
        images = _needed(images, providers)
    return Site(
        name=name,
        files=tuple([file.source.name for file in files] + [one.source.name for one in secure]),
        labels=_labels(own, conflicts),
        images=images,
        copies=copies,
        providers=providers,
        others=others,
        tenants=_tenants(own, conflicts),
        secrets=_secrets(secure, {image.value.name for image in images}),
        settings=_settings(launching, builders, files, secure, conflicts),
        conflicts=tuple(conflicts),
    )


# --------------------------------------------------------------------------------- providers


def _providers(
    own: Sequence[NodepoolFile],
    files: Sequence[NodepoolFile],
    builders: Sequence[NodepoolFile],
    conflicts: list[Conflict],
) -> tuple[tuple[SiteProvider, ...], tuple[FileProvider, ...]]:
    wanted = dict.fromkeys(
        (provider.name, provider.config is None) for file in own for provider in file.providers
    )
    found, others = [], []
    for name, other in wanted:
        parts = [
            provider
            for file in files
            for provider in file.providers
            if (provider.name, provider.config is None) == (name, other)
        ]
        if other:
            others.append(parts[0])
            continue
        # Those with pools first: a launcher acts on them.
        parts.sort(key=lambda part: not (part.config and part.config.pools))
        of_builders = [part for part in parts if any(part in b.providers for b in builders)]
        found.append(_provider(parts, of_builders or parts, conflicts))
    return tuple(found), tuple(others)


def _provider(
    parts: Sequence[FileProvider], of_builders: Sequence[FileProvider], conflicts: list[Conflict]
) -> SiteProvider:
    placed, building = _placed(parts), _placed(of_builders)
    said = merged(placed, building, _OF_UPLOADS, conflicts)
    images: dict[str, list[Placed[model.ProviderImage]]] = {}
    for image in _inner(placed, "diskimages"):
        images.setdefault(image.value.name, []).append(image)
    uploads: dict[str, list[Placed[model.ProviderImage]]] = {}
    for image in _inner(building, "diskimages"):
        uploads.setdefault(image.value.name, []).append(image)
    return SiteProvider(
        said=said,
        pools=first_of_each(_inner(placed, "pools"), conflicts),
        images=tuple(
            merged(found, uploads.get(name, found), _OF_IMAGE_UPLOADS, conflicts)
            for name, found in images.items()
        ),
        cloud_images=first_of_each(_inner(placed, "cloud_images"), conflicts),
    )


def _placed(parts: Iterable[FileProvider]) -> list[Placed[model.OpenStackProvider]]:
    return [
        Placed(value=part.config, source=part.source, path=part.path)
        for part in parts
        if part.config is not None
    ]


def _inner(parts: Iterable[Placed[Any]], field: str) -> list[Placed[Any]]:
    """The items of a list of a provider, in all files."""
    return [
        Placed(value=item, source=part.source, path=(*part.path_of(field), i))
        for part in parts
        for i, item in enumerate(getattr(part.value, field) or ())
    ]


# ------------------------------------------------------------------------- labels and images


def _labels(
    files: Sequence[NodepoolFile], conflicts: list[Conflict]
) -> tuple[Merged[model.Label], ...]:
    by_name: dict[str, list[Placed[model.Label]]] = {}
    for file in files:
        for i, label in enumerate(file.config.labels or ()):
            one = Placed(value=label, source=file.source, path=("labels", i))
            by_name.setdefault(label.name, []).append(one)
    found = []
    for name, parts in by_name.items():
        changes: dict[str, Any] = {}
        for field, choose in (("min_ready", max), ("max_ready_age", min)):
            # Launchers share the labels, and one alone keeps them ready: the others say 0.
            said = [part for part in parts if (getattr(part.value, field) or 0) > 0]
            if said:
                value = choose(getattr(part.value, field) for part in said)
                said.sort(key=lambda part: getattr(part.value, field) != value)
                changes[field] = value
                conflicts += disagreeing(said, field)
                parts = [*said, *(part for part in parts if part not in said)]
        label = attrs.evolve(model.Label(name=name), **changes)
        found.append(Merged(value=label, parts=tuple(parts)))
    return tuple(found)


def _needed(
    images: tuple[Placed[model.DiskImage], ...], providers: Sequence[SiteProvider]
) -> tuple[Placed[model.DiskImage], ...]:
    """The images that labels of these providers name, with their parents."""
    by_name = {image.value.name: image.value for image in images}
    wanted: set[str] = set()
    for provider in providers:
        for pool in provider.pools:
            for label in pool.value.labels or ():
                at = label.diskimage
                while at and at in by_name and at not in wanted:
                    wanted.add(at)
                    at = by_name[at].parent
    return tuple(image for image in images if image.value.name in wanted)


# ------------------------------------------------------------------------------------ the rest


def _tenants(files: Sequence[NodepoolFile], conflicts: list[Conflict]) -> tuple[Tenant, ...]:
    found: dict[str, Tenant] = {}
    for file in files:
        for tenant in file.tenants:
            first = found.setdefault(tenant.name, tenant)
            if first.limits != tenant.limits:
                conflicts.append(
                    Conflict(
                        path=tenant.path,
                        place=tenant.source.place(tenant.path),
                        counts=first.source.place(first.path),
                    )
                )
    return tuple(found.values())


def _secrets(secure: Sequence[SecureFile], images: Collection[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for file in secure:
        for image in file.config.diskimages or ():
            if image.name in images and image.env_vars:
                found.setdefault(image.name, {}).update(image.env_vars)
    return found


def _settings(
    launching: Sequence[NodepoolFile],
    builders: Sequence[NodepoolFile],
    files: Sequence[NodepoolFile],
    secure: Sequence[SecureFile],
    conflicts: list[Conflict],
) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    wanted: list[tuple[str, Sequence[Any]]] = [
        (field, [*builders, *launching, *files]) for field in _BUILDERS
    ]
    wanted += [(field, [*launching, *files]) for field in _LAUNCHERS]
    # What a secure file says goes before (`nodepool/config.py: loadSecureConfig`).
    servers: list[Any] = [*secure, *launching, *files]
    wanted += [("zookeeper_servers", servers), ("zookeeper_tls", servers)]
    for field, order in wanted:
        said = [
            Setting(value=value, source=file.source, path=(key_of(field),))
            for file in order
            if (value := getattr(file.config, field)) not in (None, ())
        ]
        if not said:
            continue
        counts = found[field] = said[0]
        is_secure = any(file.source is counts.source for file in secure)
        conflicts += [
            Conflict(
                path=one.path,
                place=one.source.place(one.path),
                counts=counts.source.place(counts.path),
            )
            for one in said[1:]
            if one.value != counts.value and one.source is not counts.source and not is_secure
        ]
    return found
