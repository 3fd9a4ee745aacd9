"""A reader who types what a document shows: real processes, a real terminal's environment."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from click.testing import CliRunner

from trellis.cli.main import main

PATIENCE_S = 60.0
"""For a loaded machine; nothing takes so long."""
READY = {"cloud": "Ctrl-C ends the clouds.", "serve": "trellis listens at "}
"""What a program that goes on says when it can be used."""
DESTROYS = re.compile(r"trellis (request cancel|lease release|node (delete|hold)) ")


class NoEndError(BaseException):
    """A command did not end; no command may take it for an error of its own, and go on."""


@attrs.define
class Running:
    """A program that goes on until it is ended."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self, words: str) -> str:
        """What the log says from these words on, once it says them."""
        until = time.monotonic() + PATIENCE_S
        while words not in (text := self.log.read_text(encoding="utf-8")):
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {text}"
            assert time.monotonic() < until, text
            time.sleep(0.05)
        return text.split(words, 1)[1]

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@attrs.define
class Reader:
    """Types lines in a folder.

    Attributes:
        label: what to ask for where an id is needed and nothing is there.
        leaks: what the cloud calls the things that the daemon holds to be leaks.
    """

    folder: Path
    label: str = "debian-12"
    leaks: list[str] = attrs.field(factory=list)
    environment: dict[str, str] = attrs.field(factory=dict)
    _ids: dict[str, str] = attrs.field(factory=dict)
    _running: list[Running] = attrs.field(factory=list)

    # ------------------------------------------------------------ programs that go on

    def start(self, line: str) -> Running:
        """Start a program that goes on, and wait until it can be used.

        It says so: in words, or by its one line of JSON.
        """
        log = self.folder / f"{len(self._running)}.log"
        environment = {**os.environ, **self.environment, "PYTHONUNBUFFERED": "1"}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        with log.open("w") as file:
            process = subprocess.Popen(
                f"exec {line}" if "=" not in line.split()[0] else f"exec env {line}",
                shell=True,
                cwd=self.folder,
                env=environment,
                stdout=file,
                stderr=file,
            )
        running = Running(process, log)
        self._running.append(running)
        verb = re.search(r"trellis (\w+)", line)[1]
        rest = running.said("}\n" if line.endswith("-o json") else READY[verb])
        if verb == "serve":
            self.environment["TRELLIS_URL"] = rest.split()[0]
        return running

    def end(self) -> None:
        """End what goes on still, the last first."""
        for running in reversed(self._running):
            if running.process.poll() is None:
                running.end()

    # --------------------------------------------------------------- programs that end

    def type(self, line: str) -> str:
        """Run a command of `trellis` with the ids that belong there; returns what it said.

        In this process, as starting another takes ten times as long.
        """
        if line.startswith("trellis leak ") and " ID" in line:
            line = line.replace(" ID", f" {self._leak()}")
        elif re.search(r" (ID|0000000042|42)\b", line):
            noun = line.split()[1]
            line = re.sub(r" (ID|0000000042|42)\b", f" {self._id(noun)}", line)
        print(line)
        said = self._run(line)
        if DESTROYS.match(line):
            self._ids.clear()
        if line.startswith("trellis request create"):
            found = re.search(r"[0-9a-f]{32}", said)
            assert found, said
            self._ids.clear()
            self._ids["request"] = found[0]
        return said

    def _run(self, line: str) -> str:
        words = subprocess.run(
            ["bash", "-c", f'printf "%s\\0" {line}'], capture_output=True, text=True, check=True
        ).stdout.split("\0")[1:-1]
        with contextlib.chdir(self.folder), _at_most(PATIENCE_S):
            result = CliRunner(env=self.environment).invoke(main, words)
        problem = f"{result.exit_code}, {result.exception!r}"
        assert result.exit_code == 0, f"{line}: {problem}: {result.output}"
        return result.output

    def tidy(self) -> None:
        """Give back and undo what earlier pages left: each is read by itself."""
        self._ids.clear()
        for request in json.loads(self._run("trellis request list -o json")):
            self._run(f"trellis request cancel {request['id']}")
        for provider in json.loads(self._run("trellis provider list -o json")):
            if provider["pause"]:
                self._run(f"trellis provider resume {provider['name']}")

    def _id(self, noun: str) -> str:
        if "request" not in self._ids:
            self._file()
        if noun not in self._ids:
            request = self._shown()
            if not request["lease"]:
                self._file()  # the page's own has no nodes, or not yet
                request = self._shown()
            self._ids["lease"] = request["lease"]["id"]
            self._ids["node"] = request["nodes"][0]["id"]
        return self._ids[noun]

    def _file(self) -> None:
        made = self._run(f"trellis request create {self.label} --wait -o json")
        self._ids["request"] = re.search(r"[0-9a-f]{32}", made)[0]

    def _shown(self) -> dict[str, Any]:
        shown = self._run(f"trellis request show {self._ids['request']} -o json")
        found: dict[str, Any] = json.loads(shown)
        return found

    def _leak(self) -> str:
        """The id of a leak; waits until it is on the list."""
        until = time.monotonic() + PATIENCE_S
        while True:
            listed = json.loads(self._run("trellis leak list -o json"))
            found = [leak["id"] for leak in listed if leak["external_id"] == self.leaks[0]]
            if found:
                return found[0]
            assert time.monotonic() < until, listed
            time.sleep(0.1)


@contextlib.contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Break off what does not end: a command that waits for ever would stop all tests."""

    def give_up(_signal: int, _frame: object) -> None:
        raise NoEndError(f"no end after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def reading(folder: Path, **options: object) -> Iterator[Reader]:
    """A reader in a folder; whatever he started is ended with him."""
    folder.mkdir(parents=True, exist_ok=True)
    reader = Reader(folder=folder, **options)
    try:
        yield reader
    finally:
        reader.end()
