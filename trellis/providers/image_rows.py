"""An image in a cloud in the core's words: its tag, its state, whether it is what was sent."""

from collections.abc import Mapping
from typing import Final

from trellis.model.image import Artifact
from trellis.model.names import BuildId, UploadId
from trellis.openstack.image_write import FullImage
from trellis.providers.rows import seconds_of
from trellis.spi.image import CloudImage, CloudImageState, ImageIntent, ImageTag

TAG_DEPLOYMENT: Final = "trellis_deployment"
TAG_IMAGE: Final = "trellis_image"
TAG_BUILD: Final = "trellis_build"
TAG_UPLOAD: Final = "trellis_upload"
TAG_ORIGIN: Final = "trellis_origin"
HASHES: Final = "owner_specified.openstack"
"""Where openstacksdk and Ansible's modules look for what an image was made of."""

_S = CloudImageState
STATES: Final[Mapping[str, CloudImageState]] = {
    "queued": _S.PENDING,
    "saving": _S.PENDING,
    "uploading": _S.PENDING,
    "importing": _S.PENDING,
    "active": _S.ACTIVE,
    "deactivated": _S.FAILED,
    "killed": _S.FAILED,
    "error": _S.FAILED,
    "deleted": _S.GONE,
    "pending_delete": _S.GONE,
}
"""Glance's image status (its user guide, *Image statuses*), and nova's ERROR; one that is not here
says nothing to us. Some clouds keep showing deleted images."""


def tag_properties(tag: ImageTag) -> dict[str, str]:
    """The properties that mark an image as ours."""
    return {
        TAG_DEPLOYMENT: tag.deployment,
        TAG_IMAGE: tag.image,
        TAG_BUILD: tag.build_id,
        TAG_UPLOAD: tag.upload_id,
        **({TAG_ORIGIN: tag.origin} if tag.origin else {}),
    }


def hash_properties(intent: ImageIntent) -> dict[str, str]:
    """The properties that say what the image was made of."""
    return {
        f"{HASHES}.md5": intent.artifact.md5,
        f"{HASHES}.sha256": intent.artifact.sha256,
        f"{HASHES}.object": f"images/{intent.name}",
    }


def tag_of(row: FullImage) -> ImageTag | None:
    """Whose it is; None for what carries no whole tag of Trellis."""
    found = [row.properties.get(key) for key in (TAG_DEPLOYMENT, TAG_IMAGE, TAG_BUILD, TAG_UPLOAD)]
    deployment, image, build, upload = found
    if deployment is None or image is None or build is None or upload is None:
        return None
    return ImageTag(
        deployment=deployment,
        image=image,
        build_id=BuildId(build),
        upload_id=UploadId(upload),
        origin=row.properties.get(TAG_ORIGIN, ""),
    )


def as_cloud_image(row: FullImage) -> CloudImage:
    """Read a row in the core's words."""
    state = STATES.get(row.status, CloudImageState.UNKNOWN)
    return CloudImage(
        external_id=row.id,
        name=row.name,
        state=state,
        tag=tag_of(row),
        size=row.size,
        created_at=seconds_of(row.created_at),
        words="" if state is CloudImageState.ACTIVE else row.status,
    )


def owned_by(row: FullImage, project_id: str) -> bool:
    """Whether a project owns an image; anybody may write any tag into a public one of his own.

    What shows no owner may be anybody's, and counts as the project's own; Rackspace writes
    numbers of tenants with leading zeros (docs-cloud-images, import tasks).
    """
    return not row.owner or row.owner.lstrip("0") == project_id.lstrip("0")


def difference(row: FullImage, artifact: Artifact) -> str:
    """In what the image in the cloud is not the file that was sent, in words; "" if it is.

    What the cloud does not tell is no difference. An image that was converted on its way in has
    another format than was asked for, and neither size nor hashes to compare.
    """
    if row.disk_format and row.disk_format != artifact.format:
        return ""
    if row.size is not None and row.size != artifact.size:
        return f"it has {row.size} bytes of {artifact.size}"
    ours = {"md5": artifact.md5, "sha256": artifact.sha256, "sha512": artifact.sha512}
    theirs = {row.hash_algo or "": row.hash_value, "md5": row.checksum}
    for name, value in theirs.items():
        own = ours.get(name.lower())
        if value and own and value.lower() != own.lower():
            return f"its {name} is {value[:16]}… and not {own[:16]}…"
    return ""
