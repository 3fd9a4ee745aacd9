"""What acts on images share: how they find what they are about, and how they record it."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Protocol

from trellis.control.fleet import Fleet
from trellis.control.images.book import ImageBook
from trellis.control.images.choice import Choice
from trellis.errors import RefusedError, UnknownIdError
from trellis.model.image import (
    Build,
    BuildState,
    ImagePlace,
    ImageRecord,
    Upload,
    UploadState,
)
from trellis.model.names import BuildId, UploadId
from trellis.model.records import Change
from trellis.spi.config import ImageConfig, ProviderConfig
from trellis.store.store import Store
from trellis.world import World

STANDING: Final = frozenset({UploadState.UPLOADING, UploadState.READY})


class UsesImages(Protocol):
    """What is asked of a running provider."""

    config: ProviderConfig
    dropped: bool


class ActGround:
    """What acts on images share.

    Args:
        images: what the configuration says of those that are built, by name.
        providers: those at work, by name.
    """

    def __init__(
        self,
        *,
        store: Store,
        book: ImageBook,
        fleet: Fleet,
        world: World,
        choice: Choice,
        images: Callable[[], Mapping[str, ImageConfig]],
        providers: Mapping[str, UsesImages],
    ) -> None:
        self._store, self._book, self._fleet, self._world = store, book, fleet, world
        self._choice, self._images, self._providers = choice, images, providers

    def _configured(self, image: str) -> ImageConfig:
        found = self._images().get(image)
        if found is None:
            raise self._unknown(image, self._images())
        return found

    def _known(self, image: str) -> None:
        if image not in self._images() and image not in self._book.names():
            raise self._unknown(image, (*self._images(), *self._book.names()))

    def _unknown(self, image: str, there: Iterable[str]) -> UnknownIdError:
        names = list(dict.fromkeys(there))
        near = ", ".join(difflib.get_close_matches(image, names, 3) or names) or "none"
        return UnknownIdError(f"no image {image!r} is built here", remedy=f"there are: {near}")

    def _places(self, image: str, provider: str | None) -> list[str]:
        """The providers that a word is about.

        Raises:
            UnknownIdError: there is no such image, or it is not used there.
        """
        self._known(image)
        users = [name for name, one in self._providers.items() if _uses(one, image)]
        users += [
            name for name in self._providers if name not in users and self._book.at(name, image)
        ]
        there = ", ".join(users) or "no provider"
        if provider is None and users:
            return users
        if provider is None or provider not in users:
            where = provider or "any provider"
            raise UnknownIdError(
                f"{image} is not used at {where}", remedy=f"it is used at: {there}"
            )
        return [provider]

    def _newest_build(self, image: str) -> Build:
        self._configured(image)
        for build in self._book.of_image(image).builds:
            if build.state is BuildState.READY and has_files(build):
                return build
        raise RefusedError(
            f"there is no build of {image} that could be uploaded",
            remedy=f"'trellis image build {image}' builds one, and it is uploaded by itself",
        )

    def _has(self, provider: str, build: Build) -> bool:
        uploads = self._book.at(provider, build.image)
        return any(one.build_id == build.id and one.state in STANDING for one in uploads)

    def _upload(self, image: str, upload: UploadId) -> Upload:
        self._known(image)
        found = self._store.head(Upload, upload)
        if found is None or found.image != image:
            raise UnknownIdError(f"{image} has no upload {upload}", remedy=show(image))
        return found

    def _build(self, image: str, build: BuildId) -> Build:
        self._known(image)
        found = self._store.head(Build, build)
        if found is None or found.image != image:
            raise UnknownIdError(f"{image} has no build {build}", remedy=show(image))
        return found

    def _deleted(self, upload: Upload, why: str) -> Change:
        after = upload.became(UploadState.DELETING, self._world.wall())
        return Change(upload, after, why=why)

    def _record(self, image: str) -> ImageRecord:
        return self._store.head(ImageRecord, image) or ImageRecord(name=image)

    async def _amend(
        self, image: str, change: Callable[[ImageRecord], ImageRecord], why: str
    ) -> None:
        before = self._store.head(ImageRecord, image)
        known = before or ImageRecord(name=image)
        after = change(known)
        if after != known:
            await self._store.commit([Change(before, after, why=why)])

    async def _amend_places(
        self,
        image: str,
        providers: Iterable[str],
        change: Callable[[ImagePlace], ImagePlace],
        why: str,
    ) -> None:
        await self._store.commit([*self._place_changes(image, providers, change, why)])

    def _place_changes(
        self,
        image: str,
        providers: Iterable[str],
        change: Callable[[ImagePlace], ImagePlace],
        why: str,
    ) -> Iterator[Change]:
        """Change an image at each of some providers; each is an event of its own."""
        before = self._store.head(ImageRecord, image)
        for name in providers:
            record = before or ImageRecord(name=image)
            after = record.with_place(change(record.place(name)))
            if after.place(name) != record.place(name):
                yield Change(before, after, why=why)
                before = after


def _uses(provider: UsesImages, image: str) -> bool:
    if provider.dropped:
        return False
    return any(label.image == image for pool in provider.config.pools for label in pool.labels)


def show(image: str) -> str:
    """Where a person sees what there is of an image."""
    return f"'trellis image show {image}' shows its builds and uploads"


def has_files(build: Build) -> bool:
    """Whether any file of a build is here still."""
    return any(one.path for one in build.artifacts)


def said(what: str, reason: str) -> str:
    """What a person did, and why if they said so."""
    return f"{what}: {reason}" if reason else what
