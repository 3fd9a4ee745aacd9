"""Swift's side of a region: containers and objects of one account."""

import hashlib
from collections.abc import Mapping
from typing import Final

import attrs

from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.site import Site
from trellis.sim.cloud.spooled import Spooled

_LOST_AFTER_S: Final = 1.0


@attrs.define(eq=False, kw_only=True)
class Object:
    """An object.

    Attributes:
        file: what it holds; of a manifest, an empty one.
        segments: for a manifest, the paths of its parts, in their order.
        delete_at: when it vanishes by itself; None is never.
        failed: the tasks that failed with it.
    """

    container: str
    name: str
    who: str
    created: float
    file: Spooled
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = attrs.field(factory=dict)
    segments: tuple[str, ...] = ()
    delete_at: float | None = None
    failed: bool = False
    gone: bool = False

    @property
    def path(self) -> str:
        """``CONTAINER/NAME``."""
        return f"{self.container}/{self.name}"


class ObjectStore:
    """All objects of a region; they are the account's."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.containers: dict[str, dict[str, Object]] = {}

    def find(self, path: str) -> Object | None:
        """The object of a path, as ``CONTAINER/NAME``."""
        container, _, name = path.partition("/")
        return self.containers.get(container, {}).get(name)

    def put(self, one: Object, after_s: float | None) -> None:
        """Put an object in the place of whatever was there; it vanishes after so many seconds."""
        site = self._site
        before = self.find(one.path)
        if before is not None:
            self.remove(before)
        self.containers[one.container][one.name] = one
        site.note(What.OBJECT_CREATED, id=one.path, name=one.name, who=one.who)
        if after_s is not None:
            one.delete_at = site.now + after_s
            site.timeline.after(after_s, self.remove, one)
        if site.befalls("object-lost", site.faults.object_lost):
            site.timeline.after(_LOST_AFTER_S, self.remove, one)

    def remove(self, one: Object) -> None:
        """Remove an object, if it is there still."""
        if one.gone:
            return
        one.gone = True
        one.file.drop()
        self.containers.get(one.container, {}).pop(one.name, None)
        self._site.note(What.OBJECT_DELETED, id=one.path, name=one.name, who=one.who)

    def parts_of(self, one: Object) -> list[Object] | None:
        """What it consists of: itself, or its segments; None where one of them is missing."""
        if not one.segments:
            return [one]
        found = [self.find(path) for path in one.segments]
        return [part for part in found if part] if all(found) else None

    def whole(self, one: Object) -> Spooled | None:
        """What a reader of it gets; None where a segment is missing.

        Of several segments there is no file, and no checksum unless all are small.
        """
        parts = self.parts_of(one)
        if parts is None:
            return None
        if len(parts) == 1:
            return parts[0].file
        files = [part.file for part in parts]
        small = b"".join(file.data or b"" for file in files)
        known = all(file.data is not None for file in files)
        kinds = ("md5", "sha256", "sha512")
        sums = {k: hashlib.new(k, small, usedforsecurity=False).hexdigest() for k in kinds}
        return Spooled(
            size=sum(file.size for file in files),
            head=files[0].head,
            tail=files[-1].tail,
            data=small if known else None,
            **(sums if known else {}),
        )
