"""`trellis request` and `trellis lease` against a face on loopback."""

import json
import threading
import time

import attrs
import pytest
import yaml
from click.testing import CliRunner

from trellis.cli.main import main
from trellis.model.status import Outlook

pytestmark = pytest.mark.slow


def test_request_is_created_and_shown(daemon, run):
    """What is asked arrives, and what is made is printed on stdout as JSON."""
    result = run(
        "request", "create", "debian-12", "fedora-40", "--requestor", "ada", "--priority", "7",
        "--metadata", "job=unit=1", "--lease-ttl", "600", "-o", "json",
    )  # fmt: skip

    made = json.loads(result.stdout)
    assert (result.exit_code, made["state"], made["labels"]) == (
        0, "requested", ["debian-12", "fedora-40"],
    )  # fmt: skip
    (ask,) = daemon.port.asks
    assert (ask.requestor, ask.priority, ask.lease_ttl_s) == ("ada", 7, 600)
    assert dict(ask.metadata) == {"job": "unit=1"}
    assert ask.idempotency_key


def test_waiting_ends_when_the_nodes_are_ready(daemon, run):
    """--wait tells on stderr what is waited for, and prints lease and nodes on stdout."""
    seen = _when_waited(daemon)

    def fulfil() -> None:
        assert seen.wait(10)
        daemon.do(daemon.port.fulfil, next(iter(daemon.port.requests)))

    helper = threading.Thread(target=fulfil)
    helper.start()
    result = run("request", "create", "debian-12", "--wait", "-o", "yaml")
    helper.join()

    made = yaml.safe_load(result.stdout)
    assert (result.exit_code, made["state"]) == (0, "fulfilled")
    assert made["lease"]["id"]
    assert made["nodes"][0]["interface_ip"] == "203.0.113.7"
    assert "fulfilled" in result.stderr


def test_failed_request_is_exit_code_1(daemon, run):
    """A request that failed says why and where to look, and the command fails."""
    seen = _when_waited(daemon)

    def fail() -> None:
        assert seen.wait(10)
        daemon.do(daemon.port.fail, next(iter(daemon.port.requests)), "every provider declined")

    helper = threading.Thread(target=fail)
    helper.start()
    result = run("request", "create", "debian-12", "--wait")
    helper.join()

    assert result.exit_code == 1
    assert "every provider declined" in result.stderr
    assert "trellis request explain" in result.stderr


def test_waiting_is_given_up_after_its_timeout(daemon, run):
    """--timeout ends the waiting, says how to go on, and leaves the request."""
    begun = time.monotonic()

    result = run("request", "create", "debian-12", "--wait", "--timeout", "0.3")

    (request_id,) = daemon.port.requests
    assert (result.exit_code, result.stdout) == (1, "")
    assert time.monotonic() - begun < 5
    assert f"trellis request show {request_id}" in result.stderr
    assert f"trellis request cancel {request_id}" in result.stderr
    assert "It waits for quota." in result.stderr
    assert daemon.port.requests[request_id].state.value == "requested"


def test_interrupt_says_how_to_pick_up_or_cancel(daemon, run, monkeypatch):
    """Ctrl-C ends the command, not the request."""
    from trellis.http.face import FaceClient

    def interrupted(self: object, *path: str, **params: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FaceClient, "get", interrupted)

    result = run("request", "create", "debian-12", "--wait")

    (request_id,) = daemon.port.requests
    assert result.exit_code == 1
    assert f"trellis request cancel {request_id}" in result.stderr


def test_refusal_says_what_is_wrong_and_what_to_do(daemon, run):
    """The daemon's remedy is handed on; stdout stays empty."""
    result = run("request", "create", "debian-11")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no label 'debian-11'" in result.stderr
    assert "debian-12" in result.stderr.partition("→")[2]


@pytest.mark.parametrize(
    "args",
    [
        ("request", "create"),
        ("request", "create", "x", "--priority", "1000"),
        ("request", "create", "x", "--metadata", "novalue"),
        ("request", "show"),
        ("request", "shwo", "x"),
        ("node", "list", "-o", "xml"),
    ],
)
def test_wrong_command_line_is_exit_code_2(daemon, run, args):
    """Mistakes of the command line are told apart from failures."""
    result = run(*args)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error" in result.stderr


def test_requests_are_listed_explained_and_cancelled(daemon, run):
    """The life of a request by the command line."""
    request_id = json.loads(run("request", "create", "debian-12", "-o", "json").stdout)["id"]

    listed = run("request", "list")
    explained = run("request", "explain", request_id)
    cancelled = run("request", "cancel", request_id, "nope")

    assert request_id in listed.stdout
    assert "It waits for quota." in explained.stdout
    assert "rax: no such label" in explained.stdout
    assert (cancelled.exit_code, cancelled.stdout) == (1, "cancelled\n")
    assert "nope: there is no request nope" in cancelled.stderr


def test_lease_id_shows_with_its_request_only(daemon, run):
    """`lease list` shows who holds nodes without the secret; `request show` shows it."""
    request_id = json.loads(run("request", "create", "debian-12", "-o", "json").stdout)["id"]
    lease_id = daemon.do(daemon.port.fulfil, request_id).lease_id

    listed = [run("lease", "list"), run("lease", "list", "-o", "json"), run("node", "list")]
    shown = run("request", "show", request_id)
    renewed = run("lease", "renew", lease_id)
    released = run("lease", "release", lease_id)

    assert not [result for result in listed if lease_id in result.stdout]
    assert lease_id in shown.stdout
    assert renewed.stdout == "expires 2026-09-21T16:13:20Z\n"
    assert (released.exit_code, released.output) == (0, "released\n")
    assert daemon.port.leases[lease_id].ended_at is not None


def test_daemon_that_is_not_there_says_how_to_start_it(monkeypatch):
    """An unreachable daemon is exit code 1, in words, without a traceback."""
    monkeypatch.setenv("TRELLIS_URL", "http://user:hunter2@127.0.0.1:9")

    result = CliRunner().invoke(main, ["node", "list"])

    assert (result.exit_code, result.stdout) == (1, "")
    assert "No daemon answers at http://127.0.0.1:9" in result.stderr
    assert "trellis serve" in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize("url", ["127.0.0.1:8480", "ftp://x", "http://"])
def test_bad_url_is_refused_in_words(monkeypatch, url):
    """TRELLIS_URL without a scheme or host is told, with an example."""
    monkeypatch.setenv("TRELLIS_URL", url)

    result = CliRunner().invoke(main, ["plan"])

    assert result.exit_code == 1
    assert "http://127.0.0.1:8480" in result.stderr


def _when_waited(daemon) -> threading.Event:
    """An event of threads that is set when somebody waits for a request."""
    seen = threading.Event()
    wait = daemon.port.wait

    async def watched(request_id):
        seen.set()
        return await wait(request_id)

    daemon.port.wait = watched
    return seen


def _file(run, *labels: str) -> str:
    return json.loads(run("request", "create", *labels, "-o", "json").stdout)["id"]


def test_list_says_why_requests_wait_and_until_when(daemon, run):
    """Without a second question for each of them."""
    placed, waiting = _file(run, "debian-12"), _file(run, "debian-12", "debian-12")
    daemon.board.outlooks = {
        placed: Outlook(words="its node boots", estimate_s=17.2, basis="ten launches"),
        waiting: Outlook(words="ovh-bhs1: no room", estimate_s=None, basis="no place"),
    }

    listed = run("request", "list").stdout.splitlines()

    assert listed[1].split()[-4:] == ["17s", "its", "node", "boots"]
    assert "debian-12 x2" in listed[2]
    assert listed[2].split()[-4:] == ["?", "ovh-bhs1:", "no", "room"]


def test_show_and_explain_say_what_the_estimate_is_taken_from(daemon, run):
    """Or why there is none."""
    placed, waiting = _file(run, "debian-12"), _file(run, "debian-12")
    daemon.board.outlooks = {
        placed: Outlook(words="it boots", estimate_s=17.2, basis="ten launches"),
        waiting: Outlook(words="no room", estimate_s=None, basis="it has no place yet"),
    }

    assert "ready in about 17s: ten launches" in run("request", "show", placed).stdout
    assert "none: it has no place yet" in run("request", "show", waiting).stdout


def test_beginning_of_an_id_is_enough(daemon, run):
    """Where it is the only one; what fits several names them, what fits none goes as it is."""
    first, second = _file(run, "debian-12"), _file(run, "debian-12")
    daemon.do(daemon.port.requests.update, {"ff" * 16: _other(daemon, first, "ff" * 16)})

    one = run("request", "show", "FFFF", "-o", "json")
    both = run("request", "show", "0000")
    none = run("request", "show", "abcdef")
    short = run("request", "show", "fff")
    cancelled = run("request", "cancel", "ffff")

    assert json.loads(one.stdout)["id"] == "ff" * 16
    assert both.exit_code == 1
    assert f"2 requests begin with 0000: {first}, {second}" in both.stderr
    assert (none.exit_code, short.exit_code) == (1, 1)
    assert "there is no request abcdef" in none.stderr
    assert cancelled.stdout == "cancelled\n"


def _other(daemon, like: str, new_id: str):
    return attrs.evolve(daemon.port.requests[like], id=new_id)


def test_lease_lasts_as_configured_unless_it_is_said(daemon, run):
    """The daemon decides, not the command."""
    _file(run, "debian-12")

    assert daemon.port.asks[0].lease_ttl_s is None


def test_acts_answer_with_data_if_asked(daemon, run):
    """A list, also of one; what failed is on stderr, and the exit code says so."""
    request_id = _file(run, "debian-12")

    result = run("request", "cancel", request_id, "nope", "-o", "json")

    assert [row["state"] for row in json.loads(result.stdout)] == ["cancelled"]
    assert result.exit_code == 1
    assert "nope: there is no request nope" in result.stderr


def test_log_gets_a_line_for_each_news_and_no_more(daemon, run, monkeypatch):
    """Same words, same line; the estimate is told with new ones."""
    from trellis.cli import progress

    told = []
    monkeypatch.setattr(progress, "note", told.append)
    log = progress.Progress(time.monotonic())

    with log:
        for words, soon in (("a", None), ("a", 9.0), ("b", 9.0), ("b", 8.0)):
            log.tell(words, ready_in_s=soon)

    assert told == ["[0s] a", "[0s] b Ready in about 9s."]


def test_tls_where_none_is_spoken_says_so(daemon, run, monkeypatch):
    """https:// to the daemon itself is a common slip."""
    monkeypatch.setenv("TRELLIS_URL", daemon.url.replace("http:", "https:"))

    result = run("node", "list")

    assert result.exit_code == 1
    assert "write http://" in result.stderr
