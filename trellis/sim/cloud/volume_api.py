"""Cinder v3: volumes, limits, quota. Shapes as its API reference documents them (v3.0)."""

from typing import Any, Final
from urllib.parse import urlencode

from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.routes import Call, Table, find, taken_apart
from trellis.sim.cloud.site import Site
from trellis.sim.cloud.volume import DELETABLE, Volume, Volumes
from trellis.sim.cloud.wire import (
    RefusalError,
    Request,
    Response,
    answer,
    empty,
    json_object,
    nova_fault,
    page_not_found,
)

_TYPE: Final = "__DEFAULT__"


class VolumeApi:
    """The block storage service of a region."""

    def __init__(self, site: Site, volumes: Volumes) -> None:
        self._site = site
        self._volumes = volumes
        self._table: Table = {
            ("GET", "volumes"): self._list,
            ("GET", "volumes/detail"): self._list,
            ("POST", "volumes"): self._create,
            ("GET", "volumes/*"): self._show,
            ("DELETE", "volumes/*"): self._delete,
            ("GET", "limits"): self._limits,
            ("GET", "os-quota-sets/*"): self._quota,
        }

    def discover(self, segments: tuple[str, ...]) -> Response | None:
        """Answer the version document, which needs no token."""
        if segments not in ((), ("",), ("v3",), ("v3", "")):
            return None
        version = {
            "id": "v3.0",
            "status": "CURRENT",
            "version": "3.0",
            "min_version": "3.0",
            "updated": "2024-01-01T00:00:00Z",
            "links": [{"rel": "self", "href": self._site.url("volume", "/v3/")}],
            "media-types": [
                {"base": "application/json", "type": "application/vnd.openstack.volume+json"}
            ],
        }
        return answer(200 if segments[:1] == ("v3",) else 300, {"versions": [version]})

    def without_token(self, refusal: Response) -> Response:
        """Cinder's token check words it as Keystone does."""
        return refusal

    def handle(self, request: Request, segments: tuple[str, ...]) -> tuple[str, Response]:
        """Answer a call below ``/volume``, with a good token; returns its kind too."""
        kind, handler = find(self._table, request.method, segments[2:])
        old = self._site.spec.behaviour.shows_older_products
        if segments[:1] != ("v2" if old else "v3",) or handler is None:
            return "?", page_not_found()
        if segments[1] != self._site.project_id:
            return f"/{kind}", nova_fault(400, "Malformed request url")
        try:
            response = handler(taken_apart(request, segments[2:]))
        except RefusalError as refusal:
            response = refusal.response
        shown = response.with_headers(OpenStack_API_Version="volume 3.0")
        return f"/{kind}", shown.with_headers(Vary="OpenStack-API-Version")

    # -------------------------------------------------------------------------- volumes

    def _list(self, call: Call) -> Response:
        """Newest first, page by page, with a link to the next one."""
        volumes = sorted(self._volumes.all.values(), key=lambda one: (-one.created, one.id))
        wanted = call.asked("status")
        if wanted is not None:
            volumes = [volume for volume in volumes if volume.status == wanted]
        marker = call.asked("marker")
        if marker is not None:
            places = [place for place, volume in enumerate(volumes) if volume.id == marker]
            if not places:
                raise _refuse(404, f"Volume {marker} could not be found.")
            volumes = volumes[places[0] + 1 :]
        most = self._site.spec.page
        asked = call.asked("limit")
        if asked is not None:
            if not asked.isdecimal():
                raise _refuse(400, f"limit {asked} is not an integer")
            most = min(most, int(asked) or most)
        more, volumes = len(volumes) > most, volumes[:most]
        detailed = call.segments[-1] == "detail"
        rows = [self._row(volume) if detailed else self._brief(volume) for volume in volumes]
        document: dict[str, Any] = {"volumes": rows}
        if more:
            query = {name: values for name, values in call.query.items() if name != "marker"}
            query["marker"] = [volumes[-1].id]
            path = f"{self._below('/'.join(call.segments))}?{urlencode(query, doseq=True)}"
            document["volumes_links"] = [{"rel": "next", "href": self._site.url("volume", path)}]
        return answer(200, document)

    def _show(self, call: Call) -> Response:
        return answer(200, {"volume": self._row(self._known(call))})

    def _create(self, call: Call) -> Response:
        """A blank one, for whoever wants it; it is available at once."""
        body = json_object(call.request)
        wanted = (body or {}).get("volume")
        size = wanted.get("size") if isinstance(wanted, dict) else None
        if not isinstance(wanted, dict) or not isinstance(size, int) or size < 1:
            raise _refuse(400, "Invalid input received: Volume size must be a positive integer")
        zone = str(wanted.get("availability_zone") or "nova")
        if self._site.spec.behaviour.volumes_in_zones and zone not in self._site.spec.zones:
            message = f"Invalid input received: Availability zone '{zone}' is invalid."
            raise _refuse(400, message)
        site, refusal = self._site, self._volumes.short_of(size)
        if refusal:
            site.note(What.QUOTA_REFUSED, id="POST volume /volumes", who=site.user, detail=refusal)
            raise RefusalError(nova_fault(413, refusal).with_headers(Retry_After="0"))
        volume = self._volumes.create(
            size,
            who=site.user,
            status="available",
            name=str(wanted.get("name") or ""),
            metadata=dict(wanted.get("metadata") or {}),
            zone=zone,
        )
        return answer(202, {"volume": self._row(volume)})

    def _delete(self, call: Call) -> Response:
        volume = self._known(call)
        if volume.status not in DELETABLE:
            raise _refuse(
                400,
                "Invalid volume: Volume status must be available or error or error_restoring or "
                "error_extending or error_managing and must not be migrating, attached, belong to "
                "a group, have snapshots, awaiting a transfer, or be disassociated from snapshots "
                "after volume transfer.",
            )
        self._volumes.delete(volume, self._site.user)
        return empty(202)

    def _known(self, call: Call) -> Volume:
        volume = self._volumes.all.get(call.segments[1])
        if volume is None:
            raise _refuse(404, f"Volume {call.segments[1]} could not be found.")
        return volume

    # --------------------------------------------------------------------- limits, quota

    def _limits(self, _: Call) -> Response:
        quota, volumes = self._site.quota, self._volumes
        absolute = {
            "totalSnapshotsUsed": 0,
            "maxTotalBackups": 10,
            "maxTotalVolumeGigabytes": quota.gigabytes,
            "maxTotalSnapshots": 10,
            "maxTotalBackupGigabytes": 1000,
            "totalBackupGigabytesUsed": 0,
            "maxTotalVolumes": quota.volumes,
            "totalVolumesUsed": len(volumes.all),
            "totalBackupsUsed": 0,
            "totalGigabytesUsed": volumes.used_gib,
        }
        return answer(200, {"limits": {"rate": [], "absolute": absolute}})

    def _quota(self, call: Call) -> Response:
        quota, volumes = self._site.quota, self._volumes
        limits = {
            "volumes": (quota.volumes, len(volumes.all)),
            "snapshots": (10, 0),
            "gigabytes": (quota.gigabytes, volumes.used_gib),
            "backups": (10, 0),
            "backup_gigabytes": (1000, 0),
            "per_volume_gigabytes": (-1, 0),
            "groups": (10, 0),
        }
        detailed = (call.asked("usage") or "").lower() == "true"
        rows = {
            name: {"limit": limit, "in_use": used, "reserved": 0} if detailed else limit
            for name, (limit, used) in limits.items()
        }
        return answer(200, {"quota_set": {"id": call.segments[1], **rows}})

    # ----------------------------------------------------------------------------- rows

    def _below(self, path: str) -> str:
        return f"/v3/{self._site.project_id}/{path}"

    def _brief(self, volume: Volume) -> dict[str, Any]:
        path = f"volumes/{volume.id}"
        bookmark = f"/{self._site.project_id}/{path}"
        links = [
            {"rel": "self", "href": self._site.url("volume", self._below(path))},
            {"rel": "bookmark", "href": self._site.url("volume", bookmark)},
        ]
        return {"id": volume.id, "name": volume.name, "links": links}

    def _row(self, volume: Volume) -> dict[str, Any]:
        stamp = self._site.timeline.long_stamp
        row: dict[str, Any] = {
            **self._brief(volume),
            "attachments": self._attachments(volume),
            "availability_zone": volume.zone,
            "bootable": "true" if volume.image_id else "false",
            "consistencygroup_id": None,
            "created_at": stamp(volume.created),
            "description": "" if volume.image_id else None,
            "encrypted": False,
            "metadata": volume.metadata,
            "multiattach": False,
            "os-vol-tenant-attr:tenant_id": self._site.project_id,
            "replication_status": None,
            "size": volume.size_gib,
            "snapshot_id": None,
            "source_volid": None,
            "status": volume.status,
            "updated_at": stamp(volume.updated),
            "user_id": self._site.user_id,
            "volume_type": _TYPE,
        }
        if volume.image_id:
            row["volume_image_metadata"] = {
                "image_id": volume.image_id,
                "image_name": volume.image_name,
                "container_format": "bare",
                "disk_format": "raw",
            }
        return row

    def _attachments(self, volume: Volume) -> list[dict[str, Any]]:
        if volume.attached is None:
            return []
        one = {
            "id": volume.id,
            "attachment_id": volume.attachment_id,
            "volume_id": volume.id,
            "server_id": volume.server_id,
            "host_name": None,
            "device": "/dev/vda",
            "attached_at": self._site.timeline.long_stamp(volume.attached),
        }
        return [one]


def _refuse(status: int, message: str) -> RefusalError:
    return RefusalError(nova_fault(status, message))
