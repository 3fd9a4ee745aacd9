"""A steady load for hours, with faults: whatever grows then would grow for ever."""

import urllib.request
from pathlib import Path
from random import Random
from typing import Final

import attrs
import trio

from tests.bench.arithmetic import median
from tests.bench.machine import cpu_s, resident_mib
from tests.bench.stand import Stand, stand
from tests.soak.clouds import RoughSetup
from tests.soak.crowd import Crowd
from tests.soak.ending import breaches
from tests.soak.trouble import calm, outages
from trellis.http.local import LocalClient

REACHED: Final = 0.8
"""So much of the rate at least must have come of it: requests are cancelled, clouds are down."""
FLAT: Final = 0.05
"""By so much at most memory may leave its median after the warm-up."""
SPARE_FILES: Final = 5
SPARE_TASKS: Final = 5
_EVERY_S: Final = 10.0
_USE_S: Final = 20.0
_LIFE_S: Final = 50.0


@attrs.frozen(kw_only=True)
class Sample:
    """The daemon at one moment.

    Attributes:
        at_s: since the first node was asked for.
        mib: its memory in RAM.
        files: open descriptors.
        tasks: Trio's, as its metrics tell.
        nodes: with a record that lives.
    """

    at_s: float
    mib: float
    files: int
    tasks: int
    nodes: int
    cpu_s: float


@attrs.define
class Loaded:
    """What came of it.

    Attributes:
        rate: nodes a second that were to be asked for.
        before: the idle daemon, before the first request.
        after: the idle daemon, when all is gone again.
        samples: one each ten seconds.
        breaches: promises that were not held, memory that grew, what was left open.
    """

    rate: float = 0.0
    warm_s: float = 0.0
    before: Sample | None = None
    after: Sample | None = None
    samples: list[Sample] = attrs.field(factory=list)
    breaches: list[str] = attrs.field(factory=list)
    requests: int = 0
    nodes: int = 0

    @property
    def measured(self) -> list[Sample]:
        """Those after the warm-up."""
        return [sample for sample in self.samples if sample.at_s >= self.warm_s]

    def swing(self) -> tuple[float, float, float]:
        """Memory after the warm-up: the least, the median and the most, in MiB."""
        seen = [sample.mib for sample in self.measured]
        return min(seen), median(seen), max(seen)

    def told(self) -> str:
        """It in words."""
        low, middle, high = self.swing()
        assert self.before is not None
        assert self.after is not None
        seconds = self.samples[-1].at_s
        cpu = self.samples[-1].cpu_s - self.before.cpu_s
        return (
            f"{seconds / 60:.0f} min, {self.requests} requests, {self.nodes} nodes handed out "
            f"({self.nodes / seconds:.1f}/s), daemon's CPU {1000 * cpu / max(1, self.nodes):.1f} "
            f"ms a node\nmemory after the warm-up {low:.0f} to {high:.0f} MiB, median "
            f"{middle:.0f} ({100 * (low / middle - 1):+.1f} %, {100 * (high / middle - 1):+.1f} %)"
            f"\nidle before and after: {self.before.mib:.0f} and {self.after.mib:.0f} MiB, "
            f"{self.before.files} and {self.after.files} files, "
            f"{self.before.tasks} and {self.after.tasks} tasks"
        )

    def too_little(self) -> list[str]:
        """A daemon that was never under the load shows nothing."""
        seconds = self.samples[-1].at_s if self.samples else 0.0
        served = self.nodes / seconds if seconds else 0.0
        if served >= self.rate * REACHED:
            return []
        return [f"only {served:.1f} nodes a second were handed out, of {self.rate:g}"]

    def grown(self) -> list[str]:
        """What must not have grown, and has."""
        assert self.before is not None
        assert self.after is not None
        low, middle, high = self.swing()
        found = []
        if low < middle * (1 - FLAT) or high > middle * (1 + FLAT):
            found.append(f"memory went from {low:.1f} to {high:.1f} MiB, median {middle:.1f}")
        if self.after.files > self.before.files + SPARE_FILES:
            found.append(f"{self.after.files} files are open, {self.before.files} were at first")
        if self.after.tasks > self.before.tasks + SPARE_TASKS:
            found.append(f"{self.after.tasks} tasks live, {self.before.tasks} did at first")
        return found


async def under_load(
    *, minutes: float, warm_up: float, rate: float, seed: int, folder: Path
) -> Loaded:
    """Ask for nodes at a steady rate, and look what grows.

    Args:
        minutes: measured, after the minutes of *warm_up*.
        rate: nodes a second.

    Raises:
        BrokenRunError: a process did not start, or ended by itself (in an exception group).
    """
    chance = Random(f"load:{seed}")
    fleet = round(rate * _LIFE_S)
    found = Loaded(rate=rate, warm_s=60 * warm_up)
    async with stand(RoughSetup(fleet=fleet, idle=20), folder) as running:
        crowd = Crowd(url=running.url, chance=chance, rate=rate, use_s=_USE_S, most=2 * fleet)
        began = trio.current_time()
        found.before = await _sample(running, began)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crowd.run)
            async with trio.open_nursery() as around:
                around.start_soon(outages, running, Random(chance.getrandbits(64)))
                while trio.current_time() < began + 60 * (warm_up + minutes):
                    await trio.sleep(_EVERY_S)
                    found.samples.append(await _sample(running, began))
                around.cancel_scope.cancel()
            await calm(running)
            crowd.end()
        async with LocalClient(f"{running.url}/api/v1") as face:
            found.breaches = await breaches(running, crowd, face)
        found.after = await _sample(running, began)
    found.requests = len(crowd.transcripts)
    found.nodes = sum(len(transcript.nodes) for transcript in crowd.transcripts)
    found.breaches += found.grown() + found.too_little()
    return found


async def _sample(running: Stand, began: float) -> Sample:
    async with LocalClient(f"{running.url}/api/v1") as face:
        status = await face.get("/status")
    metrics = await trio.to_thread.run_sync(_read, f"{running.url}/metrics")
    tasks = next(line for line in metrics.splitlines() if line.startswith("trellis_tasks "))
    pid = running.daemon.pid
    return Sample(
        at_s=trio.current_time() - began,
        mib=resident_mib(pid),
        files=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        tasks=round(float(tasks.split()[1])),
        nodes=status["nodes"]["total"],
        cpu_s=cpu_s(pid),
    )


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read(), "utf-8")
