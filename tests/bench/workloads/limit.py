"""A cloud that takes 20 calls a second: is anything lost, wasted, or asked too often?"""

from pathlib import Path

import attrs

from tests.bench.outcome import Outcome
from tests.bench.setup import BOOT, CloudSetup, Distribution
from tests.bench.workloads.steady import Burst


@attrs.frozen(kw_only=True)
class Limit:
    """Requests filed at once at a cloud that refuses with 429 what is above its rate.

    Attributes:
        number: of requests; at 20 calls a second their creates alone take some seconds.
    """

    number: int = 300
    calls_per_s: int = 20
    cloud_boot: Distribution = BOOT

    async def run(self, folder: Path) -> Outcome:
        """Run it; calls that were refused count as calls."""
        cloud = CloudSetup(name="alpha", boot=self.cloud_boot, calls_per_s=self.calls_per_s)
        outcome = await Burst(cloud=cloud, number=self.number).run(folder)
        outcome.figures["failed_share"] = outcome.refused / self.number
        return outcome
