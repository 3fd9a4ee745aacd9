"""What the documents say is so: commands, links, generated pages, names of tests and figures."""

import ast
import importlib
import re
import shlex
import tomllib
from functools import cache
from itertools import pairwise
from pathlib import Path

import click
import pytest
import yaml

from trellis.cli.main import main
from trellis.config import parse
from trellis.plugin_host import PluginHost, built_in_plugins

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
TEXTS = [
    path
    for folder in (".ci", "docs", "plugins", "requirements", "tests", "trellis")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".md", ".toml", ".txt", ".yaml", ""} and path.is_file()
] + [ROOT / name for name in ("Makefile", "README.md", "pyproject.toml")]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def named(paths):
    """Paths as parameters, named from the root."""
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


def command_lines(text):
    """What a reader would type: indented, in the shell's fences, or between backquotes."""
    prose = _FENCE.sub("", text)
    for kind, body in _FENCE.findall(text):
        if kind in ("", "sh", "console"):
            prose += "".join(f"    {line.removeprefix('$ ')}\n" for line in body.splitlines())
    for line in prose.splitlines():
        if line.startswith("    trellis "):
            yield line.strip()
    # A command between backquotes may be broken over two lines.
    for quoted in re.findall(r"`(trellis [a-z][^`]*)`", prose):
        yield " ".join(quoted.split())


def refusal_of(line):
    """Why the command line cannot be meant as it stands; None if it can."""
    words = shlex.split(line, comments=True)[1:]
    command, names = main, ["trellis"]
    context = click.Context(main, info_name="trellis")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            return f"there is no `{' '.join([*names, words[0]])}`"
        names.append(words.pop(0))
        context = click.Context(
            found, parent=context, info_name=names[-1], **found.context_settings
        )
        command = found
    if isinstance(command, click.Group) and not words:
        return None  # a noun is spoken of
    try:
        command.make_parser(context).parse_args(list(words))
    except click.UsageError as refusal:
        return refusal.message
    return None


@pytest.mark.parametrize("path", named(PAGES))
def test_every_command_line_parses(path):
    """A command that a page names is there, with the options it names."""
    faults = {
        line: refusal
        for line in command_lines(path.read_text(encoding="utf-8"))
        if (refusal := refusal_of(line)) is not None
    }

    assert faults == {}


def test_wrong_command_lines_are_found():
    """The check above sees a wrong noun, verb and option wherever they stand."""
    text = "Try `trellis nod list` or\n\n    trellis node lst\n\n```\ntrellis serve --nope\n```\n"

    assert [line for line in command_lines(text) if refusal_of(line)] == [
        "trellis node lst",
        "trellis serve --nope",
        "trellis nod list",
    ]


def anchors(text):
    """The anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", named(PAGES))
def test_every_link_leads_somewhere(path):
    """Links to files of ours exist, and so do the headings they name."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    dangling = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        page = (path.parent / file).resolve() if file else path
        found = page.exists() and (
            not anchor or anchor in anchors(page.read_text(encoding="utf-8"))
        )
        if not found:
            dangling.append(target)

    assert dangling == []


@pytest.mark.parametrize(
    "name",
    ["rest", "commands", "configuration", "hooks", "faults", "scenario", "quirks", "testing"],
)
def test_generated_page_is_up_to_date(name):
    """Run ``make docs`` if it is not."""
    generator = importlib.import_module(f"docs.generate_{name}")

    assert generator.PAGE.read_text(encoding="utf-8") == generator.page()


def test_every_key_of_a_scenario_is_documented():
    """The docstrings of its classes say what each is."""
    assert importlib.import_module("docs.generate_scenario").undocumented() == []


@cache
def functions_of(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def promises():
    """The sections of the promises, by number."""
    text = (ROOT / "docs/explanation/promises.md").read_text(encoding="utf-8")
    starts = [match.start() for match in re.finditer(r"^## P\d+: ", text, re.M)]
    sections = [text[begin:end] for begin, end in pairwise([*starts, len(text)])]
    return {re.match(r"## (P\d+)", section)[1]: section for section in sections}


def test_every_promise_is_spoken_of():
    """Twelve, in their order."""
    assert list(promises()) == [f"P{number}" for number in range(1, 13)]


@pytest.mark.parametrize("number", [f"P{number}" for number in range(1, 13)])
def test_every_test_that_shows_a_promise_exists(number):
    """Each promise names at least one, and what it does not show."""
    section = promises()[number]
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", section)

    assert tests
    assert [t for t in tests if t[1] not in functions_of(ROOT / t[0])] == []
    assert "*Kept by:*" in section
    assert "*Not shown yet:*" in section


def test_every_file_that_a_promise_names_exists():
    """A part that moved is named anew."""
    named_files = re.findall(r"`([\w/]+\.py)`", "".join(promises().values()))
    missing = [
        name
        for name in named_files
        if not (ROOT / name).exists() and not list((ROOT / "trellis").rglob(name))
    ]
    judges = re.findall(r"`(_[a-z_]+)`", "".join(promises().values()))
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "trellis").rglob("*.py"))

    assert missing == []
    assert [name for name in judges if f"def {name}(" not in sources] == []


@pytest.mark.parametrize("path", named(PAGES))
def test_every_file_that_a_page_names_exists(path):
    """Code that a page sends its reader to is there."""
    text = path.read_text(encoding="utf-8")
    mentioned = re.findall(r"`((?:trellis|tests|docs|\.ci)/[\w/.-]*[\w/])`", text)

    assert [name for name in mentioned if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", named(PAGES))
def test_every_configuration_that_a_page_shows_is_read(path):
    """Whole files only: those that say whose deployment it is."""
    registry = PluginHost(built_in_plugins()).providers
    for kind, body in _FENCE.findall(path.read_text(encoding="utf-8")):
        tree = yaml.safe_load(body) if kind == "yaml" else None
        if isinstance(tree, dict) and "deployment" in tree:
            assert parse(body, registry, file=path.name, folder=path.parent).warnings == ()


def test_every_dependency_is_pinned_and_used():
    """What pyproject names is in the lock file, and the code imports it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = (ROOT / "requirements/dev.txt").read_text(encoding="utf-8")
    module_of = {"pyyaml": "yaml", "prometheus-client": "prometheus_client"}
    # httpx looks for it, we do not.
    silent = {"sniffio"}
    code = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "trellis").rglob("*.py"))
    names = [re.match(r"[\w-]+", text)[0] for text in project["dependencies"]]
    unused = [
        name
        for name in names
        if name not in silent
        and not re.search(rf"^\s*(import|from) {module_of.get(name, name)}\b", code, re.M)
    ]

    assert names
    assert [name for name in names if f"\n{name}==" not in pins] == []
    assert unused == []


def test_pins_name_no_address():
    """Names and versions only."""
    lines = (ROOT / "requirements/dev.txt").read_text(encoding="utf-8").splitlines()
    pin = re.compile(r'[a-z0-9-]+==[\w.]+(; python_version [<=>]+ "[\d.]+")?')

    assert [x for x in lines if not x.startswith("#") and not pin.fullmatch(x)] == []


@pytest.mark.parametrize("path", named(TEXTS))
def test_nothing_names_the_machine_it_was_written_on(path):
    """Paths of a home, or of a workspace, mean nothing to a reader."""
    text = path.read_text(encoding="utf-8", errors="replace")
    homes = "|".join(("/" + "root/", "/" + "work/", "/" + "home/\\w+/"))

    assert re.findall(rf"(?<![\w.$}}/])(?:{homes})[\w.-]+", text) == []


def test_the_task_tree_is_the_codes():
    """Every task the page draws is there, and every task that is started is drawn."""
    page = (ROOT / "docs/explanation/task-tree.md").read_text(encoding="utf-8")
    tree = _FENCE.search(page)[2]
    modules = {
        path: path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "trellis").rglob("*.py"))
        if not {"sim", "demo", "cli"} & set(path.parts)  # other programs than the daemon
    }
    code = "".join(modules.values())
    drawn = set(re.findall(r"[├└]─ (?:supervise\()?([\w.]+)", tree)) - {"web"}
    started = {
        name.split(".")[-1]
        for text in modules.values()
        for name in re.findall(r"(?<!def )\bstart(?:_soon)?\(\s*(?:partial\(\s*)?([\w.]+)", text)
    }
    # Those are named by the class that they are of, and by no more than their place.
    by_class = {"run", "serve", "read_other", "_start"}

    assert [x for x in drawn if not re.search(rf"(def|class) {x.split('.')[-1]}\b", code)] == []
    classes = sorted(x.split(".")[0] for x in drawn if x[0].isupper())
    assert [x for x in classes if not re.search(rf"class {x}\b", code)] == []
    assert sorted(x for x in started - by_class if x not in tree) == []
