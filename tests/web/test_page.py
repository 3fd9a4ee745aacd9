"""The status page's files: whole, all of our own, and served so that nothing else runs."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from trellis.model.node import NodeState
from trellis.web.page.serving import POLICY, assets

EVENTS_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "events.md"
NAMES = sorted(assets())
TEXTS = {name: asset.body.decode() for name, asset in assets().items()}


class Markup(HTMLParser):
    """What the page's HTML has: its tags with their attributes, and text inside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] in ("script", "style") and data.strip():
            self.inside.append(data)


MARKUP = Markup(TEXTS["index.html"])


async def test_root_is_the_page(client):
    """A person who opens the daemon's address sees it."""
    answer = await client.get("/")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.text == TEXTS["index.html"]


@pytest.mark.parametrize("path", ["/", *(f"/page/{name}" for name in NAMES)])
async def test_every_file_has_the_headers_that_keep_others_out(client, path):
    """The policy, no guessing of types, no address given away, and a look for news each time."""
    headers = (await client.get(path)).headers

    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-cache"


def test_policy_allows_the_pages_own_files_only():
    """Neither inline code nor another origin, whatever is added."""
    parts = dict(part.split(" ", 1) for part in POLICY.split("; "))

    assert parts.pop("require-trusted-types-for") == "'script'"
    assert parts["default-src"] == "'none'"
    assert {"script-src", "style-src", "connect-src", "img-src"} <= set(parts)
    assert {"base-uri", "form-action", "frame-ancestors"} <= set(parts)
    assert set(parts.values()) == {"'none'", "'self'"}


async def test_known_version_is_not_sent_again(client):
    """Its ETag gets a 304, another gets the file."""
    first = await client.get("/page/main.js")
    known = {"if-none-match": f'"other", {first.headers["etag"]}'}

    again = await client.get("/page/main.js", headers=known)
    newer = await client.get("/page/main.js", headers={"if-none-match": '"other"'})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert (newer.status_code, newer.text) == (200, TEXTS["main.js"])


@pytest.mark.parametrize(
    "path", ["/page/", "/page/nope.js", "/page/..%2fserving.py", "/page/serving.py", "/index.html"]
)
async def test_other_paths_are_not_there(client, path):
    """Only the page's files, by their names."""
    answer = await client.get(path)

    assert (answer.status_code, answer.json()["type"]) == (404, "urn:trellis:problem:no-such-path")


@pytest.mark.parametrize("path", ["/", "/page/main.js"])
async def test_foreign_host_gets_no_page(client, path):
    """A page that rebinds its name to loopback gets nothing of ours to dress up with."""
    answer = await client.get(path, headers={"host": "evil.example:8480"})

    assert answer.status_code == 421


@pytest.mark.parametrize("name", NAMES)
def test_no_file_names_another_origin(name):
    """Nothing is loaded from elsewhere; SVG's namespace is a name and no address."""
    text = TEXTS[name].replace('xmlns="http://www.w3.org/2000/svg"', "")

    assert re.findall(r"\w+://|[\"'(=]\s*//|@import|url\(", text) == []


def test_markup_has_nothing_inline():
    """No handler, style or script that the policy would stop."""
    inline = [
        (tag, name)
        for tag, attributes in MARKUP.tags
        for name in attributes
        if name.startswith("on") or name == "style"
    ]

    assert inline == []
    assert MARKUP.inside == []
    assert all(a.get("src") for tag, a in MARKUP.tags if tag == "script")


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".js")])
def test_no_script_turns_text_into_markup_or_code(name):
    """Labels, reasons and names are of people and clouds."""
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(|DOMParser"

    assert re.findall(sinks, TEXTS[name]) == []


def test_every_file_is_used_and_every_file_used_is_there():
    """From the HTML along the imports."""
    used = {"index.html"}
    found = re.findall(r'(?:src|href)="/page/([^"]+)"', TEXTS["index.html"])
    while found:
        name = found.pop()
        if name not in used:
            used.add(name)
            found += re.findall(r'from "\./([^"]+)"', TEXTS[name])

    assert used == set(NAMES)


def test_page_follows_every_type_of_event():
    """A type that it does not name it would not hear of."""
    followed = re.findall(r'^  "([a-z.-]+)",$', TEXTS["events.js"], re.M)
    documented = re.findall(r"^\| `([a-z]+\.[a-z-]+|reset)` \|", EVENTS_PAGE.read_text(), re.M)

    assert sorted(followed) == sorted(documented)


def test_page_knows_every_state_of_a_node():
    """Each has its column and its colour; what is gone is not shown."""
    listed = re.search(r"NODE_STATES = \[(.*?)\]", TEXTS["words.js"], re.S)
    states = {state.value for state in NodeState} - {"gone"}

    assert listed is not None
    assert set(re.findall(r'"([a-z-]+)"', listed[1])) == states
    assert set(re.findall(r"^\.state-([a-z-]+) ", TEXTS["colours.css"], re.M)) == states


def test_tables_are_tables_that_can_be_reached_by_keyboard():
    """Each has a caption, and scrolls in a named region that takes the focus."""
    tables = [a for tag, a in MARKUP.tags if tag == "table"]
    regions = [a for _, a in MARKUP.tags if a.get("role") == "region"]
    names = {a["id"] for _, a in MARKUP.tags if "id" in a}

    assert len(tables) == len(regions) == 6
    assert sum(tag == "caption" for tag, _ in MARKUP.tags) == len(tables)
    assert all(a["tabindex"] == "0" and a["aria-labelledby"] in names for a in regions)
    assert any(a.get("aria-live") == "polite" for _, a in MARKUP.tags)


def luminance(colour: str) -> float:
    """The relative luminance of ``#rrggbb``, as WCAG 2 has it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_has_contrast_aa(scheme):
    """4.5 to 1 on each ground it may stand on."""
    block = re.findall(r":root \{(.*?)\}", TEXTS["colours.css"], re.S)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    texts = set(colours) - {"ground", "surface", "raised", "line", "bar", "bar-ours", "bar-others"}
    weak = {}
    for text in texts:
        for ground in ("ground", "surface", "raised"):
            low, high = sorted((luminance(colours[text]), luminance(colours[ground])))
            if (ratio := (high + 0.05) / (low + 0.05)) < 4.5:
                weak[text, ground] = round(ratio, 2)

    assert len(texts) == 10
    assert weak == {}
