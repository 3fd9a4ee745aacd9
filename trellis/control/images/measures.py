"""Figures of images that are kept as things happen: how long builds and uploads took."""

from collections import Counter

from trellis.control.board import Measure, Sample
from trellis.control.histogram import Histogram
from trellis.model.image import Build, BuildState, Standing, Upload, UploadState
from trellis.model.records import Change

BUILD_BOUNDS_S = (60.0, 120.0, 300.0, 600.0, 900.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0)
UPLOAD_BOUNDS_S = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)


class ImageMeasures:
    """Counts what commits say of builds and uploads; begins at 0 with each start."""

    def __init__(self) -> None:
        self._builds: Counter[tuple[str, str]] = Counter()
        self._build_s: dict[str, Histogram] = {}
        self._uploads: Counter[tuple[str, str, str]] = Counter()
        self._upload_s: dict[tuple[str, str], Histogram] = {}
        self._bytes: Counter[str] = Counter()
        self._verdicts: Counter[tuple[str, str, str]] = Counter()

    def see(self, change: Change) -> None:
        """Count one durable change."""
        match change.before, change.after:
            case Build(state=BuildState.BUILDING), Build() as build:
                self._built(build)
            case Upload() as before, Upload() as upload:
                self._uploaded(before, upload)
            case _:
                pass

    def _built(self, build: Build) -> None:
        if build.state in (BuildState.READY, BuildState.FAILED):
            self._builds[build.image, build.state.value] += 1
        if build.state is BuildState.READY and build.ready_at is not None:
            histogram = self._build_s.setdefault(build.image, Histogram(BUILD_BOUNDS_S))
            histogram.see(build.ready_at - build.created_at)

    def _uploaded(self, before: Upload, upload: Upload) -> None:
        place = upload.image, upload.provider
        if before.state is UploadState.UPLOADING and upload.state is not UploadState.UPLOADING:
            end = "ready" if upload.state is UploadState.READY else "failed"
            self._uploads[(*place, end)] += 1
            if upload.state is UploadState.READY and upload.ready_at is not None:
                self._bytes[upload.provider] += upload.artifact.size
                histogram = self._upload_s.setdefault(place, Histogram(UPLOAD_BOUNDS_S))
                histogram.see(upload.ready_at - upload.created_at)
        if before.standing is Standing.CANARY and upload.standing is not Standing.CANARY:
            self._verdicts[(*place, upload.standing.value)] += 1

    def read(self) -> tuple[Measure, ...]:
        """The figures as they are now."""
        return (
            Measure(
                name="trellis_image_builds",
                kind="counter",
                help="Builds that ended, by how: ready or failed.",
                samples=tuple(
                    Sample(value=count, labels={"image": image, "end": end})
                    for (image, end), count in sorted(self._builds.items())
                ),
            ),
            Measure(
                name="trellis_image_build_seconds",
                kind="histogram",
                help="Time that builds took which ended well.",
                samples=tuple(
                    sample
                    for image, histogram in sorted(self._build_s.items())
                    for sample in histogram.samples({"image": image})
                ),
            ),
            Measure(
                name="trellis_image_uploads",
                kind="counter",
                help="Uploads that ended, by how: ready or failed.",
                samples=tuple(
                    Sample(value=n, labels={"image": image, "provider": provider, "end": end})
                    for (image, provider, end), n in sorted(self._uploads.items())
                ),
            ),
            Measure(
                name="trellis_image_upload_seconds",
                kind="histogram",
                help="Time from the decision to upload until servers can be made from it.",
                samples=tuple(
                    sample
                    for (image, provider), histogram in sorted(self._upload_s.items())
                    for sample in histogram.samples({"image": image, "provider": provider})
                ),
            ),
            Measure(
                name="trellis_image_upload_bytes",
                kind="counter",
                help="Bytes of uploads that ended well.",
                samples=tuple(
                    Sample(value=count, labels={"provider": provider})
                    for provider, count in sorted(self._bytes.items())
                ),
            ),
            Measure(
                name="trellis_image_verdicts",
                kind="counter",
                help="Canaries that were promoted or withdrawn, by a trial or a person.",
                samples=tuple(
                    Sample(value=n, labels={"image": image, "provider": provider, "end": end})
                    for (image, provider, end), n in sorted(self._verdicts.items())
                ),
            ),
        )
