"""What is simulated: clouds, a configuration, demand, faults and kills. All but the seed."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from trellis.sim.cloud.spec import (
    CloudSpec,
    Faults,
    FaultWindow,
    Lognormal,
    Outage,
    OutageKind,
    Quota,
    RateLimit,
    Strangers,
    direct_networks,
    floating_networks,
)

MINUTE: Final = 60.0
DEFAULT_LABELS: Final = ("small", "large")


def between(least: float, most: float) -> Callable[[Any, Any, Any], None]:
    """Refuse a number outside of these bounds."""

    def check(_instance: object, _field: object, value: float) -> None:
        if not least <= value <= most:
            raise ValueError(f"must be from {least:g} to {most:g}, not {value:g}")

    return check


def _weights(_instance: object, _field: object, value: tuple[float, ...]) -> None:
    if not 1 <= len(value) <= 100 or not all(0.0 <= x < math.inf for x in value) or not sum(value):
        raise ValueError("must be the chances of one, two, three … nodes, one at least above 0")


@attrs.frozen(kw_only=True)
class DemandSpec:
    """Who asks for what, and what becomes of it; times in seconds.

    Attributes:
        requests: how many are filed in all.
        every_s: mean time between two of them.
        sizes: chances of one, two, three … nodes in a request.
        cancel: chance that a request is cancelled, at a moment drawn from its first minutes.
        use: how long its nodes are used.
        labels: labels to choose from, alike for all nodes of a request or mixed.
        expire: chance that the requestor dies and its lease runs out.
    """

    requests: int = attrs.field(validator=between(1, 1_000_000))
    every_s: float = attrs.field(validator=between(0.001, 86_400.0))
    sizes: tuple[float, ...] = attrs.field(default=(0.7, 0.2, 0.1), validator=_weights)
    cancel: float = attrs.field(default=0.08, validator=between(0.0, 1.0))
    expire: float = attrs.field(default=0.03, validator=between(0.0, 1.0))
    use: Lognormal = attrs.field(factory=lambda: Lognormal(120.0, 600.0))
    labels: tuple[str, ...] = attrs.field(
        default=DEFAULT_LABELS, validator=attrs.validators.min_len(1)
    )


@attrs.frozen(kw_only=True)
class Scenario:
    """A whole story.

    Attributes:
        configuration: text of a ``trellis.yaml``; its clouds are named as `clouds`.
        kills: how many times the daemon is killed.
        changes: how many times the configuration is changed under way; it is the one given
            again when the faults end.
        faults_end: age of the clouds at which every fault is over and no kill comes any more.
        patience_s: every request must be fulfilled so long after that.
        settle_s: so long after the demand has ended the clouds must hold nothing of ours.
    """

    name: str
    clouds: tuple[CloudSpec, ...]
    configuration: str
    demand: DemandSpec
    kills: int
    faults_end: float
    patience_s: float = 30 * MINUTE
    settle_s: float = 75 * MINUTE
    changes: int = 0


_VOLUME: Final = {"alpha": ", boot-from-volume: true, volume-size: 20"}
"""By cloud, what its label ``large`` boots from."""


def _configuration(pools: Mapping[str, tuple[int, str]]) -> str:
    providers = "".join(
        f"""
  - name: {cloud}
    type: openstack
    cloud: {cloud}
    region-name: RegionOne
    sweep: delete
    launch-timeout: 600
    boot-timeout: 120
    pools:
      - name: main
        max-servers: {most}
        networks: [{network}]
        labels:
          - {{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}}
          - {{name: large, cloud-image: tiny, flavor-name: ci-2c-4g{_VOLUME.get(cloud, "")}}}"""
        for cloud, (most, network) in pools.items()
    )
    return f"""
deployment: sim
labels:
  - {{name: small, min-ready: 2}}
  - {{name: large}}
providers:{providers}
"""


_TROUBLE: Final = Faults(
    lose_answer=0.02,
    lose_request=0.01,
    appear_late=0.3,
    appear_late_s=(20.0, 110.0),
    server_error=0.02,
    boot_error=0.02,
    no_valid_host=0.01,
    stuck_build=0.005,
    no_ssh=0.005,
    late_address=0.02,
    stuck_delete=0.01,
    stuck_delete_s=900.0,
    delete_error=0.01,
    leak_volume=0.1,
    stuck_volume=0.05,
    stuck_volume_s=300.0,
    list_lag_s=2.0,
)


def rough() -> Scenario:
    """Three clouds with every fault of the core, strangers, outages, and kills.

    On alpha the label ``large`` boots from volumes.
    """
    end = 8 * MINUTE
    trouble = (FaultWindow(start=0.0, end=end, faults=_TROUBLE),)
    return Scenario(
        name="rough",
        clouds=(
            CloudSpec(
                name="alpha",
                number=0,
                zones=("az1", "az2"),
                networks=direct_networks(),
                quota=Quota(instances=110, cores=240, ram_mib=800_000, volumes=60, gigabytes=1000),
                strangers=Strangers(
                    servers_at_start=3, volumes_at_start=2, every_s=120.0, stay_s=300.0
                ),
                fault_windows=trouble,
            ),
            CloudSpec(
                name="beta",
                number=1,
                networks=floating_networks(),
                quota=Quota(instances=70, cores=150, ram_mib=500_000, floating_ips=56),
                fault_windows=trouble,
                rate_limits=(RateLimit(calls=20.0, per_s=1.0),),
                strangers=Strangers(servers_at_start=1, floating_ips_at_start=2),
            ),
            CloudSpec(
                name="gamma",
                number=2,
                networks=direct_networks(),
                quota=Quota(instances=90, cores=160, ram_mib=500_000),
                capacity=78,
                fault_windows=trouble,
                rate_limits=(RateLimit(calls=10.0, per_s=1.0, status=413),),
                outages=(
                    Outage(start=60.0, end=150.0, kind=OutageKind.HANG),
                    Outage(start=190.0, end=230.0, kind=OutageKind.REFUSE),
                    Outage(start=270.0, end=310.0, kind=OutageKind.GATEWAY),
                ),
            ),
        ),
        configuration=_configuration(
            {"alpha": (100, "public"), "beta": (60, "ci-net"), "gamma": (90, "public")}
        ),
        demand=DemandSpec(requests=260, every_s=1.0, use=Lognormal(60.0, 240.0)),
        kills=8,
        changes=4,
        faults_end=end,
    )


def calm() -> Scenario:
    """The same clouds without faults, strangers or kills: what the figures should look like."""
    base = rough()
    clouds = tuple(
        attrs.evolve(cloud, fault_windows=(), outages=(), strangers=Strangers(), rate_limits=())
        for cloud in base.clouds
    )
    return attrs.evolve(base, name="calm", clouds=clouds, kills=0, changes=0, faults_end=0.0)


SCENARIOS: Final = {"rough": rough, "calm": calm}
