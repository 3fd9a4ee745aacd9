"""Whatever a person writes into a configuration or a scenario: taken, or refused with its place."""

import re
import string
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.documents import changed, places
from trellis.config import parse
from trellis.errors import ConfigError
from trellis.plugin_host import PluginHost, built_in_plugins
from trellis.sim.scenario_file import load_scenario

REGISTRY = PluginHost(built_in_plugins()).providers
CONFIGURATION = """\
deployment: ci-main
store: sqlite:trellis.db
web: {listen: "127.0.0.1:8480"}
lease-ttl: 1h
labels:
  - {name: debian-12, min-ready: 2, max-ready-age: 8h}
providers:
  - name: ovh-bhs1
    type: openstack
    cloud: ovh
    region-name: BHS1
    sweep: delete
    launch-timeout: 600
    pools:
      - name: main
        max-servers: 120
        networks: [public]
        labels:
          - {name: debian-12, cloud-image: debian, flavor-name: b2-7}
"""
SCENARIO = """\
clouds:
  - name: alpha
    quota: {instances: 10}
    boot: {median: 20, p95: 45}
    fault-windows: [{start: 0, end: 60, faults: {lose-answer: 0.1}}]
    outages: [{start: 5, end: 10, kind: hang}]
demand: {requests: 5, every-s: 2, labels: [debian-12], use: {median: 60, p95: 120}}
kills: 1
faults-end: 60
configuration:
"""
SCENARIO += (
    "".join(f"  {line}\n" for line in CONFIGURATION.splitlines())
    .replace("cloud: ovh", "cloud: alpha")
    .replace("      region-name: BHS1\n", "")
)
PLACE = re.compile(r"^[^:\n]+:\d+:\d+: .+", re.MULTILINE)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
    st.binary(max_size=5),
    st.sampled_from(["1h", "-1h", "1e99", "8480", "0x10", "1_000", "~", "@", "999999999d", ".inf"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def documents(draw: st.DrawFn, text: str) -> str:
    """The text with some of its values changed, a key of its own, or letters mixed up."""
    tree = yaml.safe_load(text)
    for _ in range(draw(st.integers(1, 3))):
        at = places(tree)
        tree = changed(tree, draw(st.sampled_from(at)), draw(values))
    written = yaml.safe_dump(tree, sort_keys=False, allow_unicode=draw(st.booleans()))
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(written)))
        junk = draw(st.text(string.printable + "é\x00\ufeff&*!|>", max_size=4))
        written = written[:cut] + junk + written[cut + draw(st.integers(0, 3)) :]
    return written


def judged(error: ConfigError) -> None:
    """Each fault says where it is, and what is wrong."""
    assert error.faults
    assert all(PLACE.match(fault) for fault in error.faults), error.faults


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [" + ", ".join([f"*{before}"] * 9) + "]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents(CONFIGURATION))
@example(BOMB)
@example("&a [*a]")
@example("deployment: &d {x: *d}")
@example("[" * 3000)
@example("deployment: !!python/object/apply:os.system [true]")
@example("deployment: 2026-13-45")
@example("? '\n\n  '\n: null\n")
def test_a_configuration_is_taken_or_refused_with_its_place(text: str):
    try:
        parse(text, REGISTRY, file="trellis.yaml", folder=Path())
    except ConfigError as error:
        judged(error)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=documents(SCENARIO))
@example(text=BOMB)
@example(text=SCENARIO)
@example(text="clouds: [{name: a, quota: {instances: 1e400}}]")
@example(text=SCENARIO.partition("configuration:")[0] + "configuration: ''")
@example(text=SCENARIO.partition("configuration:")[0] + 'configuration: "\\0"')
@example(text=SCENARIO.replace("requests: 5, every-s: 2", "arrivals: ''"))
@example(text=SCENARIO.replace("requests: 5, every-s: 2", "arrivals: nowhere.csv"))
def test_a_scenario_is_taken_or_refused_with_its_place(
    text: str, tmp_path_factory: pytest.TempPathFactory
):
    path = tmp_path_factory.mktemp("scenario") / "story.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        load_scenario(path)
    except ConfigError as error:
        judged(error)


def test_the_documents_that_are_changed_are_good_ones(tmp_path: Path):
    """Else all that is tried would be refused for the same fault."""
    parse(CONFIGURATION, REGISTRY, file="trellis.yaml", folder=Path())
    story = tmp_path / "story.yaml"
    story.write_text(SCENARIO)
    assert load_scenario(story).kills == 1


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200))
@example(content=b"\xff\xfe")
@example(content=b"\xef\xbb\xbfdeployment: a")
@example(content=b"deployment: \x00")
def test_bytes_that_are_no_text_are_refused_with_their_place(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
):
    path = tmp_path_factory.mktemp("scenario") / "story.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_scenario(path)
    judged(caught.value)
