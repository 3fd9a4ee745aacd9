"""The operators' commands against a face on loopback, and how what they print looks."""

import json
import os
import pty
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest
import yaml
from face_fakes import MOVED_TO, a_node, an_event

from trellis.model.node import NodeState
from trellis.model.status import QuirkStatus

pytestmark = pytest.mark.slow


@pytest.fixture
def fleet(daemon):
    """Three nodes: one ready, one in use, one whose label has terminal codes in it."""
    daemon.port.nodes = {
        node.id: node
        for node in (
            a_node(1),
            a_node(2, state=NodeState.IN_USE, allocated_to="ab" * 16),
            a_node(3, label="evil\x1b[2Jlabel", state=NodeState.FAILED),
        )
    }
    return daemon


@pytest.mark.parametrize(
    "args",
    [
        ("node", "list"), ("node", "show", "0000000001"), ("node", "explain", "0000000001"),
        ("label", "list"), ("provider", "list"), ("provider", "show", "ovh-bhs1"), ("quota",),
        ("tenant", "list"), ("leak", "list"), ("plan",), ("request", "list"), ("lease", "list"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_reading_command_prints_three_ways(fleet, run, args):
    """JSON and YAML hold the same data; the table is for people."""
    table, as_json, as_yaml = (run(*args, "-o", kind) for kind in ("table", "json", "yaml"))

    assert [table.exit_code, as_json.exit_code, as_yaml.exit_code] == [0, 0, 0]
    assert json.loads(as_json.stdout) == json.loads(
        json.dumps(yaml.safe_load(as_yaml.stdout), default=str)
    )
    assert table.stdout or "There are no" in table.stderr


def test_list_follows_all_pages(daemon, run):
    """A list is whole, however many pages the face gives it in."""
    daemon.port.nodes = {node.id: node for node in (a_node(n) for n in range(1, 2502))}

    rows = json.loads(run("node", "list", "-o", "json").stdout)

    assert [row["id"] for row in rows] == list(daemon.port.nodes)


def test_pipe_gets_whole_cells(fleet, run):
    """Into a pipe nothing is cut or wrapped, and there are no colours."""
    lines = run("node", "list").stdout.splitlines()

    assert len(lines) == 4
    assert lines[2].split() == [
        "0000000002", "debian-12", "in-use", "ovh-bhs1", "nova", "203.0.113.7",
        lines[2].split()[6], "ab" * 16,
    ]  # fmt: skip
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("args", [("provider", "list"), ("provider", "show", "ovh-bhs1")])
def test_pipe_gets_no_padding(fleet, run, args):
    """A long cell does not lengthen the lines of the others."""
    lines = run(*args).output.splitlines()

    assert lines
    assert [line for line in lines if line != line.rstrip()] == []


def test_terminal_codes_of_others_are_not_printed(fleet, run):
    """A label, reason or name cannot steer the operator's terminal."""
    assert "evil\\x1b[2Jlabel" in run("node", "list").stdout


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "args",
    [["node", "list"], ["provider", "list"], ["provider", "show", "ovh-bhs1"], ["leak", "list"]],
)
def test_terminal_of_this_width_is_kept(fleet, args, columns):
    """No line is longer than the terminal, and ids stay whole."""
    text = _in_terminal(args, columns, fleet.url, NO_COLOR="1")

    assert text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= columns
    if args[0] == "node":
        assert "0000000002" in text
        assert ("ab" * 16 in text) == (columns == 120)


def test_colours_are_for_terminals_that_want_them(fleet):
    """A terminal gets colours, unless NO_COLOR is set."""
    assert "\x1b[32m" in _in_terminal(["node", "list"], 100, fleet.url)
    assert "\x1b[" not in _in_terminal(["node", "list"], 100, fleet.url, NO_COLOR="1")


def test_node_is_held_and_deleted_by_name(fleet, run):
    """Who does it is sent with the word."""
    held = run("node", "hold", "0000000002", "--reason", "flaky", "--by", "ada")
    deleted = run("node", "delete", "0000000001", "--by", "ada")

    assert (held.stdout, deleted.stdout) == ("hold\n", "deleting\n")
    assert fleet.port.held == [("0000000002", "ada", "flaky")]
    assert fleet.board.acts == [("delete", "0000000001", "ada")]


def test_provider_is_paused_and_resumed(daemon, run):
    """The table says who stopped launches and why."""
    paused = run(
        "provider", "pause", "ovh-bhs1", "--by", "ada", "--reason", "broken", "--for", "60"
    )
    listed = run("provider", "list")
    drained = run("provider", "drain", "ovh-bhs1", "--by", "ada")
    resumed = run("provider", "resume", "ovh-bhs1", "-o", "json")

    assert "paused by ada" in paused.stdout
    assert "broken" in paused.stdout
    assert "paused by ada" in listed.stdout
    assert "draining by ada" in drained.stdout
    assert json.loads(resumed.stdout)["pause"] is None


def test_provider_is_paused_until_an_announced_outage_is_over(daemon, run):
    """By the clock on the wall: in UTC, in another zone, or in one's own."""
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    written = [
        in_an_hour.strftime("%Y-%m-%dT%H:%M:%SZ"),
        in_an_hour.astimezone(timezone(timedelta(hours=5))).isoformat(),
        in_an_hour.astimezone().replace(tzinfo=None).isoformat(),
    ]

    def end_of(*options):
        paused = run("provider", "pause", "ovh-bhs1", *options, "-o", "json")
        return datetime.fromisoformat(json.loads(paused.stdout)["pause"]["until"])

    for text in written:
        late = end_of("--for", "3600") - end_of("--until", text)
        assert abs(late.total_seconds()) < 60.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--until", "tomorrow"], "'tomorrow' is no time"),
        (["--until", "2020-01-01T00:00Z"], "2020-01-01T00:00Z is over"),
        (["--until", "2030-01-01", "--for", "60"], "give one of them"),
    ],
    ids=["no-time", "over", "both"],
)
def test_a_pause_until_no_time_is_refused(options, words, daemon, run):
    """Before the daemon is asked."""
    refused = run("provider", "pause", "ovh-bhs1", *options)

    assert refused.exit_code == 2
    assert words in refused.stderr


def test_a_move_of_a_cloud_is_accepted(daemon, run):
    """By the endpoint it has moved to; another one is refused, with what to do."""
    accepted = run("provider", "accept", "ovh-bhs1", "--endpoint", MOVED_TO, "-o", "json")
    refused = run("provider", "accept", "ovh-bhs1", "--endpoint", "https://x.example")

    assert json.loads(accepted.stdout)["name"] == "ovh-bhs1"
    assert (refused.exit_code, "look again" in refused.stderr) == (1, True)


def test_quota_shows_ours_others_and_limit(daemon, run):
    """ours+others/limit; unlimited and unknown have signs of their own."""
    cells = run("quota").stdout.splitlines()[1].split()

    assert cells[:4] == ["ovh-bhs1", "3+4/100", "6/∞", "21000/?"]


def test_quota_shows_tenants_and_the_launch_budget_too(daemon, run):
    """What is ours alone to limit stands below what the clouds limit."""
    lines = [line.split() for line in run("quota").stdout.splitlines()]

    assert ["openstack", "3/10", "6/40", "21000", "2.0", "2"] in lines
    assert "7/3000 in the last minute" in " ".join(lines[-1])


def test_leaks_are_deleted_and_adopted(daemon, run):
    """What is done about a leak is said."""
    deleted = run("leak", "delete", "ovh-bhs1:server:u9")
    adopted = run("leak", "adopt", "ovh-bhs1:server:u9")

    assert (deleted.stdout, adopted.stdout) == (
        "delete is under way\n",
        "adopt is under way\n",
    )


def test_events_are_followed_from_where_one_was(daemon, run):
    """One event a line, from after the one named, and it ends after --count."""
    lines = run("events", "--after", "1", "--count", "2", "-o", "json").stdout.splitlines()

    assert [json.loads(line)["id"] for line in lines] == ["2", "3"]


def test_events_go_on_over_a_break(daemon, run, monkeypatch):
    """After a break the stream is resumed after the last event seen."""
    from trellis.cli import operations
    from trellis.http import face

    monkeypatch.setattr(operations, "_AGAIN_S", 0)
    events, asked = face.FaceClient.events, []

    def breaking(self, after):
        asked.append(after)
        for event in events(self, after):
            yield event
            if event.type and event.id == "2":
                raise face.FaceUnreachableError("it broke", remedy="wait", before_sending=False)

    monkeypatch.setattr(face.FaceClient, "events", breaking)

    result = run("events", "--after", "1", "--count", "2", "-o", "json")

    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["2", "3"]
    assert asked == ["1", "2"]
    assert "following again" in result.stderr


def test_gap_in_the_events_is_told(daemon, run):
    """`reset` is a warning on stderr, not an event."""
    daemon.board.oldest = 2
    later = threading.Timer(0.5, daemon.do, [daemon.board.tell, an_event(4)])
    later.start()

    result = run("events", "--after", "1", "--count", "2")
    later.join()

    assert "no longer kept" in result.stderr
    assert result.stdout.count("\n") == 1


def _in_terminal(args: list[str], columns: int, url: str, **variables: str) -> str:
    """What `trellis` prints into a terminal of this width."""
    ours, theirs = pty.openpty()
    environment = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")
    } | {"TRELLIS_URL": url, "COLUMNS": str(columns), "TERM": "xterm", **variables}
    process = subprocess.Popen(
        [sys.executable, "-m", "trellis.cli.main", *args],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        env=environment,
    )
    os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 65536):
            parts.append(part)
    except OSError:
        pass  # How Linux says that the other end is closed.
    os.close(ours)
    assert process.wait(10) == 0
    return b"".join(parts).decode().replace("\r\n", "\n")


def test_calls_are_a_table_of_their_own(daemon, run):
    """One line a kind, the most frequent first."""
    daemon.board.status["ovh-bhs1"] = attrs.evolve(
        daemon.board.status["ovh-bhs1"],
        api_calls={"compute POST /servers": 12, "compute GET /servers/detail": 40},
    )

    lines = run("provider", "show", "ovh-bhs1").stdout.splitlines()

    at = next(n for n, line in enumerate(lines) if line.startswith("CALLS OF THE ACCOUNT"))
    assert [line.split()[-1] for line in lines[at + 1 :]] == ["40", "12"]


def test_quirks_are_shown_with_what_says_so(daemon, run):
    """What this cloud does, what stock does, and how sure that is."""
    quirk = QuirkStatus(
        name="zones", value="nova", does="Another zone fails.", stock="Every zone works.",
        evidence="a page", era="2025", check="try one", sure="inferred",
    )  # fmt: skip
    daemon.board.status["ovh-bhs1"] = attrs.evolve(daemon.board.status["ovh-bhs1"], quirks=(quirk,))

    shown = run("provider", "show", "ovh-bhs1").stdout
    data = json.loads(run("provider", "show", "ovh-bhs1", "-o", "json").stdout)

    for words in ("zones=nova", "Another zone fails.", "Every zone works.", "a page (inferred)"):
        assert words in shown
    assert data["quirks"] == [attrs.asdict(quirk)]


def test_node_is_named_without_its_zeros(fleet, run):
    """What a person types of an id."""
    assert json.loads(run("node", "show", "2", "-o", "json").stdout)["id"] == "0000000002"
    assert run("node", "delete", "2", "--by", "ada", "-o", "json").exit_code == 0
    assert fleet.board.acts == [("delete", "0000000002", "ada")]
