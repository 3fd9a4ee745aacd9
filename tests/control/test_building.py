"""Builds at work: turns, time, room, faults, restarts, and what is kept of them."""

import os
from functools import partial
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest
import trio
import trio.testing

from tests.builders.workshop import MAKE_FILES, TAKE_ARGUMENTS
from tests.control.build_stage import GOOD, a_stage, events_of, eventually
from trellis.builders.checksums import artifact_of
from trellis.builders.sessions import MARK, members, process_row
from trellis.control.images import building
from trellis.control.images.build_records import back_off_s
from trellis.control.images.building import LEAST_FREE
from trellis.errors import BuildError, RefusedError
from trellis.model.image import Artifact, Build, BuildState
from trellis.store.simulated import SimulatedLog


class PlayedBuilder:
    """Does what the test says, in place of a build; *acts* is by image."""

    acts: ClassVar = {}

    def __init__(self, config):
        self.config = config

    async def build(self, order, watch):
        return await self.acts[self.config.name](order, watch)

    async def clean(self, order):
        pass

    def secrets(self):
        return ()


class KnowingBuilder(PlayedBuilder):
    """Says what it is told to of the room it needs; ``...`` has it never answer."""

    def __init__(self, says, config):
        super().__init__(config)
        self.says = says

    async def room(self, _order):
        if self.says is ...:
            await trio.sleep_forever()
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    async def build(self, order, watch):
        path = order.base.with_name(f"{order.base.name}.qcow2")
        path.write_bytes(b"an image")
        return (await artifact_of(path, "qcow2"),)


@pytest.fixture
def acts(monkeypatch):
    monkeypatch.setattr(PlayedBuilder, "acts", {})
    return PlayedBuilder.acts


@pytest.fixture
async def stage(tmp_path):
    async with a_stage(tmp_path) as made:
        yield made


class TestBuild:
    async def test_ready_build_has_its_files_and_its_log(self, stage):
        stage.image("debian-12")

        build = await stage.built("debian-12", "qcow2", "raw")

        assert BuildState.READY is build.state
        assert ["qcow2", "raw"] == [one.format for one in build.artifacts]
        assert all(Path(one.path).stat().st_size == one.size for one in build.artifacts)
        lines = stage.log_of(build)
        assert "it was asked for" in lines[0]
        assert f"build {build.id} is ready" in lines[-1]
        assert (stage.images / ".cache" / "slot-0").is_dir()
        assert [] == os.listdir(stage.images / ".scratch")

    async def test_failed_build_tells_why_and_leaves_its_log_only(self, stage):
        stage.image("debian-12", "echo almost; echo 'E: no such package: vmi'; exit 100")

        build = await stage.built("debian-12")

        assert BuildState.FAILED is build.state
        assert "ended with exit code 100" in build.fault
        assert "almost ⏎ E: no such package: vmi" in build.fault
        assert [] == stage.files()
        assert f"build {build.id} failed: " in stage.log_of(build)[-1]

    async def test_next_build_waits_longer_with_each_failure_and_a_good_one_ends_that(self, stage):
        stage.image("debian-12", "exit 1")
        for failures in (1, 2, 3):
            build = await stage.built("debian-12")
            record = stage.book.images["debian-12"]
            assert failures == record.failures
            wait_s = record.not_before - build.state_at
            assert back_off_s(failures) == pytest.approx(wait_s, abs=0.1)
            assert record.fault

        stage.image("debian-12")
        await stage.built("debian-12")

        record = stage.book.images["debian-12"]
        assert (0, 0.0, "") == (record.failures, record.not_before, record.fault)

    def test_wait_grows_from_a_minute_to_six_hours(self):
        assert [60, 120, 240] == [back_off_s(failures) for failures in (1, 2, 3)]
        assert 6 * 3600 == back_off_s(20) == back_off_s(10_000)

    async def test_silent_build_is_ended_at_its_time(self, stage):
        stage.image("debian-12", "exec sleep 1000", build_timeout=0.3)

        build = await stage.built("debian-12")

        assert "not ready after 0.3 s (build-timeout), and ended" in build.fault
        assert [] == members(stage.images / ".scratch" / build.id, None)

    async def test_secrets_are_in_no_log_no_fault_and_no_event(self, stage):
        secret, password = "hunter22-and-more", "p@ss'word"
        script = 'set -x; echo "$LICENSE $DB_PASSWORD"; : "$DB_PASSWORD"; exit 1'
        stage.image(
            "debian-12",
            script,
            env_vars={"DB_PASSWORD": password},
            secret_env_vars={"LICENSE": secret},
        )

        build = await stage.built("debian-12")

        events = await stage.store.events_about(build.id, 100)
        shown = "\n".join([*stage.log_of(build), build.fault, repr(events), repr(build)])
        assert secret not in shown
        assert password not in shown
        assert password.replace("'", "'\\''") not in shown
        assert "******** ********" in shown

    async def test_a_hundred_thousand_lines_are_all_in_the_log(self, stage):
        stage.image("debian-12", "seq 100000\n" + GOOD)

        build = await stage.built("debian-12")

        numbers = [line for line in stage.log_of(build) if line.isdigit()]
        assert [str(x) for x in range(1, 100_001)] == numbers

    async def test_phases_are_recorded_as_events_and_not_too_often(self, stage):
        hooks = "\n".join(f"echo 'dib-run-parts Running /x/p{x:c}.d/01-x'" for x in range(97, 117))
        stage.image("debian-12", TAKE_ARGUMENTS + hooks + "\nsleep 1.3\n" + MAKE_FILES)

        build = await stage.built("debian-12")

        types = await events_of(stage, build.id)
        assert 2 <= types.count("build.phase") <= 4
        assert "" == build.phase

    async def test_failure_of_the_builder_itself_is_a_failed_build(self, stage, acts):
        async def act(order, watch):
            raise KeyError("a bug")

        acts["debian-12"] = act
        stage.image("debian-12", maker=PlayedBuilder)

        build = await stage.built("debian-12")

        assert "the builder has a bug: KeyError" in build.fault
        assert any("Traceback" in line for line in stage.log_of(build))

    @pytest.mark.parametrize("where", ["__init__", "secrets"])
    async def test_builder_that_cannot_be_made_is_a_failed_build(self, stage, monkeypatch, where):
        """And the builds of other images go on."""

        def broken(*_):
            raise ValueError("a bug")

        monkeypatch.setattr(PlayedBuilder, where, broken)
        stage.image("a", maker=PlayedBuilder)
        stage.image("b")

        assert "has a bug: ValueError" in (await stage.built("a")).fault
        assert BuildState.READY is (await stage.built("b")).state

    async def test_builder_is_not_believed_what_is_not_there(self, stage, acts):
        async def act(order, watch):
            order.base.with_name(f"{order.base.name}.qcow2").write_text("x")
            path = f"{order.base}.qcow2"
            return (Artifact(format="qcow2", path=path, size=2, md5="", sha256=""),)

        acts["debian-12"] = act
        stage.image("debian-12", maker=PlayedBuilder)

        build = await stage.built("debian-12")

        assert "has 1 bytes, and not 2" in build.fault
        assert [] == stage.files()

    async def test_image_that_is_not_configured_any_more_is_not_built(self, stage):
        build = await stage.built("debian-12")

        assert "not configured, or no plugin has its type" in build.fault


class TestTurns:
    async def test_images_are_built_at_once_up_to_the_limit_each_with_its_cache(self, stage, acts):
        under_way, most, caches = [], [], {}
        go = trio.Event()

        async def act(order, watch):
            under_way.append(order.image)
            caches[order.image] = order.cache
            most.append(len(under_way))
            await go.wait()
            under_way.remove(order.image)
            raise BuildError("enough")

        for name in ("a", "b", "c"):
            acts[name] = act
            stage.image(name, maker=PlayedBuilder)
        stage.policy(workers=2)
        builds = [await stage.order(name) for name in ("a", "b", "c")]
        await eventually(lambda: len(under_way) == 2)
        await trio.testing.wait_all_tasks_blocked(0.1)
        first = sorted(under_way)  # threads are in no order
        go.set()
        for build in builds:
            await stage.until(build, BuildState.FAILED)

        assert ["a", "b"] == first
        assert 2 == max(most)
        assert caches["a"] != caches["b"]

    async def test_one_image_has_one_build_at_a_time(self, stage, acts):
        under_way, most = [], []

        async def act(order, watch):
            under_way.append(order.build_id)
            most.append(len(under_way))
            await trio.sleep(0.05)
            under_way.remove(order.build_id)
            raise BuildError("enough")

        acts["a"] = act
        stage.image("a", maker=PlayedBuilder)
        stage.policy(workers=2)

        builds = [await stage.order("a") for _ in range(3)]
        for build in builds:
            await stage.until(build, BuildState.FAILED)

        assert [1, 1, 1] == most


class TestRoom:
    async def test_too_little_room_is_told_before_anything_is_run(self, tmp_path):
        async with a_stage(tmp_path) as stage:
            stage.building._least_free = 2**62
            stage.image("debian-12", f"touch {tmp_path}/ran")

            build = await stage.built("debian-12")

        assert "MiB free, and a build may need" in build.fault
        assert "`images-dir`" in build.fault
        assert not (tmp_path / "ran").exists()

    async def test_three_times_what_the_last_one_took_is_needed(self, stage, monkeypatch):
        stage.image("debian-12")
        first = await stage.built("debian-12")
        size = first.artifacts[0].size

        async def free(_folder):
            return 3 * size - 1

        monkeypatch.setattr(stage.building._ground, "free", free)
        assert "MiB free" in (await stage.built("debian-12")).fault

    async def test_builder_that_can_tell_needs_what_it_says_and_no_more(self, stage, monkeypatch):
        """2 GiB are the guess where nobody knows; an image of 3 MiB needs no such room."""
        stage.building._least_free = LEAST_FREE
        says = 3 << 20
        stage.image("debian-12", maker=lambda config: KnowingBuilder(says, config))
        free_bytes = 3 << 20

        async def free(_folder):
            return free_bytes

        monkeypatch.setattr(stage.building._ground, "free", free)
        assert BuildState.READY is (await stage.built("debian-12")).state
        free_bytes -= 1
        assert "2 MiB free, and this build needs 3 MiB." in (await stage.built("debian-12")).fault
        says = None
        assert "a build may need 2048 MiB" in (await stage.built("debian-12")).fault

    async def test_what_a_person_says_of_the_room_counts_more(self, stage, monkeypatch):
        stage.building._least_free = LEAST_FREE
        stage.image(
            "debian-12", maker=lambda config: KnowingBuilder(2**50, config), build_room_mib=3
        )
        free_bytes = (3 << 20) - 1

        async def free(_folder):
            return free_bytes

        monkeypatch.setattr(stage.building._ground, "free", free)
        fault = (await stage.built("debian-12")).fault
        assert "2 MiB free, and 3 MiB have to be (build-room-mib)." in fault
        free_bytes += 1
        assert BuildState.READY is (await stage.built("debian-12")).state

    async def test_builder_that_crashes_or_hangs_when_asked_for_room(self, stage, monkeypatch):
        """A crash is its bug and fails the build; one that does not answer is not waited for."""
        monkeypatch.setattr(building, "ROOM_S", 0.05)
        says = ValueError("no room")
        stage.image("debian-12", maker=lambda config: KnowingBuilder(says, config))

        assert "has a bug: ValueError: no room" in (await stage.built("debian-12")).fault
        says = BuildError("there is no such file")
        assert "there is no such file" in (await stage.built("debian-12")).fault
        says = ...
        assert BuildState.READY is (await stage.built("debian-12")).state

    async def test_disk_full_in_the_middle_is_told_and_nothing_is_left(self, stage):
        script = (
            TAKE_ARGUMENTS
            + """
            echo x > "$out.qcow2-new"
            echo "cp: error writing '$out.qcow2': No space left on device" >&2; exit 1
        """
        )
        stage.image("debian-12", script)

        build = await stage.built("debian-12")

        assert "the disk is full. Make room" in build.fault
        assert [] == stage.files()

    async def test_folder_that_cannot_be_used_is_named(self, stage, tmp_path):
        stage.image("debian-12")
        (tmp_path / "file").write_text("")
        stage.images = tmp_path / "file" / "images"

        build = await stage.order("debian-12")
        build = await stage.until(build, BuildState.FAILED)

        assert "`images-dir`" in build.fault


class TestTalk:
    async def test_builder_that_talks_for_ever_fills_no_disk(self, stage, monkeypatch):
        """What it says last is in the fault, and the outcome is the log's last line."""
        monkeypatch.setattr("trellis.control.images.build_log.MOST_KEPT", 1000)
        stage.image("debian-12", "seq 10000; echo no such release; exit 3")

        build = await stage.built("debian-12")

        assert len(stage.log_of(build)) < 300
        assert "lines are left out" in Path(build.log).read_text()
        assert "no such release" in build.fault
        assert "failed: " in stage.log_of(build)[-1]


class TestStop:
    async def test_a_person_stops_it_and_the_next_one_does_not_wait_for_that(self, stage):
        stage.image("debian-12", "echo begun; exec sleep 1000")
        build = await stage.order("debian-12")
        await eventually(lambda: Path(build.log).exists() and "begun" in stage.log_of(build))

        stage.building.stop(build.id, "anna", "wrong release")
        build = await stage.until(build, BuildState.FAILED)

        assert "stopped by anna: wrong release" == build.fault
        assert 0 == stage.book.images["debian-12"].failures
        assert [] == stage.files()

    async def test_what_is_ready_cannot_be_stopped_though_its_log_is_being_written(
        self, stage, monkeypatch
    ):
        go, ground = trio.Event(), stage.building._ground
        append = ground.append

        async def slow(log, text):
            await go.wait()
            await append(log, text)

        monkeypatch.setattr(ground, "append", slow)
        stage.image("debian-12")
        build = await stage.built("debian-12")

        with pytest.raises(RefusedError, match="is not under way"):
            stage.building.stop(build.id, "anna", "")
        go.set()

    async def test_what_is_not_under_way_cannot_be_stopped(self, stage):
        stage.image("debian-12")
        build = await stage.built("debian-12")

        with pytest.raises(RefusedError, match="is not under way"):
            stage.building.stop(build.id, "anna", "")


class TestRestart:
    async def test_build_of_an_earlier_process_is_undone_and_no_reason_to_wait(self, tmp_path):
        """As if the daemon had been killed: its processes still run, its files are half made."""
        log = SimulatedLog(Random(1))
        async with a_stage(tmp_path, log) as stage:
            stage.image("debian-12", "echo begun; exec sleep 1000")
            build = await stage.order("debian-12")
            await eventually(lambda: Path(build.log).exists() and "begun" in stage.log_of(build))
        (tmp_path / "images" / f"{build.id}.qcow2-new").write_text("half")
        scratch = tmp_path / "images" / ".scratch" / build.id
        scratch.mkdir(parents=True)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                orphan = await nursery.start(_orphan(scratch))
                async with a_stage(tmp_path, log.reopen()) as stage:
                    stage.image("debian-12")
                    failed = await stage.until(build, BuildState.FAILED)
                    record = stage.book.images["debian-12"]
                    next_one = await stage.built("debian-12")
                scope.cancel()

        assert failed.fault.startswith("the daemon ended during the build")
        assert (0, 0.0) == (record.failures, record.not_before)
        assert process_row(orphan.pid) is None or process_row(orphan.pid).state == "Z"
        assert not scratch.exists()
        assert not (tmp_path / "images" / f"{build.id}.qcow2-new").exists()
        assert "failed: the daemon ended" in Path(build.log).read_text().splitlines()[-1]
        assert BuildState.READY is next_one.state

    async def test_builder_that_cannot_clean_up_does_not_stop_the_others(
        self, tmp_path, monkeypatch, acts
    ):
        async def act(order, watch):
            await trio.sleep_forever()

        async def broken(*_):
            raise KeyError("a bug")

        acts["a"] = act
        monkeypatch.setattr(PlayedBuilder, "clean", broken)
        log = SimulatedLog(Random(1))
        async with a_stage(tmp_path, log) as stage:
            stage.image("a", maker=PlayedBuilder)
            build = await stage.order("a")
            await eventually(Path(build.log).exists)
        async with a_stage(tmp_path, log.reopen()) as stage:
            stage.image("a", maker=PlayedBuilder)
            stage.image("b")
            failed = await stage.until(build, BuildState.FAILED)

            assert "daemon ended during the build; the builder has a bug: KeyError" in failed.fault
            assert BuildState.READY is (await stage.built("b")).state

    async def test_what_undoing_it_fails_of_is_masked(self, tmp_path, monkeypatch, acts):
        async def act(order, watch):
            await trio.sleep_forever()

        async def broken(*_):
            raise KeyError("token swordfish was refused")

        acts["a"] = act
        monkeypatch.setattr(PlayedBuilder, "clean", broken)
        monkeypatch.setattr(PlayedBuilder, "secrets", lambda _: ("swordfish",))
        log = SimulatedLog(Random(1))
        async with a_stage(tmp_path, log) as stage:
            stage.image("a", maker=PlayedBuilder)
            build = await stage.order("a")
            await eventually(Path(build.log).exists)
        async with a_stage(tmp_path, log.reopen()) as stage:
            stage.image("a", maker=PlayedBuilder)
            failed = await stage.until(build, BuildState.FAILED)

        assert "was refused" in failed.fault
        assert "swordfish" not in failed.fault + Path(build.log).read_text()

    async def test_end_of_the_daemon_ends_the_build_and_keeps_its_record(self, tmp_path):
        log = SimulatedLog(Random(1))
        async with a_stage(tmp_path, log) as stage:
            stage.image(
                "debian-12", "trap 'echo undone; exit 143' TERM; echo begun; sleep 1000 & wait"
            )
            build = await stage.order("debian-12")
            await eventually(lambda: Path(build.log).exists() and "begun" in stage.log_of(build))
            scratch = stage.images / ".scratch" / build.id

        assert BuildState.BUILDING is stage.store.get(Build, build.id).state
        assert "undone" in Path(build.log).read_text()
        assert [] == members(scratch, None)
        assert not scratch.exists()


def _orphan(scratch):
    """What runs a process of a build whose daemon was killed."""
    return partial(
        trio.run_process,
        ["sleep", "1000"],
        env={**os.environ, MARK: str(scratch)},
        start_new_session=True,
        check=False,
    )
