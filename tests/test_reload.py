"""A changed file is taken up, a bad one is refused, and nothing is read half-written."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import structlog.testing
import trio
import yaml

from trellis.config import Configuration, parse
from trellis.errors import ConfigError
from trellis.reload import LOOK_EVERY_S, Reloading
from trellis.sim.simulate import builtin_types

TEXT = """
deployment: reloaded
store: sqlite:t.db
labels: [{name: small, min-ready: 1}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    pools: [{name: main, labels: [{name: small, cloud-image: tiny, flavor-name: m1}]}]
"""


class FakeCore:
    """Notes what it is asked to take up."""

    def __init__(self):
        self.taken_up: list[Configuration] = []
        self.rereads = 0
        self.operator = self
        self.notices: dict[str, str] = {}

    async def take_up(self, configuration):
        self.taken_up.append(configuration)

    async def reread(self):
        self.rereads += 1


class Bench:
    """A configuration file, a clouds.yaml, and what watches them."""

    def __init__(self, folder: Path) -> None:
        self.path, self.clouds, self.ca = folder / "trellis.yaml", folder / "c.yaml", folder / "ca"
        self.path.write_text(TEXT)
        self.clouds.write_text("clouds: {}")
        self.core = FakeCore()
        registry = builtin_types()
        configuration = parse(TEXT, registry, file="t", folder=folder).configuration
        self.reloading = Reloading(
            self.path,
            registry,
            configuration,
            self.core,
            self.read_cloud,
            lambda: [self.clouds, folder / "secure.yaml"],
        )

    def read_cloud(self, name, region, profile=None):
        if not yaml.safe_load(self.clouds.read_text()):
            raise ConfigError(["no clouds"])
        return self

    @property
    def files(self):
        """As `CloudConfig.files`."""
        return (self.ca,)


@pytest.fixture
async def bench(tmp_path, nursery):
    bench = Bench(tmp_path)
    nursery.start_soon(bench.reloading.run)
    await trio.sleep(2 * LOOK_EVERY_S)
    return bench


async def test_a_changed_file_is_taken_up(bench, autojump_clock):
    bench.path.write_text(TEXT.replace("min-ready: 1", "min-ready: 7"))

    await trio.sleep(3 * LOOK_EVERY_S)

    (taken,) = bench.core.taken_up
    assert taken.labels[0].min_ready == 7
    assert bench.core.rereads == 0


async def test_an_untouched_one_is_not(bench, autojump_clock):
    await trio.sleep(60)

    assert (bench.core.taken_up, bench.core.rereads) == ([], 0)


async def test_one_that_is_being_written_is_waited_for(bench, autojump_clock):
    """A file cut off in the middle may well be valid: that is the danger."""
    for end in range(len(TEXT) // 2, len(TEXT), 8):
        bench.path.write_text(TEXT[:end] + "\n")
        await trio.sleep(LOOK_EVERY_S / 2)
    bench.path.write_text(TEXT)

    await trio.sleep(5 * LOOK_EVERY_S)

    assert [len(taken.providers) for taken in bench.core.taken_up] == [1]


async def test_a_bad_file_leaves_all_as_it_is_and_says_every_fault(bench, autojump_clock):
    with structlog.testing.capture_logs() as events:
        bench.path.write_text(TEXT.replace("min-ready: 1", "min-redy: 1").replace("m1", "[]"))
        await trio.sleep(3 * LOOK_EVERY_S)

    (told,) = [e for e in events if e["event"] == "configuration_not_taken_up"]
    assert len(told["faults"]) == 2
    assert all(fault.startswith(f"{bench.path}:") for fault in told["faults"])
    assert "2 faults" in bench.core.notices["configuration"]
    assert bench.core.taken_up == []


async def test_and_the_next_good_one_counts(bench, autojump_clock):
    bench.path.write_text("]")
    await trio.sleep(3 * LOOK_EVERY_S)
    bench.path.write_text(TEXT.replace("min-ready: 1", "min-ready: 2"))
    await trio.sleep(3 * LOOK_EVERY_S)

    assert [taken.labels[0].min_ready for taken in bench.core.taken_up] == [2]
    assert bench.core.notices == {}


async def test_another_deployment_is_refused(bench, autojump_clock):
    with structlog.testing.capture_logs() as events:
        bench.path.write_text(TEXT.replace("reloaded", "another"))
        await trio.sleep(3 * LOOK_EVERY_S)

    assert "a store of its own" in str(events)
    assert bench.core.taken_up == []


async def test_what_is_bound_at_the_start_is_named(bench, autojump_clock):
    with structlog.testing.capture_logs() as events:
        bench.path.write_text(TEXT.replace("t.db", "u.db").replace("min-ready: 1", "min-ready: 3"))
        await trio.sleep(3 * LOOK_EVERY_S)

    assert "store has changed: that needs a restart" in str(events)
    assert len(bench.core.taken_up) == 1


@pytest.mark.parametrize("file", ["clouds", "ca"])
async def test_files_of_clouds_are_read_anew(bench, file, autojump_clock):
    """A CA file too, which the clouds name; an entry that comes later is looked after as well."""
    bench.clouds.write_text("clouds: {alpha: {}}")
    await trio.sleep(3 * LOOK_EVERY_S)
    before = bench.core.rereads

    getattr(bench, file).write_text("clouds: {beta: {}}")

    await trio.sleep(3 * LOOK_EVERY_S)
    assert bench.core.rereads == before + 1
    assert bench.core.taken_up == []


async def test_a_change_while_the_last_one_is_taken_up_is_not_lost(bench, autojump_clock):
    """Taking it up may last some seconds, as creates under way are waited for."""
    taken_up = bench.core.take_up

    async def slowly(configuration):
        await trio.sleep(10)
        await taken_up(configuration)

    bench.core.take_up = slowly
    bench.path.write_text(TEXT.replace("min-ready: 1", "min-ready: 2"))
    await trio.sleep(5)
    bench.path.write_text(TEXT.replace("min-ready: 1", "min-ready: 33"))

    await trio.sleep(30)

    assert [taken.labels[0].min_ready for taken in bench.core.taken_up] == [2, 33]


async def test_when_asked_all_is_read(bench, autojump_clock):
    bench.reloading.ask()

    await trio.sleep(LOOK_EVERY_S)

    assert (len(bench.core.taken_up), bench.core.rereads) == (1, 1)


async def test_a_file_that_is_gone_changes_nothing(bench, autojump_clock):
    with structlog.testing.capture_logs() as events:
        bench.path.unlink()
        await trio.sleep(3 * LOOK_EVERY_S)

    assert "configuration_not_taken_up" in str(events)
    assert bench.core.taken_up == []


@pytest.mark.slow
def test_the_daemon_takes_up_its_file_on_sighup(tmp_path):
    """The real daemon, its file, and the signal."""
    path = tmp_path / "trellis.yaml"
    text = TEXT.replace("labels:", "web: {listen: '127.0.0.1:0'}\nlabels:", 1)
    path.write_text(text)
    (tmp_path / "clouds.yaml").write_text("clouds: {}")
    command = [sys.executable, "-m", "trellis.cli.main", "serve", "-c", str(path), "--log-json"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        try:
            _read_until(daemon.stderr, "listens at")
            path.write_text(text.replace("alpha", "omega"))
            daemon.send_signal(signal.SIGHUP)
            told = _read_until(daemon.stderr, "configuration_taken_up")
            assert '"omega"' in told
            assert '"alpha"' in told
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.communicate(timeout=20)
    assert daemon.returncode == 0


def _read_until(lines, word: str) -> str:
    seen = []
    for line in lines:
        seen.append(line)
        if word in line:
            return line
    raise AssertionError("".join(seen))
