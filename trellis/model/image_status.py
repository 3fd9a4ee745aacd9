"""What is shown of images: behind `image list`, `image show`, the status page and the metrics."""

import attrs

from trellis.model.image import Build, Pin, Upload
from trellis.model.names import BuildId
from trellis.model.provider import Pause


@attrs.frozen(kw_only=True)
class BuildStatus:
    """One build: what it does, or what has become of it.

    Attributes:
        words: what it does now or how it ended, in words.
        elapsed_s: how long it has taken so far, or took.
        usual_s: how long the last one of the image took; None if none has ended well.
        log_bytes: how long its log is; None where there is none.
    """

    build: Build
    words: str
    elapsed_s: float
    usual_s: float | None = None
    log_bytes: int | None = None


@attrs.frozen(kw_only=True)
class UploadStatus:
    """One upload: how far it is, what it serves, and what is known of it.

    Attributes:
        words: what it does or waits for, in words.
        serving: launches there boot from it, but for the canary's share.
        share: so much of the launches it serves now, from 0 to 1.
        sent: bytes of it that are on their way or there; None while nothing is sent.
        rate: bytes in a second, lately; None where that is not known.
        left_s: how long the sending will still take; None where that is not known.
        needed: nodes of a canary that have to become ready.
        nodes: nodes there that were made from it and are not gone.
    """

    upload: Upload
    words: str
    serving: bool = False
    share: float = 0.0
    sent: int | None = None
    rate: float | None = None
    left_s: float | None = None
    needed: int = 0
    nodes: int = 0


@attrs.frozen(kw_only=True)
class PlaceStatus:
    """An image at one provider.

    Attributes:
        labels: of the provider, whose nodes are made from it.
        words: why its labels cannot be made there now, or what it waits for; "" if all is well.
        built_at: when the build that serves there was ready; None if nothing serves.
        age_s: how long ago that was.
        missing: nothing serves there, so its labels cannot be made.
        wants: the format that is uploaded there; None where that is not known yet.
        uploads: of the newest build first.
    """

    provider: str
    labels: tuple[str, ...]
    words: str
    missing: bool
    wants: str | None = None
    built_at: float | None = None
    age_s: float | None = None
    pin: Pin | None = None
    pause: Pause | None = None
    failures: int = 0
    not_before: float = 0.0
    fault: str = ""
    uploads: tuple[UploadStatus, ...] = ()

    @property
    def serving(self) -> UploadStatus | None:
        """The upload that launches there boot from."""
        return next((one for one in self.uploads if one.serving), None)


@attrs.frozen(kw_only=True)
class ImageStatus:
    """One image: its builds, and how it stands at each provider.

    Attributes:
        configured: False: it is in the configuration no longer, and goes.
        type: of its builder.
        words: what it does or waits for, in words; "" if it waits for nothing.
        rebuild_at: when it is built anew by itself; None if it is not.
        pause: by whom and why nothing is built.
        wanted: why a build was asked for that has not begun; "" if none was.
        next_build: the id that its next build will have.
        failures: builds that failed one after the other.
        not_before: nothing is built by itself before this time.
        fault: of the last build that failed.
        builds: the newest first.
        places: in the order of the configuration; then those of providers that use it no longer.
    """

    name: str
    configured: bool
    type: str
    words: str
    next_build: BuildId
    rebuild_at: float | None = None
    pause: Pause | None = None
    wanted: str = ""
    wanted_by: str = ""
    failures: int = 0
    not_before: float = 0.0
    fault: str = ""
    builds: tuple[BuildStatus, ...] = ()
    places: tuple[PlaceStatus, ...] = ()
