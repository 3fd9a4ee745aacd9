"""The commands of builds: their output, their end, and whom they leave behind."""

import os
import signal
import sys
from functools import partial

import pytest
import trio

from tests.builders.workshop import Heard, an_order
from trellis.builders.process import MOST_OF_A_LINE, Command, Lines, Patience, run
from trellis.builders.sessions import (
    leader_of,
    members,
    note_leader,
    noted_leader,
    process_row,
)
from trellis.builders.workplace import discard

QUICK = Patience(end_s=5.0, output_s=1.0)


@pytest.fixture
def bash(tmp_path):
    """Runs a text as a script of bash; returns its exit code."""
    order = an_order(tmp_path)
    order.scratch.mkdir(parents=True)

    async def run_it(text, watch=None, *, patience=QUICK, **variables):
        command = Command(
            words=("/bin/bash", "-c", text),
            environment={"PATH": os.environ["PATH"], **variables},
            scratch=order.scratch,
        )
        return await run(command, (watch or Heard()).line, patience=patience)

    run_it.scratch = order.scratch
    run_it.order = order
    yield run_it
    assert [] == members(order.scratch, noted_leader(order.scratch))


def pids_in(folder):
    return {path.name: int(path.read_text()) for path in folder.glob("*.pid")}


def is_gone(pid):
    row = process_row(pid)
    return row is None or row.state in "ZX"


async def wait_for(path):
    with trio.fail_after(20):  # noqa: ASYNC912 - what is so already needs no wait
        while not path.exists() or not path.read_text():  # noqa: ASYNC110 - a file tells nobody
            await trio.sleep(0.01)


class TestOutput:
    async def test_lines_of_output_and_errors_come_in_their_order(self, bash):
        heard = Heard()

        code = await bash("echo one; echo two >&2; echo three; exit 3", heard)

        assert 3 == code
        assert ["one", "two", "three"] == heard.lines

    async def test_a_hundred_thousand_lines_all_come(self, bash):
        heard = Heard()

        await bash("seq 100000", heard)

        assert [str(x) for x in range(1, 100_001)] == heard.lines

    async def test_last_line_without_an_end_comes_too(self, bash):
        heard = Heard()

        await bash("printf 'no end'", heard)

        assert ["no end"] == heard.lines

    async def test_it_runs_at_low_priority_and_cannot_read_a_terminal(self, bash):
        heard = Heard()

        await bash("nice; ionice -p $$; read -r x || echo nothing to read", heard)

        assert [str(min(19, os.nice(0) + 10)), "idle", "nothing to read"] == heard.lines

    async def test_program_that_is_not_there_cannot_be_started(self, bash, monkeypatch):
        monkeypatch.setattr("trellis.builders.process._at_low_priority", lambda _env: [])
        command = Command(words=("/no/such",), environment={}, scratch=bash.scratch)

        with pytest.raises(FileNotFoundError):
            await run(command, Heard().line)


class TestLines:
    def test_a_line_without_end_is_bounded(self):
        told = []
        lines = Lines(told.append)

        for _ in range(1000):
            lines.take(b"x" * 65536)
        lines.take(b"end\nnext\n")

        assert 2 == len(told)
        assert len(told[0]) <= MOST_OF_A_LINE + 2
        assert told[0].endswith("…")
        assert "next" == told[1]

    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            (b"caf\xe9\n", "caf�"),
            (b" 10%\r 50%\r100%\r\n", "100%"),
            (b"\x1b[31mred\x1b[0m\n", "red"),
            (b"bell\x07 and \x1b]0;title\n", "bell and 0;title"),
            (b"tab\there\n", "tab\there"),
        ],
        ids=["undecodable", "progress", "colour", "controls", "tab"],
    )
    def test_nothing_that_a_terminal_obeys_is_left(self, given, shown):
        told = []

        Lines(told.append).take(given)

        assert [shown] == told

    def test_a_character_cut_between_two_pieces_is_whole(self):
        told = []
        lines = Lines(told.append)

        lines.take("grü".encode()[:-1])
        lines.take("grü\n".encode()[-2:])

        assert ["grü"] == told


class TestEnd:
    async def test_cancelled_it_asks_the_command_alone_and_waits_for_its_cleanup(
        self, bash, tmp_path
    ):
        """The helpers that its clean-up needs are not ended with it."""
        heard = Heard()
        script = f"""
            trap 'echo cleaning; sleep 0.3; kill -0 $helper && touch {tmp_path}/cleaned; \
                  kill $helper; exit 143' TERM
            sleep 1000 & helper=$!
            echo $$ > {tmp_path}/leader.pid
            while :; do sleep 0.05; done
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: bash(script, heard))
            await wait_for(tmp_path / "leader.pid")
            nursery.cancel_scope.cancel()

        assert (tmp_path / "cleaned").exists()
        assert "cleaning" in heard.lines

    async def test_what_ignores_the_request_is_killed_with_its_whole_session(self, bash, tmp_path):
        script = f"""
            trap '' TERM
            echo $$ > {tmp_path}/leader.pid
            bash -c 'trap "" TERM; echo $$ > {tmp_path}/child.pid; while :; do sleep 1; done' &
            set -m
            sleep 1000 & echo $! > {tmp_path}/group.pid
            setsid sleep 1000 & echo $! > {tmp_path}/session.pid
            while :; do sleep 1; done
        """
        heard, patience = Heard(), Patience(end_s=0.3, output_s=1.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: bash(script, heard, patience=patience))
            for name in ("leader", "child", "group", "session"):
                await wait_for(tmp_path / f"{name}.pid")
            nursery.cancel_scope.cancel()

        pids = pids_in(tmp_path)
        assert 4 == len(pids)
        assert [] == [name for name, pid in pids.items() if not is_gone(pid)]
        assert "is killed" in heard.text

    async def test_output_held_by_a_grandchild_does_not_hold_the_end(self, bash, tmp_path):
        heard = Heard()
        script = f"setsid sleep 1000 & echo $! > {tmp_path}/held.pid; echo done"

        with trio.fail_after(30):
            code = await bash(script, heard, patience=Patience(end_s=1.0, output_s=0.2))

        assert 0 == code
        assert "done" == heard.lines[0]
        assert "ended, as they were left running" in heard.lines[1]
        assert all(is_gone(pid) for pid in pids_in(tmp_path).values())

    async def test_what_a_grandchild_still_says_is_waited_for(self, bash):
        heard = Heard()

        await bash("(sleep 0.2; echo late) & echo early", heard)

        assert ["early", "late"] == heard.lines

    async def test_silent_command_is_ended_at_the_callers_deadline(self, bash):
        with trio.fail_after(30), trio.move_on_after(0.2) as deadline:
            await bash("exec sleep 1000")

        assert deadline.cancelled_caught

    async def test_full_disk_when_it_has_just_begun_leaves_nobody_behind(
        self, bash, tmp_path, monkeypatch
    ):
        """What cannot be noted for a restart is ended all the same."""

        def full(_scratch, _leader):
            raise OSError(28, "No space left on device", "leader")

        monkeypatch.setattr("trellis.builders.process.note_leader", full)
        heard = Heard()

        await bash(f"sleep 1000 & echo $! > {tmp_path}/child.pid; echo done", heard)

        assert "not noted for a restart: leader: No space left on device" in heard.lines
        assert "done" in heard.lines
        assert all(is_gone(pid) for pid in pids_in(tmp_path).values())

    async def test_signal_that_ended_it_is_told(self, bash):
        assert -signal.SIGKILL == await bash("kill -KILL $$")


sleeping = partial(trio.run_process, ["sleep", "1000"], start_new_session=True, check=False)


class TestWhatAnEarlierProcessLeft:
    async def test_build_of_a_killed_daemon_is_found_and_ended(self, tmp_path):
        order = an_order(tmp_path)
        order.scratch.mkdir(parents=True)
        told = tmp_path / "told"
        program = f"""
import trio, sys
from pathlib import Path
from trellis.builders.process import Command, run
command = Command(
    words=("/bin/bash", "-c", "trap '' PIPE; sleep 1000 & setsid sleep 1000 & wait"),
    environment={{"PATH": {os.environ["PATH"]!r}}},
    scratch=Path({str(order.scratch)!r}),
)
trio.run(run, command, print)
"""
        async with trio.open_nursery() as nursery:
            daemon = await nursery.start(trio.run_process, [sys.executable, "-c", program])
            with trio.fail_after(30):  # noqa: ASYNC912 - it waits at least once
                # A process tells nobody that it has begun.
                while len(members(order.scratch, noted_leader(order.scratch))) < 3:  # noqa: ASYNC110
                    await trio.sleep(0.02)
            found = members(order.scratch, noted_leader(order.scratch))
            daemon.kill()
            nursery.cancel_scope.cancel()
        assert not told.exists()
        assert any(not is_gone(row.pid) for row in found)

        await discard(order)

        assert [] == [row for row in found if not is_gone(row.pid)]
        assert not order.scratch.exists()

    async def test_strangers_that_have_the_number_now_are_left_alone(self, tmp_path):
        """A note whose process began at another time tells of nobody any more."""
        order = an_order(tmp_path)
        order.scratch.mkdir(parents=True)
        async with trio.open_nursery() as nursery:
            stranger = await nursery.start(sleeping)
            note_leader(order.scratch, leader_of(stranger.pid))
            note = order.scratch / "leader"
            started = process_row(stranger.pid).started
            note.write_text(note.read_text().replace(str(started), str(started - 1)))

            await discard(order)

            assert stranger.poll() is None
            stranger.kill()

    async def test_note_of_another_boot_tells_of_nobody(self, tmp_path):
        order = an_order(tmp_path)
        order.scratch.mkdir(parents=True)
        async with trio.open_nursery() as nursery:
            stranger = await nursery.start(sleeping)
            note_leader(order.scratch, leader_of(stranger.pid))
            note = order.scratch / "leader"
            note.write_text(note.read_text().replace(noted_leader(order.scratch).boot, "before"))

            assert [] == members(order.scratch, noted_leader(order.scratch))
            stranger.kill()

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", '{"pid": "x"}'], ids=["empty", "cut", "list", "word"]
    )
    def test_broken_note_is_none(self, tmp_path, text):
        (tmp_path / "leader").write_text(text)

        assert noted_leader(tmp_path) is None
