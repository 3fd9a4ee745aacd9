"""What the demo draws and says, on the way and at the end."""

import io
import traceback
from typing import Any

import pytest
import trio
from rich.console import Console

from trellis.demo.acts import bugs_in
from trellis.demo.ending import left_over, settle
from trellis.demo.judge import Verdict
from trellis.demo.outcome import Figures, Outcome, Spread, figures_of
from trellis.demo.screen import line_of, live_screen
from trellis.demo.stage import Stage
from trellis.demo.summary import summary
from trellis.demo.transcript import Transcript
from trellis.demo.truth import CloudTruth
from trellis.sim.cloud.ledger import Fact, Ledger, What


def status(**parts: Any) -> Any:
    empty = {
        "nodes": {"total": 0, "by_state": {}},
        "requests": {"waiting": 0},
        "providers": [{"name": "ovh", "state": "available", "reason": "", "leaks": 0}],
    }
    return {**empty, **parts}


def an_image(builds: Any = (), uploads: Any = ()) -> Any:
    return {"builds": builds, "places": [{"uploads": []}, {"uploads": uploads}]}


def test_a_line_tells_nodes_requests_and_who_is_not_well():
    """Only providers that are not available are told of."""
    ill = {"name": "hp", "state": "unavailable", "reason": "unavailable: hp\nhangs", "leaks": 0}
    new = {"name": "rax", "state": "starting", "reason": "starting: not read yet", "leaks": 0}
    told = line_of(
        status(
            nodes={"total": 3, "by_state": {"in-use": 2, "building": 1}},
            requests={"waiting": 4},
            providers=[*status()["providers"], ill, new],
        )
    )

    assert told == (
        "3 nodes (2 in-use, 1 building), 4 requests wait, 1 providers are starting, "
        "hp unavailable: hp hangs"
    )


def test_what_the_daemon_still_has_is_counted():
    """Images, nodes, requests and leaks; nothing is no words."""
    leaky = [{"name": "hp", "leaks": 2}, {"name": "ovh", "leaks": 1}]
    images = [an_image(builds=["one"]), an_image(uploads=["one"]), an_image()]

    assert "" == left_over(status(), {"items": [an_image()]})
    assert "2 images, 1 nodes, 2 waiting requests, 3 leaks" == left_over(
        status(nodes={"total": 1}, requests={"waiting": 2}, providers=leaky), {"items": images}
    )


async def test_a_daemon_that_keeps_something_is_a_problem_after_a_minute(autojump_clock):
    """The end does not wait for ever, and says what there still is."""

    class Keeping:
        async def get(self, path: str) -> Any:
            await trio.lowlevel.checkpoint()
            return {"items": []} if path == "/images" else status(nodes={"total": 1})

    began = trio.current_time()
    problems = await settle(Keeping(), Stage(url="", tell=str))

    assert ["The daemon still had 1 nodes after 60 s."] == problems
    assert 60.0 == pytest.approx(trio.current_time() - began)


@pytest.mark.parametrize("size", [(80, 24), (140, 40), (20, 5), (1, 1)], ids=str)
def test_the_live_view_fits_the_terminal(size, monkeypatch):
    """However small it is; the address stands in the first line where there is room."""
    monkeypatch.setenv("TERM", "xterm")
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=size[0], height=size[1])
    stage = Stage(url="http://127.0.0.1:8480", tell=str)

    with live_screen(console, stage) as screen:
        screen.show(None, "")

    text = written.getvalue()
    assert ("http://127.0.0.1:8480/" in text) == (size[0] >= 80)
    assert "\x1b[?1049h" in text
    assert text.index("\x1b[?1049l") > text.index("\x1b[?1049h")
    assert "\x1b[?25h" in text


async def test_the_footer_says_what_a_key_does_and_how_long_it_lasts(autojump_clock):
    """The key first: a narrow terminal cuts off the end."""
    stage = Stage(url="", tell=str, ends_at=trio.current_time() + 30, phase="demand flows")

    assert "Ctrl-C: end · demand flows, 30 s left" == stage.footer
    stage.trouble = "hp hangs"
    assert "Ctrl-C: end · hp hangs" == stage.footer


def test_figures_are_of_our_servers_and_of_the_requestors():
    """A stranger's servers do not count; a server that never booted has no boot time."""
    facts = [
        Fact(at=10.0, what=What.SERVER_CREATED, id="s1", who="ci", asked_at=9.5),
        Fact(at=12.0, what=What.SERVER_ACTIVE, id="s1", who="ci", ssh_at=13.5),
        Fact(at=10.0, what=What.SERVER_CREATED, id="s2", who="ci"),
        Fact(at=10.0, what=What.SERVER_CREATED, id="his", who="stranger"),
    ]
    truth = CloudTruth(name="ovh", things=(), ledger=Ledger(facts=facts, calls={"GET x": 9}))
    waited = Transcript(requestor="a", labels=(), filed_at=1.0, fulfilled_at=6.0, ended="fulfilled")
    figures = figures_of([truth], [waited], 4.2)

    assert 2 == figures.nodes
    assert 4.5 == figures.calls_per_node
    assert Spread(4.0, 4.0) == figures.boot_s
    assert Spread(5.0, 5.0) == figures.wait_s
    assert {"fulfilled": 1} == figures.requests


def drawn(*, problems=(), against=(), first=4.2) -> str:
    figures = Figures(
        first_node_s=first, nodes=0, requests={}, wait_s=Spread.of([]), boot_s=Spread.of([]),
        calls=7,
    )  # fmt: skip
    verdict = Verdict(promise="P2", claim="nothing of ours is left", against=tuple(against))
    outcome = Outcome(verdicts=(verdict,), figures=figures, problems=tuple(problems))
    written = io.StringIO()
    Console(file=written, width=100).print(summary(outcome))
    return written.getvalue()


def test_a_good_summary_says_so():
    """Also of a demo that ended before there was anything."""
    text = drawn(first=None)

    assert "Every promise was held" in text
    assert "never" in text
    assert "BROKEN" not in text


def test_a_bad_summary_names_what_is_wrong():
    """Breaches, the first of many, and problems beside them."""
    text = drawn(problems=["logs: here"], against=[f"ovh still has port {n}" for n in range(8)])

    assert "BROKEN" in text
    assert "P2: ovh still has port 4" in text
    assert "port 5" not in text
    assert "and 3 more" in text
    assert "logs: here" in text
    assert "Every promise was held" not in text


def test_tracebacks_in_the_log_are_bugs(tmp_path):
    """What a cloud did is one line of it."""
    log = tmp_path / "daemon.log"
    log.write_text("INFO x\nWARNING launch_failed\nERROR y\nTraceback (most recent call last):\n")

    assert 1 == bugs_in(log)


def test_a_crash_of_a_nursery_is_one_bug(tmp_path):
    """A provider's task always ends so; what is inside the group is the same bug."""
    log = tmp_path / "daemon.log"
    inner = ExceptionGroup("inner", [ZeroDivisionError("a bug")])
    try:
        raise ExceptionGroup("outer", [inner])
    except ExceptionGroup as group:
        crash = "".join(traceback.format_exception(group))
    log.write_text(f"2026-11-23T05:09:51.904Z ERROR task_crashed task=alpha\n{crash}")

    assert 1 == bugs_in(log)
