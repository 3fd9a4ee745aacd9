"""The live view as lines of text: what stands where, and that it fits."""

import io

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from status_builder import a_pause, a_provider, a_slow_node, a_status, a_waiting, use

from trellis.live.lines import shared_out
from trellis.live.text import duration, one_line, soon, summed
from trellis.live.view import render, screen
from trellis.web.status_answers import StatusAnswer


def lines(status, width=80, height=24, **words):
    """The screen as plain text."""
    return [line.plain.rstrip() for line in screen(status, width, height, **words)]


def an_image(name="debian-12", places=(), **changes):
    """An image as the status has it."""
    return {
        "name": name, "words": "", "paused_by": None, "fault": "", "build": 7,
        "built_at": "2026-11-23T01:41:30Z", "building": None, "building_words": "",
        "building_share": None, "places": list(places), **changes,
    }  # fmt: skip


def a_place(provider, **changes):
    """An image at a provider, as the status has it."""
    return {
        "provider": provider, "missing": False, "words": "", "build": 7,
        "built_at": "2026-11-23T01:41:30Z", "pinned_by": None, "coming": [], **changes,
    }  # fmt: skip


def crowded(providers=12, waiting=60, slow=60, images=0):
    """More of everything than any screen has room for."""
    return a_status(
        providers=[
            a_provider(f"provider-{n:03d}", state="unavailable", reason="no answer " * 30)
            if n % 5 == 4
            else a_provider(f"provider-{n:03d}", leaks=n % 3, backoffs={"main": "no host"})
            for n in range(providers)
        ],
        waiting=[
            a_waiting(n, labels=["debian-12"] * 30, words="why " * 90) for n in range(waiting)
        ],
        waiting_in_all=waiting + 450,
        images=[
            an_image(f"image-{n}", [a_place(f"provider-{m}", words="why " * 60) for m in range(5)])
            for n in range(images)
        ],
        slow=[a_slow_node(n, words="stuck " * 50) for n in range(slow)],
    )


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 250),
    height=st.integers(1, 90),
    counts=st.tuples(st.integers(0, 12), st.integers(0, 20), st.integers(0, 20), st.integers(0, 9)),
    footer=st.sampled_from(["", "q: end"]),
)
def test_no_screen_is_larger_than_the_terminal(width, height, counts, footer):
    """Whatever there is to show, and however small the terminal."""
    drawn = screen(crowded(*counts), width, height, notice="LOST " * 40, footer=footer)

    assert len(drawn) <= height
    assert max((cell_len(line.plain) for line in drawn), default=0) <= width
    if footer:
        assert drawn[-1].plain == footer[:width] or drawn[-1].plain.endswith("…")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60)])
def test_everything_of_weight_is_on_one_screen(width, height):
    """Providers with what is wrong, requests with the reason, the slowest nodes."""
    text = "\n".join(lines(crowded(providers=3), width, height))

    assert "ci-main  ready" in text
    assert "provider-000" in text
    assert "WAITING" in text
    assert "SLOWEST" in text
    assert "p50 21s p95 44s" in text
    assert "2.9 a node" in text


def test_small_terminal_shows_what_is_wrong_first():
    """Of many providers, those with something to say are not the ones that are cut off."""
    providers = [a_provider(f"well-{n}") for n in range(20)]
    providers[17] = a_provider("ill-17", state="unavailable", reason="the login is refused")

    shown = lines(a_status(providers=providers), 80, 24)

    at = next(number for number, line in enumerate(shown) if line.startswith("ill-17"))
    assert "unavailable" in shown[at]
    assert "the login is refused" in shown[at + 1]
    named = sum(line.startswith(("well-", "ill-")) for line in shown)
    assert f"… and {20 - named} more" in shown


def test_rows_that_do_not_fit_are_counted():
    """Those that were not sent and those without room together."""
    status = a_status(waiting=[a_waiting(n) for n in range(50)], waiting_in_all=500)

    shown = lines(status, 80, 24)

    named = sum("words of request" in line for line in shown)
    assert named > 3
    assert f"… and {500 - named} more" in shown


def test_waiting_request_shows_age_estimate_and_reason():
    """What a person wants to know of it."""
    status = a_status(
        waiting=[
            a_waiting(0xABC, labels=["debian-12", "debian-12"]),
            a_waiting(0xDEF, state="requested", placed_at=None, estimate_s=None),
        ]
    )

    shown = lines(status, 120, 40)

    assert next(x for x in shown if x.startswith("00000abc")).split() == [
        "00000abc", "60s", "debian-12", "x2", "ovh-bhs1", "20s", "words", "of", "request", "2748",
    ]  # fmt: skip
    assert next(x for x in shown if x.startswith("00000def")).split()[3] == "?"


@pytest.mark.parametrize(
    ("changes", "state", "note"),
    [
        ({"pause": a_pause()}, "paused", "paused by ada: maintenance"),
        ({"pause": a_pause(drain=True)}, "draining", "draining by ada: maintenance"),
        ({"state": "unavailable", "reason": "401"}, "unavailable", "401"),
        ({"sweep": "stopped: strange nodes"}, "available", "sweep stopped: strange nodes"),
        ({"leaks": 1}, "available", "1 leak:"),
        ({"backoffs": {"a": "no host", "b": "c"}}, "available", "a: no host (and 1 more)"),
    ],
)
def test_provider_says_what_is_wrong(changes, state, note):
    """Below its line, in words."""
    shown = lines(a_status(providers=[a_provider(**changes)]))

    at = next(number for number, line in enumerate(shown) if line.startswith("ovh-bhs1"))
    assert shown[at].split()[1] == state
    assert note in shown[at + 1]


@pytest.mark.parametrize(
    ("servers", "text"),
    [
        (use(3, 2, 10, None), " 3/8"),
        (use(3, 2, 10, 5), " 3/5"),
        (use(3, 0, "unlimited", 5), " 3/5"),
        (use(3, 0, "unlimited", None), " 3"),
        (use(3, 0, None, None), " 3"),
        (use(3, 9, 10, None), " 3/1"),
        (use(0, 0, 0, None), " 0/0"),
    ],
)
def test_servers_are_shown_against_what_may_be_had(servers, text):
    """The cloud's limit less what others use, or the pools' own if that is less."""
    shown = lines(a_status(providers=[a_provider(servers=servers)]))

    assert next(line for line in shown if line.startswith("ovh-bhs1")).endswith(text)


def test_bar_shows_each_state_by_its_share():
    """The whole width is the nodes there are."""
    status = a_status()
    bar = next(line for line in screen(status, 30, 24) if "▇▇▇" in line.plain)

    lengths = {str(span.style): span.end - span.start for span in bar.spans}

    assert lengths == {"yellow": 10, "green": 20}


def test_daemon_that_is_not_ready_says_why():
    """In the head, whatever else there is."""
    shown = lines(a_status(ready=False, ready_detail="no provider is available"))

    assert "NOT READY" in shown[0]
    assert shown[1] == "no provider is available"


def test_what_is_wrong_with_the_daemon_itself_is_told():
    """It serves, by a configuration that is not the one in the file."""
    shown = lines(a_status(notices=["trellis.yaml has changed and was not taken up"]))

    assert shown[1] == "trellis.yaml has changed and was not taken up"


def test_notice_stands_at_the_top_also_without_a_status():
    """The view before the first answer, and after the daemon was lost."""
    assert lines(None, notice="nobody answers") == ["Trellis", "nobody answers"]
    assert lines(a_status(), notice="nobody answers")[1] == "nobody answers"


def test_nothing_at_all_is_shown_as_such():
    """A daemon without providers, labels, requests and nodes."""
    nothing = {"count": 0, "p50": None, "p95": None}
    shown = lines(
        a_status(
            providers=[],
            labels=[],
            nodes={"total": 0, "by_state": {}, "moving": 0, "notable": []},
            figures={
                "api_calls": 0, "launches": {}, "api_calls_per_node": None, "wait_s": nothing,
                "boot_s": nothing,
            },
        )
    )  # fmt: skip

    assert "No provider is configured." in shown
    assert "No request waits." in shown
    assert any("nothing served yet" in line for line in shown)


def test_images_are_shown_where_there_are_some():
    """What is wrong first, then what moves, then what is well; none where none is built."""
    trial = {"build": 8, "state": "canary", "words": "canary, 2 of 5 ready"}
    bad = {"build": 8, "state": "withdrawn", "words": "4 of 4 launches failed"}
    sent = {"build": 8, "state": "uploading", "words": "uploading 25 %", "share": 0.25}
    absent = {"missing": True, "build": None, "built_at": None, "words": "it is being uploaded"}
    image = an_image(
        places=[
            a_place("well"),
            a_place("tries", coming=[trial]),
            a_place("ill", coming=[bad]),
            a_place("held", pinned_by="ann", build=6),
            a_place("waits", coming=[sent], **absent),
        ],
        building=9,
        building_words="install.d, about 6m left",
        building_share=0.5,
    )

    shown = lines(a_status(images=[image]), 120, 40)

    at = next(number for number, line in enumerate(shown) if line.startswith("IMAGE"))
    assert [" ".join(line.split()[1:]) for line in shown[at + 1 : at + 7]] == [
        "ill 7 2h 0m withdrawn 8: 4 of 4 launches failed",
        "waits missing 8: uploading 25 %",
        "here 7 2h 0m building 9: 50 %, install.d, about 6m left",
        "held 6 2h 0m pinned",
        "well 7 2h 0m serving",
        "tries 7 2h 0m serving 8: canary, 2 of 5 ready",
    ]
    assert not any(line.startswith("IMAGE") for line in lines(a_status(), 120, 40))


def test_texts_of_others_do_not_steer_the_terminal():
    """Clouds and requestors wrote parts of it; markup stays as it is, too."""
    evil = "[red]x[/red]\x1b[2J\nnew line"
    status = a_status(
        providers=[a_provider(evil, state="unavailable", reason=evil)],
        waiting=[a_waiting(labels=[evil], words=evil)],
        slow=[a_slow_node(label=evil, words=evil)],
        deployment=evil,
    )
    out = io.StringIO()
    console = Console(file=out, width=200, height=50, force_terminal=True, color_system=None)

    console.print(render(status, 200, 50, title=evil, notice=evil))

    assert "\x1b" not in out.getvalue()
    assert "[red]x[/red]\\x1b[2J new line" in out.getvalue()
    assert len(out.getvalue().splitlines()) <= 50


def test_the_real_answer_can_be_drawn(board):
    """What the face answers is what the view reads."""
    from trellis.web.status_views import status_answer

    status = msgspec.json.decode(msgspec.json.encode(status_answer(board, 50)))

    assert msgspec.convert(status, StatusAnswer)
    assert any(line.startswith("ovh-bhs1") for line in lines(status))


@given(
    wanted=st.lists(st.integers(0, 60), max_size=6),
    least=st.integers(1, 9),
    room=st.integers(-5, 90),
)
def test_lines_are_shared_out_and_none_is_lost(wanted, least, room):
    """Nobody gets more than is wanted, all together no more than there is, and none is left."""
    given_out = shared_out(wanted, [least] * len(wanted), room)

    assert all(0 <= got <= wish for got, wish in zip(given_out, wanted, strict=True))
    assert sum(given_out) <= max(0, room)
    if all(got for got, wish in zip(given_out, wanted, strict=True) if wish):
        assert sum(given_out) == min(sum(wanted), max(0, room))


@pytest.mark.parametrize(("names", "text"), [([], ""), (["a"], "a"), (["a", "b", "a"], "a x2 b")])
def test_names_are_summed(names, text):
    """Each once, in the order in which they first stand."""
    assert summed(names) == text


def test_short_texts():
    """Lengths of time and what came from elsewhere."""
    assert [duration(s) for s in (-1, 59.9, 100, 3 * 3600 + 300, 50 * 3600)] == [
        "0s", "59s", "1m", "3h 5m", "2d",
    ]  # fmt: skip
    assert [soon(s) for s in (0, 0.4, 1.6, 400)] == ["1s", "1s", "2s", "6m"]
    assert one_line(" a\n\tb\x07 ") == "a b\\x07"
