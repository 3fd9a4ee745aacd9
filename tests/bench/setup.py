"""What a workload runs on: the clouds' scenario and the daemon's configuration, as YAML."""

from typing import Any

import attrs
import yaml

Distribution = tuple[float, float]
"""Median and 95th percentile of a lognormal time in seconds; equal ones mean fixed."""

BOOT: Distribution = (20.0, 45.0)
DELETE: Distribution = (2.0, 5.0)
NONE: Distribution = (0.0, 0.0)
PLENTY = 100_000
"""What is never the limit."""


def fixed(seconds: float) -> Distribution:
    """A time that is always the same."""
    return seconds, seconds


@attrs.frozen(kw_only=True)
class CloudSetup:
    """One simulated cloud, and the provider of it; both have its name.

    Attributes:
        boot: from the create until ACTIVE.
        guest: from ACTIVE until sshd answers.
        latency: of each call.
        slots: its quota of instances; None is plenty.
        calls_per_s: its rate limit, refused with 429; None is none.
        floating: nodes are reached by floating IPs only.
        labels: what its pool offers.
    """

    name: str
    boot: Distribution = BOOT
    guest: Distribution = NONE
    delete: Distribution = DELETE
    latency: Distribution = NONE
    slots: int | None = None
    calls_per_s: int | None = None
    floating: bool = False
    labels: tuple[str, ...] = ("small",)


ALPHA = CloudSetup(name="alpha")
"""One cloud without any trouble, with the usual times."""


@attrs.frozen(kw_only=True)
class Setup:
    """The clouds and how the daemon is configured for them.

    Attributes:
        min_ready: idle nodes to keep, by label.
    """

    clouds: tuple[CloudSetup, ...] = (ALPHA,)
    min_ready: dict[str, int] = attrs.field(factory=dict)

    def scenario(self) -> str:
        """The file for `trellis cloud`."""
        return written({"clouds": [_cloud(cloud) for cloud in self.clouds]})

    def configuration(self, port: int, ssh_port: int) -> str:
        """The file for `trellis serve`.

        Args:
            port: where the daemon is to listen.
            ssh_port: where the clouds' servers answer.
        """
        labels = dict.fromkeys(label for cloud in self.clouds for label in cloud.labels)
        return written(
            {
                "deployment": "bench",
                "store": "sqlite:trellis.db",
                "web": {"listen": f"127.0.0.1:{port}"},
                # The budget bounds what a bug can do; here nothing but the daemon may be the limit.
                "launch-budget": PLENTY,
                "lease-ttl": "24h",
                "labels": [
                    {"name": label, "min-ready": self.min_ready.get(label, 0)} for label in labels
                ],
                "providers": [_provider(cloud, ssh_port) for cloud in self.clouds],
            }
        )


def _cloud(cloud: CloudSetup) -> dict[str, Any]:
    slots = PLENTY if cloud.slots is None else cloud.slots
    scenario: dict[str, Any] = {
        "name": cloud.name,
        "flavors": [{"name": "small", "cores": 1, "ram-mib": 1024}],
        "images": [{"name": "tiny"}],
        "quota": quota_of(slots),
        "boot": _lognormal(cloud.boot),
        "guest": _lognormal(cloud.guest),
        "delete": _lognormal(cloud.delete),
        "latency": {
            verb: _lognormal(cloud.latency) for verb in ("get", "post", "put", "delete")
        },
    }  # fmt: skip
    if cloud.calls_per_s is not None:
        scenario["rate-limits"] = [{"calls": cloud.calls_per_s, "per-s": 1}]
    if cloud.floating:
        scenario["networks"] = [
            {"name": "ci-net"},
            {"name": "public", "external": True, "attachable": False},
        ]
    return scenario


def _provider(cloud: CloudSetup, ssh_port: int) -> dict[str, Any]:
    return {
        "name": cloud.name,
        "type": "openstack",
        "cloud": cloud.name,
        "sweep": "delete",
        "pools": [
            {
                "name": "main",
                "labels": [
                    {
                        "name": label,
                        "cloud-image": "tiny",
                        "flavor-name": "small",
                        "connection-port": ssh_port,
                    }
                    for label in cloud.labels
                ],
            }
        ],
    }


def quota_of(slots: int) -> dict[str, int]:
    """A quota that ends with so many instances, as a scenario writes it."""
    return {
        "instances": slots,
        "cores": PLENTY,
        "ram-mib": PLENTY * 1024,
        "floating-ips": PLENTY,
        "ports": PLENTY,
    }


def _lognormal(times: Distribution) -> dict[str, float]:
    return {"median": times[0], "p95": times[1]}


def written(document: dict[str, Any]) -> str:
    """A file for `trellis cloud` or `trellis serve`."""
    return str(yaml.safe_dump(document, sort_keys=False))
