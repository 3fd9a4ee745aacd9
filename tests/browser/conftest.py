"""A real Chromium, and pages in it that complain loudly."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from face import ServedFace, quiet_face
from face_fakes import FakePort
from scene import Scene

HERE = Path(__file__).parent
FLAGS = (
    # Chromium's own sandbox needs what root in a container does not have.
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WATCH_POLICY = """
window.violations = [];
addEventListener("securitypolicyviolation", (e) => violations.push(e.violatedDirective));
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the browser."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium with a profile of its own; fails where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as missing:
        pytest.fail(f"{missing}: run `make test-browser`, or install requirements/browser.txt")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = os.environ.get("TRELLIS_CHROMIUM") or next(filter(None, map(shutil.which, names)), "")
    if not program:
        pytest.fail(
            "there is no Chromium: on Debian `apt-get install chromium`, or name one in the "
            "environment variable TRELLIS_CHROMIUM"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def face() -> Iterator[ServedFace]:
    """A face with few things in it, which a test changes."""
    face = quiet_face()
    face.start()
    yield face
    face.stop()


@pytest.fixture
def busy() -> Iterator[ServedFace]:
    """A face with a thousand nodes and five hundred requests that wait."""
    face = ServedFace(Scene(FakePort()))
    face.start()
    yield face
    face.stop()


class Watched:
    """A page, and all it complained of.

    Attributes:
        page: Playwright's page.
        said: what it wrote to the console, and errors nobody caught.
        asked: the URLs it asked for.
    """

    def __init__(self, page: Any) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"uncaught: {error}"))
        page.on("request", lambda request: self.asked.append(request.url))
        page.add_init_script(WATCH_POLICY)

    def open(self, face: ServedFace) -> None:
        """Open the status page; back when it is live."""
        self.page.goto(face.url + "/")
        self.wait_for("live")

    def wait_for(self, connection: str) -> None:
        """Wait until the page says that its connection is so."""
        self.page.wait_for_selector(f"#connection[data-state={connection}]", timeout=20_000)

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements found, as they are shown."""
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def complaints(self) -> list[str]:
        """What it said, and what its policy stopped."""
        return [*self.said, *self.page.evaluate("violations")]


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    """A page of its own, without cookies or cache of others."""
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    context.set_default_timeout(20_000)
    yield Watched(context.new_page())
    context.close()
