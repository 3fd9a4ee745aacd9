"""`trellis top` on a terminal, into a pipe, and when the daemon is lost."""

import json
import re
import signal
import time

import pytest
from terminal import Terminal

pytestmark = pytest.mark.slow

ALTERNATE_ON, ALTERNATE_OFF = b"\x1b[?1049h", b"\x1b[?1049l"


def restored(terminal):
    """Whether the terminal is as it was before: screen, cursor, settings."""
    raw = terminal.raw
    return (
        raw.count(ALTERNATE_ON) == raw.count(ALTERNATE_OFF) == 1
        and raw.rfind(b"\x1b[?25h") > raw.rfind(b"\x1b[?25l")
        and terminal.settings == terminal.before
    )


def test_it_is_drawn_until_q_is_pressed(daemon):
    """On the alternate screen, which is left at the end."""
    with Terminal(["top"], daemon.url) as terminal:
        text = terminal.until("q: end")
        terminal.press(b"q")

        assert terminal.end() == 0
        assert "PROVIDER" in text
        assert "ovh-bhs1" in text
        assert restored(terminal)


def test_it_is_kept_up_to_date(daemon, run):
    """What happens is seen at the next look."""
    with Terminal(["top", "--every", "0.2"], daemon.url) as terminal:
        terminal.until("No request waits.")
        assert run("request", "create", "debian-12").exit_code == 0

        terminal.until("00000000")
        terminal.press(b"q")

        assert terminal.end() == 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_signal_leaves_the_terminal_as_it_was(daemon, number, code):
    """Ctrl-C is the usual end; SIGTERM unwinds too."""
    with Terminal(["top"], daemon.url) as terminal:
        terminal.until("PROVIDER")
        terminal.process.send_signal(number)

        assert terminal.end() == code
        assert restored(terminal)


def test_lost_daemon_is_told_and_the_view_goes_on(daemon):
    """What was seen last stays, with its age; q still ends it."""
    with Terminal(["top", "--every", "0.2"], daemon.url) as terminal:
        terminal.until("PROVIDER")
        daemon.stop()

        terminal.until("LOST, this is")
        terminal.until("No daemon answers")
        terminal.press(b"q")

        assert terminal.end() == 0
        assert terminal.text.partition("LOST, this is")[2].count("PROVIDER") >= 1
        assert restored(terminal)


def test_once_prints_all_of_it_without_codes(daemon, run):
    """One snapshot on stdout, for a log."""
    result = run("top", "--once")

    assert result.exit_code == 0
    assert "ovh-bhs1" in result.stdout
    assert "\x1b" not in result.output
    assert [line for line in result.stdout.splitlines() if line != line.rstrip()] == []
    assert result.stderr == ""


def test_pipe_gets_one_snapshot(daemon, run):
    """Nobody watches a pipe; that it is one is told."""
    result = run("top")

    assert result.exit_code == 0
    assert "PROVIDER" in result.stdout
    assert "no terminal" in result.stderr


def test_data_are_the_status(daemon, run):
    """-o json is what the face answers."""
    status = json.loads(run("top", "-o", "json").stdout)

    assert status["deployment"]
    assert [provider["name"] for provider in status["providers"]] == ["ovh-bhs1"]


def test_daemon_that_never_was_there_is_an_error(run, monkeypatch):
    """A wrong address is told at once."""
    monkeypatch.setenv("TRELLIS_URL", "http://127.0.0.1:9")
    begun = time.monotonic()

    result = run("top", "--once")

    assert result.exit_code == 1
    assert "trellis serve" in result.stderr
    assert time.monotonic() - begun < 5


def test_no_color_draws_without_colours(daemon):
    """The screen is drawn, in one colour."""
    with Terminal(["top"], daemon.url, NO_COLOR="1") as terminal:
        terminal.until("PROVIDER")
        terminal.press(b"q")

        assert terminal.end() == 0
        assert re.findall(rb"\x1b\[[0-9;]*3[0-9](?:;[0-9;]*)?m", terminal.raw) == []


def test_waiting_on_a_terminal_is_one_line_that_changes(daemon):
    """The reason, the time and the end; nothing is left of the line at the end."""
    with Terminal(["request", "create", "debian-12", "--wait"], daemon.url) as terminal:
        terminal.until("[1s] It waits for quota.")
        (request_id,) = daemon.port.requests
        daemon.do(daemon.port.fulfil, request_id)

        assert terminal.end() == 0
        text = terminal.text
        assert "\r[0s] It waits for quota.\r" in text
        assert "fulfilled\n" in text
        assert terminal.raw.count(b"\r\x1b[K") >= 3


def test_line_of_progress_fits_its_terminal(daemon):
    """A long reason is cut, or writing over it would leave lines behind."""
    from trellis.model.status import Outlook

    class Long(dict):
        def get(self, key, default=None):
            return Outlook(words="why " * 60, estimate_s=33.0, basis="")

    daemon.board.outlooks = Long()
    with Terminal(["request", "create", "debian-12", "--wait"], daemon.url) as terminal:
        terminal.until("ready in about 33s")
        terminal.interrupt()

        assert terminal.end() == 1
        written = re.findall(r"\r(\[\ds\] [^\r\n]*)", terminal.text)
        assert written
        assert max(map(len, written)) <= 79
        assert "The request goes on without you." in terminal.text
