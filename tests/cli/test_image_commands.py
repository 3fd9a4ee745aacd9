"""`trellis image` against a face on loopback: what it prints, does, waits for, and ends with."""

import json
import threading

import attrs
import pytest
import yaml
from image_fakes import (
    FakeImages,
    a_build,
    a_build_status,
    a_canary,
    a_place,
    an_image,
    an_upload,
    an_upload_status,
    building,
    uploading,
    withdrawn,
)
from terminal import Terminal

from trellis.cli import image_waiting
from trellis.cli.operations import event_words
from trellis.model.image import BuildState, Pin, UploadState
from trellis.model.names import BuildId
from trellis.model.provider import Pause

pytestmark = pytest.mark.slow

B6, B7, B8 = (f"debian-12-000000000{n}" for n in (6, 7, 8))


@pytest.fixture
def images(daemon):
    """An image that is being built, on trial at one provider, and bad at another."""
    pin = Pin(build_id=BuildId(B6), by="ann", reason="no surprises", at=1e9)
    older = an_upload(a_build(6), "rax-dfw", 5)
    daemon.board.images.put(
        an_image(
            words="build 8 is under way: install.d",
            builds=(building(), a_build_status(), a_build_status(a_build(6))),
            places=(
                a_place(uploads=(a_canary(), an_upload_status(share=0.95))),
                a_place(
                    "rax-dfw", pin=pin, uploads=(withdrawn("rax-dfw"), an_upload_status(older))
                ),
                a_place(
                    "hp-east",
                    missing=True,
                    built_at=None,
                    words="it is being uploaded there",
                    uploads=(uploading("hp-east"),),
                ),
            ),
        )
    )
    return daemon.board.images


class Scripted(FakeImages):
    """Images that are a step further each time somebody looks."""

    def __init__(self, *steps):
        super().__init__()
        self.steps = list(steps)

    def one(self, image):
        if len(self.steps) > 1:
            self.known[image] = self.steps.pop(0)
        elif self.steps:
            self.known[image] = self.steps[0]
        return super().one(image)


@pytest.fixture
def at_once(monkeypatch):
    """Nobody waits a second between two looks."""
    monkeypatch.setattr(image_waiting, "_EVERY_S", 0.01)


# ------------------------------------------------------------------------------ looking


@pytest.mark.parametrize(
    "args", [("list",), ("show", "debian-12"), ("show", "debian-12", "7")], ids=" ".join
)
def test_every_reading_command_prints_three_ways(images, run, args):
    """JSON and YAML hold the same data; the table is for people."""
    table, as_json, as_yaml = (
        run("image", *args, "-o", kind) for kind in ("table", "json", "yaml")
    )

    assert [table.exit_code, as_json.exit_code, as_yaml.exit_code] == [0, 0, 0]
    assert json.loads(as_json.stdout) == json.loads(
        json.dumps(yaml.safe_load(as_yaml.stdout), default=str)
    )
    assert table.stdout


def test_list_says_what_serves_where_and_what_comes(images, run):
    """A line for what is built here, and one for each provider."""
    lines = [line.split() for line in run("image", "list").stdout.splitlines()]

    told = {line[0]: " ".join(line) for line in lines[2:]}
    assert lines[1][:2] == ["debian-12", "here"]
    assert lines[1][4:8] == ["building", "8:", "install.d,", "about"]
    assert told["ovh-bhs1"].endswith(" serving 8: canary, 2 of 5 ready, 1 failed")
    assert " pinned 8: withdrawn: 4 of 4 launches failed" in told["rax-dfw"]
    assert told["hp-east"] == "hp-east missing 8: uploading 25 %, 64 MiB/s, 24s left"


def test_show_has_builds_places_and_uploads(images, run):
    """With the share of each upload, and who pinned what."""
    text = run("image", "show", "debian-12").stdout

    assert "pinned by ann: no surprises" in text
    rows = {tuple(line.split()[:5]) for line in text.splitlines()}
    assert ("8.13", "ovh-bhs1", "canary", "5", "%") in rows
    assert ("7.12", "ovh-bhs1", "serving", "95", "%") in rows
    assert "qcow2 2.0 GiB" in text


def test_nothing_configured_is_said(daemon, run):
    """On stderr: there are no data."""
    daemon.board.images.known.clear()

    listed = run("image", "list")

    assert (listed.exit_code, listed.stdout) == (0, "")
    assert listed.stderr == "No images are configured.\n"


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("args", [["list"], ["show", "debian-12"]], ids=" ".join)
def test_terminal_of_this_width_is_kept(images, daemon, args, columns):
    """No line is longer than the terminal."""
    with Terminal(["image", *args], daemon.url, COLUMNS=str(columns), NO_COLOR="1") as terminal:
        assert terminal.end() == 0

    assert "debian-12" in terminal.text
    assert max(len(line.rstrip()) for line in terminal.text.splitlines()) <= columns


# --------------------------------------------------------------------------------- logs


def test_log_of_the_newest_build_is_printed(images, run):
    """Or the last lines of another."""
    assert run("image", "log", "debian-12").stdout == "line one\nline two\nline three\n"
    assert run("image", "log", "debian-12", "7", "-n", "1").stdout == "line three\n"


def test_codes_in_a_log_do_not_steer_the_terminal(images, run):
    """What runs inside an image may print anything."""
    images.lines.append("\x1b[2Jgone")

    assert "\\x1b[2Jgone" in run("image", "log", "debian-12").stdout
    assert "\\x1b[2Jgone" in run("image", "log", "debian-12", "7", "-f").stdout


def test_log_is_followed_until_the_build_ends(images, daemon, run):
    """One that fails ends the command with 1 and why."""
    failed = attrs.evolve(building().build, state=BuildState.FAILED, fault="no space left")

    def end():
        images.write("line four")
        images.put(an_image(builds=(a_build_status(failed, words="no space left"),)))

    timer = threading.Timer(0.5, daemon.do, [end])
    timer.start()
    followed = run("image", "log", "debian-12", "-f", "-n", "1")
    timer.join()

    assert followed.stdout == "line three\nline four\n"
    assert followed.exit_code == 1
    assert "the build has failed: no space left" in followed.stderr


def test_image_without_a_build_has_no_log(daemon, run):
    """It says what makes one."""
    daemon.board.images.put(an_image(builds=()))

    refused = run("image", "log", "debian-12")

    assert refused.exit_code == 2
    assert "no build yet" in refused.stderr


# ------------------------------------------------------------------------------- acting


@pytest.mark.parametrize(
    ("args", "noted"),
    [
        (("build", "--reason", "r"), ("build", "ada", "r")),
        (("upload",), ("upload", None, "ada", "")),
        (("upload", "--provider", "rax-dfw"), ("upload", "rax-dfw", "ada", "")),
        (("pause", "--reason", "r"), ("pause", None, "ada", "r")),
        (("resume", "--provider", "rax-dfw"), ("resume", "rax-dfw", "ada")),
        (("promote", "--build", "8"), ("promote", None, B8, "ada", "")),
        (("rollback", "--all-providers", "--to", "6"), ("rollback", None, B6, "ada", "")),
        (("rollback", "--provider", "rax-dfw"), ("rollback", "rax-dfw", None, "ada", "")),
        (("pin", "7", "--reason", "r"), ("pin", B7, None, "ada", "r")),
        (("unpin", "--provider", "rax-dfw"), ("unpin", "rax-dfw", "ada", "")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) and "ada" not in value else "",
)
def test_word_is_sent_with_who_says_it(images, run, args, noted):
    """Builds by their numbers; the exit code is 0, and something is said."""
    done = run("image", args[0], "debian-12", *args[1:], "--by", "ada")

    assert done.exit_code == 0, done.stderr
    assert done.stdout
    assert images.acts == [(noted[0], "debian-12", *noted[1:])]


def test_builds_and_uploads_are_deleted_by_number(images, run):
    """One that is not there is told; the others go, and the exit code is 1."""
    done = run("image", "delete", "debian-12", "6", "7.12", "99", B7, "--yes", "--by", "ada")

    assert done.exit_code == 1
    assert done.stdout == f"{B6} goes\n{B7}.12 goes\n{B7} goes\n"
    assert "99: there is no build debian-12-0000000099" in done.stderr
    assert [act[:3] for act in images.acts] == [
        ("delete-build", "debian-12", B6),
        ("delete-upload", "debian-12", f"{B7}.12"),
        ("delete-build", "debian-12", B7),
    ]


def test_number_in_the_name_of_an_image_is_no_upload(daemon, run):
    """ubuntu-24.04 has a dot of its own."""
    daemon.board.images.put(
        an_image("ubuntu-24.04", builds=(a_build_status(a_build(7, "ubuntu-24.04")),))
    )

    run("image", "delete", "ubuntu-24.04", "ubuntu-24.04-0000000007", "--yes", "--by", "ada")

    assert daemon.board.images.acts == [
        ("delete-build", "ubuntu-24.04", "ubuntu-24.04-0000000007", "ada")
    ]


@pytest.mark.parametrize(
    "args", [("rollback",), ("rollback", "--provider", "a", "--all-providers"), ("pin",)]
)
def test_half_a_word_is_a_wrong_command_line(images, run, args):
    """Exit code 2, and nothing is sent."""
    refused = run("image", args[0], "debian-12", *args[1:])

    assert refused.exit_code == 2
    assert images.acts == []


def test_refusal_names_what_there_is(images, run):
    """With what to do now."""
    refused = run("image", "show", "debian-13")

    assert refused.exit_code == 1
    assert "there is no image 'debian-13'" in refused.stderr
    assert "→ there is: debian-12" in refused.stderr


# ------------------------------------------------------------------------------ waiting


def test_build_is_waited_for_with_what_it_does(daemon, run, at_once):
    """Into a log a line for each phase; what is printed in the end is the build."""
    ready = a_build_status(a_build(8), elapsed_s=312.0)
    daemon.board.images = Scripted(
        an_image(words="a build waits: it waits until another build ends"),
        an_image(words="a build waits: it waits until another build ends"),
        an_image(words="a build waits: it waits until another build ends"),
        an_image(words="a build waits: it waits until another build ends"),
        an_image(builds=(building(),)),
        an_image(builds=(building(),)),
        an_image(builds=(ready,)),
    )

    done = run("image", "build", "debian-12", "--wait", "-o", "json")

    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["id"] == B8
    told = [line.partition("] ")[2] for line in done.stderr.splitlines()[:-1]]
    assert told == [
        "debian-12: a build waits: it waits until another build ends",
        "debian-12: build 8: install.d",
    ]
    assert done.stderr.endswith("build 8 took 5m\n")


def test_build_that_fails_ends_the_waiting_with_1(daemon, run, at_once):
    """With the reason, and how to see all of it."""
    failed = attrs.evolve(building().build, state=BuildState.FAILED, fault="no such element: vmm")
    daemon.board.images = Scripted(an_image(), an_image(builds=(a_build_status(failed),)))

    done = run("image", "build", "debian-12", "--wait")

    assert done.exit_code == 1
    assert "build 8 has failed: no such element: vmm" in done.stderr
    assert "`trellis image log debian-12 8`" in done.stderr
    assert done.stdout == ""


def test_uploads_are_waited_for_at_every_provider(daemon, run, at_once):
    """All of them; the one that fails is told, and the exit code is 1."""
    there = a_place(uploads=(an_upload_status(),))
    sending = uploading("rax-dfw")
    sending = attrs.evolve(sending, upload=attrs.evolve(sending.upload, build_id=BuildId(B7)))
    empty = a_place("rax-dfw", missing=True, uploads=(), built_at=None)
    failed = attrs.evolve(empty, failures=1, fault="413 Quota exceeded")
    on_its_way = attrs.evolve(empty, uploads=(sending,))
    daemon.board.images = Scripted(
        an_image(places=(there, empty)),
        an_image(places=(there, on_its_way)),
        an_image(places=(there, on_its_way)),
        an_image(places=(there, failed)),
    )

    done = run("image", "upload", "debian-12", "--wait")

    assert done.exit_code == 1
    assert "rax-dfw: uploading\n" in done.stderr
    assert "rax-dfw: the upload has failed: 413 Quota exceeded" in done.stderr


def test_uploads_that_never_come_are_not_waited_for(daemon, run, at_once):
    """Where uploads are paused, where no label names the image any more, and of an older build."""
    pause = Pause(by="ann", reason="mirror is broken", since=1e9)
    paused = a_place("rax-dfw", uploads=(), pause=pause, words="uploads are paused by ann")
    older = an_upload_status(an_upload(a_build(6), "hp-east", 5))
    left = a_place("hp-east", labels=(), uploads=(older,), words="no label there is made from it")
    newer = a_place(uploads=(an_upload_status(an_upload(a_build(8), number=9)),))
    daemon.board.images = Scripted(an_image(places=(newer, paused, left)))

    done = run("image", "upload", "debian-12", "--wait")

    assert done.exit_code == 0, done.stderr


def test_upload_to_one_provider_waits_for_that_one_only(daemon, run, at_once):
    """What the others do is not asked."""
    gone = attrs.evolve(an_upload(), state=UploadState.DELETING)
    daemon.board.images = Scripted(
        an_image(places=(a_place(), a_place("rax-dfw", uploads=(an_upload_status(gone),))))
    )

    done = run("image", "upload", "debian-12", "--provider", "ovh-bhs1", "--wait")

    assert done.exit_code == 0, done.stderr
    assert done.stdout == "ovh-bhs1: serving, build 7\n"


def test_terminal_shows_a_bar_and_ctrl_c_leaves_the_build_alone(daemon):
    """How far it is, kept up to date on its line; the cursor is back afterwards."""
    daemon.board.images = Scripted(an_image(), an_image(), an_image(builds=(building(),)))

    with Terminal(["image", "build", "debian-12", "--wait"], daemon.url) as terminal:
        terminal.until("about 6m left")
        shown = terminal.text
        terminal.interrupt()
        code = terminal.end()

    assert "━" in shown
    assert code == 1
    assert "The build goes on without you." in terminal.text
    assert terminal.raw.rstrip().rfind(b"\x1b[?25h") > terminal.raw.rfind(b"\x1b[?25l")


# ------------------------------------------------------------------------------- events


@pytest.mark.parametrize(
    ("kind", "why", "data", "words"),
    [
        ("build.phase", "", {"phase": "root.d"}, "root.d"),
        ("build.progress", "", {"lines": "9", "last": "ok"}, "9 lines, the last: ok"),
        ("build.ready", "", {"took_s": "312.0", "bytes": "2097152"}, "2.0 MiB in 5m"),
        ("build.ready", "", {"formats": "raw"}, ""),
        ("upload.withdrawn", "4 of 4", {"provider": "rax", "format": "vhd"}, "at rax; 4 of 4"),
        ("image.pinned", "by ann", {"provider": "rax"}, "at rax; by ann"),
        ("image.paused", "by ann", {}, "by ann"),
        ("node.ready", "", {"provider": "rax"}, ""),
    ],
)
def test_event_says_what_matters_of_it(kind, why, data, words):
    """Its reason, and for an image where; a step without a reason has facts."""
    assert event_words(kind, {"why": why, "data": data}) == words


# --------------------------------------------------------------------------- completion


def test_names_builds_and_providers_are_completed(images, run, monkeypatch):
    """A build by the image that stands on the line already."""
    from click.shell_completion import BashComplete

    from trellis.cli.main import main

    def completed(*args, incomplete=""):
        shell = BashComplete(main, {}, "trellis", "_TRELLIS_COMPLETE")
        return [item.value for item in shell.get_completions(list(args), incomplete)]

    assert completed("image", "show") == ["debian-12"]
    assert completed("image", "pin", "debian-12") == ["8", "7", "6"]
    assert completed("image", "rollback", "debian-12", "--provider", incomplete="r") == ["rax-dfw"]
