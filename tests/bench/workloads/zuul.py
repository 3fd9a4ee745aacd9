"""Demand through ZooKeeper over TLS: what Trellis adds to the boot time, and what a life costs."""

from pathlib import Path
from typing import Final

import attrs
import trio

from tests.bench.child import BrokenRunError
from tests.bench.machine import cpu_s
from tests.bench.outcome import Outcome
from tests.bench.setup import ALPHA, CloudSetup
from tests.bench.stand import Snapshot, Stand, stand
from tests.bench.workloads.steady import finished, together
from tests.bench.zuul_requestors import ZuulRequestors, make_roots
from tests.bench.zuul_setup import ZuulSetup
from tests.zookeeper.certificates import Authority
from tests.zookeeper.real_server import RealZooKeeper, missing
from trellis.zookeeper.opening import open_session
from trellis.zookeeper.session import Happened, Servers, Session, Tls

_TIMEOUT_S: Final = 30.0


@attrs.frozen(kw_only=True)
class Zuul:
    """Jobs that each ask for a node through ZooKeeper, let go of it at once, and ask again.

    Attributes:
        cloud: where the nodes come from.
        in_flight: jobs at a time.
        ramp_s: over which they begin.
        seconds: how long is measured, after the ramp.
        counting: whether each write is seen and counted, which costs ZooKeeper and the bench a
            message for each.
    """

    cloud: CloudSetup = ALPHA
    in_flight: int
    ramp_s: float
    seconds: float
    counting: bool = True

    async def run(self, folder: Path) -> Outcome:
        """Run it; wants Java and ZooKeeper."""
        if (command := missing()) is not None:
            raise BrokenRunError(f"this workload wants a ZooKeeper: {command}")
        authority = Authority(folder / "ca")
        zookeeper = RealZooKeeper(folder / "zookeeper", authority)
        await trio.to_thread.run_sync(zookeeper.start)
        try:
            return await self._on(zookeeper, authority, folder)
        finally:
            zookeeper.stop()

    async def _on(self, zookeeper: RealZooKeeper, authority: Authority, folder: Path) -> Outcome:
        def servers(name: str) -> Servers:
            issued = authority.issue(name)
            tls = Tls(cert=issued.cert, key=issued.key, ca=authority.ca)
            return Servers(hosts=(zookeeper.secure_host,), timeout_s=_TIMEOUT_S, tls=tls)

        async with (
            open_session(servers("scheduler")) as scheduler,
            open_session(servers("executor")) as executor,
            open_session(servers("counter")) as counter,
        ):
            await make_roots(scheduler)
            setup = ZuulSetup(servers=servers("trellis"), clouds=(self.cloud,))
            read = await _reads(zookeeper)
            async with stand(setup, folder) as running, trio.open_nursery() as counting:
                requestors = ZuulRequestors(scheduler=scheduler, executor=executor)
                counted = _Writes()
                if self.counting:
                    await counting.start(counted.run, counter)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lambda: requestors.keep(self.in_flight, ramp_s=self.ramp_s))
                    await trio.sleep(self.ramp_s)
                    before = await _snapshot(running, zookeeper)
                    await trio.sleep(self.seconds)
                    after = await _snapshot(running, zookeeper)
                    requestors.stop()
                run = await finished(running, requestors, before, after)
                read = await _reads(zookeeper) - read
                counting.cancel_scope.cancel()
        outcome = together([run])
        lives = max(1, len(requestors.lives))
        outcome.figures["reads_zuul"] = requestors.reads / lives
        outcome.figures["reads_trellis"] = (read - requestors.reads) / lives
        outcome.figures["writes_zuul"] = requestors.writes / lives
        if self.counting:
            outcome.figures["writes_trellis"] = (counted.number - requestors.writes) / lives
        return outcome


async def _reads(zookeeper: RealZooKeeper) -> int:
    """How many requests the server has answered that write nothing; heartbeats are among them."""
    return await trio.to_thread.run_sync(zookeeper.counted, "zk_cnt_readlatency")


async def _snapshot(running: Stand, zookeeper: RealZooKeeper) -> Snapshot:
    taken = await running.snapshot()
    assert zookeeper.process is not None
    taken.cpu_s["zookeeper"] = cpu_s(zookeeper.process.pid)
    return taken


class _Writes:
    """Counts what is made, written and deleted in the whole tree: a transaction by its parts."""

    def __init__(self) -> None:
        self.number = 0

    async def run(  # noqa: ASYNC114 - it is started by `Zuul.run` alone
        self, session: Session, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with session.watch("/nodepool") as news:
            task_status.started()
            async for piece in news:
                if piece.happened is Happened.MISSED:
                    raise RuntimeError("the bench counts too slowly: its figures mean nothing")
                self.number += 1
