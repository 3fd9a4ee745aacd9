"""The bench itself, on real processes and a handful of nodes. No time is asserted."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from tests.bench.__main__ import main
from tests.bench.child import BrokenRunError
from tests.bench.setup import ALPHA, CloudSetup, Setup, fixed
from tests.bench.stand import stand
from tests.bench.workloads.steady import Burst, Steady

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
QUICK = CloudSetup(name="alpha", boot=fixed(0.2), delete=fixed(0.1))
PATIENCE_S = 30.0


def processes_in(folder: Path) -> list[int]:
    """Ids of processes whose working folder is below this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink().is_relative_to(folder):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


async def test_a_handful_of_nodes_is_measured_from_request_to_gone(tmp_path: Path):
    """Each is created and deleted once, on both sides the same are seen, and nothing runs on."""
    outcome = await Burst(cloud=QUICK, number=5).run(tmp_path)

    assert [] == outcome.faults
    assert 5 == outcome.figures["lives"] == outcome.figures["created"]
    assert 0 == outcome.figures["surplus"]
    assert 1.0 == outcome.calls["POST compute /servers"]
    assert 1.0 == outcome.calls["DELETE compute /servers/*"]
    assert outcome.figures["boot_p50_s"] == pytest.approx(0.2, abs=0.01)
    assert outcome.figures["delete_p50_s"] == pytest.approx(0.1, abs=0.01)
    assert 0 < outcome.figures["ready_p50_s"] <= outcome.figures["ready_p95_s"]
    assert 0 < outcome.figures["gone_p50_s"] < outcome.figures["known_gone_p50_s"]
    assert outcome.figures["daemon_cpu_ms"] > 0
    assert [] == processes_in(tmp_path)


async def test_lives_in_steady_state_are_counted_from_both_ends(tmp_path: Path):
    """The clouds' count of lives in the stretch is the requestors' but for those at its ends."""
    steady = Steady(cloud=QUICK, in_flight=4, ramp_s=0.5, seconds=5.0)

    outcome = await steady.run(tmp_path)

    assert [] == outcome.faults
    counted = outcome.figures["lives_per_s"] * outcome.figures["seconds"]
    assert outcome.figures["lives"] == pytest.approx(counted, abs=8)
    assert outcome.figures["calls_per_node"] >= 2.0


async def test_a_daemon_that_dies_breaks_the_run(tmp_path: Path):
    """The error names the process and its log; the other process is ended too."""
    with pytest.RaisesGroup(
        pytest.RaisesExc(BrokenRunError, match=r"the daemon ended by itself.*daemon\.log")
    ):
        async with stand(Setup(clouds=(ALPHA,)), tmp_path) as running:
            os.kill(running.daemon.pid, signal.SIGKILL)
            await trio.sleep_forever()

    assert [] == processes_in(tmp_path)


async def test_a_daemon_that_cannot_start_is_told_with_its_last_words(tmp_path: Path, monkeypatch):
    """Another process listens at its port: nobody waits a minute to learn of it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("tests.bench.stand.free_port", lambda: port)
        with pytest.RaisesGroup(
            pytest.RaisesExc(BrokenRunError, match=r"(?s)ended by itself.*cannot listen at")
        ):
            async with stand(Setup(clouds=(ALPHA,)), tmp_path):
                pass

    assert [] == processes_in(tmp_path)


def test_ctrl_c_ends_all_processes(tmp_path: Path):
    """Whatever is being measured."""
    words = [sys.executable, "-m", "tests.bench", "in-flight-50", "--folder", str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE) as bench:
        until = time.monotonic() + PATIENCE_S
        while len(processes_in(tmp_path)) < 2:
            assert time.monotonic() < until, "the processes do not start"
            time.sleep(0.05)
        bench.send_signal(signal.SIGINT)
        _, told = bench.communicate(timeout=PATIENCE_S)

    assert b"SIGINT: ending the processes" in told
    assert 1 == bench.returncode
    assert [] == processes_in(tmp_path)


def test_the_figures_are_written_with_the_machine(tmp_path: Path, monkeypatch, capsys):
    """The table goes to stdout, all figures and what a reader must know to the file."""
    monkeypatch.setitem(
        main.__globals__, "SHORT", {"burst-1000": Burst(cloud=QUICK, number=3)}
    )  # fmt: skip
    file = tmp_path / "figures.json"

    status = main(["--short", "--json", str(file), "--folder", str(tmp_path / "runs")])

    assert 0 == status
    written = json.loads(file.read_text())
    assert {"cores", "python", "load_before", "processor", "memory_mib", "kernel"} == set(
        written["machine"]
    )
    assert 3 == written["figures"]["burst-1000"]["lives"]
    assert "API calls per node life, 1,000 filed at once" in [r["what"] for r in written["rows"]]
    assert "release to gone beyond delete" in capsys.readouterr().out


def test_a_broken_run_is_told_by_the_exit_status(tmp_path: Path, monkeypatch, capsys):
    """Its figures mean nothing, and the message says where to look."""
    nobody = CloudSetup(name="alpha", labels=("other",))
    monkeypatch.setitem(main.__globals__, "SHORT", {"sustained": Burst(cloud=nobody, number=1)})

    status = main(["--short", "--folder", str(tmp_path)])

    assert 1 == status
    assert "BROKEN: sustained: the daemon refuses a call" in capsys.readouterr().err


def test_an_unknown_workload_is_refused(capsys):
    """With those that there are."""
    assert 2 == main(["in-flight-49"])
    assert "There is no 'in-flight-49'; there is in-flight-1," in capsys.readouterr().err
