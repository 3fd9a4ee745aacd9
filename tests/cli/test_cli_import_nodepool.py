"""`trellis config import-nodepool`: what goes where, and when nothing is written."""

import json
import stat

import pytest

from tests.nodepool.example import BUILDER, LAUNCHER
from tests.nodepool.test_nodepool_sites import FOCAL, SECOND
from trellis import plugin_host
from trellis.nodepool.pool_blocks import PoolBlocks


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the files of a launcher and a builder, where the command is typed."""
    (tmp_path / "nl01.yaml").write_text(LAUNCHER.replace("zookeeper", "#zookeeper", 1))
    (tmp_path / "nb01.yaml").write_text(BUILDER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_result_is_on_stdout_and_the_report_on_stderr(folder, run):
    """So that it can be sent to a file."""
    result = run("config", "import-nodepool", "nl01.yaml", "nb01.yaml")

    assert result.exit_code == 0
    (folder / "trellis.yaml").write_text(result.stdout)
    assert "deployment: ci-main\n" in result.stdout
    assert "no zookeeper-servers" in result.stderr
    assert "(1 labels, 1 pools, 2 images): the same\n" in result.stderr
    assert run("config", "check", "trellis.yaml", "--offline").exit_code == 0


def test_file_is_written_for_its_owner_and_never_over_another(folder, run):
    """It can hold secrets; and a second time the first result may have been worked on."""
    command = ("config", "import-nodepool", "nl01.yaml", "nb01.yaml", "--to", "new/t.yaml")
    first = run(*command)
    written = (folder / "new/t.yaml").read_text()
    (folder / "new/t.yaml").write_text("mine")

    second = run(*command)

    assert (first.exit_code, first.stdout) == (0, "")
    assert "  - name: rax-dfw\n" in written
    assert stat.S_IMODE((folder / "new/t.yaml").stat().st_mode) == 0o600
    assert second.exit_code == 1
    assert "new/t.yaml: is there already" in second.stderr
    assert (folder / "new/t.yaml").read_text() == "mine"


def test_report_as_data_goes_to_stdout_alone(folder, run):
    """The result itself, which can hold secrets, does not."""
    (folder / "secure.yaml").write_text(
        "diskimages: [{name: ubuntu-jammy, env-vars: {PASSWORD: hunter2}}]"
    )
    files = ("nl01.yaml", "nb01.yaml", "-s", "secure.yaml", "--to", "t.yaml", "-o", "json")
    result = run("config", "import-nodepool", *files)

    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert (data["ok"], data["faults"]) == (True, [])
    (one,) = data["results"]
    assert (one["file"], one["differences"]) == ("t.yaml", [])
    assert {"kind", "place", "path", "key", "message"} == set(one["changes"][0])
    assert "hunter2" not in result.stdout + result.stderr
    assert "hunter2" in (folder / "t.yaml").read_text()


def test_one_file_a_launcher(folder, run):
    """Each in a folder of its own."""
    (folder / "nl02.yaml").write_text(SECOND.replace("zookeeper", "#zookeeper", 1))
    (folder / "nb01.yaml").write_text(BUILDER + FOCAL)
    command = ("config", "import-nodepool", "nl01.yaml", "nl02.yaml", "nb01.yaml")

    result = run(*command, "--each", "new", "--deployment", "site")

    assert result.exit_code == 0, result.stderr
    written = {name: (folder / f"new/{name}/trellis.yaml").read_text() for name in ("nl01", "nl02")}
    assert "deployment: site-nl01\n" in written["nl01"]
    assert "deployment: site-nl02\n" in written["nl02"]
    assert "rax-dfw" not in written["nl02"].split("deployment:")[1]


def test_faults_of_all_files_are_told_and_nothing_is_written(folder, run):
    (folder / "nl01.yaml").write_text("labels: [{name: a}, {name: a}]")
    (folder / "nb01.yaml").write_text("- x")
    (folder / "nb02.yaml").write_text("elements-dir: %(NODEPOOL_NOT_SET)")
    files = ("nl01.yaml", "nb01.yaml", "nb02.yaml", "lost.yaml")

    result = run("config", "import-nodepool", *files, "--to", "t.yaml")
    as_data = run("config", "import-nodepool", *files, "-o", "json")

    assert (result.exit_code, result.stdout) == (1, "")
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [
        "nl01.yaml:1:28", "nb01.yaml:1:1", "nb02.yaml:1:15", "lost.yaml",
    ]  # fmt: skip
    assert not (folder / "t.yaml").exists()
    assert as_data.exit_code == 1
    assert len(json.loads(as_data.stdout)["faults"]) == 4


def test_variables_come_from_the_environment(folder, run, monkeypatch):
    monkeypatch.setenv("NODEPOOL_MOST", "7")
    text = (folder / "nl01.yaml").read_text()
    (folder / "nl01.yaml").write_text(text.replace("140", "%(NODEPOOL_MOST)"))

    result = run("config", "import-nodepool", "nl01.yaml", "nb01.yaml")

    assert "        max-servers: 7\n" in result.stdout


def test_result_that_is_not_what_the_files_say_is_not_written(folder, run, monkeypatch):
    """A fault of the conversion, planted here."""
    monkeypatch.setattr(PoolBlocks, "_memory", lambda *_given: None)

    result = run("config", "import-nodepool", "nl01.yaml", "nb01.yaml", "--to", "t.yaml")

    assert result.exit_code == 1
    assert "offer rax-dfw main jammy min-ram: 8192 with Nodepool, None here" in result.stderr
    assert "nothing was written" in result.stderr
    assert not (folder / "t.yaml").exists()


def test_type_that_no_plugin_has_is_told(folder, run):
    files = ("nl01.yaml", "nb01.yaml", "--type", "rax=rackspaec")
    result = run("config", "import-nodepool", *files)
    wrong = run("config", "import-nodepool", *files[:2], "--type", "rax")

    assert result.exit_code == 1
    assert "no plugin registers the type 'rackspaec'" in result.stderr
    assert wrong.exit_code == 2


def test_plugin_for_zuul_that_is_not_installed_is_told(folder, run, monkeypatch):
    """The result names it all the same: it is needed where the daemon runs."""
    (folder / "nl01.yaml").write_text(LAUNCHER)
    monkeypatch.setattr(
        plugin_host, "load_plugins",
        lambda *_given: plugin_host.PluginHost(plugin_host.built_in_plugins()),
    )  # fmt: skip

    result = run("config", "import-nodepool", "nl01.yaml", "nb01.yaml")

    assert result.exit_code == 0
    assert "    type: zuul\n" in result.stdout
    assert "the plugin for Zuul is not installed" in result.stderr
