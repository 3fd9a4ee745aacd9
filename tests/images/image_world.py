"""Records of one or more images, on which decisions are carried out as the tasks would."""

import attrs

from trellis.images.decisions import (
    DeleteBuild,
    DeleteFiles,
    DeleteUpload,
    ForgetBuild,
    StartBuild,
    StartUpload,
)
from trellis.images.plan import plan
from trellis.images.snapshot import ImagesSnapshot, ImageView, ProviderPlace
from trellis.model.image import (
    Artifact,
    Build,
    BuildState,
    ImageRecord,
    Standing,
    Upload,
    UploadState,
    build_id,
    upload_id,
    upload_order,
)
from trellis.spi.config import ImageConfig

NOW = 1_767_225_600.0
HOUR = 3600.0
DAY = 24 * HOUR


def a_file(format="qcow2", path="/images/one", **parts):
    given = {"format": format, "path": path, "size": 1000, "md5": "m", "sha256": "s"}
    return Artifact(**{**given, **parts})


class ImageWorld:
    """What there is, and what the tasks make of it.

    Attributes:
        configs: by name.
        places: providers, by name.
        in_use: uploads that servers were made from.
        read: builds and formats whose files are read.
        done: all decisions carried out so far.
    """

    def __init__(self, *configs, places=("alpha", "beta"), format="qcow2", slots=1):
        self.now = NOW
        self.configs = {config.name: config for config in configs}
        self.recipes = {config.name: "r1" for config in configs}
        self.records = {}
        self.builds = {}
        self.uploads = {}
        self.in_use = set()
        self.read = set()
        self.slots, self.hurried, self.logs_kept = slots, True, 7
        names = frozenset(self.configs)
        self.places = {
            name: ProviderPlace(name=name, images=names, format=format) for name in places
        }
        self.done = []

    # ---------------------------------------------------------------------------- looking

    def record(self, image="debian"):
        return self.records.get(image, ImageRecord(name=image))

    def snapshot(self):
        names = {*self.configs, *self.records}
        building = sum(one.state is BuildState.BUILDING for one in self.builds.values())
        return ImagesSnapshot(
            now=self.now,
            images={name: self._view(name) for name in sorted(names)},
            providers=dict(self.places),
            in_use=frozenset(self.in_use),
            read=frozenset(self.read),
            slots_left=self.slots - building,
            hurried=self.hurried,
            logs_kept=self.logs_kept,
        )

    def _view(self, name):
        builds = [one for one in self.builds.values() if one.image == name]
        uploads = [one for one in self.uploads.values() if one.image == name]
        return ImageView(
            name=name,
            config=self.configs.get(name),
            recipe=self.recipes.get(name, ""),
            record=self.record(name),
            builds=tuple(sorted(builds, key=lambda one: -one.number)),
            uploads=tuple(sorted(uploads, key=upload_order, reverse=True)),
        )

    def decided(self):
        """What would be decided now, as kinds and subjects."""
        return [told(one) for one in plan(self.snapshot()).decisions]

    def at(self, place, image="debian"):
        return self._view(image).at(place)

    def live(self, place):
        """Numbers of the builds of which something is at a provider, the newest first."""
        return [upload_order(one)[0] for one in self.at(place)]

    # ----------------------------------------------------------------------------- acting

    def one_pass(self):
        """Carry out what is decided; returns what it was."""
        decisions = plan(self.snapshot()).decisions
        for decision in decisions:
            self._act(decision)
        self.done += decisions
        return decisions

    def settle(self, most=30):
        """Pass after pass, with everything that is begun going well, until nothing is decided."""
        for _ in range(most):
            if not self.one_pass() and not self.goes_on():
                return self
        raise AssertionError(f"it does not come to rest: {self.decided()}")

    def _act(self, decision):
        match decision:
            case StartBuild(image=image, formats=formats):
                record = self.record(image)
                assert all(
                    one.state is not BuildState.BUILDING
                    for one in self.builds.values()
                    if one.image == image
                )
                new = Build(
                    id=build_id(image, record.next_build),
                    image=image,
                    number=record.next_build,
                    state=BuildState.BUILDING,
                    state_at=self.now,
                    created_at=self.now,
                    builder="artifact",
                    formats=formats,
                    recipe=self.recipes[image],
                )
                self.builds[new.id] = new
                self.records[image] = attrs.evolve(
                    record, next_build=record.next_build + 1, wanted="", wanted_by=""
                )
            case StartUpload(build=build, provider=provider, artifact=artifact):
                record = self.record(build.image)
                assert self.builds[build.id].state is BuildState.READY
                assert artifact.path
                new = Upload(
                    id=upload_id(build.id, record.next_upload),
                    build_id=build.id,
                    image=build.image,
                    provider=provider,
                    cloud=provider,
                    region="",
                    artifact=artifact,
                    name=build.id,
                    state=UploadState.UPLOADING,
                    state_at=self.now,
                    created_at=self.now,
                )
                self.uploads[new.id] = new
                self.records[build.image] = attrs.evolve(record, next_upload=record.next_upload + 1)
            case DeleteUpload(upload=upload):
                assert upload.id not in self.in_use
                self.uploads[upload.id] = upload.became(UploadState.DELETING, self.now)
            case DeleteBuild(build=build):
                self.builds[build.id] = build.became(BuildState.DELETING, self.now)
            case ForgetBuild(build=build):
                build.became(BuildState.GONE, self.now)
                del self.builds[build.id]
            case DeleteFiles(build=build, formats=formats):
                self.builds[build.id] = attrs.evolve(
                    build,
                    artifacts=tuple(
                        attrs.evolve(one, path="") if one.format in formats else one
                        for one in build.artifacts
                    ),
                )

    def goes_on(self):
        """What is under way ends well; returns whether anything was."""
        moved = False
        for build in list(self.builds.values()):
            if build.state is BuildState.BUILDING:
                self.built(build.id)
                moved = True
            elif build.state is BuildState.DELETING:
                del self.builds[build.id]
                moved = True
        for upload in list(self.uploads.values()):
            if upload.state is UploadState.UPLOADING:
                self.uploaded(upload.id)
                moved = True
            elif upload.state is UploadState.DELETING:
                del self.uploads[upload.id]
                moved = True
        return moved

    def built(self, build):
        build = self.builds[build]
        self.builds[build.id] = build.became(
            BuildState.READY,
            self.now,
            ready_at=self.now,
            artifacts=tuple(a_file(one, f"/images/{build.id}.{one}") for one in build.formats),
        )
        self.records[build.image] = attrs.evolve(
            self.record(build.image), failures=0, not_before=0.0
        )

    def build_failed(self, build, wait_s=60.0):
        build = self.builds[build]
        self.builds[build.id] = build.became(BuildState.FAILED, self.now, fault="it broke")
        record = self.record(build.image)
        self.records[build.image] = attrs.evolve(
            record, failures=record.failures + 1, not_before=self.now + wait_s, fault="it broke"
        )

    def uploaded(self, upload):
        self.uploads[upload] = self.uploads[upload].became(
            UploadState.READY, self.now, ready_at=self.now, external_id=f"there-{upload}"
        )

    def upload_failed(self, upload, wait_s=60.0):
        before = self.uploads[upload]
        self.uploads[upload] = before.became(UploadState.DELETING, self.now, fault="413")
        record = self.record(before.image)
        place = record.place(before.provider)
        self.records[before.image] = record.with_place(
            attrs.evolve(
                place,
                failures=place.failures + 1,
                not_before=self.now + wait_s,
                fault="413",
            )
        )

    def stands(self, standing, number, place="alpha", image="debian"):
        """Set the standing of what is at a provider of a build."""
        for upload in self.at(place, image):
            if upload_order(upload)[0] == number:
                self.uploads[upload.id] = attrs.evolve(upload, standing=standing)

    def promote(self, number, place="alpha"):
        self.stands(Standing.PROMOTED, number, place)

    def rebuilt(self, number):
        """So much later that it is built anew, and uploaded everywhere."""
        self.now += DAY + 1.0
        self.settle()
        assert self.record().next_build == number + 1

    def boots(self, number, place="alpha"):
        """A server is made from a build at a provider."""
        self.in_use |= {x.id for x in self.at(place) if upload_order(x)[0] == number}


def told(decision):
    """A decision as its kind and what it is about."""
    kind = type(decision).__name__
    match decision:
        case StartBuild(image=image):
            return kind, image
        case StartUpload(build=build, provider=provider):
            return kind, build.number, provider
        case DeleteUpload(upload=upload):
            return kind, upload_order(upload)[0], upload.provider
        case DeleteBuild(build=build) | ForgetBuild(build=build):
            return kind, build.number
        case DeleteFiles(build=build, formats=formats):
            return kind, build.number, formats


def debian(**parts):
    return ImageConfig(**{"name": "debian", **parts})
