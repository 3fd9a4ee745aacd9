"""What the daemon is set upon: five clouds that fail in their ways, over real HTTP."""

from typing import Any, Final

import attrs

from tests.bench.setup import PLENTY, quota_of, written

TROUBLE: Final[dict[str, Any]] = {
    "lose-answer": 0.02,
    "lose-request": 0.01,
    "appear-late": 0.3,
    "appear-late-s": [5.0, 30.0],
    "server-error": 0.01,
    "cut-answer": 0.005,
    "boot-error": 0.01,
    "no-valid-host": 0.005,
    "stuck-build": 0.001,
    "no-ssh": 0.002,
    "late-address": 0.01,
    "delete-error": 0.01,
    "list-lag-s": 1.0,
}
"""Faults of every cloud while there is demand, as a scenario writes them."""

CREATE_SETTLE_S: Final = 60.0
"""Half of what is usual, as servers are at most half as late: the end is awaited half as long."""


@attrs.frozen(kw_only=True)
class RoughCloud:
    """One cloud of the five, and the provider of it; both have its name.

    Attributes:
        share: of the fleet that its quota holds.
        extra: what its scenario has beside.
    """

    name: str
    share: float
    extra: dict[str, Any] = attrs.field(factory=dict)

    @property
    def floating(self) -> bool:
        """Whether its nodes are reached by floating IPs only."""
        return "networks" in self.extra


CLOUDS: Final = (
    RoughCloud(
        name="alpha",
        share=0.5,
        extra={"zones": ["az1", "az2"], "strangers": {"servers-at-start": 3, "every-s": 20.0}},
    ),
    RoughCloud(
        name="beta",
        share=0.25,
        extra={
            "networks": [
                {"name": "ci-net"},
                {"name": "public", "external": True, "attachable": False},
            ],
            "strangers": {"floating-ips-at-start": 2},
        },
    ),
    RoughCloud(name="gamma", share=0.25, extra={"rate-limits": [{"calls": 20, "per-s": 1}]}),
    RoughCloud(name="delta", share=0.3),
    RoughCloud(name="epsilon", share=0.2, extra={"delete": {"median": 20.0, "p95": 40.0}}),
)
"""Together they hold half more than the fleet, so that one of them may be down."""


@attrs.frozen(kw_only=True)
class RoughSetup:
    """The five clouds, and the daemon's configuration for a fleet of some size.

    Attributes:
        fleet: how many nodes the demand keeps in all states together.
        idle: how many of them wait ready.
    """

    fleet: int
    idle: int
    clouds: tuple[RoughCloud, ...] = CLOUDS

    def scenario(self) -> str:
        """The file for `trellis cloud`."""
        return written({"clouds": [self._cloud(cloud) for cloud in self.clouds]})

    def _cloud(self, cloud: RoughCloud) -> dict[str, Any]:
        slots = round(self.fleet * cloud.share)
        return {
            "name": cloud.name,
            "flavors": [{"name": "small", "cores": 1, "ram-mib": 1024}],
            "images": [{"name": "tiny"}],
            "quota": quota_of(slots),
            "boot": {"median": 7.0, "p95": 16.0},
            "guest": {"median": 0.5, "p95": 1.5},
            "delete": {"median": 3.0, "p95": 8.0},
            "latency": {
                verb: {"median": 0.02, "p95": 0.1} for verb in ("get", "post", "put", "delete")
            },
            "faults": TROUBLE,
            **cloud.extra,
        }

    def configuration(self, port: int, ssh_port: int) -> str:
        """The file for `trellis serve`.

        Args:
            port: where the daemon is to listen.
            ssh_port: where the clouds' servers answer.
        """
        return written(
            {
                "deployment": "soak",
                "store": "sqlite:trellis.db",
                "web": {"listen": f"127.0.0.1:{port}"},
                "launch-budget": PLENTY,
                "labels": [{"name": "small", "min-ready": self.idle}],
                "providers": [self._provider(cloud, ssh_port) for cloud in self.clouds],
            }
        )

    def _provider(self, cloud: RoughCloud, ssh_port: int) -> dict[str, Any]:
        label = {"name": "small", "cloud-image": "tiny", "flavor-name": "small"}
        pool: dict[str, Any] = {
            "name": "main",
            "labels": [{**label, "connection-port": ssh_port}],
        }
        if cloud.floating:
            pool["networks"] = ["ci-net"]
        return {
            "name": cloud.name,
            "type": "openstack",
            "cloud": cloud.name,
            "sweep": "delete",
            "boot-timeout": 60,
            "launch-timeout": 120,
            "create-settle": CREATE_SETTLE_S,
            "pools": [pool],
        }
