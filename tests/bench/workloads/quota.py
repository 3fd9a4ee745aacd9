"""A full quota: how much of what the slots could carry is carried."""

from pathlib import Path

import attrs

from tests.bench.outcome import Outcome
from tests.bench.setup import CloudSetup, fixed
from tests.bench.workloads.steady import Steady


@attrs.frozen(kw_only=True)
class FullQuota:
    """More requestors than slots, for some whole cycles of boot, job and delete.

    Attributes:
        slots: the quota of instances.
        boot_s, job_s, delete_s: fixed times, so that the ideal is known.
        cycles: how many are measured.
    """

    slots: int = 50
    boot_s: float = 20.0
    job_s: float = 10.0
    delete_s: float = 2.0
    cycles: int = 6

    @property
    def cycle_s(self) -> float:
        """Of one slot, at best."""
        return self.boot_s + self.job_s + self.delete_s

    @property
    def ideal_per_s(self) -> float:
        """Node lives in a second if no slot were ever idle."""
        return self.slots / self.cycle_s

    async def run(self, folder: Path) -> Outcome:
        """Run it."""
        waiting = self.slots // 2
        steady = Steady(
            cloud=CloudSetup(
                name="alpha",
                boot=fixed(self.boot_s),
                delete=fixed(self.delete_s),
                slots=self.slots,
            ),
            in_flight=self.slots + waiting,
            # The slots fill evenly over one cycle: in step, the ends of the stretch would decide.
            ramp_s=self.cycle_s * (self.slots + waiting) / self.slots,
            seconds=self.cycle_s * self.cycles,
            hold_s=self.job_s,
        )
        outcome = await steady.run(folder)
        if not outcome.faults:
            outcome.figures["ideal_per_s"] = self.ideal_per_s
            outcome.figures["quota_share"] = outcome.figures["gone_per_s"] / self.ideal_per_s
        return outcome
