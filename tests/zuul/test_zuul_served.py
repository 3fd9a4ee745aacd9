"""`trellis serve` with a demand source whose ZooKeeper is not there, as a process of its own."""

import time

import pytest

from tests.daemon.process import PATIENCE_S, Daemon
from tests.ports import free_port

pytestmark = pytest.mark.slow


def source() -> str:
    server = f"{{host: 127.0.0.1, port: {free_port()}}}"
    return f"demand-sources: [{{name: zuul, type: zuul, zookeeper-servers: [{server}]}}]\n"


def write(daemon: Daemon, more: str) -> None:
    """Write the daemon's file anew with this at its end."""
    file = daemon.folder / "trellis.yaml"
    text = file.read_text().partition("demand-sources:")[0]
    file.write_text(text + more)


def sources(daemon: Daemon) -> list[dict]:
    return daemon.get("/api/v1/demand-sources").json()["items"]


def until(holds) -> None:
    ends_at = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < ends_at, "it did not come to that"
        time.sleep(0.1)


@pytest.fixture
def without_kazoo(tmp_path, monkeypatch):
    """A host on which kazoo is not installed."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "kazoo.py").write_text("raise ImportError('there is no kazoo here')\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_zookeeper_that_is_not_there_is_said_and_the_rest_goes_on(tmp_path):
    """It is a source among others: requests by REST come in, and the file can be mended."""
    with Daemon(tmp_path) as daemon:
        write(daemon, source())
        daemon.start()

        until(lambda: sources(daemon)[0]["state"] == "troubled")
        (shown,) = sources(daemon)
        assert "127.0.0.1:" in shown["reason"]
        assert shown["crashes"] == 0
        assert "demand source zuul is in trouble" in daemon.get("/readyz").text
        assert 'running{source="zuul"} 0' in daemon.get("/metrics").text
        assert daemon.submit().status_code == 201

        write(daemon, "")
        until(lambda: sources(daemon) == [])
        assert "demand source" not in daemon.get("/readyz").text
        write(daemon, source())
        until(lambda: len(sources(daemon)) == 1)
        assert daemon.stop()[0] == 0
    assert "Traceback" not in daemon.stderr


def test_without_kazoo_all_starts_as_long_as_no_source_wants_it(tmp_path, without_kazoo):
    with Daemon(tmp_path) as daemon:
        daemon.start()

        assert daemon.submit().status_code == 201
        assert daemon.stop()[0] == 0
    assert "kazoo" not in daemon.stderr


def test_without_kazoo_a_source_says_what_to_install(tmp_path, without_kazoo):
    with Daemon(tmp_path) as daemon:
        write(daemon, source())
        daemon.start()

        until(lambda: sources(daemon)[0]["state"] == "troubled")
        assert "pip install 'trellis-ci[zookeeper]'" in sources(daemon)[0]["reason"]
        assert daemon.stop()[0] == 0
    assert "Traceback" not in daemon.stderr
