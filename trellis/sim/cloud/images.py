"""Glance's side of a region: images as they are made, filled, imported, and deleted."""

from collections import deque
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any, Final

import attrs

from trellis.sim.cloud.disk_files import virtual_size
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.server_state import Image
from trellis.sim.cloud.site import STRANGER, Site
from trellis.sim.cloud.spec import UNLIMITED, ImageSpec
from trellis.sim.cloud.spooled import Spooled

QUEUED: Final = "queued"
SAVING: Final = "saving"
ACTIVE: Final = "active"
UPLOADING: Final = "uploading"
IMPORTING: Final = "importing"

BASE_SIZE: Final = 1_048_576
"""Size of the images that the cloud offers."""
_MIB: Final = 1_048_576
_KEPT_GONE: Final = 4096

Fetch = Callable[[str, Callable[[Spooled | None], None]], None]
"""Begins to download a URL; calls the second argument with what it got, or None."""


class Images:
    """All images of a region.

    Attributes:
        all: those that exist, by id, in the order in which they were made.
        web: files that are found on the web, by their URL, for imports by download.
        fetch: looks for a file on the real web, and tells what it found; None looks in ``web``.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self.all: dict[str, Image] = {}
        self.web: dict[str, Spooled] = {}
        self.fetch: Fetch | None = None
        self._gone: deque[Image] = deque(maxlen=_KEPT_GONE)
        for spec in site.spec.images:
            id = site.new_id()
            key = site.ids.randbytes(32)
            self.all[id] = Image(id=id, spec=spec, created=site.now, host_key=key)
        if site.spec.strangers.images_at_start:
            site.timeline.after(0.0, self._begin_strangers)

    def _begin_strangers(self) -> None:
        for number in range(self._site.spec.strangers.images_at_start):
            self._make(f"golden-{number}", who=STRANGER, status=ACTIVE, size=BASE_SIZE)

    # -------------------------------------------------------------------------- queries

    def find(self, image_id: str) -> Image | None:
        """One that is there, or, where the cloud shows them, one that was."""
        image = self.all.get(image_id)
        if image is None and self._site.spec.behaviour.lists_deleted:
            horizon = self._site.now - self._site.spec.keep_deleted_s
            for one in self._gone:
                if one.id == image_id and (one.ended or 0.0) >= horizon:
                    return one
        return None if image is not None and self.is_gone(image) else image

    def is_gone(self, image: Image) -> bool:
        """Whether the fault of that name hides it."""
        names = self._site.faults.image_gone
        return any(image.name == name or fnmatchcase(image.name, name) for name in names)

    def listed(self) -> Iterator[Image]:
        """What lists show, in the order in which they were made."""
        lag_s = self._site.faults.image_list_lag_s
        horizon = self._site.now - lag_s
        if self._site.spec.behaviour.lists_deleted:
            kept_from = self._site.now - self._site.spec.keep_deleted_s
            yield from (image for image in self._gone if (image.ended or 0.0) >= kept_from)
        elif lag_s > 0.0:
            yield from (
                image
                for image in self._gone
                if (image.ended or 0.0) > horizon and image.created <= horizon
            )
        missing = set[str]()
        for image in self.all.values():
            if self.is_gone(image):
                missing.add("image-gone")
            elif lag_s > 0.0 and not image.is_offered and image.created > horizon:
                missing.add("image-list-lag-s")
            else:
                yield image
        for fault in sorted(missing):
            self._site.strike(fault)

    def no_room(self, *, more: int = 0, more_mib: int = 0) -> str:
        """What Glance says if the quota lacks room for so much more; "" if it has."""
        site, quota = self._site, self._site.quota
        mine = [image for image in self.all.values() if image.who == site.user]
        used_mib = sum(image.size or 0 for image in mine) // _MIB
        asks = (
            ("image_count_total", quota.images, len(mine), more),
            ("image_size_total", quota.image_mib, used_mib, more_mib),
        )
        over = [
            f"Resource {name} is over limit of {most} due to current usage {used} and delta {delta}"
            for name, most, used, delta in asks
            if most != UNLIMITED and used + delta > most
        ]
        if site.faults.image_quota_full:
            site.strike("image-quota-full")
            full = "Resource image_count_total is over limit of {0} due to current usage {0}"
            over.append(f"{full.format(len(mine))} and delta 1")
        if not over:
            return ""
        site.note(What.IMAGE_REFUSED, id="image", who=site.user, detail=over[0])
        return f"Project {site.project_id} is over a limit for [{', '.join(over)}]"

    # -------------------------------------------------------------------------- actions

    def create(self, name: str, *, who: str, id: str | None = None, **fields: Any) -> Image:
        """Make an image that is queued."""
        return self._make(name, who=who, id=id, status=QUEUED, **fields)

    def _make(
        self,
        name: str,
        *,
        who: str,
        status: str,
        id: str | None = None,
        min_disk: int = 0,
        **fields: Any,
    ) -> Image:
        site = self._site
        image = Image(
            id=site.new_id() if id is None else id,
            spec=ImageSpec(name=name, status=status, min_disk_gib=min_disk),
            created=site.now,
            host_key=b"",
            who=who,
            **fields,
        )
        self.all[image.id] = image
        site.note(
            What.IMAGE_CREATED, id=image.id, name=name, who=who, metadata=image.properties
        )  # fmt: skip
        return image

    def become(self, image: Image, status: str) -> None:
        """Change an image's status; queued again, nothing is in it."""
        image.spec = attrs.evolve(image.spec, status=status)
        image.updated = self._site.now
        if status == QUEUED:
            image.size = image.virtual_size = None

    def change(self, image: Image, **spec: Any) -> None:
        """Change its name, or the least disk that it boots from."""
        image.spec = attrs.evolve(image.spec, **spec)
        image.updated = self._site.now

    def begin(self, image: Image) -> None:
        """A body for it is on its way."""
        image.taken = True
        self.become(image, SAVING)

    def broke_off(self, image: Image) -> None:
        """The body came to no end."""
        if not image.taken:
            return
        image.taken = False
        faults = self._site.faults
        if not self._site.befalls("image-stuck-saving", faults.image_stuck_saving):
            self.become(image, QUEUED)

    def take(self, image: Image, file: Spooled) -> None:
        """All of it has come by an upload."""
        site, faults = self._site, self._site.faults
        image.taken = False
        if site.befalls("image-stuck-saving", faults.image_stuck_saving):
            file.drop()
            self.become(image, SAVING)
        elif site.befalls("image-stuck-queued", faults.image_stuck_queued):
            file.drop()
            self.become(image, QUEUED)
        else:
            self.fill(image, file)

    def fill(self, image: Image, file: Spooled) -> None:
        """Store its file: it is active."""
        site, faults = self._site, self._site.faults
        image.staged = None
        image.corrupted = site.befalls("image-corrupted", faults.image_corrupted)
        if image.corrupted:
            md5, sha256, sha512 = _other(file.md5), _other(file.sha256), _other(file.sha512)
            file = attrs.evolve(file, md5=md5, sha256=sha256, sha512=sha512)
        image.stored = file
        image.size = file.size
        image.virtual_size = virtual_size(file, image.disk_format)
        self.become(image, ACTIVE)
        site.note(
            What.IMAGE_ACTIVE,
            id=image.id,
            name=image.name,
            who=image.who,
            metadata=image.properties,
            detail=f"{file.size} {file.md5}",
        )
        if site.chance(faults.image_deleted_by_person):
            site.timeline.after(site.lives.uniform(*faults.mishap_s), self._person, image)

    def _person(self, image: Image) -> None:
        if image.id in self.all:
            self._site.strike("image-deleted-by-person")
            self.remove(image)

    def delete(self, image: Image, by: str) -> None:
        """Take a delete that nothing speaks against."""
        if image.who == STRANGER and by != STRANGER:
            self._site.note(What.STRANGER_HARMED, id=image.id, who=by, detail="image deleted")
        self.remove(image)

    def remove(self, image: Image) -> None:
        """Let an image vanish at once."""
        for file in (image.stored, image.staged):
            if file is not None:
                file.drop()
        image.ended = self._site.now
        image.taken = False
        self.become(image, "deleted")
        del self.all[image.id]
        self._gone.append(image)
        self._site.note(What.IMAGE_DELETED, id=image.id, name=image.name, who=image.who)

    # -------------------------------------------------------------------------- imports

    def begin_import(self, image: Image, file: Spooled | None) -> None:
        """Import what was staged, or what was found at a URL; None is nothing."""
        site = self._site
        image.staged = file  # which goes with the image, should that be deleted meanwhile
        self.become(image, IMPORTING)
        seconds = site.spec.image_import.draw(site.lives)
        site.timeline.after(seconds, self._imported, image, file)

    def await_import(self, image: Image, uri: str) -> None:
        """Import what is found at a URL, once it is here."""
        assert self.fetch is not None
        self.become(image, IMPORTING)

        def fetched(file: Spooled | None) -> None:
            if image.id in self.all and image.status == IMPORTING:
                self.begin_import(image, file)
            elif file is not None:
                file.drop()

        self.fetch(uri, fetched)

    def _imported(self, image: Image, file: Spooled | None) -> None:
        if image.id not in self.all or image.status != IMPORTING:
            return
        if file is None or self._site.befalls("import-fails", self._site.faults.import_fails):
            if file is not None:
                file.drop()
            image.staged = None
            image.properties["os_glance_failed_import"] = "local"
            self.become(image, QUEUED)
        else:
            self.fill(image, file)


def _other(digest: str) -> str:
    """Another digest of the same length."""
    return digest[::-1] if digest != digest[::-1] else "0" * len(digest)
