"""Draws ``docs/pictures`` from a running daemon: the live view, and the status page in a browser.

With the demo in one terminal (``make demo``), run ``python -m docs.draw_pictures`` in another. It
reads the daemon at ``TRELLIS_URL``. The page needs Chromium and ``requirements/browser.txt``
(``make test-browser`` installs that); without them, it says so and leaves that picture as it was.
"""

import io
import json
import os
import re
import shutil
import urllib.request
from pathlib import Path
from typing import Final

from rich.console import Console

from trellis.live.view import Status, render

FOLDER: Final = Path(__file__).parent / "pictures"
LIVE_VIEW: Final = FOLDER / "live-view.svg"
STATUS_PAGE: Final = FOLDER / "status-page.png"
SIMULATED: Final = [FOLDER / "simulated-nodes.png", FOLDER / "what-if.png"]
"""Drawn by ``trellis simulate --plots``: of the files in docs/how-to/simulate.md and what-if.md."""
_COLUMNS, _LINES = 118, 26
_PAGE_SIZE: Final = {"width": 1280, "height": 720}
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_FLAGS: Final = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


def draw_live_view(status: Status, title: str) -> str:
    """The live view as an SVG that needs nothing from elsewhere."""
    console = Console(
        file=io.StringIO(), record=True, width=_COLUMNS, height=_LINES, force_terminal=True
    )
    console.print(render(status, _COLUMNS, _LINES, title=title, footer="Ctrl-C: end"))
    drawn = console.export_svg(title="make demo", unique_id="live")
    # Rich names a font of the web: a reader's machine has one of its own.
    return re.sub(r"\s*@font-face \{.*?\}\n", "\n", drawn, flags=re.DOTALL)


def photograph(url: str) -> bytes | None:
    """The status page as a PNG; None without a browser to look at it with."""
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        return None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        page = browser.new_page(viewport=_PAGE_SIZE)
        page.goto(url)
        page.get_by_text("Loading").wait_for(state="hidden")
        return bytes(page.screenshot())


def main() -> None:
    """Draw both."""
    url = os.environ.get("TRELLIS_URL", "http://127.0.0.1:8480").rstrip("/")
    with urllib.request.urlopen(f"{url}/api/v1/status?most=8", timeout=10) as answer:
        status = json.load(answer)
    FOLDER.mkdir(exist_ok=True)
    LIVE_VIEW.write_text(draw_live_view(status, "http://127.0.0.1:8480/"), encoding="utf-8")
    if (picture := photograph(f"{url}/")) is None:
        print(f"No Chromium, or no playwright: {STATUS_PAGE.name} stays as it was.")
    else:
        STATUS_PAGE.write_bytes(picture)


if __name__ == "__main__":
    main()
