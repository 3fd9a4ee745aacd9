"""What is simulated: clouds, a configuration, demand, faults and kills. All but the seed."""

from collections.abc import Mapping
from typing import Final

import attrs
import yaml

from trellis.sim.cloud.spec import (
    CloudSpec,
    Faults,
    FaultWindow,
    Latency,
    Lognormal,
    Quota,
    RateLimit,
    RetryAfter,
    Strangers,
    direct_networks,
    floating_networks,
)
from trellis.sim.cloud_windows import EVERYWHERE, windows
from trellis.sim.daemons import DaemonSpec
from trellis.sim.demand import DemandSpec
from trellis.sim.host import HostFaults
from trellis.sim.only import Only
from trellis.sim.prices import Prices
from trellis.sim.road_windows import EVERYWHERE as CALLS_EVERYWHERE
from trellis.sim.road_windows import outages
from trellis.sim.zuul.spec import ZooKeeperFaults, ZuulSpec

MINUTE: Final = 60.0


@attrs.frozen(kw_only=True)
class Scenario:
    """A whole story.

    Attributes:
        configuration: text of a ``trellis.yaml``; its clouds are named as `clouds`.
        demand: who asks for what; with `more_demand`, the streams of it.
        prices: what servers cost, for the report.
        only: what is left of it where it has been shrunk; None is all.
        kills: how many times each daemon is killed.
        host: what goes wrong on the daemon's own host.
        zuul: Zuul systems that ask through ZooKeeper; None is none.
        daemons: several of them, each with its part of the configuration; none is a single one
            with all of it. `demand` asks the first of them.
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
    more_demand: tuple[DemandSpec, ...] = ()
    prices: Prices | None = None
    only: Only | None = None
    host: HostFaults = attrs.field(factory=HostFaults)
    zuul: ZuulSpec | None = None
    daemons: tuple[DaemonSpec, ...] = ()

    @property
    def streams(self) -> tuple[DemandSpec, ...]:
        """All streams of demand."""
        return (self.demand, *self.more_demand)


_VOLUME: Final = {"alpha": ", boot-from-volume: true, volume-size: 20"}
"""By provider, what its label ``large`` boots from."""


@attrs.frozen(kw_only=True)
class _Place:
    """One provider of a built-in story: its cloud, how many servers, on which network."""

    cloud: str
    most: int
    network: str = "public"


def _configuration(places: Mapping[str, _Place]) -> str:
    providers = "".join(
        f"""
  - name: {name}
    type: openstack
    cloud: {place.cloud}
    region-name: RegionOne
    sweep: delete
    launch-timeout: 600
    boot-timeout: 120
    pools:
      - name: main
        max-servers: {place.most}
        networks: [{place.network}]
        labels:
          - {{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}}
          - {{name: large, cloud-image: tiny, flavor-name: ci-2c-4g{_VOLUME.get(name, "")}}}"""
        for name, place in places.items()
    )
    return f"""
deployment: sim
labels:
  - {{name: small, min-ready: 2}}
  - {{name: large}}
providers:{providers}
"""


_TROUBLE: Final = Faults(
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
    **EVERYWHERE,
    **CALLS_EVERYWHERE,
)


def rough() -> Scenario:
    """Five clouds with every fault of the core, strangers, outages, and kills.

    On alpha the label ``large`` boots from volumes. Two providers share epsilon's one project.
    """
    end = 8 * MINUTE
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
                fault_windows=windows("alpha", _TROUBLE, end),
            ),
            CloudSpec(
                name="beta",
                number=1,
                networks=floating_networks(),
                quota=Quota(instances=70, cores=150, ram_mib=500_000, floating_ips=56),
                fault_windows=windows("beta", _TROUBLE, end),
                outages=outages("beta"),
                rate_limits=(RateLimit(calls=20.0, per_s=1.0),),
                strangers=Strangers(
                    servers_at_start=1,
                    floating_ips_at_start=2,
                    every_s=30.0,
                    stay_s=20.0,
                    same_name=0.5,
                    other_deployment=0.5,
                ),
            ),
            CloudSpec(
                name="gamma",
                number=2,
                networks=direct_networks(),
                quota=Quota(instances=90, cores=160, ram_mib=500_000),
                capacity=78,
                fault_windows=windows("gamma", _TROUBLE, end),
                rate_limits=(RateLimit(calls=10.0, per_s=1.0, status=413, says=RetryAfter.ABSURD),),
                outages=outages("gamma"),
            ),
            CloudSpec(
                name="delta",
                number=3,
                zones=("z1", "z2", "z3"),
                networks=direct_networks(),
                quota=Quota(instances=60, cores=100, ram_mib=300_000),
                page=20,
                fault_windows=windows("delta", _TROUBLE, end),
                outages=outages("delta"),
            ),
            CloudSpec(
                name="epsilon",
                number=4,
                networks=direct_networks(),
                quota=Quota(instances=60, cores=110, ram_mib=300_000),
                latency=Latency(post=Lognormal(1.5, 4.0)),
                fault_windows=windows("epsilon", _TROUBLE, end),
                outages=outages("epsilon"),
            ),
        ),
        configuration=_configuration(
            {
                "alpha": _Place(cloud="alpha", most=100),
                "beta": _Place(cloud="beta", most=60, network="ci-net"),
                "gamma": _Place(cloud="gamma", most=90),
                "delta": _Place(cloud="delta", most=60),
                "epsilon-1": _Place(cloud="epsilon", most=40),
                "epsilon-2": _Place(cloud="epsilon", most=40),
            }
        ),
        demand=DemandSpec(requests=720, every_s=0.6, use=Lognormal(40.0, 200.0)),
        kills=24,  # of which some find a daemon that has just ended by itself
        changes=4,
        host=HostFaults(
            clock_jump=2,
            clock_set_while_down=1,
            clock_drift=0.001,
            disk_full=1,
            disk_read_only=1,
            disk_slow=1,
            store_busy=1,
            password_rotated=2,
        ),
        faults_end=end,
    )


def calm() -> Scenario:
    """The same clouds without faults, strangers or kills: what the figures should look like."""
    base = rough()
    clouds = tuple(
        attrs.evolve(cloud, fault_windows=(), outages=(), strangers=Strangers(), rate_limits=())
        for cloud in base.clouds
    )
    return attrs.evolve(
        base, name="calm", clouds=clouds, host=HostFaults(), kills=0, changes=0, faults_end=0.0
    )


_IMAGE_TROUBLE: Final = Faults(
    boot_error=0.01,
    no_ssh=0.005,
    list_lag_s=2.0,
    image_create_lost=0.2,
    image_stuck_queued=0.06,
    image_stuck_saving=0.06,
    upload_dropped=0.15,
    upload_dropped_at=(0.3, 0.95),
    upload_hangs=0.06,
    image_corrupted=0.1,
    import_fails=0.2,
    image_deleted_by_person=0.1,
    image_list_lag_s=5.0,
    image_undeletable=0.2,
    image_undeletable_s=200.0,
    bad_image=1.0,
    bad_image_error=0.5,
    bad_images=("trellis_build=*3", "trellis_build=*6"),
)

_IMAGES: Final = """
deployment: sim
labels:
  - {name: small, min-ready: 2}
  - {name: large}
images:
  - name: base
    type: simulated
    takes: 40
    fails: 0.15
    rebuild-age: 120
    build-timeout: 300
    canary-share: 0.2
    canary-nodes: 3
    canary-quiet: 150
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    region-name: RegionOne
    sweep: delete
    image-format: raw
    image-upload-timeout: 60
    pools: &pools
      - name: main
        max-servers: 60
        networks: [public]
        labels:
          - {name: small, image: base, flavor-name: ci-1c-1g}
          - {name: large, cloud-image: tiny, flavor-name: ci-2c-4g}
  - name: beta
    type: openstack
    cloud: beta
    region-name: RegionOne
    sweep: delete
    image-upload-timeout: 60
    pools: *pools
  - name: gamma
    type: openstack
    cloud: gamma
    region-name: RegionOne
    sweep: delete
    image-upload: import
    image-upload-timeout: 60
    pools: *pools
"""


def images() -> Scenario:
    """Three clouds that get their image from here, with every fault of images, bad builds, kills.

    Each third and sixth build is bad: what boots from it never answers, or ends in ERROR.
    """
    end = 12 * MINUTE
    return Scenario(
        name="images",
        clouds=tuple(
            CloudSpec(
                name=name,
                number=number,
                networks=direct_networks(),
                quota=Quota(instances=60, cores=120, ram_mib=400_000),
                fault_windows=(FaultWindow(start=0.0, end=end, faults=_IMAGE_TROUBLE),),
                image_import=Lognormal(10.0, 30.0),
            )
            for number, name in enumerate(("alpha", "beta", "gamma"))
        ),
        configuration=_IMAGES,
        demand=DemandSpec(requests=400, every_s=2.0, use=Lognormal(20.0, 60.0)),
        kills=12,
        faults_end=end,
    )


_ZUUL: Final = """
demand-sources:
  - name: zuul
    type: zuul
    zookeeper-servers: [{host: zk01.example.org}]
"""


def zuul() -> Scenario:
    """Three clouds and two Zuul systems on one ZooKeeper, another launcher beside, kills.

    Jobs are dequeued at any moment, executors die, nodes are held; Trellis's connection breaks at
    calls, its sessions end, the server pauses and is started again.
    """
    end = 10 * MINUTE
    places = ("alpha", "beta", "gamma")
    trouble = Faults(boot_error=0.02, no_valid_host=0.01, no_ssh=0.005, list_lag_s=2.0)
    return Scenario(
        name="zuul",
        clouds=tuple(
            CloudSpec(
                name=name,
                number=number,
                zones=("az1", "az2"),
                networks=direct_networks(),
                quota=Quota(instances=60, cores=120, ram_mib=400_000),
                fault_windows=(FaultWindow(start=0.0, end=end, faults=trouble),),
            )
            for number, name in enumerate(places)
        ),
        configuration=_configuration({name: _Place(cloud=name, most=40) for name in places})
        + _ZUUL,
        demand=DemandSpec(requests=60, every_s=8.0, use=Lognormal(20.0, 60.0)),
        zuul=ZuulSpec(
            demand=DemandSpec(
                requests=300,
                every_s=1.5,
                use=Lognormal(20.0, 90.0),
                tenants=("acme", "example"),
                priorities=(100, 200, 200, 300),
            ),
            cancel_at_write=0.15,
            alternatives=0.05,
            children=0.05,
            slow=0.1,
            unstarted=0.05,
            hold=0.06,
            executor_deaths=6,
            zookeeper=ZooKeeperFaults(
                call_lost=0.002,
                answer_lost=0.002,
                session_lost=3,
                cut_off=3,
                server_paused=2,
                server_restarted=1,
            ),
        ),
        kills=16,
        faults_end=end,
    )


_SOON: Final = "    take-over-after: 12\n"
_OF_TWO: Final = {
    "alpha": ("alpha", ("small", "large")),
    "gamma-one": ("gamma", ("small", "large")),
    "beta": ("beta", ("small", "huge")),
    "gamma-two": ("gamma", ("small", "huge")),
}
"""By provider, its cloud and labels."""


def zuul_two() -> Scenario:
    """Two daemons with stores and providers of their own, which serve two Zuul systems on one tree.

    Both have the label ``small``, each has one that the other has not, and on the cloud gamma both
    work in one project. One is away for minutes; both are killed, and lose their sessions. What
    one has lost the lock of the other takes over soon.
    """
    base = zuul()
    end = 8 * MINUTE
    trouble = Faults(boot_error=0.02, no_ssh=0.005, list_lag_s=2.0)
    flavors = {"small": "ci-1c-1g", "large": "ci-2c-4g", "huge": "ci-2c-4g"}
    settings = {
        "deployment": "each",
        "labels": [{"name": "small", "min-ready": 2}, {"name": "large"}, {"name": "huge"}],
        "providers": [
            {
                "name": provider,
                "type": "openstack",
                "cloud": cloud,
                "region-name": "RegionOne",
                "sweep": "delete",
                "launch-timeout": 600,
                "boot-timeout": 120,
                "pools": [
                    {
                        "name": "main",
                        "max-servers": 20,
                        "networks": ["public"],
                        "labels": [
                            {"name": x, "cloud-image": "tiny", "flavor-name": flavors[x]}
                            for x in labels
                        ],
                    }
                ],
            }
            for provider, (cloud, labels) in _OF_TWO.items()
        ],
    }
    assert base.zuul is not None
    return attrs.evolve(
        base,
        name="zuul-two",
        clouds=tuple(
            attrs.evolve(
                cloud,
                fault_windows=(FaultWindow(start=0.0, end=end, faults=trouble),),
                boot=Lognormal(35.0, 70.0),
            )
            for cloud in base.clouds
        ),
        configuration=yaml.safe_dump(settings, sort_keys=False) + _ZUUL + _SOON,
        daemons=(
            DaemonSpec(
                deployment="one", providers=("alpha", "gamma-one"), killed_at=150.0, down_for=180.0
            ),
            DaemonSpec(deployment="two", providers=("beta", "gamma-two")),
        ),
        demand=attrs.evolve(base.demand, requests=20, every_s=20.0),
        zuul=attrs.evolve(
            base.zuul,
            demand=attrs.evolve(
                base.zuul.demand,
                requests=160,
                every_s=2.0,
                labels=("small",) * 5 + ("large", "huge"),
            ),
            executor_deaths=3,
            zookeeper=attrs.evolve(base.zuul.zookeeper, session_lost=4, cut_off=4, server_paused=1),
        ),
        kills=4,
        faults_end=end,
    )


SCENARIOS: Final = {
    "rough": rough,
    "calm": calm,
    "images": images,
    "zuul": zuul,
    "zuul-two": zuul_two,
}
