"""The oracle sees to images: a daemon that loses one, put in on purpose, is caught.

Leaks are only reported in these stories: a sweep that deletes them would hide who made them.
"""

import attrs
import pytest

from tests.sim.teeth import seed_that_shows
from trellis.control.images.building import Building
from trellis.control.images.upload_deletion import UploadDeletion
from trellis.control.images.upload_line import UploadLine
from trellis.model.image import UploadState
from trellis.sim.scenario import images
from trellis.sim.simulate import simulate

pytestmark = pytest.mark.slow

MOST_SEEDS = 5


def story():
    whole = images()
    return attrs.evolve(
        whole,
        name="images-reported",
        configuration=whole.configuration.replace("sweep: delete", "sweep: report"),
        demand=attrs.evolve(whole.demand, requests=40),
        kills=10,
        faults_end=420.0,
        clouds=tuple(
            attrs.evolve(
                cloud,
                fault_windows=tuple(attrs.evolve(x, end=420.0) for x in cloud.fault_windows),
            )
            for cloud in whole.clouds
        ),
    )


def deletes_records_only(patch):
    """An upload that goes is taken out of the records, and left in the cloud."""

    async def delete(self, upload_id):
        await self.records.gone(upload_id)

    patch.setattr(UploadDeletion, "delete", delete)


def forgets_what_was_in_doubt(patch):
    """An upload whose call had no answer is given up, and nobody looks for its image."""

    async def settle(self, line):
        head = self.records.head(line.upload.id)
        if head.state is UploadState.UPLOADING:
            forgotten = attrs.evolve(head, sent_at=None)
            await self.records.say(head.id, lambda _: forgotten)
        raise OSError("given up")

    patch.setattr(UploadLine, "_settle", settle)


def leaves_the_files_of_killed_builds(patch):
    """A build that ended with the daemon has failed, and its files stay."""

    async def undo(self, build, _work):
        await self._records.failed(build.id, "the daemon ended during the build", counts=False)

    patch.setattr(Building, "_undo", undo)


@pytest.mark.parametrize(
    "bug",
    [
        deletes_records_only,
        forgets_what_was_in_doubt,
        leaves_the_files_of_killed_builds,
    ],
    ids=lambda bug: bug.__name__,
)
def test_a_daemon_that_loses_images_is_caught(bug, monkeypatch):
    """Within a few seeds something of ours is left behind."""
    bug(monkeypatch)

    seed = seed_that_shows("P2", story(), range(1, MOST_SEEDS + 1))

    monkeypatch.undo()
    assert simulate(story(), seed).violations == ()
