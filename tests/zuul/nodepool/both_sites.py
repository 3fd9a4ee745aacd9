"""A site on loopback that moves: Zuul's own classes, a real Nodepool, Trellis, and two clouds.

`alpha` gives its servers addresses that can be reached; `beta` reaches them by floating IPs. All
speak to a real ZooKeeper over TLS. Nodepool and Trellis are started, changed and stopped by the
test, as an operator does it.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import trio
import yaml

from tests.bench.child import Child
from tests.bench.connection import AnswerError, Connection
from tests.ports import free_port
from tests.zuul.nodepool.real_sshd import RealSshd
from tests.zuul.nodepool.site_files import (
    CLOUDS,
    SCENARIO,
    Offers,
    nodepool_document,
    replace,
    trellis_document,
)
from tests.zuul.real.zuul_process import ZuulProcess, zuul_process
from trellis.zookeeper.errors import NoSuchZnodeError
from trellis.zookeeper.opening import open_session
from trellis.zookeeper.session import Servers, Session

ROOT: Final = Path(__file__).resolve().parents[3]
LAUNCHER: Final = ROOT / ".venv-nodepool" / "bin" / "nodepool-launcher"
PATIENCE_S: Final = 90.0
"""Longest wait for a fact; a loaded machine takes its time."""
_LOOK_S: Final = 0.05


@attrs.define(eq=False, kw_only=True)
class BothSites:
    """What runs, and what an operator does to it.

    Attributes:
        mine: the way to ZooKeeper for whoever is not Zuul.
        tree: a session with it, to look.
        sshd: what answers at the servers' addresses.
    """

    folder: Path
    mine: Servers
    tree: Session
    zuul: ZuulProcess
    sshd: RealSshd
    clouds_yaml: Path
    clouds: Connection
    nodepool: trio.Process | None = None
    nodepool_log: Path = attrs.field(init=False)
    trellis: Child = attrs.field(init=False)
    daemon: trio.Process | None = None
    port: int = attrs.field(factory=free_port)

    def __attrs_post_init__(self) -> None:
        self.nodepool_log = self.folder / "nodepool.log"
        self.trellis = Child("the daemon", self.folder / "trellis.log")

    # ----------------------------------------------------------------------- Nodepool's

    def write_nodepool(self, offers: Offers, *, max_servers: int = 10) -> None:
        """Write the launcher's file, as step 1 of the how-to wants it; it takes changes up.

        Args:
            max_servers: in each pool.
        """
        document = nodepool_document(
            offers,
            self.mine,
            ssh_port=self.sshd.port,
            max_servers=max_servers,
        )
        replace(self.folder / "nodepool.yaml", document)

    async def start_nodepool(self) -> None:
        """Start its launcher, and wait until its pools are registered."""
        if not LAUNCHER.exists():
            raise RuntimeError("Nodepool is not installed: make test-zuul does it")
        wanted = {one["name"] for one in self._nodepool_providers()}
        with self.nodepool_log.open("ab") as out:
            launcher = self.nodepool = await trio.lowlevel.open_process(
                [str(LAUNCHER), "-f", "-d", "--no-webapp", "-c", "nodepool.yaml"],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

        async def registered() -> bool:
            assert launcher.returncode is None, f"Nodepool has ended: see {self.nodepool_log}"
            return wanted <= {one["provider_name"] for one in await self.pools_of_nodepool()}

        await self.until(registered)

    async def stop_nodepool(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Stop its launcher, and wait until ZooKeeper knows."""
        assert self.nodepool is not None
        self.nodepool.send_signal(by)
        await self.nodepool.wait()
        self.nodepool = None

        async def unregistered() -> bool:
            return not await self.pools_of_nodepool()

        await self.until(unregistered)

    async def restart_nodepool(self) -> None:
        """Restart its launcher; nobody waits until ZooKeeper knows that the old one has ended."""
        assert self.nodepool is not None
        self.nodepool.terminate()
        await self.nodepool.wait()
        await self.start_nodepool()

    def _nodepool_providers(self) -> list[dict[str, Any]]:
        text = (self.folder / "nodepool.yaml").read_text()
        return list(yaml.safe_load(text)["providers"])

    # ------------------------------------------------------------------------ Trellis's

    async def convert(self) -> dict[str, Any]:
        """Convert Nodepool's file, check the result, and return what it says."""
        moved = self.folder / "moved.yaml"
        moved.unlink(missing_ok=True)
        await self.command(
            *("config", "import-nodepool", "nodepool.yaml", "--to", "moved.yaml"),
            *("--deployment", "moved"),
        )
        await self.command("config", "check", "moved.yaml", "--offline")
        return dict(yaml.safe_load(moved.read_text()))

    def write_trellis(
        self, converted: Mapping[str, Any], offers: Offers, *, max_servers: int = 10
    ) -> None:
        """Make the daemon's file of a converted one; it takes changes up.

        Args:
            offers: what is left of it.
            max_servers: in each pool.
        """
        document = trellis_document(converted, offers, port=self.port, max_servers=max_servers)
        replace(self.folder / "trellis.yaml", document)

    async def start_trellis(self) -> None:
        """Start the daemon, and wait until it serves Zuul."""
        daemon = self.daemon = await self.trellis.start(
            *("serve", "-c", "trellis.yaml"),
            folder=self.folder,
            OS_CLIENT_CONFIG_FILE=str(self.clouds_yaml),
        )

        async def serves() -> bool:
            assert daemon.returncode is None, f"the daemon has ended: see {self.trellis.log}"
            if (await self.face("/readyz")) is None:
                return False
            told = await self.face("/api/v1/demand-sources")
            return [one["state"] for one in told["items"]] == ["running"]

        await self.until(serves)

    async def stop_trellis(self) -> None:
        """Stop the daemon as an operator does, and wait until it has ended."""
        assert self.daemon is not None
        self.daemon.terminate()
        assert 0 == await self.daemon.wait()
        self.daemon = None

    async def face(self, path: str) -> Any:
        """What the daemon's interface answers; None while it does not."""
        async with Connection(f"http://127.0.0.1:{self.port}") as connection:
            try:
                return await connection.get(path)
            except (OSError, AnswerError, trio.BrokenResourceError):
                return None

    async def command(self, *words: str) -> str:
        """Run a `trellis` command, which has to succeed; what it prints."""
        done = await trio.run_process(
            [sys.executable, "-m", "trellis.cli.main", *words],
            cwd=self.folder,
            env=self._environment() | {"TRELLIS_URL": f"http://127.0.0.1:{self.port}"},
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout.decode()}{done.stderr.decode()}"
        return done.stdout.decode()

    def _environment(self) -> dict[str, str]:
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "TRELLIS_"))}
        return ours | {"OS_CLIENT_CONFIG_FILE": str(self.clouds_yaml)}

    # ----------------------------------------------------------------------- looking

    async def documents(self, folder: str) -> dict[str, dict[str, Any]]:
        """The documents below a path of the tree, by name."""
        found = {}
        try:
            names = await self.tree.children(folder)
        except NoSuchZnodeError:
            return {}
        for name in names:
            try:
                data, _stat = await self.tree.get(f"{folder}/{name}")
            except NoSuchZnodeError:
                continue
            if data:
                found[name] = json.loads(data)
        return found

    async def nodes(self) -> dict[str, dict[str, Any]]:
        """The nodes of the tree."""
        return await self.documents("/nodepool/nodes")

    async def pools_of_nodepool(self) -> list[dict[str, Any]]:
        """The pools that Nodepool has registered."""
        pools = await self.documents("/nodepool/components/pool")
        return [pool for pool in pools.values() if pool["hostname"] != "moved"]

    async def pools_of_trellis(self) -> list[dict[str, Any]]:
        """The pools that Trellis has registered."""
        pools = await self.documents("/nodepool/components/pool")
        return [pool for pool in pools.values() if pool["hostname"] == "moved"]

    async def servers(self, *clouds: str) -> list[dict[str, Any]]:
        """The servers that there are in these clouds, or in all."""
        return await self._there("servers", *clouds)

    async def floating_ips(self) -> list[dict[str, Any]]:
        """The floating IPs that there are."""
        return await self._there("floating_ips")

    async def _there(self, what: str, *clouds: str) -> list[dict[str, Any]]:
        found = []
        for name in clouds or CLOUDS:
            found += (await self.clouds.get(f"/{name}/{what}"))[what]
        return found

    async def made(self) -> set[str]:
        """The ids of all servers that there ever were."""
        found = set()
        for name in CLOUDS:
            told = await self.clouds.get(f"/{name}/facts?from=0")
            found |= {fact["id"] for fact in told["facts"] if fact["what"] == "server-created"}
        return found

    async def boots_end(self, cloud: str, *, end: bool) -> None:
        """Whether servers that are made from now on in a cloud ever become active."""
        await self.clouds.post(f"/{cloud}/faults", {"stuck-build": 0.0 if end else 1.0})

    def has_states(self, *states: str) -> Callable[[], Awaitable[bool]]:
        """Whether the tree has nodes of these states and no others."""

        async def has_states() -> bool:
            return sorted(one["state"] for one in (await self.nodes()).values()) == sorted(states)

        return has_states

    async def has_external_ids(self) -> bool:
        """Whether the tree tells the server of each of its nodes."""
        return all(one["external_id"] for one in (await self.nodes()).values())

    async def is_nodepools(self, node: str) -> bool:
        """Whether Nodepool has launched a node of the tree, and not Trellis."""
        return "trellis" not in ((await self.nodes())[node]["driver_data"] or {})

    def has_declined(self, request: str, provider: str) -> Callable[[], Awaitable[bool]]:
        """Whether Nodepool's pool of a provider has declined a request."""

        async def has_declined() -> bool:
            declined_by = (await self.documents("/nodepool/requests"))[request].get(
                "declined_by", ()
            )
            pools = await self.pools_of_nodepool()
            return {one["id"] for one in pools if one["provider_name"] == provider} <= {
                *declined_by
            }

        return has_declined

    def trellis_offers(self, **labels: list[str]) -> Callable[[], Awaitable[bool]]:
        """Whether these are the labels of Trellis's pools, by provider."""

        async def trellis_offers() -> bool:
            pools = await self.pools_of_trellis()
            return labels == {one["provider_name"]: one["supported_labels"] for one in pools}

        return trellis_offers

    def no_servers(self, cloud: str) -> Callable[[], Awaitable[bool]]:
        """Whether a cloud has no server."""

        async def no_servers() -> bool:
            return not await self.servers(cloud)

        return no_servers

    async def trellis_has_no_nodes(self) -> bool:
        """Whether Trellis has none that is not gone."""
        return not json.loads(await self.command("node", "list", "-o", "json"))

    async def no_locks(self) -> bool:
        """Whether nobody has a request locked, or waits for it."""
        folder = "/nodepool/requests-lock"
        for name in await self.tree.children(folder):
            if await self.tree.children(f"{folder}/{name}"):
                return False
        return True

    async def nothing_left(self) -> bool:
        """Whether neither a node in the tree nor anything in a cloud is left."""
        return not (await self.nodes() or await self.servers() or await self.floating_ips())

    async def until(
        self, true: Callable[[], Awaitable[bool]], *, within_s: float = PATIENCE_S
    ) -> None:
        """Wait until an async function says yes."""
        with trio.move_on_after(within_s):
            while not await true():  # noqa: ASYNC110  # other processes have no event for us
                await trio.sleep(_LOOK_S)
            return
        raise TimeoutError(
            f"not so within {within_s:g} s: {true.__name__}; nodes {await self.nodes()}, servers"
            f" {await self.servers()}, floating IPs {await self.floating_ips()}; logs in"
            f" {self.folder}"
        )

    # ----------------------------------------------------------------------- Zuul's

    async def used(self, request: str) -> dict[str, Any]:
        """Wait until a request is fulfilled, and begin its build; what Zuul sees of it."""
        await self.zuul.becomes(request, "fulfilled", within_s=PATIENCE_S)
        build = await self.zuul.do("accept", request=request)
        await self.zuul.do("use", request=request)
        return dict(build)

    async def run_job(self, *labels: str) -> dict[str, Any]:
        """A whole job of these labels; what Zuul saw of its nodes."""
        request = await self.zuul.do("submit", labels=list(labels))
        build = await self.used(request)
        await self.zuul.do("give_back", request=request)
        return build


@asynccontextmanager
async def both_sites(mine: Servers, zuuls: Servers, folder: Path) -> AsyncIterator[BothSites]:
    """Start the clouds and Zuul. All that runs in the end is killed."""
    folder.mkdir(parents=True)
    (folder / "scenario.yaml").write_text(yaml.safe_dump(SCENARIO, sort_keys=False))
    served = Child("the process of the clouds", folder / "clouds.log")
    process = await served.start(
        *("cloud", "scenario.yaml", "--folder", "clouds", "-o", "json"),
        folder=folder,
        stdout=subprocess.PIPE,
    )
    site: BothSites | None = None
    try:
        async with (
            open_session(mine) as tree,
            zuul_process(zuuls, folder / "zuul.log") as zuul,
            trio.open_nursery() as nursery,
        ):
            assert process.stdout is not None
            told = json.loads(await _line(process.stdout))
            sshd = RealSshd(folder / "sshd", told["ssh_port"])
            await nursery.start(sshd.run)
            site = BothSites(
                folder=folder,
                mine=mine,
                tree=tree,
                zuul=zuul,
                sshd=sshd,
                clouds_yaml=folder / told["clouds_yaml"],
                clouds=Connection(told["control"]),
            )
            yield site
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):  # they are killed
            if site is not None:
                site.clouds.close()
                await site.trellis.kill()
                if site.nodepool is not None:
                    site.nodepool.kill()
                    await site.nodepool.wait()
            await served.kill()


async def _line(pipe: trio.abc.ReceiveStream) -> bytes:
    line = b""
    with trio.fail_after(PATIENCE_S):
        await trio.lowlevel.checkpoint()
        while not line.endswith(b"\n"):
            part = await pipe.receive_some()
            assert part, "the process of the clouds did not start"
            line += part
    return line
