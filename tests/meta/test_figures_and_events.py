"""The pages on metrics, events and logs name what the code has, and nothing else."""

import inspect
import random
import re
from pathlib import Path

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from trellis.config import parse
from trellis.control.core import run_core
from trellis.model import image_events
from trellis.model.image import BuildState, Standing, UploadState
from trellis.model.node import NodeState
from trellis.model.records import event_of
from trellis.model.request import RequestState
from trellis.plugin_host import PluginHost, built_in_plugins
from trellis.store.simulated import SimulatedLog
from trellis.web.metrics import render
from trellis.world import World

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


class NoAccounts:
    """Clouds, where there are none."""

    async def run(self):
        await trio.sleep_forever()


def no_transport(settings):
    raise AssertionError(f"there is no cloud to call: {settings}")


def rows(page):
    """The cells of all tables of a page."""
    text = (REFERENCE / page).read_text(encoding="utf-8")
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| `")
    ]


@pytest.fixture
async def families(autojump_clock):
    """The metrics of a whole daemon that has nothing to do."""
    registry = PluginHost(built_in_plugins()).providers
    configuration = parse("deployment: ci", registry, file="t", folder=Path()).configuration
    log = SimulatedLog(random.Random(1))
    world = World(wall=lambda: 1e9, random=random.Random(1), transport=no_transport)
    async with run_core(configuration, world=world, record_log=log, accounts=NoAccounts()) as core:
        return list(text_string_to_metric_families(render(core.operator).decode()))


async def test_every_metric_is_on_its_page(families):
    """Name, kind and meaning are those that Prometheus is told."""
    documented = {(r[0], r[1], r[3]) for r in rows("metrics.md") if r[0].startswith("trellis_")}
    ours = [family for family in families if not family.name.startswith("process_")]

    assert {(f.name, f.type, f.documentation) for f in ours} == documented
    assert len(ours) < len(families)


def test_every_kind_of_event_is_on_its_page():
    """Steps of nodes and requests are named for the state; the others as they are written."""
    source = inspect.getsource(event_of)
    steps = {
        kind: set(re.findall(r'"(\w+)"', " ".join(re.findall(r"step = (.*)", part))))
        for kind, part in zip(
            ("lease", "provider"),
            re.findall(r"case (?:Lease|ProviderRecord)\(\):(.*?)return Event", source, re.S),
            strict=True,
        )
    }
    steps["breaker"] = {"opened", "half-open", "closed"}
    images = inspect.getsource(image_events)
    steps["image"] = set(re.findall(r'"image\.(\w+)"', images))
    for told in re.findall(r"step = (.*)", images):
        steps["image"] |= set(re.findall(r'"(\w+)"', told))
    steps["build"] = {"phase", "progress", *(state.value for state in BuildState)}
    steps["upload"] = {"hook-failed", *(x.value for x in (*UploadState, *Standing))}
    expected = {
        "reset",
        *(f"node.{state.value}" for state in NodeState),
        *(f"request.{state.value}" for state in RequestState),
        *(f"{kind}.{step}" for kind, found in steps.items() for step in found),
    }
    documented = {row[0] for row in rows("events.md") if "." in row[0] or row[0] == "reset"}

    assert documented == expected


def test_every_error_of_the_log_is_on_its_page():
    """An ERROR is a task for a person, who wants to know which."""
    written = {
        name
        for path in (ROOT / "trellis").rglob("*.py")
        for name in re.findall(r'log\.error\(\s*"(\w+)"', path.read_text(encoding="utf-8"))
    }
    documented = {row[0] for row in rows("metrics.md") if not row[0].startswith("trellis_")}

    assert documented == written
