"""Each way in which clouds differ has a place, and each place that the page names exists."""

import re
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from trellis.cli.main import main
from trellis.http.message import Verb
from trellis.openstack import cloudentry
from trellis.openstack.profile import CloudProfile
from trellis.openstack.quirks import Quirks
from trellis.providers.config import (
    OpenStackLabelConfig,
    OpenStackPoolConfig,
    OpenStackProviderConfig,
)
from trellis.providers.openstack import OpenStackProvider

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explanation/quirks.md").read_text(encoding="utf-8")
SECTIONS = [
    *(f"1.{n}" for n in range(1, 8)), *(f"2.{n}" for n in range(1, 12)),
    *(f"3.{n}" for n in range(1, 8)), *(f"4.{n}" for n in range(1, 6)),
    "5", "5.1", "6", "7", "8", "9", "10", "11",
]  # fmt: skip
"""Of the survey of clouds, part 1."""
NEEDS = 19
"""Rows of its part 3, but that attach and detach are one here, and so are the two of images."""
CONFIGURED = {
    "labels": OpenStackLabelConfig,
    "pools": OpenStackPoolConfig,
    "providers": OpenStackProviderConfig,
    "default": OpenStackProviderConfig,
}
SERVICES = ("compute", "network", "image", "volume", "identity")
TEMPLATES = {"{region_name}"}


def rows(heading, columns):
    """The rows of the table under a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(len(row) == columns for row in found)
    return found


def by_section():
    return {row[0]: row[2] for row in rows("By section of the survey", 3)}


def by_need():
    return {row[0]: row[1] for row in rows("By what a provider must be able to override", 2)}


def named(cell):
    return [name for name in re.findall(r"`([^`]+)`", cell) if name not in TEMPLATES]


def exists(place):
    """Whether there is such a place."""
    kind, _, name = place.partition(".")
    key = name.replace("-", "_")
    match kind:
        case "Quirks":
            return key in attrs.fields_dict(Quirks)
        case "CloudProfile":
            return key in attrs.fields_dict(CloudProfile)
        case "labels" | "pools" | "providers" | "default":
            return key in attrs.fields_dict(CONFIGURED[kind])
        case "hook":
            return callable(vars(OpenStackProvider).get(key))
        case "rate":
            service, _, verb = name.partition(".")
            return service in SERVICES and verb in ("", *(verb.value for verb in Verb))
        case "entry":
            return is_read(name.rpartition(".")[2])
        case "keystoneauth1":
            return name == "plugin"
    words = place.split()
    return words[0] == "trellis" and CliRunner().invoke(main, [*words[1:], "--help"]).exit_code == 0


def is_read(key):
    """Whether a key of clouds.yaml is read anywhere."""
    if key.startswith(SERVICES) and key.endswith(cloudentry._OVERRIDES):
        return True
    files = [
        *(ROOT / "trellis/openstack").glob("*.py"),
        *(ROOT / "trellis/inspection").glob("*.py"),
        *(ROOT / "trellis/providers").glob("*.py"),
    ]
    return any(f'"{key}"' in file.read_text() for file in files if file.name != "vendors.py")


PLACES = sorted(
    {place for cell in (*by_section().values(), *by_need().values()) for place in named(cell)}
)


def test_every_section_has_its_row():
    """In the survey's order."""
    assert list(by_section()) == SECTIONS


def test_every_need_has_its_row():
    """One for each hook that the survey derives."""
    assert len(by_need()) == NEEDS
    assert all(named(cell) for cell in by_need().values())


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_names_a_place_or_says_why_it_needs_none(section):
    """Nothing is left open."""
    cell = by_section()[section]

    assert named(cell) or re.match(r"none( yet)?: \w", cell)


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_is_named_exists(place):
    """A field, a key, a method, or a command."""
    assert exists(place)


@pytest.mark.parametrize(
    "place",
    ["Quirks.none", "hook.none", "hook.__init__x", "default.none", "rate.compute.none",
     "rate.none", "entry.nothing_like_it", "labels.none", "CloudProfile.none", "trellis none",
     "word"],
)  # fmt: skip
def test_a_place_that_does_not_exist_is_seen(place):
    """Or the test above would be worth nothing."""
    assert not exists(place)


@pytest.mark.parametrize("field", attrs.fields(Quirks), ids=lambda field: field.name)
def test_every_quirk_stands_in_its_section(field):
    """Whoever adds one says there what it is for."""
    assert f"Quirks.{field.name}" in named(by_section()[field.metadata["section"]])
