"""Where the demo works: its folder, its address, its processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from trellis.config.addresses import ListenAddress
from trellis.demo.child import ChildEndedError, started
from trellis.demo.workplace import address, workplace
from trellis.errors import ConfigError

SOON_S = 30.0


def test_a_folder_of_its_own_goes_unless_it_is_to_be_kept():
    """And what is in it."""
    with workplace(None) as place:
        (place.path / "trellis.yaml").touch()
    assert not place.path.exists()

    with workplace(None) as kept:
        kept.keep = True
    assert kept.path.exists()
    (kept.path / ".trellis-demo").unlink()
    kept.path.rmdir()


def test_a_named_folder_stays_and_can_be_used_again(tmp_path):
    """Records of the last time's clouds are not there any more."""
    with workplace(tmp_path / "a" / "b") as place:
        (place.path / "demo.db").touch()
        place.daemon_log.touch()
    with workplace(tmp_path / "a" / "b") as place:
        assert not (place.path / "demo.db").exists()

    assert place.path.exists()


def test_a_folder_with_somebody_elses_files_is_left_alone(tmp_path):
    """It might be where he keeps his own trellis.yaml."""
    (tmp_path / "trellis.yaml").write_text("mine")

    with pytest.raises(ConfigError, match="left alone"), workplace(tmp_path):
        pass

    assert "mine" == (tmp_path / "trellis.yaml").read_text()


def test_two_demos_in_one_folder(tmp_path):
    """The second is told which process has it."""
    with (
        workplace(tmp_path),
        pytest.raises(ConfigError, match=rf"process {os.getpid()}\) works in"),
        workplace(tmp_path),
    ):
        pass


@pytest.mark.parametrize("name", ["file", "/proc/nowhere"])
def test_a_folder_that_cannot_be_made(name, tmp_path):
    """A file, or a place where nobody may write."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match="folder"), workplace(tmp_path / name):
        pass


def test_a_port_that_is_taken_is_named_with_a_way_out():
    """Free ones are found."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as refused:
            address(ListenAddress(host="127.0.0.1", port=port))
    said = str(refused.value)

    assert f"127.0.0.1:{port}" in said
    assert "--listen 127.0.0.1:0" in said
    assert address(ListenAddress(host="127.0.0.1", port=0)).port > 0


def test_the_configuration_is_that_of_the_clouds_at_our_address(tmp_path):
    """Its store is one that no other daemon uses."""
    written = tmp_path / "written.yaml"
    written.write_text("deployment: demo\nstore: sqlite:x.db\nweb: {listen: '127.0.0.1:8480'}\n")
    with workplace(tmp_path / "demo") as place:
        place.configure(written, ListenAddress(host="127.0.0.1", port=9000))
        text = place.configuration.read_text()

    assert "deployment: demo" in text
    assert "127.0.0.1:9000" in text
    assert "sqlite:demo.db" in text


class CallBrokeError(Exception):
    """Stands for what a call raises when its connection breaks."""


async def test_a_process_that_ends_by_itself_ends_the_block_and_shows_its_log(tmp_path):
    """What it wrote last is in the error, with how it ended."""
    log = tmp_path / "x.log"
    command = [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"]

    with pytest.RaisesGroup(ChildEndedError) as raised:
        async with started("the thing", command, folder=tmp_path, log=log):
            await trio.sleep(SOON_S)

    (error,) = raised.value.exceptions
    assert "the thing has ended with status 3" in str(error)
    assert "| the reason" in str(error)


async def test_a_process_that_dies_is_told_of_though_a_call_to_it_broke_first(tmp_path):
    """The broken call is known at once, the end of the process only a moment later."""
    command = [sys.executable, "-c", "import time; time.sleep(600)"]

    with pytest.RaisesGroup(CallBrokeError, ChildEndedError):
        async with started("it", command, folder=tmp_path, log=tmp_path / "x.log") as child:
            os.kill(child.pid, signal.SIGKILL)
            raise CallBrokeError


@pytest.mark.slow
async def test_a_process_does_not_outlive_the_block(tmp_path):
    """Also if the block is cancelled."""
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with trio.move_on_after(0.3):
        async with started("it", command, folder=tmp_path, log=tmp_path / "x.log") as child:
            await trio.sleep_forever()

    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


async def test_a_process_in_good_order_answers_and_stops(tmp_path):
    """It begins when it is told to, and its exit status is known."""
    code = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5));"
        "sys.stdin.readline(); print('{\"a\": 1}', flush=True); signal.pause()"
    )
    async with started(
        "it", [sys.executable, "-c", code], folder=tmp_path, log=tmp_path / "x.log", speaks=True
    ) as child:
        await child.begin()
        said = await child.first_line()
        status = await child.stop()

    assert {"a": 1} == said
    assert 5 == status


@contextmanager
def tied(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "trellis.cli.tied", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_tied_command_waits_for_its_word():
    """What it reads may not be there before."""
    with tied("--version") as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2.0)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()

        assert 0 == process.wait(30)
        assert b"trellis" in process.stdout.read()


@pytest.mark.slow
def test_a_tied_command_ends_with_the_pipe(tmp_path):
    """No parent, no child; it ends in good order."""
    with tied("cloud", "--folder", str(tmp_path), "-o", "json") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert "url" in json.loads(process.stdout.readline())
        process.stdin.close()

        assert 0 == process.wait(30)


@pytest.mark.slow
def test_a_tied_command_that_is_never_told_ends_too():
    """Its parent died before it was ready."""
    with tied("serve") as process:
        assert process.stdin is not None
        process.stdin.close()

        assert 1 == process.wait(30)


@pytest.mark.slow
def test_the_time_since_the_start_counts_imports():
    """It is that of the process, not of the program."""
    code = "import time; time.sleep(0.3); from trellis.demo.stage import since_start_s; "
    began = time.monotonic()
    said = subprocess.run(
        [sys.executable, "-c", code + "print(since_start_s())"], capture_output=True, check=True
    ).stdout

    assert 0.3 <= float(said) <= time.monotonic() - began + 0.02
