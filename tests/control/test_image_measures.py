"""Figures of images that are counted as commits say them."""

import attrs
import pytest

from tests.control.image_house import a_build, an_upload
from trellis.control.images.measures import ImageMeasures
from trellis.model.image import BuildState, Standing, UploadState
from trellis.model.records import Change
from trellis.testing.builders import NOW

BUILDING = a_build(1, state=BuildState.BUILDING, ready_at=None, artifacts=(), created_at=NOW - 90)
SENDING = an_upload(1, state=UploadState.UPLOADING, ready_at=None, created_at=NOW - 20)


def read(*changes):
    """What is counted after these: by name and suffix, and the values of the labels."""
    measures = ImageMeasures()
    for before, after in changes:
        measures.see(Change(before, after))
    return {
        (measure.name.removeprefix("trellis_image_") + sample.suffix, *sample.labels.values()): (
            sample.value
        )
        for measure in measures.read()
        for sample in measure.samples
        if sample.value and sample.labels.get("le") in (None, "+Inf")
    }


def test_build_that_ends_well_is_counted_with_its_time():
    """From when it was decided."""
    ready = BUILDING.became(BuildState.READY, NOW, ready_at=NOW)

    assert read((None, BUILDING), (BUILDING, ready)) == {
        ("builds", "debian", "ready"): 1,
        ("build_seconds_bucket", "debian", "+Inf"): 1,
        ("build_seconds_sum", "debian"): 90,
        ("build_seconds_count", "debian"): 1,
    }


def test_build_that_fails_is_counted_without_its_time():
    """How long failing takes says nothing of how long building does."""
    failed = BUILDING.became(BuildState.FAILED, NOW, fault="no space")

    assert read((BUILDING, failed)) == {("builds", "debian", "failed"): 1}


def test_upload_is_counted_with_its_time_and_its_bytes():
    """By image and provider; bytes by provider."""
    ready = SENDING.became(UploadState.READY, NOW, ready_at=NOW)

    assert read((SENDING, ready)) == {
        ("uploads", "debian", "alpha", "ready"): 1,
        ("upload_seconds_bucket", "debian", "alpha", "+Inf"): 1,
        ("upload_seconds_sum", "debian", "alpha"): 20,
        ("upload_seconds_count", "debian", "alpha"): 1,
        ("upload_bytes", "alpha"): 7,
    }


def test_upload_that_fails_moved_nothing():
    """It is deleted; what was sent of it is not counted."""
    failed = SENDING.became(UploadState.DELETING, NOW, fault="413")

    assert read((SENDING, failed)) == {("uploads", "debian", "alpha", "failed"): 1}


@pytest.mark.parametrize("standing", [Standing.PROMOTED, Standing.WITHDRAWN])
def test_verdict_on_a_canary_is_counted(standing):
    """Once, however often the upload changes afterwards."""
    canary, judged = an_upload(1), an_upload(1, standing=standing)

    found = read((canary, judged), (judged, judged))

    assert found == {("verdicts", "debian", "alpha", standing.value): 1}


def test_steps_in_between_count_nothing():
    """Phases of a build, stages of an upload, and what ends long after."""
    later = attrs.evolve(BUILDING, phase="root.d")
    gone = an_upload(1, state=UploadState.DELETING)

    assert read((BUILDING, later), (SENDING, SENDING), (an_upload(1), gone)) == {}
