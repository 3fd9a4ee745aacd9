"""Cinder's side of a region: volumes, as a state machine over time."""

from typing import Any, Final

import attrs

from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.site import STRANGER, Site
from trellis.sim.cloud.spec import UNLIMITED

DELETABLE: Final = ("available", "error")
"""States in which cinder takes a delete (cinder/volume/api.py; those of restores are not here)."""
_SHOWN_S: Final = 2.0


@attrs.define(eq=False, kw_only=True)
class Volume:
    """A volume.

    Attributes:
        server_id: the server it was made for or is attached to; "" is none.
        attached: since when the server has shown it; None while it does not.
        image_id: the image it was made from; None is a blank one.
        zone: the availability zone it is in.
    """

    id: str
    size_gib: int
    who: str
    created: float
    updated: float
    status: str = "creating"
    name: str = ""
    metadata: dict[str, str] = attrs.field(factory=dict)
    server_id: str = ""
    attached: float | None = None
    image_id: str | None = None
    image_name: str = ""
    attachment_id: str = ""
    delete_failed: bool = False
    zone: str = "nova"


class Volumes:
    """All volumes of a region."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.all: dict[str, Volume] = {}

    @property
    def used_gib(self) -> int:
        """Space that counts against the quota."""
        return sum(volume.size_gib for volume in self.all.values())

    def short_of(self, size_gib: int) -> str:
        """What cinder says if the quota lacks room for one more; "" if it has."""
        quota = self._site.quota
        if quota.volumes != UNLIMITED and len(self.all) >= quota.volumes:
            return (
                f"VolumeLimitExceeded: Maximum number of volumes allowed ({quota.volumes}) "
                "exceeded for quota 'volumes'."
            )
        used = self.used_gib
        if quota.gigabytes != UNLIMITED and used + size_gib > quota.gigabytes:
            return (
                "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed "
                f"gigabytes quota. Requested {size_gib}G, quota is {quota.gigabytes}G and {used}G "
                "has been consumed."
            )
        return ""

    # -------------------------------------------------------------------------- actions

    def create(self, size_gib: int, *, who: str, **fields: Any) -> Volume:
        """Make a volume, which is ``creating`` until it is told otherwise."""
        site = self._site
        volume = Volume(
            id=site.new_id(),
            size_gib=size_gib,
            who=who,
            created=site.now,
            updated=site.now,
            **fields,
        )
        self.all[volume.id] = volume
        site.note(
            What.VOLUME_CREATED,
            id=volume.id,
            name=volume.name,
            who=who,
            detail=f"{size_gib} GiB {volume.server_id}",
        )
        return volume

    def attach(self, volume: Volume) -> None:
        """Attach it to the server it was made for, which shows it from now on."""
        volume.attachment_id = self._site.new_id()
        volume.attached = self._site.now
        self._become(volume, "in-use")

    def let_go(self, volume: Volume, *, asked_at: float | None) -> None:
        """The server of a volume is gone, and nova deletes the volume; or it forgets to.

        One that its server had not shown for two seconds before the delete came no caller could
        have known of: that it stays is another fault, and the ledger says which ones did.

        Args:
            asked_at: when the server's delete came; None if none did: its build failed.
        """
        shown = asked_at is not None and volume.attached is not None
        long_ago = shown and (asked_at or 0.0) - (volume.attached or 0.0) >= _SHOWN_S
        volume.server_id, volume.attached = "", None
        self._become(volume, "available")
        site = self._site
        if long_ago:
            stays = site.befalls("leak-volume", site.faults.leak_volume)
        elif stays := site.befalls("leak-unseen-volume", site.faults.leak_unseen_volume):
            site.ledger.unattributable.add(volume.id)
        if not stays:
            self._delete(volume, known=long_ago)

    def delete(self, volume: Volume, by: str) -> None:
        """Take a delete; the volume must be in one of the `DELETABLE` states."""
        if volume.who == STRANGER and by != STRANGER:
            self._site.note(What.STRANGER_HARMED, id=volume.id, who=by, detail="volume deleted")
        self._delete(volume)

    def _delete(self, volume: Volume, *, known: bool = True) -> None:
        site = self._site
        self._become(volume, "deleting")
        may_fail = known and not volume.delete_failed
        fails = may_fail and site.chance(site.faults.stuck_volume)
        after = self._fail_delete if fails else self._gone
        site.timeline.after(site.spec.volume_delete.draw(site.lives), after, volume)

    def _fail_delete(self, volume: Volume) -> None:
        """It stays so until an operator of the cloud resets its state."""
        volume.delete_failed = True
        self._site.strike("stuck-volume")
        self._become(volume, "error_deleting")
        seconds = self._site.faults.stuck_volume_s
        self._site.timeline.after(seconds, self._become, volume, "available")

    def _gone(self, volume: Volume) -> None:
        del self.all[volume.id]
        self._site.note(What.VOLUME_DELETED, id=volume.id, name=volume.name, who=volume.who)

    def _become(self, volume: Volume, status: str) -> None:
        volume.status = status
        volume.updated = self._site.now
