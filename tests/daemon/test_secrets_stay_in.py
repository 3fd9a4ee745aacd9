"""What a whole daemon writes, answers and keeps holds none of the secrets it was given (P11)."""

import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import yaml

from tests.daemon.process import PATIENCE_S, Daemon
from tests.sim.serving.served import clouds_of, spec_of
from trellis.sim.cloud.fault_spec import Faults
from trellis.sim.cloud.spec import Credentials
from trellis.sim.serving.stub_nodes import StubNodes

pytestmark = pytest.mark.slow

WRONG, RIGHT = "never-shown-WRONG-0815", "never-shown-RIGHT-4711"
TOKEN = re.compile(r"gAAAAA[\w-]{20,}")
FAULTS = Faults(server_error=0.1, html_answer=0.05, boot_error=0.1, lose_answer=0.05)

CONFIGURATION = """
deployment: secrets
store: sqlite:trellis.db
web: {listen: "127.0.0.1:0"}
labels: [{name: small}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    create-settle: 2s
    pools:
      - name: main
        labels:
          - {name: small, cloud-image: tiny, flavor-name: ci-1c-1g, connection-port: %d}
"""


def with_password(clouds: dict[str, Any], password: str) -> str:
    clouds["clouds"]["alpha"]["auth"]["password"] = password
    return yaml.safe_dump(clouds)


def until(daemon: Daemon, path: str, true: Any) -> Any:
    """Ask until the answer is as wanted."""
    ends_at = time.monotonic() + PATIENCE_S
    while not true(answer := daemon.get(path).json()):
        assert time.monotonic() < ends_at, answer
        time.sleep(0.05)
    return answer


def shown(daemon: Daemon) -> dict[str, str]:
    """All that the face answers to whoever asks, by path; of one thing of each kind too."""
    paths = daemon.get("/openapi.json").json()["paths"]
    known = {
        "/api/v1/nodes/": [row["id"] for row in daemon.get("/api/v1/nodes").json()["items"]],
        "/api/v1/requests/": [row["id"] for row in daemon.get("/api/v1/requests").json()["items"]],
        "/api/v1/providers/": ["alpha"],
    }
    asked = dict[str, str]()
    for path, calls in paths.items():
        if "get" not in calls or path.endswith("/events"):
            continue
        start, _, end = path.partition("{")
        ids = known.get(start, []) if end else [""]
        for one in ids:
            way = start + one + end.partition("}")[2]
            asked[way] = daemon.get(way).text
    with httpx.stream("GET", f"{daemon.url}/api/v1/events?after=0", timeout=2.0) as stream:
        try:
            asked["events"] = ""
            for text in stream.iter_text():
                asked["events"] += text
        except httpx.ReadTimeout:
            pass  # it is endless, and all there is has come
    return asked


def work(folder: Path, clouds: dict[str, Any], ssh_port: int) -> tuple[dict[str, str], list[str]]:
    """Fail to log in, be corrected, serve; all that was written and answered, and the leases."""
    with Daemon(folder) as daemon:
        (folder / "trellis.yaml").write_text(CONFIGURATION % ssh_port)
        (folder / "clouds.yaml").write_text(with_password(clouds, WRONG))
        daemon.start()
        until(daemon, "/api/v1/providers/alpha", lambda p: "refuses the" in (p["reason"] or ""))
        (folder / "clouds.yaml").write_text(with_password(clouds, RIGHT))
        requests = [daemon.submit(n).json()["id"] for n in range(6)]
        leases = [
            until(daemon, f"/api/v1/requests/{one}", lambda r: r["state"] == "fulfilled")["lease"]
            for one in requests
        ]
        found = shown(daemon)
        for one in requests:
            assert one in found["events"]
        found["command line"] = Path(f"/proc/{daemon.pid}/cmdline").read_text()
        daemon.stop()
        found["log"] = daemon.stderr
    for file in folder.glob("trellis.db*"):
        found[file.name] = file.read_bytes().decode("latin-1")
    return found, [lease["id"] for lease in leases]


async def test_no_secret_is_in_what_a_daemon_writes_answers_or_keeps(tmp_path):
    """Passwords, right and wrong, tokens; and a lease's id is in its request's answer alone."""
    folder = tmp_path / "daemon"
    folder.mkdir()
    spec = spec_of("alpha", credentials=Credentials(password=RIGHT), faults=FAULTS)
    async with clouds_of(tmp_path, spec, machines=StubNodes()) as clouds:
        given = yaml.safe_load(clouds.served.clouds_yaml.read_text())
        found, leases = await trio.to_thread.run_sync(work, folder, given, clouds.served.ssh_port)

    assert len(found) > 20, sorted(found)
    assert any("refuses the credentials" in text for text in found.values())
    for where, text in found.items():
        assert WRONG not in text, where
        assert RIGHT not in text, where
        assert not TOKEN.search(text), where
        its_request = re.fullmatch("/api/v1/requests/[0-9a-f]{32}", where)
        there = [lease for lease in leases if lease in text]
        if not where.startswith("trellis.db"):
            assert len(there) == (1 if its_request else 0), where
