"""`trellis plugin record`: says what it will make, asks, and writes cassettes."""

import json
import os
import signal
import subprocess
import sys
import time
from random import Random

import pytest
import trio
import yaml
from click.testing import CliRunner

import trellis.http
from trellis.cli.main import main
from trellis.cli.plugin_check import run_interruptible
from trellis.errors import PluginError
from trellis.sim.cloud import CloudSpec, Latency, Lognormal, SimCloud, SimTransport
from trellis.sim.entries import cloud_entry
from trellis.spi.registry import ProviderRegistry
from trellis.testing.cassette import read_provenance

NOW = Lognormal(0.0001, 0.0001)


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    """A cloud without any delay, in place of all wires; its entry is *mycloud*."""
    spec = CloudSpec(name="mycloud", latency=Latency.of(NOW), boot=NOW, delete=NOW)
    cloud = SimCloud(spec, clock=time.monotonic, wall=time.time, random=Random(1))
    file = tmp_path / "clouds.yaml"
    file.write_text(yaml.safe_dump({"clouds": {"mycloud": cloud_entry(cloud, ProviderRegistry())}}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    monkeypatch.delenv("OS_CLOUD", raising=False)
    monkeypatch.setattr(trellis.http, "lane_transports", lambda: lambda _: SimTransport(cloud))
    return cloud


GIVEN = ("plugin", "record", "--type", "openstack", "--cloud", "mycloud", "--into", "tapes/my")


def test_the_stories_are_listed_with_what_they_make(run):
    """Nothing is called for that."""
    result = run("plugin", "record", "--list")

    assert result.exit_code == 0
    assert "launch" in result.stdout
    assert "one server" in result.stdout


def test_without_a_story_all_that_make_nothing_are_recorded(cloud, run, tmp_path):
    """Nobody is asked, as nothing is made."""
    result = run(*GIVEN)

    assert result.exit_code == 0
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.glob("tapes/**/*.yaml"))
    assert found == [
        "tapes/my/compute/limits.yaml", "tapes/my/compute/unknown_server.yaml",
        "tapes/my/identity/login.yaml",
    ]  # fmt: skip
    assert cloud.servers() == ()
    head = read_provenance(tmp_path / "tapes/my/identity/login.yaml")
    assert head.again == (
        "trellis plugin record --type openstack --cloud ENTRY --into tapes/my login"
    )


@pytest.mark.parametrize(("word", "made"), [("y\n", True), ("n\n", False), ("", False)])
def test_what_will_be_made_is_said_and_asked(cloud, tmp_path, word, made):
    """No answer is a no, and nothing has been sent."""
    words = [*GIVEN, "--image", "tiny", "--flavor", "ci-1c-1g", "launch"]

    result = CliRunner().invoke(main, words, input=word)

    assert "launch: one server" in result.stderr
    assert "of image tiny and ci-1c-1g" in result.stderr
    assert (result.exit_code == 0) is made
    assert (tmp_path / "tapes/my/compute/launch.yaml").exists() is made
    assert bool(cloud.ledger.calls) is made
    assert cloud.servers() == ()


def test_yes_asks_nobody(cloud, run, tmp_path):
    """For a machine that records."""
    result = run(*GIVEN, "--image", "tiny", "--yes", "launch")

    assert result.exit_code == 0
    assert "launch" in result.stdout
    assert (tmp_path / "tapes/my/compute/launch.yaml").exists()


def test_a_story_that_cannot_be_told_fails_and_the_others_are_recorded(cloud, run, tmp_path):
    """Here there is room for the server that should be refused."""
    words = (*GIVEN, "--image", "tiny", "--flavor", "ci-1c-1g", "--yes", "over_quota", "login")

    result = run(*words)

    assert result.exit_code == 1
    assert "has room for it" in result.stderr
    assert [p.name for p in tmp_path.glob("tapes/**/*.yaml")] == ["login.yaml"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plugin", "record"), "--type is needed"),
        ((*GIVEN, "launsh"), "no story 'launsh'; there is login"),
        ((*GIVEN, "launch"), "launch: needs --image"),
        ((*GIVEN[:3], "openstac", *GIVEN[4:]), "did you mean openstack"),
    ],
    ids=["nothing-given", "unknown-story", "no-image", "unknown-type"],
)
def test_a_wrong_command_line_ends_with_2(run, words, said):
    """And says what is missing."""
    result = run(*words)

    assert result.exit_code == 2
    assert said in result.stderr


SLOW_CLOUD = """
clouds:
  - name: mycloud
    flavors: [{name: n1, cores: 1, ram-mib: 1024}]
    images: [{name: tiny}]
    boot: {median: 60, p95: 60.1}
    delete: {median: 0.2, p95: 0.3}
"""


@pytest.mark.slow
def test_ctrl_c_deletes_what_was_made_and_writes_nothing(tmp_path):
    """A server that boots for a minute is gone some seconds after the signal."""
    (tmp_path / "slow.yaml").write_text(SLOW_CLOUD)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment["OS_CLIENT_CONFIG_FILE"] = str(tmp_path / "clouds/clouds.yaml")
    started = []

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, "-m", "trellis.cli.main", *words], cwd=tmp_path, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    def servers():
        said, _ = start(
            "plugin", "check", "openstack", "--cloud", "mycloud", "-o", "json"
        ).communicate(timeout=60)
        (found,) = [one for one in json.loads(said)["findings"] if one["what"] == "servers"]
        return found["data"]["servers"]

    try:
        served = json.loads(
            start("cloud", "slow.yaml", "--folder", "clouds", "-o", "json").stdout.readline()
        )
        assert served["clouds"] == ["mycloud"]
        recording = start(*GIVEN, "--image", "tiny", "--yes", "launch")
        until = time.monotonic() + 60
        while servers() == 0:
            assert time.monotonic() < until
        recording.send_signal(signal.SIGINT)
        _, said = recording.communicate(timeout=60)

        assert (recording.returncode, servers()) == (1, 0)
        assert said.endswith("interrupted\n")
        assert "Traceback" not in said
        assert not (tmp_path / "tapes").exists()
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def test_ctrl_c_ends_it_and_what_could_not_be_deleted_is_said(capsys):
    """No further story is begun: the command ends."""

    async def told():
        await trio.lowlevel.checkpoint()
        raise BaseExceptionGroup("", [KeyboardInterrupt(), PluginError("look for server np1")])

    with pytest.raises(SystemExit) as ended:
        run_interruptible(told)

    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert "look for server np1" in said
    assert said.endswith("interrupted\n")


def test_what_is_no_ctrl_c_is_not_taken_for_one():
    """A fault of ours keeps its traceback."""

    async def told():
        await trio.lowlevel.checkpoint()
        raise BaseExceptionGroup("", [KeyboardInterrupt(), KeyError("ours")])

    with pytest.raises(KeyError, match="ours"):
        run_interruptible(told)
