"""The images on record, indexed: all live images, builds and uploads, commit by commit.

Every index follows from the records alone; a restart builds them anew from the store.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import attrs

from trellis.model.image import Build, BuildState, ImageRecord, Upload, upload_order
from trellis.model.names import BuildId, UploadId
from trellis.model.records import Change, Record

R = TypeVar("R", ImageRecord, Build, Upload)
K = TypeVar("K")
V = TypeVar("V", Build, Upload)


@attrs.frozen(kw_only=True)
class OfImage:
    """All there is of one image.

    Attributes:
        builds, uploads: the newest first; uploads to all providers, by build.
    """

    record: ImageRecord
    builds: tuple[Build, ...]
    uploads: tuple[Upload, ...]


class ImageBook:
    """Indexes over all live images, builds and uploads; what has become GONE is not in it.

    Attributes:
        images: by name; an image nothing was ever recorded of is not in it (see `record`).
        builds, uploads: by id.
        by_external: the upload that an image in a cloud is, by provider and the cloud's id.
        on_image, on_build, on_upload: called for each record that changed, before and after
            (after is None when it is gone, before when it is new), after all indexes hold it.
        on_released: called when nothing reads a file any more (see `reading`).
        revision: rises with each batch that changed anything here.
    """

    def __init__(self) -> None:
        self.images: dict[str, ImageRecord] = {}
        self.builds: dict[BuildId, Build] = {}
        self.uploads: dict[UploadId, Upload] = {}
        self.by_external: dict[tuple[str, str], Upload] = {}
        self.on_image: list[Callable[[ImageRecord | None, ImageRecord | None], None]] = []
        self.on_build: list[Callable[[Build | None, Build | None], None]] = []
        self.on_upload: list[Callable[[Upload | None, Upload | None], None]] = []
        self.on_released: list[Callable[[], None]] = []
        self.revision = 0
        self._read: Counter[tuple[BuildId, str]] = Counter()
        self._builds_of: dict[str, dict[BuildId, Build]] = {}
        self._uploads_of: dict[str, dict[UploadId, Upload]] = {}
        self._of_image: dict[str, OfImage] = {}
        self._at: dict[tuple[str, str], tuple[Upload, ...]] = {}
        self._at_provider: dict[str, dict[UploadId, Upload]] = {}

    def load(self, records: Iterable[Record]) -> None:
        """Take in what the store holds at the start; nobody is called for it."""
        for record in records:
            self._take(None, record)
        self.revision += 1

    def apply(self, changes: Iterable[Change]) -> None:
        """Take in a batch that has become durable, then tell of it."""
        told = [
            (change.before, None if change.archive else change.after)
            for change in changes
            if isinstance(change.after, ImageRecord | Build | Upload)
        ]
        if not told:
            return
        for before, after in told:
            self._take(before, after)
        self.revision += 1
        for before, after in told:
            self._tell(before, after)

    # ------------------------------------------------------------------------- what there is

    def record(self, image: str) -> ImageRecord:
        """What is remembered of an image; nothing yet is a value too."""
        found = self.images.get(image)
        return ImageRecord(name=image) if found is None else found

    def is_building(self, build: BuildId) -> bool:
        """Whether a build is under way."""
        found = self.builds.get(build)
        return found is not None and found.state is BuildState.BUILDING

    def of_image(self, image: str) -> OfImage:
        """All there is of an image; the same object as before until something of it changes."""
        known = self._of_image.get(image)
        if known is None:
            builds = self._builds_of.get(image, {}).values()
            uploads = self._uploads_of.get(image, {}).values()
            known = self._of_image[image] = OfImage(
                record=self.record(image),
                builds=tuple(sorted(builds, key=lambda one: one.number, reverse=True)),
                uploads=tuple(sorted(uploads, key=upload_order, reverse=True)),
            )
        return known

    def at(self, provider: str, image: str) -> tuple[Upload, ...]:
        """The uploads of an image to a provider, that of the newest build first."""
        return self._at.get((provider, image), ())

    def at_provider(self, provider: str) -> tuple[Upload, ...]:
        """The uploads of all images to a provider, in the order they came to be known."""
        return tuple(self._at_provider.get(provider, {}).values())

    def providers(self) -> tuple[str, ...]:
        """The providers that have uploads, in whatever state."""
        return tuple(name for name, uploads in self._at_provider.items() if uploads)

    def names(self) -> tuple[str, ...]:
        """The images of which there is a record, a build or an upload."""
        return tuple(dict.fromkeys((*self.images, *self._builds_of, *self._uploads_of)))

    # ------------------------------------------------------------------------- files in use

    @contextmanager
    def reading(self, build: BuildId, format: str) -> Iterator[None]:
        """A file of a build is read in this block, and stays meanwhile.

        That is of this process: what reads them ends with it.
        """
        self._read[build, format] += 1
        try:
            yield
        finally:
            self._read[build, format] -= 1
            if not self._read[build, format]:
                del self._read[build, format]
                for told in self.on_released:
                    told()

    def is_read(self, build: BuildId) -> bool:
        """Whether something reads a file of a build at this moment."""
        return any(one == build for one, _ in self._read)

    def read(self) -> frozenset[tuple[BuildId, str]]:
        """The builds and formats whose files are read at this moment."""
        return frozenset(self._read)

    # ------------------------------------------------------------------------- the indexes

    def _take(self, before: Record | None, after: Record | None) -> None:
        match before if after is None else after:
            case ImageRecord(name=name):
                self._of_image.pop(name, None)
                self.images.pop(name, None)
                if isinstance(after, ImageRecord):
                    self.images[name] = after
            case Build(image=image) as build:
                self._of_image.pop(image, None)
                kept = None if after is None else build
                _put(self.builds, build.id, kept)
                _put(self._builds_of.setdefault(image, {}), build.id, kept)
                if not self._builds_of[image]:
                    del self._builds_of[image]
            case Upload() as upload:
                was = before if isinstance(before, Upload) else None
                self._take_upload(was, upload, gone=after is None)
            case _:
                pass

    def _take_upload(self, was: Upload | None, upload: Upload, *, gone: bool) -> None:
        after, place = None if gone else upload, (upload.provider, upload.image)
        self._of_image.pop(upload.image, None)
        _put(self.uploads, upload.id, after)
        _put(self._uploads_of.setdefault(upload.image, {}), upload.id, after)
        if not self._uploads_of[upload.image]:
            del self._uploads_of[upload.image]
        _put(self._at_provider.setdefault(upload.provider, {}), upload.id, after)
        if was is not None and was.external_id is not None:
            self.by_external.pop((was.provider, was.external_id), None)
        if after is not None and after.external_id is not None:
            self.by_external[after.provider, after.external_id] = after
        others = [one for one in self.at(*place) if one.id != upload.id]
        there = sorted((*others, *(() if gone else (upload,))), key=upload_order, reverse=True)
        if there:
            self._at[place] = tuple(there)
        else:
            self._at.pop(place, None)

    def _tell(self, before: Record | None, after: Record | None) -> None:
        match before if after is None else after:
            case ImageRecord():
                for told in self.on_image:
                    told(_as(ImageRecord, before), _as(ImageRecord, after))
            case Build():
                for told_build in self.on_build:
                    told_build(_as(Build, before), _as(Build, after))
            case Upload():
                for told_upload in self.on_upload:
                    told_upload(_as(Upload, before), _as(Upload, after))
            case _:
                pass


def _as(cls: type[R], record: Record | None) -> R | None:
    return record if isinstance(record, cls) else None


def _put(index: dict[K, V], key: K, record: V | None) -> None:
    if record is None:
        index.pop(key, None)
    else:
        index[key] = record
