"""The pictures of the documents are small, need nothing from elsewhere, and can be drawn anew."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from docs.draw_pictures import FOLDER, LIVE_VIEW, SIMULATED, STATUS_PAGE, draw_live_view
from tests.live.status_builder import a_status

MOST_BYTES = 200_000
PICTURES = sorted(FOLDER.iterdir())


def outside(svg):
    """Addresses from which a reader's machine would have to load something."""
    return re.findall(r"(?:href|src)\s*=\s*[\"']?(?:https?:)?//[^\"' ]+|url\([^)#]+\)", svg)


def test_those_that_are_drawn_are_there():
    assert PICTURES == sorted([LIVE_VIEW, STATUS_PAGE, *SIMULATED])


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small(path):
    assert path.stat().st_size < MOST_BYTES


def test_the_live_view_is_drawn_of_the_status():
    """What the daemon says is in it, and no font or style of another machine."""
    drawn = draw_live_view(a_status(), "http://127.0.0.1:8480/")
    texts = "".join(ElementTree.fromstring(drawn).itertext())

    assert "PROVIDER" in texts
    assert outside(drawn) == []


def test_the_one_that_is_kept_needs_nothing_from_elsewhere():
    assert outside(LIVE_VIEW.read_text(encoding="utf-8")) == []


def test_an_outside_font_would_be_seen():
    assert outside('<style>src: url("https://example.org/f.woff2")</style>')
