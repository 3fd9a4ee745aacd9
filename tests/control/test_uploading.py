"""The life of an upload at a cloud where things go wrong, and over restarts in its middle."""

import itertools
import tempfile

import attrs
import pytest
import trio

from tests.control.scripted_images import PIECE, ScriptedSource
from tests.control.upload_stage import IMAGE, SIZE, UploadStage, eventually
from trellis.errors import (
    AnswerLostError,
    CloudBrokenError,
    MisconfiguredError,
    QuotaExceededError,
    RejectedError,
    RetryLaterError,
    UnreachableError,
)
from trellis.model.image import ImageRecord, Standing, Upload, UploadState
from trellis.model.node import Home
from trellis.testing.builders import NOW, a_home

MINUTE = 60.0
HOUR = 3600.0
READY, DELETING, GONE = UploadState.READY, UploadState.DELETING, UploadState.GONE


# --------------------------------------------------------------------- when all goes well


async def test_upload_becomes_a_canary_when_its_image_is_there(autojump_clock):
    """Its record says where and when it was made, and what it is called there."""
    stage = UploadStage()
    async with stage.process() as process:
        upload = await process.until(await process.begin(), READY)

    assert stage.usable() == [upload.external_id]
    assert upload.home == a_home()
    assert upload.standing is Standing.CANARY
    assert upload.sent_at == pytest.approx(NOW, abs=0.1)
    assert upload.ready_at > upload.sent_at
    assert stage.images.creates == 1


async def test_upload_is_promoted_at_once_where_there_are_no_canaries(autojump_clock):
    """With a share of nothing no launch could ever prove it."""
    stage = UploadStage()
    stage.image = attrs.evolve(stage.image, canary_share=0.0)
    async with stage.process() as process:
        upload = await process.until(await process.begin(), READY)

    assert upload.standing is Standing.PROMOTED


async def test_progress_is_told_while_the_file_is_sent(autojump_clock):
    """Bytes, their total, and the rate of late."""
    stage = UploadStage()
    stage.source.rate = 10 * PIECE
    async with stage.process() as process:
        upload = await process.begin()
        await trio.sleep(6.05)

        sent = process.uploading.sent(upload)

    assert sent.total == SIZE
    assert sent.bytes == pytest.approx(45 * PIECE, abs=2 * PIECE)
    assert sent.bytes_per_s == pytest.approx(10 * PIECE, rel=0.1)


async def test_success_makes_earlier_failures_forgotten(autojump_clock):
    """The next failure waits a minute again."""
    stage = UploadStage()
    stage.images.meddle["create"] = [RejectedError("no")] * 3
    async with stage.process() as process:
        await process.plan()

        assert process.place().failures == 0
        assert process.place().fault == ""
    times = [at for at, what in stage.images.calls if what == "create"]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses == pytest.approx([60, 120, 240], abs=5)


# ------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("error", [AnswerLostError("lost"), CloudBrokenError("500")], ids=repr)
@pytest.mark.parametrize("appears_s", [0.0, 90.0])
async def test_lost_answer_is_looked_up_and_nothing_is_made_twice(error, appears_s, autojump_clock):
    """The image shows minutes later, and the upload goes on with it."""
    stage = UploadStage()
    stage.images.appears_s = appears_s
    stage.images.meddle["create"] = [("after", error)]
    async with stage.process() as process:
        await process.until(await process.begin(), READY)

    assert stage.images.creates == 1
    assert stage.images.count("create") == 2  # the second one takes up the image that was found
    assert len(stage.usable()) == 1


async def test_image_that_never_shows_ends_the_attempt(autojump_clock):
    """After create-settle it is gone, and the next attempt has waited a minute."""
    stage = UploadStage()
    stage.images.meddle["create"] = [AnswerLostError("lost")]
    async with stage.process() as process:
        upload = await process.until(await process.begin(), GONE)

        assert "not answered" in upload.fault
        assert process.place().failures == 1
    assert trio.current_time() >= stage.config.create_settle
    assert stage.images.kept == {}


async def test_image_that_shows_after_the_attempt_is_given_up_is_deleted(autojump_clock):
    """It may come late while its deletion looks for it, and is no leak then."""
    stage = UploadStage()
    stage.images.appears_s = 60.0
    stage.images.meddle["create"] = [("after", AnswerLostError("lost"))]
    async with stage.process() as process:
        upload = await process.begin()
        await trio.sleep(10)
        await process.change(upload, state=DELETING)

        await process.until(upload, GONE)

    assert stage.images.kept == {}
    assert trio.current_time() > 60.0


async def test_image_whose_making_was_put_off_gets_its_time_from_then_on(autojump_clock):
    """It is made long after the attempt began, is not answered, and shows late: none is lost."""
    stage = UploadStage()
    stage.images.appears_s = 90.0
    stage.images.meddle["create"] = [
        RetryLaterError("429", after_s=stage.config.create_settle + 60.0),
        ("after", AnswerLostError("lost")),
    ]
    async with stage.process() as process:
        await process.plan()

        assert process.place().failures == 0
    assert stage.images.creates == 1
    assert list(stage.images.kept) == stage.usable()


async def test_quota_waits_half_an_hour_and_says_so(autojump_clock):
    """However often it was refused: room may come at any time."""
    stage = UploadStage()
    stage.images.meddle["create"] = [QuotaExceededError("413 no room for images")] * 4
    async with stage.process() as process:
        upload = await process.until(await process.begin(), GONE)
        await process.plan()

    assert "tried again in 30 min" in upload.fault
    times = [at for at, what in stage.images.calls if what == "create"]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses == pytest.approx([1800] * 4, abs=5)


async def test_wrong_checksum_is_tried_again_at_once_and_then_with_growing_pauses(autojump_clock):
    """The first may be an accident of the way; a cloud that always does it costs little."""
    stage = UploadStage()

    def spoil():
        for image in stage.images.kept.values():
            image.status = "wrong"

    stage.images.meddle["sent"] = [spoil] * 3
    async with stage.process() as process:
        first = await process.until(await process.begin(), GONE)
        await process.plan()

    assert "its md5 is another" in first.fault
    times = [at for at, what in stage.images.calls if what == "create"]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses[0] < 15
    assert pauses[1:] == pytest.approx([120, 240], abs=15)
    assert len(stage.images.kept) == 1


async def test_connection_dropped_at_90_percent_begins_another_attempt_at_once(autojump_clock):
    """What is half there is deleted; nothing is sent on to it."""
    stage = UploadStage()

    class Dropped(ScriptedSource):
        async def __anext__(self):
            if stage.images.creates == 1 and self.read >= SIZE * 0.9:
                raise AnswerLostError("the connection broke")
            return await super().__anext__()

    stage.source = Dropped(SIZE)
    async with stage.process() as process:
        await process.begin()
        await trio.sleep(2)
        await process.plan()

    assert stage.images.creates == 2
    assert len(stage.images.kept) == 1
    assert trio.current_time() < 30


@pytest.mark.parametrize("status", ["queued", "saving", "processed"])
async def test_image_that_never_becomes_active_is_given_up_and_deleted(status, autojump_clock):
    """The time for the whole attempt goes by the size; the fault says how much was sent."""
    stage = UploadStage()

    def stay():
        for image in stage.images.kept.values():
            image.status, image.seen_from = status, 10 * HOUR

    stage.images.meddle["sent"] = [stay]
    async with stage.process() as process:
        upload = await process.until(await process.begin(), GONE)

    assert "not ready within 700 s (by its size" in upload.fault  # 100 MiB at 1 MiB/s, and 600
    assert f"{SIZE} of {SIZE} bytes were sent" in upload.fault
    assert trio.current_time() == pytest.approx(700, abs=10)
    assert stage.images.kept == {}


@pytest.mark.parametrize("call", ["create", "created", "sent"])
async def test_call_that_hangs_ends_with_the_time_of_the_upload(call, autojump_clock):
    """However it hangs, what it may have made is found and deleted."""
    stage = UploadStage(image_upload_timeout=300.0)
    stage.images.meddle[call] = ["never"]
    async with stage.process() as process:
        upload = await process.until(await process.begin(), GONE)

    assert "not ready within 300 s (image-upload-timeout)" in upload.fault
    assert stage.images.kept == {}


async def test_slow_but_steady_upload_is_not_too_late(autojump_clock):
    """Where uploads took long lately, they may again: a quarter of that rate is enough."""
    stage = UploadStage()
    stage.source.rate = PIECE / 5  # 100 MiB in 500 s
    async with stage.process() as process:
        await process.until(await process.begin(1), READY)
        stage.source.rate = PIECE / 15  # 1,500 s; by the size alone it had 700
        upload = await process.until(await process.begin(2), READY)

    assert upload.ready_at - upload.sent_at > 1500


async def test_file_that_cannot_be_read_is_said_to_be_at_fault(autojump_clock):
    """It is no trouble of the cloud, and waits as any failure."""
    stage = UploadStage()
    stage.source.fails_at = 50 * PIECE
    async with stage.process() as process:
        upload = await process.until(await process.begin(), GONE)

        assert process.place().not_before > process.world.wall()
    assert "the file cannot be read: I/O error" in upload.fault
    assert stage.images.kept == {}


async def test_rate_limit_is_waited_for(autojump_clock):
    """A refusal that asks for patience is no failure and no doubt."""
    stage = UploadStage()
    stage.images.meddle["create"] = [RetryLaterError("429", after_s=45.0)]
    async with stage.process() as process:
        await process.until(await process.begin(), READY)

        assert process.place().failures == 0
    assert trio.current_time() > 45


async def test_step_is_repeated_when_its_answer_was_lost(autojump_clock):
    """Looks may be lost any number of times."""
    stage = UploadStage()
    stage.images.meddle["sent"] = [AnswerLostError("lost"), UnreachableError("no route")] * 3
    async with stage.process() as process:
        await process.until(await process.begin(), READY)

        assert process.place().failures == 0


# ----------------------------------------------------------------------- a cloud that is away


async def test_provider_that_cannot_be_used_is_waited_for_without_a_failure(autojump_clock):
    """Neither is anything sent meanwhile, nor does the upload's time pass."""
    stage = UploadStage()
    async with stage.process() as process:
        upload = await process.begin()
        await trio.sleep(2)
        process.health.closed_for("the cloud is away")
        stage.images.meddle["sent"] = [UnreachableError("no route")]
        await trio.sleep(5 * HOUR)

        assert "the cloud is away" in process.uploading.waits(upload)
        process.health.opened()
        await process.until(upload, READY)
        assert process.place().failures == 0


async def test_nothing_is_begun_while_the_provider_starts(autojump_clock):
    """The intent is recorded when it can be acted upon."""
    stage = UploadStage()
    async with stage.process(open_health=False) as process:
        upload = await process.begin()
        await trio.sleep(HOUR)

        assert stage.images.calls == []
        assert process.store.head(Upload, upload).sent_at is None


async def test_other_project_concludes_nothing(autojump_clock):
    """Rule 2: it has none of our images, and says so; the upload waits until it is back."""
    stage = UploadStage()
    async with stage.process() as process:
        upload = await process.begin()
        await trio.sleep(1.2)
        stage.provider.at_home = Home(project_id="p2", region="RegionOne", endpoint="http://x")
        before = len(stage.images.calls)
        await trio.sleep(HOUR)

        assert "project changed" in process.uploading.waits(upload)
        # Of what was under way the answer comes, and nothing is asked after that.
        assert len(stage.images.calls) - before <= 1
        stage.provider.at_home = a_home()
        process.health.opened()
        await process.until(upload, READY)


async def test_other_project_proves_no_deletion(autojump_clock):
    """Its 404 says nothing of an image that is somewhere else."""
    stage = UploadStage()
    async with stage.process() as process:
        upload = await process.until(await process.begin(), READY)
        stage.provider.at_home = Home(project_id="p2", region="RegionOne", endpoint="http://x")
        await process.change(upload.id, state=DELETING)
        await trio.sleep(HOUR)

        assert process.book.uploads[upload.id].state is DELETING
        assert stage.images.count("delete") == 0


async def test_misconfigured_cloud_is_a_failure_that_names_it(autojump_clock):
    """Waiting does not help; a person does, who is told."""
    stage = UploadStage()
    stage.images.meddle["create"] = [MisconfiguredError("no service image in the catalog")]
    async with stage.process() as process:
        upload = await process.until(await process.begin(), GONE)

        assert process.place().failures == 1
    assert "no service image in the catalog" in upload.fault


# -------------------------------------------------------------------------------- its slots


async def test_uploads_take_turns_and_say_what_they_wait_for(autojump_clock):
    """So many at a time as upload-workers says."""
    stage = UploadStage(upload_workers=2)
    stage.source.rate = PIECE
    async with stage.process() as process:
        uploads = [await process.begin(number) for number in (1, 2, 3, 4)]
        await trio.sleep(30)

        assert "upload-workers of alpha" in process.uploading.waits(uploads[3])
        for upload in uploads:
            await process.until(upload, READY)
    assert stage.images.most_sending == 2


async def test_deletions_do_not_wait_for_uploads(autojump_clock):
    """They have slots of their own."""
    stage = UploadStage()
    async with stage.process() as process:
        old = await process.until(await process.begin(1), READY)
        stage.source.rate = PIECE / 100
        await process.begin(2)
        await trio.sleep(5)
        await process.change(old.id, state=DELETING)

        await process.until(old.id, GONE, within_s=60)


async def test_image_of_servers_stays_until_they_are_gone(autojump_clock):
    """A person deleted it: not every cloud refuses that, and a server may not start again then."""
    stage = UploadStage()
    async with stage.process() as process:
        upload = await process.until(await process.begin(), READY)
        stage.booted.add(upload.external_id)
        await process.change(upload.id, state=DELETING)
        await trio.sleep(HOUR)

        assert stage.usable() == [upload.external_id]
        assert "servers of ours" in process.uploading.waits(upload.id)
        stage.booted.clear()
        gone = await process.until(upload.id, GONE, within_s=60)
    assert gone.fault is None
    assert stage.images.kept == {}


async def test_deletion_that_the_cloud_puts_off_holds_nobody(autojump_clock):
    """Images that servers boot from are asked for now and then, and the others go at once."""
    stage = UploadStage(upload_workers=6)
    async with stage.process() as process:
        uploads = [await process.begin(number) for number in range(1, 7)]
        ready = [await process.until(upload, READY) for upload in uploads]
        stage.images.in_use.update(one.external_id for one in ready[:5])
        for one in ready:
            await process.change(one.id, state=DELETING)

        await process.until(ready[5].id, GONE, within_s=60)
        await trio.sleep(15 * MINUTE)
        words = process.uploading.waits(ready[0].id)
        fault = process.book.uploads[ready[0].id].fault
        stage.images.in_use.clear()
        for one in ready:
            await process.until(one.id, GONE)
    assert "a server may boot from it" in words
    assert "the deletion is stuck for 10 min" in fault


async def test_upload_that_a_person_ends_is_not_sent_to_its_end(autojump_clock):
    """The file is let go, and what there is of the image is deleted."""
    stage = UploadStage()
    stage.source.rate = PIECE / 10
    async with stage.process() as process:
        upload = await process.begin()
        await trio.sleep(20)
        await process.change(upload, state=DELETING, fault="a person said so")

        gone = await process.until(upload, GONE, within_s=60)

        assert process.place().failures == 0
    assert gone.fault == "a person said so"
    assert stage.images.kept == {}


@pytest.mark.parametrize("at_s", [0.2, 0.7, 1.2, 2.0, 3.0, 4.0])
async def test_upload_ended_at_any_moment_leaves_nothing(at_s, autojump_clock):
    """Also in the middle of the call that makes the image: its id is recorded all the same."""
    stage = UploadStage()
    async with stage.process() as process:
        upload = await process.begin()
        await trio.sleep(at_s)
        await process.change(upload, state=DELETING)

        await process.until(upload, GONE)
    assert stage.images.kept == {}
    assert stage.images.creates <= 1


# ------------------------------------------------------------------------------- restarts


MOMENTS = [round(0.11 + 0.35 * number, 2) for number in range(34)]
"""Before, in and after each call and commit of an upload, which takes some twelve seconds."""


@pytest.mark.parametrize("at_s", MOMENTS)
async def test_kill_at_any_moment_leaves_one_image_and_no_other(at_s, autojump_clock):
    """The next process goes on, or begins again at once; nothing counts as a failure."""
    stage = UploadStage()
    await stage.killed_at(at_s, lambda process: process.begin())

    async with stage.process() as process:
        await process.plan()
        (ready,) = [one for one in process.book.uploads.values() if one.state is READY]
        await eventually(lambda: len(process.book.uploads) == 1, within_s=HOUR, every_s=1)

        assert list(stage.images.kept) == [ready.external_id]
        assert process.place().failures == 0
    assert trio.current_time() < stage.config.create_settle * 2 + 60


@pytest.mark.parametrize("at_s", [round(0.11 + 0.4 * number, 2) for number in range(10)])
async def test_kill_while_it_is_deleted_leaves_nothing(at_s, autojump_clock):
    """The deletion goes on where it was."""
    stage = UploadStage()
    async with stage.process() as process:
        upload = await process.until(await process.begin(), READY)
        began = trio.current_time()

    await stage.killed_at(began + at_s, lambda process: process.change(upload.id, state=DELETING))

    async with stage.process() as process:
        await process.until(upload.id, GONE)
    assert stage.images.kept == {}


async def test_attempt_of_before_a_long_absence_gets_a_look(autojump_clock):
    """The cloud may have finished meanwhile: its deadline does not end it unseen."""
    stage = UploadStage()
    await stage.killed_at(4.0, lambda process: process.begin())
    await trio.sleep(12 * HOUR)

    async with stage.process() as process:
        (upload,) = process.book.uploads
        await process.until(upload, READY)


# ---------------------------------------------------------------------------------- its hook


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("false", "ended with status 1"),
        ("there-is-no-such-program --now", "no program 'there-is-no-such-program'"),
        ("'unbalanced", "is no command"),
        ("sh -c 'echo cannot reach the registry; exit 3' --", "3: cannot reach the registry"),
    ],
    ids=["fails", "missing", "unbalanced", "says-why"],
)
async def test_hook_that_fails_is_recorded_and_undoes_nothing(command, fault):
    """It is told of in the upload's record and by an event."""
    stage = UploadStage()
    stage.image = attrs.evolve(stage.image, post_upload_hook=command)
    stage.images.takes_s = stage.images.saves_s = 0.0
    stage.source = ScriptedSource(PIECE)
    async with stage.process() as process:
        upload = await process.until(await process.begin(), READY, within_s=20)
        book = process.book.uploads
        await eventually(lambda: book[upload.id].hook_fault, within_s=30)
        upload = process.book.uploads[upload.id]
        events = await process.store.events_about(upload.id, 10)

    assert upload.state is READY
    assert fault in upload.hook_fault
    assert "upload.hook-failed" in [one.type for one in events]


async def test_hook_without_a_folder_ends_no_other_upload(monkeypatch, tmp_path):
    """A full disk is the hook's trouble, and not that of the files that are being sent."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not-there"))
    stage = UploadStage()
    stage.image = attrs.evolve(stage.image, post_upload_hook="true")
    stage.images.takes_s = stage.images.saves_s = 0.0
    stage.source = ScriptedSource(PIECE)
    async with stage.process() as process:
        upload = await process.until(await process.begin(), READY, within_s=20)
        book = process.book.uploads
        await eventually(lambda: book[upload.id].hook_fault, within_s=30)

        assert "no folder can be made" in book[upload.id].hook_fault


async def test_hook_is_given_provider_image_and_file(tmp_path):
    """In this order, after its own words."""
    stage = UploadStage()
    told = tmp_path / "told"
    stage.image = attrs.evolve(
        stage.image, post_upload_hook=f"sh -c 'echo \"$@\" > {told}.new; mv {told}.new {told}' --"
    )
    stage.images.takes_s = stage.images.saves_s = 0.0
    stage.source = ScriptedSource(PIECE)
    async with stage.process() as process:
        await process.until(await process.begin(), READY, within_s=20)
        await eventually(told.exists, within_s=30)

    assert told.read_text() == "alpha image-1 /images/one.qcow2\n"


async def test_file_is_there_until_the_hook_has_ended(tmp_path):
    """It is on the list of what is read, from begin of the upload to end of the hook."""
    stage = UploadStage()
    go_on, began = tmp_path / "go-on", tmp_path / "began"
    waits = f"sh -c 'touch {began}; until [ -e {go_on} ]; do sleep 0.05; done' --"
    stage.image = attrs.evolve(stage.image, post_upload_hook=waits)
    stage.images.takes_s = stage.images.saves_s = 0.0
    stage.source = ScriptedSource(PIECE)
    released = []
    async with stage.process() as process:
        process.book.on_released.append(lambda: released.append(process.book.read()))
        upload = await process.until(await process.begin(), READY, within_s=20)
        await eventually(began.exists, within_s=30)
        held = frozenset({(upload.build_id, upload.artifact.format)})
        assert (held, []) == (process.book.read(), released)

        go_on.touch()
        await eventually(lambda: released, within_s=30)

    assert [frozenset()] == released


async def test_image_that_is_configured_no_longer_is_remembered_with_its_failures(autojump_clock):
    """An upload under way ends as any other."""
    stage = UploadStage()
    stage.image = None
    stage.images.meddle["create"] = [RejectedError("no")]
    async with stage.process() as process:
        await process.until(await process.begin(), GONE)

        assert process.store.head(ImageRecord, IMAGE).place("alpha").failures == 1
