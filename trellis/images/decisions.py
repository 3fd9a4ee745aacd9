"""What can be decided about images; each decision carries its reason in words."""

from collections.abc import Mapping

import attrs

from trellis.model.image import Artifact, Build, Upload


@attrs.frozen(kw_only=True)
class StartBuild:
    """Build an image.

    Attributes:
        by: the person who asked for it; "" is nobody.
    """

    image: str
    formats: tuple[str, ...]
    reason: str
    by: str = ""


@attrs.frozen(kw_only=True)
class StartUpload:
    """Upload a file of a build to a provider."""

    build: Build
    provider: str
    artifact: Artifact
    reason: str


@attrs.frozen(kw_only=True)
class DeleteUpload:
    """Delete what there is of an upload in its cloud."""

    upload: Upload
    reason: str


@attrs.frozen(kw_only=True)
class DeleteBuild:
    """Delete the files of a build that is ready."""

    build: Build
    reason: str


@attrs.frozen(kw_only=True)
class ForgetBuild:
    """Keep a failed build in the history only."""

    build: Build
    reason: str


@attrs.frozen(kw_only=True)
class DeleteFiles:
    """Delete a build's files of some formats; the build itself stays."""

    build: Build
    formats: tuple[str, ...]
    reason: str


ImageDecision = StartBuild | StartUpload | DeleteUpload | DeleteBuild | ForgetBuild | DeleteFiles


@attrs.frozen(kw_only=True)
class ImagesPlan:
    """What to do now, and what is waited for.

    Attributes:
        builds_wait: why an image that needs a build has none begun, by image.
        uploads_wait: why an upload that is needed is not begun, by provider and image.
        look_again_at: when a wait of those is over by itself, in UTC seconds; inf if none is.
    """

    decisions: tuple[ImageDecision, ...]
    builds_wait: Mapping[str, str]
    uploads_wait: Mapping[tuple[str, str], str]
    look_again_at: float
