"""`trellis demo` as people run it: how it ends, what it leaves, what it says when it goes wrong."""

import base64
import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

pytestmark = pytest.mark.slow
PATIENCE_S = 120.0
"""Longest wait for a fact; a loaded machine starts three processes in some seconds."""
GONE_WITHIN_S = 20.0


class Run:
    """A demo without a terminal, in a temporary folder of the test."""

    def __init__(self, tmp_path: Path, *options: str) -> None:
        self.temporary = tmp_path / "temporary"
        self.temporary.mkdir()
        self.folder = tmp_path / "demo"
        self._written = tmp_path / "written"
        with self._written.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trellis.cli.main", "demo", "--listen", "127.0.0.1:0",
                 *options],
                stdout=out, stderr=out, env={**os.environ, "TMPDIR": str(self.temporary)},
            )  # fmt: skip

    @property
    def text(self) -> str:
        return self._written.read_text()

    def says(self, pattern: str) -> str:
        """Wait until it has written this; what the group matched, or all."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if found := re.search(pattern, self.text):
                return found[found.re.groups]
            assert self.process.poll() is None, f"it has ended:\n{self.text}"
            time.sleep(0.02)
        raise AssertionError(f"it does not say {pattern!r}:\n{self.text}")

    def children(self) -> dict[str, int]:
        """Its processes, by the command of trellis that each runs."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        pids = [*map(int, listed.split())]
        # Children of other threads are listed with those.
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            pids += [*map(int, (task / "children").read_text().split())]
        found = {}
        for pid in pids:
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if "trellis.cli.tied" in words:
                found[words[words.index("trellis.cli.tied") + 1]] = pid
        return found

    def ended(self) -> int:
        """Wait until it has ended: the exit status."""
        return self.process.wait(PATIENCE_S)


@contextmanager
def running(tmp_path: Path, *options: str) -> Iterator[Run]:
    run = Run(tmp_path, "--headless", *options)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait(PATIENCE_S)


def gone(pid: int) -> bool:
    """Whether a process ends soon."""
    until = time.monotonic() + GONE_WITHIN_S
    while time.monotonic() < until:
        # One that nobody waits for any more is as good as gone.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.05)
                continue
        return True
    return False


def leave_behind(clouds_yaml: Path) -> str:
    """Make a server and a keypair at the simulated OVH as somebody with our credentials would."""
    auth = yaml.safe_load(clouds_yaml.read_text())["clouds"]["ovh"]["auth"]
    domain = {"name": auth["user_domain_name"]}
    user = {"name": auth["username"], "password": auth["password"], "domain": domain}
    scope = {"project": {"name": auth["project_name"], "domain": domain}}
    identity = {"methods": ["password"], "password": {"user": user}}
    url = auth["auth_url"].removesuffix("/v3") + "/v3/auth/tokens"
    answer = httpx.post(url, json={"auth": {"identity": identity, "scope": scope}})
    urls = {
        service["type"]: endpoint["url"]
        for service in answer.json()["token"]["catalog"]
        for endpoint in service["endpoints"]
        if endpoint["interface"] == "public" and endpoint["region"] == "GRA1"
    }
    ours = {"headers": {"x-auth-token": answer.headers["x-subject-token"]}}
    flavor = httpx.get(f"{urls['compute']}/flavors", **ours).json()["flavors"][0]["id"]
    image = httpx.get(f"{urls['image']}/v2/images", **ours).json()["images"][0]["id"]
    body = {"server": {"name": "left-behind", "flavorRef": flavor, "imageRef": image}}
    made = httpx.post(f"{urls['compute']}/servers", json=body, **ours)
    assert 202 == made.status_code, made.text
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)
    public_key = f"ssh-ed25519 {base64.b64encode(blob).decode()}"
    body = {"keypair": {"name": "left-key", "public_key": public_key}}
    key = httpx.post(f"{urls['compute']}/os-keypairs", json=body, **ours)
    assert key.status_code in (200, 201), key.text
    return str(made.json()["server"]["id"])


def test_a_demo_ends_by_itself_with_every_promise_held(tmp_path):
    """Exit code 0, a verdict on each promise, no process and no folder left."""
    with running(tmp_path, "--for", "5", "--seed", "4") as run:
        run.says("first node ready after")
        children = run.children()
        status = run.ended()

    assert 0 == status, run.text
    assert {"cloud", "serve"} == children.keys()
    assert all(map(gone, children.values()))
    assert [] == list(run.temporary.iterdir())
    assert 8 == len(re.findall(r"^P\d .* held *$", run.text, re.M))
    assert "BROKEN" not in run.text
    assert re.search(r"^requests +\d+ \(.*fulfilled", run.text, re.M)
    assert re.search(r"^API calls +[\d.]+ a node", run.text, re.M)
    assert run.text.startswith("dashboard: http://127.0.0.1:")


def test_a_server_left_behind_is_found_by_the_look_at_the_clouds(tmp_path):
    """The daemon knows nothing of it; the demo names it, and where the logs are; exit code 1."""
    folder = tmp_path / "demo"
    with running(tmp_path, "--for", "5", "--calm", "--folder", str(folder)) as run:
        run.says("first node ready after")
        server = leave_behind(folder / "clouds" / "clouds.yaml")
        status = run.ended()

    assert 1 == status, run.text
    assert re.search(rf"^P2: ovh still has server {server} left-behind", run.text, re.M)
    assert re.search(r"^P2: ovh still has keypair \S+ left-key", run.text, re.M)
    assert re.search(r"^P3: ovh made left-behind, of no node", run.text, re.M)
    assert re.search(r"^P2 +nothing of ours is left +BROKEN", run.text, re.M)
    assert str(folder / "daemon.log") in run.text
    assert (folder / "daemon.log").read_text()


def test_a_daemon_that_dies_ends_the_demo_with_its_log(tmp_path):
    """The clouds end too; the folder stays, for its logs."""
    with running(tmp_path) as run:
        run.says("first node ready after")
        children = run.children()
        os.kill(children["serve"], signal.SIGKILL)
        status = run.ended()

    assert 1 == status, run.text
    assert "the daemon has ended with signal SIGKILL" in run.text
    assert re.search(r"^ *\| .*Z (INFO|WARNING) \w+", run.text, re.M), run.text
    assert "Traceback" not in run.text
    assert gone(children["cloud"])
    log = Path(re.search(r"^logs: (\S+)", run.text, re.M)[1])
    assert run.temporary in log.parents
    assert log.exists()


@pytest.mark.parametrize("pause_s", [0.0, 0.4, 1.5], ids="after {} s".format)
def test_ctrl_c_while_it_starts_leaves_nothing(tmp_path, pause_s):
    """Where nothing was judged it is no success; a quick machine has a daemon by then."""
    with running(tmp_path) as run:
        run.says("dashboard:")
        time.sleep(pause_s)
        children = run.children()
        run.process.send_signal(signal.SIGINT)
        status = run.ended()

    assert (0 if "ending:" in run.text else 130) == status, run.text
    assert "Traceback" not in run.text
    assert all(map(gone, children.values()))
    assert [] == list(run.temporary.iterdir())


def test_a_second_ctrl_c_ends_it_at_once(tmp_path):
    """Its processes all the same."""
    with running(tmp_path) as run:
        run.says("first node ready after")
        children = run.children()
        run.process.send_signal(signal.SIGINT)
        run.says("ending:")
        run.process.send_signal(signal.SIGINT)
        status = run.ended()

    assert 130 == status, run.text
    assert "nothing was judged" in run.text
    assert all(map(gone, children.values()))
    assert [] == list(run.temporary.iterdir())


def test_killed_it_leaves_no_process(tmp_path):
    """They notice that it is gone."""
    with running(tmp_path) as run:
        run.says("first node ready after")
        children = run.children()
        run.process.kill()
        run.ended()

    assert {"cloud", "serve"} == children.keys()
    assert all(map(gone, children.values()))


def test_two_demos_at_one_address(tmp_path):
    """The second says which it is, and how to choose another; the first goes on."""
    with running(tmp_path, "--calm") as run:
        port = run.says(r"dashboard: http://127.0.0.1:(\d+)/")
        run.says("first node ready after")
        command = [sys.executable, "-m", "trellis.cli.main", "demo", "--headless", "--listen"]
        second = subprocess.run(
            [*command, f"127.0.0.1:{port}"], capture_output=True, text=True, timeout=PATIENCE_S
        )

        assert 1 == second.returncode
        assert f"127.0.0.1:{port} cannot be used" in second.stderr
        assert "--listen 127.0.0.1:0" in second.stderr
        assert 200 == httpx.get(f"http://127.0.0.1:{port}/healthz").status_code


@contextmanager
def terminal(tmp_path: Path, **environment: str) -> Iterator[tuple[int, int]]:
    """A demo on a terminal of its own: its process id, and the terminal's other end."""
    command = [sys.executable, "-m", "trellis.cli.main", "demo", "--listen", "127.0.0.1:0"]
    ours = {**os.environ, "TMPDIR": str(tmp_path), "TERM": "xterm-256color", **environment}
    pid, end = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [*command, "--calm"], ours)
    try:
        yield pid, end
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(end)


def read_until(end: int, wanted: str) -> str:
    """What the terminal shows until this is among it; "" is until it hangs up."""
    text, until = "", time.monotonic() + PATIENCE_S
    while time.monotonic() < until and not (wanted and wanted in text):
        if select.select([end], [], [], 0.2)[0]:
            try:
                text += os.read(end, 65536).decode(errors="replace")
            except OSError:
                return text  # the other end has hung up
    assert wanted in text
    return text


def test_on_a_terminal_it_is_drawn_and_ctrl_c_puts_the_terminal_back(tmp_path):
    """The alternate screen is left, the cursor shown, and the summary stays to be read."""
    with terminal(tmp_path, LINES="24", COLUMNS="80") as (pid, end):
        seen = read_until(end, " in-use")
        # As a person would: the terminal sends the signal to all that run in its foreground.
        os.write(end, b"\x03")
        seen += read_until(end, "")
        _, status = os.waitpid(pid, 0)

    assert 0 == os.waitstatus_to_exitcode(status), seen[-3000:]
    drawn, _, after = seen.rpartition("\x1b[?1049l")
    assert "\x1b[?1049h" in drawn
    assert "Ctrl-C: end" in drawn
    assert "\x1b[?25h" in drawn[-200:] + after
    assert "Every promise was held" in after
    assert [] == list(tmp_path.iterdir())


def test_a_dumb_terminal_gets_lines(tmp_path):
    """Nothing that would steer it."""
    with terminal(tmp_path, TERM="dumb") as (_, end):
        seen = read_until(end, "first node ready after")

    assert "\x1b" not in seen


@pytest.mark.parametrize("name", ["SCENARIO", "STOCK"])
def test_the_scenario_is_whole(name):
    """Three clouds of different kinds, and a configuration for them, by the same names."""
    from trellis.demo import run
    from trellis.sim.scenario_file import load_clouds

    loaded = load_clouds(getattr(run, name))
    configuration = yaml.safe_load(loaded.configuration)

    assert ["ovh", "rackspace", "hpcloud"] == [cloud.name for cloud in loaded.clouds]
    assert json.dumps(configuration["labels"]).count("debian-12") == 2
    assert ["ovh-gra1", "ovh-bhs1", "rackspace-dfw", "hpcloud-b"] == [
        provider["name"] for provider in configuration["providers"]
    ]
    of_plugins = {provider["type"] for provider in configuration["providers"]}
    assert of_plugins == ({*run.PLUGINS} if name == "SCENARIO" else {"openstack"})
    twins = {cloud.twin for cloud in loaded.clouds}
    assert twins == ({*run.PLUGINS} if name == "SCENARIO" else {None})


def test_all_three_plugins_serve(tmp_path):
    """A node of each cloud is handed out, by its plugin, on its twin."""
    with running(tmp_path, "--calm", "--folder", str(tmp_path / "demo")) as run:
        url = run.says(r"dashboard: (http://127.0.0.1:\d+)/")
        run.says("first node ready after")
        found, until = set(), time.monotonic() + PATIENCE_S
        while len(found) < 4 and time.monotonic() < until:
            nodes = httpx.get(f"{url}/api/v1/nodes", params={"state": "in-use"}).json()["items"]
            found |= {node["provider"] for node in nodes}
            time.sleep(0.1)
        types = {x["type"] for x in httpx.get(f"{url}/api/v1/providers").json()["items"]}

    assert {"ovh-gra1", "ovh-bhs1", "rackspace-dfw", "hpcloud-b"} == found
    assert {"ovh", "rackspace", "hpcloud"} == types


def test_without_a_plugin_stock_clouds_stand_for_all_three(tmp_path, monkeypatch):
    """It is said, with what to install, and the demo runs all the same."""
    monkeypatch.setenv("TRELLIS_DISABLED_PLUGINS", "trellis-hpcloud,ovh")
    with running(tmp_path, "--for", "10", "--calm") as run:
        url = run.says(r"dashboard: (http://127.0.0.1:\d+)/")
        run.says("first node ready after")
        types = {x["type"] for x in httpx.get(f"{url}/api/v1/providers").json()["items"]}
        status = run.ended()

    assert 0 == status, run.text
    assert "are not all there: pip install trellis-ovh trellis-hpcloud" in run.text
    assert {"openstack"} == types
