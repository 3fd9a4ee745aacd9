"""`trellis serve` as people meet it: how it refuses to start, how it ends, what survives it."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.daemon.process import PATIENCE_S, Daemon

pytestmark = pytest.mark.slow
SOON_S = 15.0
"""Five seconds of grace, and room for a loaded machine."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB, with a store's folder in it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        made = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs the command mount")
    if made.returncode != 0:
        pytest.skip(f"needs root, to mount a small tmpfs: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def refuses(daemon: Daemon, *words: str) -> str:
    """It ends with 1 and one line that has these words; returns all that it wrote."""
    with daemon:
        status = daemon.launch().ended()
    written = daemon.stderr
    assert 1 == status, written
    assert "Traceback" not in written
    errors = [line for line in written.splitlines() if all(word in line for word in words)]
    assert 1 == len(errors), f"{words} are not in one line of:\n{written}"
    return written


# --------------------------------------------------------------------- refusing to start


def test_a_wrong_configuration_is_told_with_file_line_and_remedy(tmp_path):
    """Every fault is one line; nothing has been made."""
    daemon = Daemon(tmp_path)
    text = (tmp_path / "trellis.yaml").read_text()
    (tmp_path / "trellis.yaml").write_text(text.replace("deployment:", "deploymnet:"))

    written = refuses(daemon, "trellis.yaml:2:", "deploymnet")

    assert "deployment" in written
    assert not (tmp_path / "trellis.db").exists()


def test_a_configuration_that_is_not_there_is_named(tmp_path):
    """The path that was looked for is in the message."""
    daemon = Daemon(tmp_path)
    (tmp_path / "trellis.yaml").unlink()

    refuses(daemon, "trellis.yaml", "there is no such file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_configuration_that_may_not_be_read_is_named(tmp_path):
    """Whose permission is missing on what."""
    daemon = Daemon(tmp_path)
    (tmp_path / "trellis.yaml").chmod(0)

    refuses(daemon, "trellis.yaml", "cannot be read: Permission denied")


def test_an_unknown_option_is_a_usage_error(tmp_path):
    """Exit code 2 is for the command line itself."""
    with Daemon(tmp_path) as daemon:
        status = daemon.launch("--nonsense").ended()

    assert 2 == status
    assert "No such option" in daemon.stderr


def test_a_port_that_is_taken_is_named(tmp_path):
    """The address and what to do about it, and nothing of the tasks that had begun."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        refuses(
            Daemon(tmp_path, port=port),
            f"cannot listen at 127.0.0.1:{port}",
            "stop what listens there",
        )


def test_a_second_daemon_on_one_store_refuses_and_names_the_first(tmp_path):
    """Process and host of the holder; the first goes on serving."""
    with Daemon(tmp_path) as first:
        first.start()

        refuses(
            Daemon(tmp_path),
            f"is in use by pid {first.pid} on {socket.gethostname()}",
            "Stop that daemon first",
        )

        assert 200 == first.get("/healthz").status_code
        assert 201 == first.submit().status_code


def test_the_store_of_another_deployment_is_refused(tmp_path):
    """Both names, and both ways out."""
    with Daemon(tmp_path, deployment="one") as first:
        first.start().stop()

    refuses(
        Daemon(tmp_path, deployment="two"),
        "belongs to deployment 'one'",
        "says 'two'",
        "correct `deployment:`",
    )


def test_a_store_of_a_newer_release_is_refused_with_the_way_back(tmp_path):
    """The schemas, and what to do with which files."""
    with Daemon(tmp_path) as first:
        first.start().stop()
    with contextlib.closing(sqlite3.connect(tmp_path / "trellis.db")) as store:
        store.execute("PRAGMA user_version = 99")

    refuses(Daemon(tmp_path), "has schema 99", "written by a newer release", "to go back")


def test_a_folder_that_cannot_be_written_is_named(tmp_path, request):
    """The lock is the first thing that needs it."""
    if os.geteuid() == 0:  # whom only a read-only file system stops
        folder = request.getfixturevalue("small_disk")
        remount(folder, "ro")
    else:
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o500)

    refuses(
        Daemon(tmp_path, store=folder / "trellis.db"),
        f"store {folder}/trellis.db",
        "The daemon must be able to write in this folder",
    )


def test_a_store_in_a_folder_that_is_not_there_is_named(tmp_path):
    """Folders are not made on the way: a typing error must not begin an empty store."""
    refuses(Daemon(tmp_path, store="nowhere/trellis.db"), "nowhere/trellis.db", "No such file")


def test_a_store_that_is_no_store_is_refused(tmp_path):
    """A damaged file is named as such, and left as it is."""
    (tmp_path / "trellis.db").write_bytes(b"this is a letter to my aunt\n" * 100)

    refuses(Daemon(tmp_path), "trellis.db", "is no SQLite file", "Restore it from a copy")

    assert (tmp_path / "trellis.db").read_bytes().startswith(b"this is a letter")


# ------------------------------------------------------------------------- a full disk


def test_a_full_disk_ends_the_daemon_and_loses_nothing_acknowledged(tmp_path, small_disk):
    """It says so and ends with 1; with room again, every request it said yes to is there."""
    store = small_disk / "trellis.db"
    acknowledged: list[str] = []
    much = {f"key-{number}": "x" * 250 for number in range(16)}
    with Daemon(tmp_path, store=store) as daemon:
        daemon.start()
        with contextlib.suppress(httpx.TransportError):
            for number in range(2000):
                answer = daemon.submit(number, metadata=much)
                if answer.status_code >= 500:
                    break
                assert 201 == answer.status_code, answer.text
                acknowledged.append(answer.json()["id"])
        status = daemon.ended()
        written = daemon.stderr

    assert 1 == status, written
    assert "Traceback" not in written
    told = [line for line in written.splitlines() if "no room left on its disk" in line]
    assert 1 == len(told), written
    assert str(store) in told[0]
    assert "Free some and start the daemon again" in told[0]
    assert 10 < len(acknowledged) < 2000

    remount(small_disk, "size=32m")
    with Daemon(tmp_path, store=store) as again:
        again.start()
        for request_id in acknowledged:
            assert 200 == again.get(f"/api/v1/requests/{request_id}").status_code


# ------------------------------------------------------------------------------- ending


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_ends_it_soon_although_somebody_waits(by, tmp_path):
    """A long poll and an event stream are open; the exit code is 0 and nothing is wrong."""
    with Daemon(tmp_path) as daemon:
        daemon.start()
        request_id = daemon.submit().json()["id"]
        poll = threading.Thread(
            target=_until_the_end, args=(f"{daemon.url}/api/v1/requests/{request_id}?wait_s=60",)
        )
        stream = threading.Thread(target=_until_the_end, args=(f"{daemon.url}/api/v1/events",))
        poll.start()
        stream.start()
        _both_are_waiting(daemon)

        status, took_s = daemon.stop(by)

        poll.join(PATIENCE_S)
        stream.join(PATIENCE_S)
        assert 0 == status, daemon.stderr
        assert took_s < SOON_S
        assert "Traceback" not in daemon.stderr
        assert f"signal={by.name}" in daemon.stderr


def _until_the_end(url: str) -> None:
    with (
        contextlib.suppress(httpx.TransportError),
        httpx.stream("GET", url, timeout=PATIENCE_S) as answer,
    ):
        for _ in answer.iter_bytes():
            pass


def _both_are_waiting(daemon: Daemon) -> None:
    """Wait until two connections beside ours are open, as the kernel sees them."""
    port = int(daemon.url.rpartition(":")[2])
    until = time.monotonic() + PATIENCE_S
    while _connections_to(port) < 2:
        assert time.monotonic() < until, "the waiting calls never came through"
        time.sleep(0.05)


def _connections_to(port: int) -> int:
    established = "01"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(r[2].endswith(f":{port:04X}") and r[3] == established for r in rows)


# ----------------------------------------------------------------------- what survives


def test_a_killed_daemon_knows_its_requests_when_it_is_back(tmp_path):
    """Every request that was acknowledged is there, and its key still leads to it."""
    with Daemon(tmp_path) as first:
        first.start()
        acknowledged = [first.submit(number).json()["id"] for number in range(20)]
        cancelled = acknowledged.pop()
        assert 200 == httpx.delete(f"{first.url}/api/v1/requests/{cancelled}").status_code
        first.kill()

    with Daemon(tmp_path) as second:
        second.start()
        states = {
            row["id"]: row["state"]
            for row in second.get("/api/v1/requests?limit=100").json()["items"]
        }
        again = second.submit(0)

        assert dict.fromkeys(acknowledged, "requested") == states
        assert "cancelled" == second.get(f"/api/v1/requests/{cancelled}").json()["state"]
        assert acknowledged[0] == again.json()["id"]


def test_it_is_alive_and_not_ready_while_no_provider_is_available(tmp_path):
    """`healthz` says that it runs, `readyz` what stands in the way; requests are taken."""
    with Daemon(tmp_path) as daemon:
        daemon.start()
        until = time.monotonic() + PATIENCE_S
        while "no connection" not in (ready := daemon.get("/readyz")).text:
            assert time.monotonic() < until, ready.text
            time.sleep(0.1)

        assert 200 == daemon.get("/healthz").status_code
        assert 503 == ready.status_code
        assert "no provider is available: alpha: unavailable" in ready.json()["detail"]
        assert "no connection to http://127.0.0.1:" in ready.json()["detail"]
        assert 201 == daemon.submit().status_code
        assert "a-secret-of-this-test" not in daemon.stderr
        told = [line for line in daemon.stderr.splitlines() if "provider_health" in line]
        assert 1 == len(told), "told at every probe"
