"""Memory: idle, and with many nodes, some of them in flight."""

from pathlib import Path
from typing import Final

import attrs
import trio

from tests.bench.outcome import Outcome
from tests.bench.requestors import Requestors
from tests.bench.setup import ALPHA, CloudSetup, Setup, fixed
from tests.bench.stand import stand

_TASKS: Final = 100
_RAMP_S: Final = 22.0
_STILL: Final = CloudSetup(
    name="still", boot=fixed(0.2), delete=fixed(0.2), labels=("still",)
)  # fmt: skip


@attrs.frozen(kw_only=True)
class Memory:
    """Nodes under leases that last, one request each; and launches in flight beside them.

    Attributes:
        sizes: how many nodes there are, those in flight among them, when it is measured.
        in_flight: launches at a time, of the usual boot time.
        settle_s: how long each size is held.
    """

    sizes: tuple[int, ...] = (1_000, 10_000)
    in_flight: int = 500
    settle_s: float = 15.0

    async def run(self, folder: Path) -> Outcome:
        """Run it; what is left in the clouds at its end is nobody's concern."""
        outcome = Outcome()
        async with stand(Setup(clouds=(ALPHA, _STILL)), folder) as running:
            await trio.sleep(self.settle_s)
            outcome.figures["idle_mib"] = running.daemon_mib()
            still = Requestors(url=running.url, label="still")
            flying = Requestors(url=running.url)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: flying.keep(self.in_flight, ramp_s=_RAMP_S))
                for size in self.sizes:
                    wanted = size - self.in_flight - len(still.held)
                    began = trio.current_time()
                    await still.in_turn(wanted, tasks=_TASKS)
                    took_s = trio.current_time() - began
                    outcome.figures[f"filled_{size}_per_s"] = wanted / took_s
                    await trio.sleep(max(self.settle_s, _RAMP_S - took_s))
                    outcome.figures[f"at_{size}_mib"] = running.daemon_mib()
                nursery.cancel_scope.cancel()
            outcome.faults += still.faults() + flying.faults()
        return outcome
