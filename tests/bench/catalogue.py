"""All workloads by name, whole and short."""

from pathlib import Path
from typing import Final, Protocol

from tests.bench.outcome import Outcome
from tests.bench.setup import CloudSetup, fixed
from tests.bench.workloads.hung import Hung
from tests.bench.workloads.limit import Limit
from tests.bench.workloads.memory import Memory
from tests.bench.workloads.plugins import Plugins
from tests.bench.workloads.quota import FullQuota
from tests.bench.workloads.restart import Restart
from tests.bench.workloads.steady import Burst, Steady
from tests.bench.workloads.uploads import Uploads
from tests.bench.workloads.zuul import Zuul


class Workload(Protocol):
    """What can be measured."""

    async def run(self, folder: Path) -> Outcome:
        """Run it once, with everything it writes in a folder of its own."""
        ...


_LATE: Final = CloudSetup(name="alpha", latency=fixed(0.3))
_GUEST: Final = CloudSetup(name="alpha", guest=(3.0, 6.0))
_FLOATING: Final = CloudSetup(name="alpha", floating=True)
_FAST: Final = CloudSetup(name="alpha", boot=fixed(1.0), delete=fixed(0.5))
_BRISK: Final = CloudSetup(name="alpha", boot=(2.0, 4.5), delete=(0.5, 1.0))
_BRISK_LATE: Final = CloudSetup(
    name="alpha", boot=(2.0, 4.5), delete=(0.5, 1.0), latency=fixed(0.3)
)
_BRISK_FLOATING: Final = CloudSetup(
    name="alpha", boot=(2.0, 4.5), delete=(0.5, 1.0), floating=True
)  # fmt: skip

WHOLE: Final[dict[str, Workload]] = {
    "in-flight-1": Steady(in_flight=1, ramp_s=0.0, seconds=180.0, copies=4),
    "in-flight-50": Steady(in_flight=50, ramp_s=25.0, seconds=90.0),
    "in-flight-500": Steady(in_flight=500, ramp_s=30.0, seconds=90.0),
    "guest-50": Steady(cloud=_GUEST, in_flight=50, ramp_s=25.0, seconds=75.0),
    "latency-50": Steady(cloud=_LATE, in_flight=50, ramp_s=25.0, seconds=75.0),
    "floating-50": Steady(cloud=_FLOATING, in_flight=50, ramp_s=25.0, seconds=75.0),
    "burst-1000": Burst(number=1000),
    "sustained": Steady(cloud=_FAST, in_flight=300, ramp_s=5.0, seconds=40.0),
    "quota": FullQuota(),
    "memory": Memory(),
    "restart": Restart(),
    "limit": Limit(),
    "hung": Hung(),
    "plugins": Plugins(),
    "uploads": Uploads(),
    "zuul-50": Zuul(in_flight=50, ramp_s=25.0, seconds=90.0),
    "zuul-sustained": Zuul(cloud=_FAST, in_flight=150, ramp_s=5.0, seconds=40.0, counting=False),
}
"""As the figures to reach are meant."""

SHORT: Final[dict[str, Workload]] = {
    "in-flight-1": Steady(cloud=_BRISK, in_flight=1, ramp_s=0.0, seconds=10.0),
    "in-flight-50": Steady(cloud=_BRISK, in_flight=20, ramp_s=3.0, seconds=10.0),
    "latency-50": Steady(cloud=_BRISK_LATE, in_flight=20, ramp_s=3.0, seconds=8.0),
    "floating-50": Steady(cloud=_BRISK_FLOATING, in_flight=20, ramp_s=3.0, seconds=8.0),
    "burst-1000": Burst(cloud=_BRISK, number=100),
    "sustained": Steady(cloud=_FAST, in_flight=50, ramp_s=2.0, seconds=8.0),
    "quota": FullQuota(slots=10, boot_s=2.0, job_s=2.0, delete_s=1.0, cycles=3),
    "memory": Memory(sizes=(100, 300), in_flight=20, settle_s=3.0),
    "restart": Restart(
        cloud=_BRISK,
        leased=40,
        held=5,
        idle=10,
        building=20,
        deleting=10,
        ramp_s=5.0,
        delete_s=20.0,
        after_s=5.0,
    ),
    "limit": Limit(cloud_boot=(2.0, 4.5), number=60),
    "plugins": Plugins(in_flight=10, rounds=3),
    "uploads": Uploads(mib=256),
    "zuul-50": Zuul(cloud=_BRISK, in_flight=20, ramp_s=3.0, seconds=10.0),
    "zuul-sustained": Zuul(cloud=_FAST, in_flight=40, ramp_s=2.0, seconds=8.0, counting=False),
}
"""The same, small: does it all still work? Its figures are not those of the table."""
