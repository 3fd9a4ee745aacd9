"""What is kept of builds: files that go, files that stay, logs by number."""

import os
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.control.build_stage import a_stage, eventually
from trellis.model.image import Build, BuildState, ImageRecord
from trellis.model.records import Change
from trellis.testing.builders import NOW


@pytest.fixture
async def stage(tmp_path):
    async with a_stage(tmp_path) as made:
        yield made


class TestDeleting:
    async def delete(self, stage, build):
        after = build.became(BuildState.DELETING, NOW)
        await stage.store.commit([Change(build, after)])
        await eventually(lambda: stage.store.get(Build, build.id) is None)

    async def test_all_its_files_go_and_the_record_is_history(self, stage):
        stage.image("debian-12")
        build = await stage.built("debian-12", "qcow2", "raw")
        assert 7 == len(stage.files())

        await self.delete(stage, build)

        assert [] == stage.files()
        kept = await stage.store.history(Build, build.id)
        assert BuildState.GONE is kept.state
        assert {""} == {one.path for one in kept.artifacts}

    async def test_files_of_others_stay(self, stage):
        """Also of an image whose name begins as a build is called."""
        stage.image("a")
        build = await stage.built("a")
        others = ["a-00000000010.qcow2", "a-0000000001.b-0000000001.qcow2", "a-0000000002.raw"]
        for name in others:
            (stage.images / name).write_text("x")

        await self.delete(stage, build)

        assert sorted(others) == stage.files()

    async def test_what_cannot_be_deleted_keeps_the_record_and_is_tried_again(
        self, stage, monkeypatch
    ):
        stage.image("debian-12")
        build = await stage.built("debian-12")
        faults = ["read-only file system"]

        async def remove_build(base):
            return faults

        monkeypatch.setattr(stage.building._ground, "remove_build", remove_build)
        monkeypatch.setattr("trellis.control.images.building.LOOK_AGAIN_S", 0.05)
        await stage.store.commit([Change(build, build.became(BuildState.DELETING, NOW))])
        await eventually(lambda: build.id in stage.building._again_at)
        assert BuildState.DELETING is stage.store.get(Build, build.id).state

        faults.clear()
        stage.building._nudge()
        await eventually(lambda: stage.store.get(Build, build.id) is None)

    async def test_files_that_are_read_stay_until_that_has_ended(self, stage):
        stage.image("debian-12")
        build = await stage.built("debian-12")
        with stage.book.reading(build.id, "qcow2"):
            await stage.store.commit([Change(build, build.became(BuildState.DELETING, NOW))])
            await trio.testing.wait_all_tasks_blocked()
            assert f"{build.id}.qcow2" in stage.files()

        await stage.until(build)

        assert [] == stage.files()

    async def test_some_formats_go_and_the_build_stays(self, stage):
        stage.image("debian-12")
        build = await stage.built("debian-12", "qcow2", "raw")

        await stage.building.delete_files(build, ("raw",))

        assert Path(build.artifact("qcow2").path).exists()
        assert not [name for name in stage.files() if ".raw" in name]


class TestTidying:
    async def test_logs_are_kept_by_number_and_those_of_records_in_any_case(self, stage):
        stage.image("debian-12")
        builds = [await stage.built("debian-12") for _ in range(2)]
        for number in range(3, 9):
            (stage.images / f"debian-12-{number:010d}.log").write_text("old")
        (stage.images / "debian-12-x-0000000001.log").write_text("another's")

        await stage.building._tidy()

        logs = sorted(path.name for path in stage.images.glob("*.log"))
        kept = [f"debian-12-{number:010d}.log" for number in (1, 2, 6, 7, 8)]
        assert [*kept, "debian-12-x-0000000001.log"] == logs
        assert all(Path(build.log).exists() for build in builds)

    async def test_logs_of_an_image_that_is_configured_no_longer_go_with_its_builds(self, stage):
        """The log of a build that is still on record stays as long as that."""
        stage.image("debian-11")
        build = await stage.built("debian-11")
        (stage.images / f"debian-11-{2:010d}.log").write_text("of a build that is gone")
        (stage.images / f"never-ours-{1:010d}.log").write_text("another's")
        stage.policy(configs={})

        await stage.building._tidy()

        logs = sorted(path.name for path in stage.images.glob("*.log"))
        assert [f"{build.id}.log", f"never-ours-{1:010d}.log"] == logs
        await stage.store.commit([Change(build, build.became(BuildState.DELETING, NOW))])
        await eventually(lambda: not Path(build.log).exists())

    async def test_files_of_nobody_are_told_and_ours_go_when_they_are_a_day_old(self, stage):
        day_old = time.time() - 86_500
        for name, old in [
            ("debian-12-0000000099.qcow2", True),
            ("debian-12-0000000099.d", True),
            ("debian-12-0000000098.raw", False),
            ("notes.txt", True),
        ]:
            path = stage.images / name
            path.mkdir() if name.endswith(".d") else path.write_text("x")
            if old:
                os.utime(path, (day_old, day_old))

        stage.image("debian-12")
        build = await stage.built("debian-12")

        told = ("debian-12-0000000098.raw", "notes.txt")
        await eventually(lambda: told == stage.building.strangers)
        assert not (stage.images / "debian-12-0000000099.qcow2").exists()
        assert not (stage.images / "debian-12-0000000099.d").exists()
        assert all(Path(one.path).exists() for one in build.artifacts)
        assert isinstance(stage.book.images["debian-12"], ImageRecord)

    async def test_folder_of_another_deployment_is_neither_built_in_nor_tidied(self, tmp_path):
        """Their builds may be called as ours are."""
        images = tmp_path / "images"
        images.joinpath(".cache").mkdir(parents=True)
        images.joinpath(".cache", "deployment").write_text("another\n")
        old = images / "debian-12-0000000001.qcow2"
        old.write_text("theirs")
        os.utime(old, (time.time() - 86_500,) * 2)
        async with a_stage(tmp_path) as stage:
            stage.image("debian-12")
            build = await stage.built("debian-12")
            await stage.building._tidy()

        assert "is that of deployment 'another': set `images-dir`" in build.fault
        assert "theirs" == old.read_text()
