"""The images as people see them: made from the records and from what is under way; read only."""

from collections.abc import Callable, Iterator, Mapping

import attrs

from trellis.control.images.choice import Choice
from trellis.control.images.in_use import InUse
from trellis.control.images.service import AtWork
from trellis.control.images.shown import ShownImages, Sources
from trellis.control.images.sources import Sent
from trellis.images.canary import Rule
from trellis.images.decisions import ImagesPlan
from trellis.images.snapshot import ImagesSnapshot, ImageView, ProviderPlace
from trellis.model.image import Build, BuildState, Pin, Standing, Upload, UploadState, build_id
from trellis.model.image_status import BuildStatus, ImageStatus, PlaceStatus, UploadStatus
from trellis.model.names import UploadId
from trellis.model.provider import Pause


@attrs.frozen(kw_only=True)
class UnderWay:
    """How far an upload is that is at work now.

    Attributes:
        sent: None while it is not at work.
        waits: what it waits for, in words; "" if for nothing but its call.
    """

    sent: Sent | None = None
    waits: str = ""


@attrs.frozen(kw_only=True)
class ImagesView:
    """Shows images; what it has shown is shown again as long as it is still so.

    Attributes:
        snapshot: the records and the configuration as they are now.
        waiting: what the last pass found to be waited for.
        providers: those at work, by name.
        under_way: how far an upload to a provider is.
        trial: how a trial goes and what it waits for, in words; "" where none is under way.
    """

    snapshot: Callable[[], ImagesSnapshot]
    waiting: Callable[[], ImagesPlan]
    choice: Choice
    in_use: InUse
    providers: Mapping[str, AtWork]
    under_way: Callable[[str, UploadId], UnderWay]
    trial: Callable[[UploadId], str] = lambda _: ""
    _shown: ShownImages = attrs.field(factory=ShownImages, init=False)

    def all(self) -> tuple[ImageStatus, ...]:
        """Every image, those that are configured first."""
        now = self.snapshot()
        there = [image for image in now.images.values() if _there_is(image)]
        self._shown.forget_all_but(image.name for image in there)
        return tuple(self._image_now(now, image) for image in there)

    def one(self, name: str) -> ImageStatus | None:
        """One image; None if there is none of this name."""
        now = self.snapshot()
        image = now.images.get(name)
        return self._image_now(now, image) if image is not None and _there_is(image) else None

    def names(self) -> list[str]:
        """The names of all images."""
        return [image.name for image in self.snapshot().images.values() if _there_is(image)]

    def build(self, build: Build, earlier: tuple[Build, ...] = ()) -> BuildStatus:
        """A build.

        Args:
            earlier: builds of the same image, the newest first.
        """
        now = self.snapshot().now
        return _build(build, earlier, now)

    # ------------------------------------------------------------------------- the parts

    def _image_now(self, snapshot: ImagesSnapshot, image: ImageView) -> ImageStatus:
        """An image: as it was shown last, with its ages, where nothing of it is otherwise."""
        sources = self._sources(snapshot, image)
        known = self._shown.get(image.name, sources, snapshot.now)
        if known is None:
            known = self._image(snapshot, image)
            self._shown.keep(known, sources)
        return known

    def _sources(self, snapshot: ImagesSnapshot, image: ImageView) -> Sources:
        """All that what is shown of an image is made of."""
        waiting = self.waiting()
        return Sources(
            image=(image.record, image.builds, image.uploads, image.config),
            configs=tuple(running.config for running in self.providers.values()),
            others=(
                snapshot.providers,
                tuple(self.providers),
                self.choice.revision,
                self.in_use.moved(image.name),
                waiting.builds_wait.get(image.name, ""),
                waiting.uploads_wait,
                [self.under_way(one.provider, one.id) for one in image.uploads],
                [self.trial(x.id) for x in image.uploads if x.standing is Standing.CANARY],
            ),
        )

    def _image(self, snapshot: ImagesSnapshot, image: ImageView) -> ImageStatus:
        record, now = image.record, snapshot.now
        config, newest = image.config, image.newest
        age = config.rebuild_age if config is not None else 0
        paused = _in_force(record.pause, now) is not None
        rebuilds = bool(age) and config is not None and not config.pause and not paused
        built_at = newest.ready_at if newest is not None else None
        return ImageStatus(
            name=image.name,
            configured=config is not None,
            type=config.type if config is not None else "",
            words=self._words(image),
            next_build=build_id(image.name, record.next_build),
            rebuild_at=built_at + age if rebuilds and built_at is not None else None,
            pause=_in_force(record.pause, now),
            wanted=record.wanted,
            wanted_by=record.wanted_by,
            failures=record.failures,
            not_before=record.not_before if record.not_before > now else 0.0,
            fault=record.fault,
            builds=tuple(_build(one, image.builds, now) for one in image.builds),
            places=tuple(self._places(snapshot, image)),
        )

    def _words(self, image: ImageView) -> str:
        if image.config is None:
            return "it is configured no longer: what there is of it goes, once no server needs it"
        building = next((one for one in image.builds if one.state is BuildState.BUILDING), None)
        if building is not None:
            return f"build {building.number} is under way: {building.phase or 'it begins'}"
        waits = self.waiting().builds_wait.get(image.name, "")
        if waits:
            return f"a build waits: {waits}"
        if image.record.wanted:
            return "a build is asked for, and begins"
        return "its builds are paused by the configuration" if image.config.pause else ""

    def _places(self, snapshot: ImagesSnapshot, image: ImageView) -> Iterator[PlaceStatus]:
        there = {one.provider for one in image.uploads}
        for name, place in snapshot.providers.items():
            if place.wants(image.name) or (image.name in place.images and place.no_images):
                yield self._place(snapshot, image, name, place)
                there.discard(name)
        for name in sorted(there):
            yield self._place(snapshot, image, name, snapshot.providers.get(name))

    def _place(
        self, snapshot: ImagesSnapshot, image: ImageView, name: str, place: ProviderPlace | None
    ) -> PlaceStatus:
        remembered = image.record.place(name)
        used = place is not None and image.name in place.images and not place.dropped
        stable = self.choice.choose(name, image.name)
        missing = self.choice.why_missing(name, image.name) if used else ""
        if place is not None and place.no_images and used:
            missing = place.no_images
        serving = stable if used and not missing else None
        rule = self.choice.rule(image.name)
        shares = self._shares(serving, rule)
        needed = rule.nodes if rule is not None else 0
        uploads = tuple(
            self._upload(one, serving, shares.get(one.id, 0.0), needed, remembered.pin)
            for one in image.at(name)
        )
        built = image.build(serving.build_id) if serving is not None else None
        built_at = _built_at(built, serving)
        waits = self.waiting().uploads_wait.get((name, image.name), "")
        return PlaceStatus(
            provider=name,
            labels=self._labels(name, image.name),
            words=_it(image.name, missing)
            or waits
            or ("" if used else "no label there is made from it"),
            missing=bool(missing),
            wants=place.format if place is not None else None,
            built_at=built_at,
            age_s=max(0.0, snapshot.now - built_at) if built_at is not None else None,
            pin=remembered.pin,
            pause=_in_force(remembered.pause, snapshot.now),
            failures=remembered.failures,
            not_before=remembered.not_before if remembered.not_before > snapshot.now else 0.0,
            fault=remembered.fault,
            uploads=uploads,
        )

    def _labels(self, provider: str, image: str) -> tuple[str, ...]:
        running = self.providers.get(provider)
        if running is None:
            return ()
        labels = (label for pool in running.config.pools for label in pool.labels)
        return tuple(dict.fromkeys(label.name for label in labels if label.image == image))

    def _shares(self, serving: Upload | None, rule: Rule | None) -> Mapping[UploadId, float]:
        """What share of the launches at a provider each upload serves."""
        if serving is None:
            return {}
        canary = self.choice.canary(serving.provider, serving.image)
        if canary is None or rule is None:
            return {serving.id: 1.0}
        return {serving.id: 1.0 - rule.share, canary.id: rule.share}

    def _upload(
        self, upload: Upload, serving: Upload | None, share: float, needed: int, pin: Pin | None
    ) -> UploadStatus:
        serves = serving is not None and serving.id == upload.id
        under_way = self.under_way(upload.provider, upload.id)
        sent, rate, left = _sent(upload, under_way.sent)
        nodes = 0
        if upload.external_id is not None:
            nodes = self.in_use.nodes(upload.provider, upload.external_id)
        return UploadStatus(
            upload=upload,
            words=_of_upload(
                upload, under_way.waits, serves, pin, nodes, trial=self.trial(upload.id)
            ),
            serving=serves,
            share=share,
            sent=sent,
            rate=rate,
            left_s=left,
            needed=needed,
            nodes=nodes,
        )


def _there_is(image: ImageView) -> bool:
    """Whether there is anything to show; of some only the numbers of builds are remembered."""
    return image.config is not None or bool(image.builds or image.uploads)


def _it(image: str, words: str) -> str:
    """What is said of an image to somebody who looks at it already."""
    told = words.removeprefix(f"image {image} ")
    return words if told == words else f"it {told}"


def _build(build: Build, others: tuple[Build, ...], now: float) -> BuildStatus:
    usual = next(
        (
            one.ready_at - one.created_at
            for one in others
            if one.ready_at is not None and one.number < build.number
        ),
        None,
    )
    under_way = build.state is BuildState.BUILDING
    ended = build.ready_at if build.ready_at is not None else build.state_at
    return BuildStatus(
        build=build,
        words=_of_build(build),
        elapsed_s=max(0.0, (now if under_way else ended) - build.created_at),
        usual_s=usual,
    )


def _of_build(build: Build) -> str:
    match build.state:
        case BuildState.BUILDING:
            return f"it is being built: {build.phase or 'it begins'}"
        case BuildState.FAILED:
            return f"it has failed: {build.fault or 'no reason is recorded'}"
        case BuildState.DELETING:
            return "its files are being deleted"
        case BuildState.GONE:
            return build.fault or "its files are deleted"
        case BuildState.READY:
            return "its files are there" if any(x.path for x in build.artifacts) else (
                "it is uploaded, and its files are deleted here"
            )  # fmt: skip


def _of_upload(
    upload: Upload, waits: str, serves: bool, pin: Pin | None, nodes: int, *, trial: str
) -> str:
    match upload.state:
        case UploadState.UPLOADING:
            return waits or f"it is being uploaded{f': {upload.stage}' if upload.stage else ''}"
        case UploadState.DELETING:
            return waits or upload.fault or "it is being deleted"
        case UploadState.GONE:
            return upload.fault or "it is gone"
        case UploadState.READY:
            pass
    if waits:
        return waits
    if serves:
        return "it is pinned" if pin is not None else "launches boot from it"
    if upload.standing is Standing.WITHDRAWN:
        return f"it is withdrawn: {upload.standing_why}"
    if upload.standing is Standing.CANARY:
        if pin is not None:
            return "it is tried once the image is unpinned"
        return f"it is on trial: {trial}" if trial else "it is on trial"
    return f"{nodes} nodes are of it still" if nodes else "it is kept to go back to"


def _sent(upload: Upload, sent: Sent | None) -> tuple[int | None, float | None, float | None]:
    if upload.state is not UploadState.UPLOADING or sent is None:
        return None, None, None
    rate = sent.bytes_per_s or None
    return sent.bytes, rate, (sent.total - sent.bytes) / rate if rate else None


def _built_at(build: Build | None, serving: Upload | None) -> float | None:
    """When what serves was built; where that build is gone, when it was uploaded."""
    if build is not None and build.ready_at is not None:
        return build.ready_at
    return serving.created_at if serving is not None else None


def _in_force(pause: Pause | None, now: float) -> Pause | None:
    over = pause is not None and pause.until is not None and pause.until <= now
    return None if over else pause
