"""One of five clouds hangs: do the waits at the others move?"""

import time
from pathlib import Path
from typing import Final

import attrs
import trio

from tests.bench.arithmetic import median, quantile
from tests.bench.connection import Connection
from tests.bench.outcome import Outcome
from tests.bench.requestors import Requestors
from tests.bench.setup import CloudSetup, Setup, fixed
from tests.bench.stand import stand

_LEAST_S: Final = 0.1
_LEAST_SHARE: Final = 0.05


@attrs.frozen(kw_only=True)
class Hung:
    """Pairs of runs, without and with one cloud that hangs from the start of the stretch on.

    Boot times are fixed, so that chance does not move the waits.

    Attributes:
        pairs: how many; the figures are medians over them.
        seconds: how long is measured.
    """

    pairs: int = 5
    clouds: int = 5
    in_flight: int = 50
    boot_s: float = 3.0
    seconds: float = 25.0

    async def run(self, folder: Path) -> Outcome:
        """Run it: waits of requests that were served where they were planned first."""
        outcome = Outcome()
        pairs = []
        for pair in range(self.pairs):
            without = await self._one(folder / f"without-{pair}", hangs=False)
            hung = await self._one(folder / f"with-{pair}", hangs=True)
            outcome.faults += without.faults + hung.faults
            pairs.append((quantile(without.waits, 0.95), quantile(hung.waits, 0.95), hung.caught))
        base = median([without for without, _, _ in pairs])
        outcome.figures = {
            "p95_without_s": base,
            "p95_shift_s": median([hung - without for without, hung, _ in pairs]),
            "p95_shift_allowed_s": max(_LEAST_S, _LEAST_SHARE * base),
            "caught": median([float(caught) for _, _, caught in pairs]),
        }
        return outcome

    async def _one(self, folder: Path, *, hangs: bool) -> "_Waits":
        names = [f"cloud{number}" for number in range(self.clouds)]
        setup = Setup(
            clouds=tuple(
                CloudSetup(name=name, boot=fixed(self.boot_s), delete=fixed(1.0)) for name in names
            )
        )
        async with stand(setup, folder) as running, Connection(running.url) as face:
            requestors = Requestors(url=running.url)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    lambda: requestors.keep(self.in_flight, ramp_s=2 * self.boot_s)
                )  # fmt: skip
                await trio.sleep(3 * self.boot_s)
                if hangs:
                    await running.tell(names[-1], "outage", {"kind": "hang"})
                began = time.monotonic()
                await trio.sleep(self.seconds)
                found = _Waits(faults=requestors.faults())
                for life in requestors.lives:
                    if life.filed >= began:
                        found.add(life.wait_s, caught=life.moved)
                for life in list(requestors.waiting.values()):
                    # Not served yet: at the others it counts with the wait it has had so far.
                    so_far = time.monotonic() - life.filed
                    if so_far > 2 * self.boot_s and life.filed >= began:
                        request = await face.get(f"/api/v1/requests/{life.request_id}")
                        at_hung = request["placed_at"] == names[-1]
                        found.add(so_far, caught=at_hung or bool(request["declined"]))
                nursery.cancel_scope.cancel()
            return found


@attrs.define
class _Waits:
    """Of one run; *caught* counts the requests that were planned at the hung cloud first."""

    faults: list[str]
    waits: list[float] = attrs.field(factory=list)
    caught: int = 0

    def add(self, wait_s: float, *, caught: bool) -> None:
        if caught:
            self.caught += 1
        else:
            self.waits.append(wait_s)
