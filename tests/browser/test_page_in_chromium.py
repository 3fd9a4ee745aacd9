"""The status page as a person sees it: whole, live, honest when it is not, and plain text."""

import time

import attrs
import pytest
from face_fakes import T0, a_node, an_event

from trellis.model.names import RequestId
from trellis.model.node import NodeState
from trellis.model.request import Ask, NodeRequest, RequestState
from trellis.model.status import LabelStatus

REQUEST_ROWS = "#requests tbody tr"
MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


def add_request(face, number=1, **ask):
    """A request that waits for room."""
    asked = Ask(**{"labels": ("debian-12",), "requestor": "zuul/gate", **ask})
    request = NodeRequest(
        id=RequestId(f"{number:032x}"), ask=asked, state=RequestState.REQUESTED,
        state_at=T0, created_at=T0 + 40,
    )  # fmt: skip
    face.port.requests[request.id] = request


def test_page_loads_without_a_complaint(watched, busy):
    """No error, nothing its policy stops, and no call to anybody but the daemon."""
    watched.open(busy)
    watched.page.wait_for_timeout(1500)

    assert watched.complaints() == []
    assert [url for url in watched.asked if not url.startswith(busy.url + "/")] == []
    assert watched.texts("#deployment") == ["ci-main"]
    assert watched.texts("#clouds tbody th strong") == [
        "ovh-bhs1", "ovh-gra9", "rax-dfw", "hp-east",
    ]  # fmt: skip


def test_cloud_shows_its_health_its_quota_and_its_troubles(watched, busy):
    """Paused by whom, unavailable why, held back until when, and what the bars stand for."""
    watched.open(busy)
    rows = dict(zip(("ovh", "gra", "rax", "hp"), watched.texts("#clouds tbody tr"), strict=True))
    bar = watched.page.locator("#clouds tbody tr").nth(0).locator(".bar").nth(0)

    assert "No valid host; tried again in 41 s" in rows["gra"]
    assert "paused" in rows["rax"]
    assert "by ann, until resumed: their API is slow" in rows["rax"]
    assert "connection refused" in rows["hp"]
    assert bar.get_attribute("aria-label") == "344 ours, 9 others', of 360"
    assert 0.94 < bar.locator(".ours").bounding_box()["width"] / bar.bounding_box()["width"] < 0.97


def test_waiting_request_is_shown_with_its_reason_and_age(watched, face):
    """The age is told by the daemon's clock, whatever the browser's says."""
    add_request(face)
    watched.open(face)

    (row,) = watched.texts(REQUEST_ROWS)

    assert "zuul/gate" in row
    assert "no room for 4 cores" in row
    assert "1 min 0 s" in row or "1 min 1 s" in row
    assert watched.texts("#requests-count") == ["1"]


@pytest.mark.parametrize("kind", ["node.ready", "request.pending", "provider.paused", "reset"])
def test_event_changes_the_tables_without_a_reload(watched, face, kind):
    """Any event, long before the page would look again of itself."""
    watched.open(face)
    watched.page.wait_for_timeout(700)
    watched.page.evaluate("window.here = true")

    began = time.monotonic()
    add_request(face)
    face.do(lambda: face.port.nodes.update({"0000000007": a_node(7, state=NodeState.HOLD)}))
    face.tell(kind)
    watched.page.wait_for_selector(REQUEST_ROWS)
    took_s = time.monotonic() - began

    assert watched.texts("#nodes tbody th") == ["7"]
    assert watched.texts("#nodes-count") == ["1"]
    assert watched.page.evaluate("window.here") is True
    assert took_s < 3


def test_what_has_no_event_is_seen_within_seconds(watched, face):
    """Health and API calls change without one."""
    watched.open(face)
    status = face.board.status["ovh-bhs1"]
    face.do(lambda: face.board.status.update({"x": attrs.evolve(status, name="late")}))

    watched.page.wait_for_selector("#clouds tbody tr:nth-child(2)")

    assert watched.texts("#clouds tbody th strong") == ["ovh-bhs1", "late"]


def test_lost_daemon_is_said_and_its_return_is_taken_up(watched, face, monkeypatch):
    """It says so with the age of what it shows, goes on by itself, and misses nothing."""
    followed = []
    events = face.board.events
    monkeypatch.setattr(
        face.board, "events", lambda after: (followed.append(after), events(after))[1]
    )
    watched.open(face)
    face.tell("node.ready")
    watched.page.wait_for_timeout(700)

    face.stop()
    watched.wait_for("lost")
    words = watched.page.locator("#connection-words")
    watched.page.wait_for_selector("#connection-age:has-text('what you see is')")
    lost = words.inner_text()
    add_request(face)
    face.board.log.append(an_event(5))
    face.start()
    watched.wait_for("live")

    assert "Connection lost: " in lost
    assert "Trying again" in lost
    assert words.inner_text() == "Live"
    assert words.get_attribute("aria-live") == "polite"
    assert watched.texts("#connection-age") == [""]
    watched.page.wait_for_selector(REQUEST_ROWS)
    assert followed == [3, 4]


def test_page_opened_while_the_daemon_refuses_says_why(watched, face, monkeypatch):
    """A failing status is shown with its remedy, and tried again."""
    monkeypatch.setattr(face.board, "overview", lambda most: 1 / 0)
    watched.page.goto(face.url + "/")
    watched.wait_for("lost")
    said = watched.texts("#connection-words")[0]
    monkeypatch.undo()
    watched.wait_for("live")

    assert "It is a fault of Trellis" in said


def test_markup_in_texts_is_shown_as_text(watched, face, monkeypatch):
    """Labels, requestors, reasons: whatever they hold, it is read and not run."""
    label = LabelStatus(name=MARKUP, min_ready=0, offered_by=(), missing={}, nodes={"ready": 1})
    monkeypatch.setattr(face.board, "labels", lambda: (label,))
    face.board.why = MARKUP
    face.board.status["ovh-bhs1"] = attrs.evolve(
        face.board.status["ovh-bhs1"], region=MARKUP, backoffs={MARKUP: MARKUP}
    )
    add_request(face, requestor=MARKUP, labels=(MARKUP,), tenant=MARKUP)
    watched.open(face)
    watched.page.wait_for_timeout(500)

    assert watched.texts(f"{REQUEST_ROWS} td[data-name=Labels]") == [MARKUP]
    assert MARKUP in watched.texts("#labels tbody th")[0]
    assert watched.texts("#requests tbody tr")[0].count(MARKUP) == 4
    assert watched.page.locator("main img, main script").count() == 0
    assert "owned" not in watched.page.title()
    assert watched.complaints() == []


def test_burst_of_events_costs_two_reads_a_second(watched, busy):
    """However many come: a page must not be the load."""
    watched.open(busy)
    watched.page.wait_for_timeout(700)
    before = len(watched.asked)

    began = time.monotonic()
    while time.monotonic() - began < 3:
        for _ in range(50):
            busy.tell("node.ready")
        watched.page.wait_for_timeout(20)
    reads = [url for url in watched.asked[before:] if url.endswith("/api/v1/status")]

    assert 2 <= len(reads) <= 2 * (time.monotonic() - began) + 1


def test_rows_that_did_not_change_are_not_touched(watched, busy):
    """One request leaves the queue: its row goes, the next comes in, the clouds stand still."""
    watched.open(busy)
    watched.page.evaluate("""
        window.touched = {};
        for (const id of ["clouds", "requests"]) {
          touched[id] = 0;
          new MutationObserver((list) => {
            touched[id] += list.filter((m) => !m.target.closest("time, small")).length;
          }).observe(document.querySelector(`#${id} tbody`), {childList: true, subtree: true});
        }
    """)
    first = watched.page.locator(f"{REQUEST_ROWS} code").first.get_attribute("title")
    second = watched.page.locator(f"{REQUEST_ROWS} code").nth(1).get_attribute("title")

    busy.do(lambda: busy.port.requests.pop(first))
    busy.tell("request.cancelled")
    watched.page.wait_for_selector(f"{REQUEST_ROWS}:first-child code[title='{second}']")
    touched = watched.page.evaluate("touched")

    assert watched.page.locator(REQUEST_ROWS).count() == 50
    # Gone, come, and how many are ahead of those that moved up.
    assert touched["requests"] <= 2 + 50
    assert touched["clouds"] == 0


def test_page_stays_small_with_a_thousand_nodes_and_five_hundred_requests(watched, busy):
    """It counts all, names fifty, and says how many more there are."""
    watched.open(busy)

    assert watched.texts("#requests-count") == ["500"]
    assert watched.page.locator(REQUEST_ROWS).count() == 50
    assert watched.texts("#requests-more") == ["and 450 more, which came later"]
    assert watched.texts("#labels tbody tr:last-child td:last-child") == ["1,000"]
    assert watched.page.locator("*").count() < 4000


@pytest.mark.parametrize("width", [380, 768, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_the_screen(watched, busy, width, scheme):
    """No sideways scrolling of the whole, no squeezed column, and the ground of its scheme."""
    watched.page.set_viewport_size({"width": width, "height": 800})
    watched.page.emulate_media(color_scheme=scheme)
    watched.open(busy)
    squeezed = watched.page.evaluate("""
        [...document.querySelectorAll("main td, main tbody th")]
            .filter((cell) => cell.scrollWidth > cell.clientWidth + 1 || cell.clientHeight > 200)
            .map((cell) => `${cell.dataset.name}: ${cell.textContent}`)
    """)
    ground = watched.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")

    assert watched.page.evaluate("document.documentElement.scrollWidth") == width
    assert squeezed == []
    assert ground == {"light": "rgb(244, 246, 244)", "dark": "rgb(15, 20, 18)"}[scheme]


def test_page_nobody_looks_at_holds_no_connection(watched, face):
    """A browser gives a server six in all; looked at again, it is live again."""
    watched.page.add_init_script(
        "Object.defineProperty(document, 'hidden', {get: () => window.away === true})"
    )
    watched.open(face)
    look = "(away) => {window.away = away; document.dispatchEvent(new Event('visibilitychange'))}"

    watched.page.evaluate(look, True)
    watched.wait_for("resting")
    deadline = time.monotonic() + 5
    while face.do(lambda: face.board.followers) and time.monotonic() < deadline:
        watched.page.wait_for_timeout(50)
    followers = face.do(lambda: face.board.followers)
    add_request(face)
    watched.page.evaluate(look, False)
    watched.wait_for("live")

    assert followers == 0
    watched.page.wait_for_selector(REQUEST_ROWS)
