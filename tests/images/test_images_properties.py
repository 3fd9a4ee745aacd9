"""Whatever happens to images, in whatever order: nothing that is needed goes, nothing swings."""

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.images.image_world import DAY, HOUR, ImageWorld, debian, told
from trellis.images.decisions import DeleteUpload, StartBuild, StartUpload
from trellis.images.plan import plan
from trellis.images.snapshot import ALIVE
from trellis.model.image import BuildState, ImageRecord, Pin, Standing, UploadState, upload_order
from trellis.model.provider import Pause

PLACES = ("alpha", "beta")
PAUSE = Pause(by="ada", reason="", since=0.0)

configs = st.builds(
    debian,
    keep_uploads=st.integers(1, 3),
    keep_builds=st.integers(1, 3),
    rebuild_age=st.sampled_from([0.0, DAY]),
    delete_after_upload=st.booleans(),
    keep_formats=st.sampled_from([(), ("raw",)]),
    formats=st.sampled_from([(), ("raw",)]),
)
places = st.sampled_from(PLACES)
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.none()),
        st.tuples(st.just("builds end"), st.booleans()),
        st.tuples(st.just("uploads end"), st.tuples(places, st.booleans())),
        st.tuples(st.just("deletions end"), st.none()),
        st.tuples(st.just("time"), st.sampled_from([61.0, HOUR, DAY + 1.0])),
        st.tuples(st.just("judged"), st.tuples(places, st.sampled_from(Standing))),
        st.tuples(st.just("boots"), places),
        st.tuples(st.just("is gone"), places),
        st.tuples(st.just("pin"), st.tuples(places, st.integers(0, 3))),
        st.tuples(st.just("unpin"), places),
        st.tuples(st.just("pause"), st.booleans()),
        st.tuples(st.just("pause place"), st.tuples(places, st.booleans())),
        st.tuples(st.just("wish"), st.none()),
        st.tuples(st.just("recipe"), st.sampled_from(["r1", "r2"])),
        st.tuples(st.just("format"), st.tuples(places, st.sampled_from([None, "qcow2", "raw"]))),
        st.tuples(st.just("uses"), st.tuples(places, st.booleans())),
        st.tuples(st.just("vanishes"), places),
    ),
    max_size=40,
)


def happen(world, what, about):
    """One thing comes to pass, as the tasks, a cloud or a person would have it."""
    match what, about:
        case "pass", _:
            checked_pass(world)
        case "builds end", well:
            for build in [x for x in world.builds.values() if x.state is BuildState.BUILDING]:
                (world.built if well else world.build_failed)(build.id)
        case "uploads end", (place, well):
            for upload in world.at(place):
                if upload.state is UploadState.UPLOADING:
                    (world.uploaded if well else world.upload_failed)(upload.id)
        case "deletions end", _:
            for upload in [x for x in world.uploads.values() if x.state is UploadState.DELETING]:
                del world.uploads[upload.id]
            for build in [x for x in world.builds.values() if x.state is BuildState.DELETING]:
                del world.builds[build.id]
        case "time", seconds:
            world.now += seconds
        case "judged", (place, standing):
            canaries = [
                x for x in world.at(place)
                if x.state is UploadState.READY and x.standing is Standing.CANARY
            ]  # fmt: skip
            if canaries:
                changed = attrs.evolve(canaries[0], standing=standing)
                world.uploads[changed.id] = changed
        case "boots", place:
            usable = [x for x in world.at(place) if x.usable]
            world.in_use |= {one.id for one in usable[:1]}
        case "is gone", place:
            world.in_use -= {one.id for one in world.at(place)}
        case "pin", (place, number):
            builds = list(world.builds)
            if builds:
                pin = Pin(build_id=builds[number % len(builds)], by="ada", reason="", at=world.now)
                keep(world, place, pin=pin)
        case "unpin", place:
            keep(world, place, pin=None)
        case "pause", yes:
            pause = PAUSE if yes else None
            world.records["debian"] = attrs.evolve(world.record(), pause=pause)
        case "pause place", (place, yes):
            keep(world, place, pause=PAUSE if yes else None)
        case "wish", _:
            world.records["debian"] = attrs.evolve(world.record(), wanted="a person says so")
        case "recipe", recipe:
            world.recipes["debian"] = recipe
        case "format", (place, format):
            world.places[place] = attrs.evolve(world.places[place], format=format)
        case "uses", (place, yes):
            images = frozenset({"debian"} if yes else ())
            world.places[place] = attrs.evolve(world.places[place], images=images)
        case "vanishes", place:
            for upload in world.at(place)[:1]:
                world.uploads.pop(upload.id)
                world.in_use.discard(upload.id)


def keep(world, place, **changes):
    record = world.record()
    changed = attrs.evolve(record.place(place), **changes)
    world.records["debian"] = record.with_place(changed)


def checked_pass(world):
    """A pass, each decision of which is looked at before it is carried out."""
    best = {place: best_at(world, place) for place in PLACES}
    record = world.record()
    for decision in world.one_pass():
        match decision:
            case DeleteUpload(upload=upload):
                assert upload.id not in world.in_use
                if "debian" in world.places[upload.provider].images:
                    assert upload.id not in best[upload.provider]
            case StartBuild():
                failed = [x for x in world.builds.values() if x.state is BuildState.FAILED]
                corrected = failed and failed[-1].recipe != world.recipes["debian"]
                if not record.wanted:
                    assert record.pause is None
                    assert record.not_before <= world.now or corrected
            case StartUpload(provider=provider):
                assert record.place(provider).pause is None
                assert record.place(provider).not_before <= world.now
    building = [x for x in world.builds.values() if x.state is BuildState.BUILDING]
    assert len(building) <= world.slots
    for place in PLACES:
        sending = [x for x in world.at(place) if x.state is UploadState.UPLOADING]
        assert len(sending) <= 1


def best_at(world, place):
    """What must not be deleted: the last good one, the newest canary, and what is pinned."""
    ready = [one for one in world.at(place) if one.state is UploadState.READY]
    good = [one for one in ready if one.standing is Standing.PROMOTED]
    canaries = [one for one in ready if one.standing is Standing.CANARY]
    pin = world.record().place(place).pin
    pinned = [one for one in ready if pin is not None and one.build_id == pin.build_id]
    return {one.id for one in (*good[:1], *canaries[:1], *pinned)}


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(config=configs, story=happenings)
def test_whatever_happens_nothing_needed_goes_and_it_comes_to_rest(config, story):
    world = ImageWorld(config, places=PLACES)
    for what, about in story:
        happen(world, what, about)
    for name in PLACES:  # what is not known for ever is no rest
        world.places[name] = attrs.evolve(world.places[name], format="qcow2")

    for _ in range(40):
        checked_pass(world)
        if not world.goes_on() and not plan(world.snapshot()).decisions:
            break
    else:
        pytest.fail(f"it swings: {[told(x) for x in plan(world.snapshot()).decisions]}")
    assert_at_rest(world)


def assert_at_rest(world):
    """What is wanted is there, what is not is gone, and nothing more is decided."""
    config, record = world.configs["debian"], world.record()
    newest = world.snapshot().images["debian"].newest
    for place in PLACES:
        there = [one for one in world.at(place) if one.state in ALIVE]
        remembered = record.place(place)
        if "debian" not in world.places[place].images:
            assert {one.id for one in there} <= world.in_use
            continue
        held_up = remembered.pause is not None or remembered.not_before > world.now
        if newest is not None and newest.artifact("qcow2") is not None and not held_up:
            built_of = [upload_order(one)[0] for one in there]
            file_here = bool(newest.artifact("qcow2").path)
            assert newest.number in built_of or not file_here or max(built_of) > newest.number
        good = [one for one in there if one.standing is Standing.PROMOTED]
        spare = [one for one in good if one.id not in world.in_use]
        pinned = remembered.pin is not None
        assert len(spare) <= config.keep_uploads + pinned + 1
    kept = [one for one in world.builds.values() if one.state is BuildState.READY]
    used = {one.build_id for one in world.uploads.values()}
    pins = {x.pin.build_id for x in record.places if x.pin is not None}
    loose = [one for one in kept if one.id not in used | pins]
    assert len(loose) <= config.keep_builds


@settings(max_examples=100, deadline=None)
@given(story=happenings)
def test_nobody_builds_what_is_paused(story):
    world = ImageWorld(debian(pause=True), places=PLACES)
    world.records["debian"] = ImageRecord(name="debian", pause=PAUSE)
    for what, about in story:
        if what not in ("wish", "pause"):
            happen(world, what, about)

    assert not world.builds
