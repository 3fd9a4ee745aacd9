"""One image to three clouds at once: how fast beside curl, and what it costs the daemon."""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio
import yaml

from tests.bench.child import BrokenRunError, Child
from tests.bench.connection import AnswerError, Connection
from tests.bench.machine import cpu_s, peak_mib, resident_mib
from tests.bench.outcome import Outcome
from tests.bench.setup import quota_of, written
from tests.ports import free_port

_START_S: Final = 60.0
_BUILD_S: Final = 300.0
_UPLOAD_S: Final = 300.0
_END_S: Final = 10.0
_LOOK_S: Final = 0.25
_MIB: Final = 1024 * 1024
_IMAGE: Final = "large"
_SOURCE: Final = "source.raw"
CLOUDS: Final = ("alpha", "beta", "gamma")


@attrs.frozen(kw_only=True)
class Uploads:
    """A file to three clouds, each a process of its own that takes it and throws it away.

    By the daemon as an image's upload, and by three curls before and after: what both are
    measured by begins with the first byte and ends with the last answer.

    Attributes:
        mib: size of the file.
    """

    mib: int = 2048

    async def run(self, folder: Path) -> Outcome:
        """Run it once; of its folder only what is small is left, however it ends."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return await self._run(folder)
        finally:
            _remove_large(folder)

    async def _run(self, folder: Path) -> Outcome:
        outcome = Outcome()
        source = folder / _SOURCE
        checksum = await trio.to_thread.run_sync(partial(_write, source, self.mib))
        async with _clouds(folder) as clouds:
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            before_s = await _curls(clouds, source)
            curls = resource.getrusage(resource.RUSAGE_CHILDREN)
            await self._by_daemon(folder, clouds, source, checksum, outcome)
            after_s = await _curls(clouds, source)
        sent = len(CLOUDS) * self.mib
        curl = sent / ((before_s + after_s) / 2)
        rate = sent / outcome.figures["upload_s"]
        outcome.figures |= {
            "upload_mib_per_s": rate,
            "curl_mib_per_s": curl,
            "curl_cpu_s": curls.ru_utime + curls.ru_stime - used.ru_utime - used.ru_stime,
            "curl_apart": abs(before_s - after_s) / min(before_s, after_s),
            "of_curl": rate / curl,
        }
        return outcome

    async def _by_daemon(
        self,
        folder: Path,
        clouds: Sequence["_Cloud"],
        source: Path,
        checksum: str,
        outcome: Outcome,
    ) -> None:
        port = free_port()
        (folder / "clouds.yaml").write_text(
            written({"clouds": {one.name: one.entry for one in clouds}})
        )
        (folder / "trellis.yaml").write_text(_configuration(port, source, checksum))
        blocks = folder / "blocks.jsonl"
        blocks.touch()
        async with _running(Child("the daemon", folder / "daemon.log")) as daemon:
            await daemon.start(
                *("serve", "-c", "trellis.yaml"),
                folder=folder,
                module="tests.bench.watched",
                OS_CLIENT_CONFIG_FILE=str(folder / "clouds.yaml"),
                BENCH_BLOCKS=str(blocks),
                PYTHONPATH=str(Path(__file__).parents[3]),
            )
            async with Connection(f"http://127.0.0.1:{port}") as face:
                await _until_ready(face)
                idle_mib = resident_mib(daemon.pid)
                uploads = await _uploaded(face, daemon, outcome)
            peak = peak_mib(daemon.pid)
        began = min(_at(one["created_at"]) for one in uploads)
        ended = max(_at(one["ready_at"]) for one in uploads)
        # The same stretch by the clock of the blocks: both are this machine's.
        shift = time.time() - time.monotonic()
        lines = [json.loads(line) for line in blocks.read_text().splitlines()]
        within = [x for x in lines if began <= x["at"] + shift <= ended + 1.0]
        outcome.figures |= {
            "upload_s": ended - began,
            "idle_mib": idle_mib,
            "grown_mib": peak - idle_mib,
            "block_ms": 1000 * max((x["s"] for x in within), default=0.0),
            "block_cpu_ms": 1000 * max((x["cpu_s"] for x in within), default=0.0),
        }


# ------------------------------------------------------------------------------- the daemon


def _configuration(port: int, source: Path, checksum: str) -> str:
    return written(
        {
            "deployment": "bench",
            "store": "sqlite:trellis.db",
            "web": {"listen": f"127.0.0.1:{port}"},
            "labels": [{"name": "imaged"}],
            "images": [
                {
                    "name": _IMAGE,
                    "type": "artifact",
                    "url": source.as_uri(),
                    "sha256": checksum,
                    "formats": ["raw"],
                    "canary-share": 0,
                }
            ],
            "providers": [
                {
                    "name": name,
                    "type": "openstack",
                    "cloud": name,
                    "image-format": "raw",
                    "pools": [
                        {
                            "name": "main",
                            "labels": [{"name": "imaged", "image": _IMAGE, "flavor-name": "small"}],
                        }
                    ],
                }
                for name in CLOUDS
            ],
        }
    )


async def _until_ready(face: Connection) -> None:
    last: Exception | None = None
    with trio.move_on_after(_START_S):
        while True:
            try:
                await face.get("/readyz")
                return
            except (OSError, AnswerError, trio.BrokenResourceError) as error:
                last = error
            await trio.sleep(0.05)
    raise BrokenRunError(f"the daemon is not ready within {_START_S:g} s: {last}")


async def _uploaded(face: Connection, daemon: Child, outcome: Outcome) -> list[dict[str, Any]]:
    """The uploads once all of them can be used; meanwhile the CPU they took is measured."""
    used: float | None = None
    with trio.move_on_after(_BUILD_S + _UPLOAD_S):
        while True:
            image = await face.get(f"/api/v1/images/{_IMAGE}")
            uploads = [one for place in image["places"] for one in place["uploads"]]
            if uploads and used is None:
                used = cpu_s(daemon.pid)
            faults = [image["fault"], *(one["fault"] for one in uploads)]
            if any(faults):
                raise BrokenRunError(f"an upload failed: {[one for one in faults if one]}")
            if [one["state"] for one in uploads] == ["ready"] * len(CLOUDS):
                outcome.figures["daemon_cpu_s"] = cpu_s(daemon.pid) - (used or 0.0)
                return uploads
            await trio.sleep(_LOOK_S)
    raise BrokenRunError(f"not uploaded within {_BUILD_S + _UPLOAD_S:g} s: {image['words']}")


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# -------------------------------------------------------------------------------- the clouds


@attrs.frozen
class _Cloud:
    """One that runs.

    Attributes:
        entry: of it in clouds.yaml.
    """

    name: str
    entry: dict[str, Any]


@asynccontextmanager
async def _clouds(folder: Path) -> AsyncIterator[list[_Cloud]]:
    async with AsyncExitStack() as stack:
        found = []
        for name in CLOUDS:
            (folder / f"{name}.yaml").write_text(_scenario(name))
            child = await stack.enter_async_context(
                _running(Child(f"the cloud {name}", folder / f"{name}.log"))
            )
            process = await child.start(
                *("cloud", f"{name}.yaml", "--folder", name, "--nodes", "none", "-o", "json"),
                folder=folder,
                stdout=subprocess.PIPE,
            )
            assert process.stdout is not None
            told = json.loads(await _first_line(process.stdout, child))
            document = yaml.safe_load((folder / told["clouds_yaml"]).read_text())
            found.append(_Cloud(name, document["clouds"][name]))
        yield found


def _scenario(name: str) -> str:
    return written(
        {
            "clouds": [
                {
                    "name": name,
                    "flavors": [{"name": "small", "cores": 1, "ram-mib": 1024}],
                    "quota": quota_of(10),
                    # It costs a server more than taking the bytes, and would hide the sender.
                    "hashes-images": False,
                }
            ]
        }
    )


@asynccontextmanager
async def _running(child: Child) -> AsyncIterator[Child]:
    try:
        yield child
    finally:
        with trio.move_on_after(_END_S, shield=True):
            await child.kill()


async def _first_line(pipe: trio.abc.ReceiveStream, child: Child) -> bytes:
    line = b""
    with trio.move_on_after(_START_S):
        while True:
            part = await pipe.receive_some()
            line += part
            if not part or line.endswith(b"\n"):
                break
    if line.endswith(b"\n"):
        return line
    raise BrokenRunError(f"{child.name} does not start; its log is {child.log}")


# ----------------------------------------------------------------------------------- curl


async def _curls(clouds: Sequence[_Cloud], source: Path) -> float:
    """Seconds in which curls have sent a file to all clouds at once."""
    targets = [await trio.to_thread.run_sync(_prepared, cloud) for cloud in clouds]
    began = time.monotonic()
    async with trio.open_nursery() as nursery:
        for url, token in targets:
            nursery.start_soon(_curl, url, token, source)
    return time.monotonic() - began


async def _curl(url: str, token: str, source: Path) -> None:
    done = await trio.run_process(
        [
            *("curl", "--silent", "--show-error", "--fail", "--upload-file", str(source)),
            *("--header", f"X-Auth-Token: {token}", "--header", "Expect:"),
            *("--header", "Content-Type: application/octet-stream", url),
        ],
        check=False,
        capture_stderr=True,
    )
    if done.returncode:
        raise BrokenRunError(f"curl: {done.stderr.decode(errors='replace').strip()}")


def _prepared(cloud: _Cloud) -> tuple[str, str]:
    """An image to be filled: where, and with which token."""
    auth = cloud.entry["auth"]
    user = {
        "name": auth["username"],
        "password": auth["password"],
        "domain": {"name": auth.get("user_domain_name", "Default")},
    }
    project = {
        "name": auth["project_name"],
        "domain": {"name": auth.get("project_domain_name", "Default")},
    }
    body = {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": project},
        }
    }
    headers, answer = _posted(f"{auth['auth_url'].rstrip('/')}/auth/tokens", body)
    token = headers["x-subject-token"]
    (glance,) = [one for one in answer["token"]["catalog"] if one["type"] == "image"]
    (root,) = {one["url"] for one in glance["endpoints"] if one["interface"] == "public"}
    root = root.rstrip("/").removesuffix("/v2")
    image = {"name": "curl", "disk_format": "raw", "container_format": "bare"}
    _, made = _posted(f"{root}/v2/images", image, token)
    return f"{root}/v2/images/{made['id']}/file", token


def _posted(url: str, body: Any, token: str = "") -> tuple[Any, Any]:
    request = urllib.request.Request(
        url,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "X-Auth-Token": token},
    )
    with urllib.request.urlopen(request, timeout=_START_S) as answer:
        return answer.headers, json.load(answer)


def _remove_large(folder: Path) -> None:
    """Remove the file and all that was made of it; logs and stores stay."""
    images = folder / "images"
    for path in (folder / _SOURCE, *images.glob(f"{_IMAGE}-*.raw")):
        path.unlink(missing_ok=True)
    shutil.rmtree(images / ".scratch", ignore_errors=True)


def _write(path: Path, mib: int) -> str:
    """Write a file that is not all zeros, and return its SHA-256; it is in the page cache then."""
    piece, digest = os.urandom(_MIB), hashlib.sha256()
    with path.open("wb") as file:
        for number in range(mib):
            changed = number.to_bytes(8, "big") + piece[8:]
            digest.update(changed)
            file.write(changed)
    return digest.hexdigest()
