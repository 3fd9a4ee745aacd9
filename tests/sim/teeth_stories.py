"""The stories in which daemons with bugs are judged: each makes one kind of mistake matter."""

import attrs

from trellis.sim.cloud.spec import (
    CloudSpec,
    Faults,
    FaultWindow,
    Latency,
    Lognormal,
    NetworkSpec,
    Strangers,
    direct_networks,
    fixed,
    floating_networks,
)
from trellis.sim.cloud.spec import Quota as CloudQuota
from trellis.sim.demand import DemandSpec
from trellis.sim.scenario import Scenario

NO_FAULTS, NOBODY, QUICK, WIDE = Faults(), Strangers(), Latency(), CloudQuota(instances=60)


def story(
    name: str,
    *,
    faults: Faults = NO_FAULTS,
    quota: CloudQuota = WIDE,
    networks: tuple[NetworkSpec, ...] = direct_networks(),
    strangers: Strangers = NOBODY,
    latency: Latency = QUICK,
    kills: int = 0,
    sizes: tuple[float, ...] = (0.7, 0.3),
    cancel: float = 0.0,
    every_s: float = 4.0,
    sweep: str = "delete",
    most: int = 50,
    volume: str = "",
    budget: int = 3000,
    skew_s: float = 0.0,
    patience_s: float = 900.0,
    end: float = 360.0,
) -> Scenario:
    """One cloud of two zones, sixty requests within some minutes."""
    configuration = f"""
deployment: sim
launch-budget: {budget}
labels: [{{name: small}}]
providers:
  - name: only
    type: openstack
    cloud: only
    sweep: {sweep}
    launch-timeout: 300
    boot-timeout: 90
    pools:
      - name: main
        max-servers: {most}
        networks: [{networks[0].name}]
        labels: [{{name: small, cloud-image: tiny, flavor-name: ci-1c-1g{volume}}}]
"""
    return Scenario(
        name=name,
        clouds=(
            CloudSpec(
                name="only",
                zones=("az1", "az2"),
                networks=networks,
                quota=quota,
                strangers=strangers,
                latency=latency,
                boot=Lognormal(10.0, 20.0),
                fault_windows=(FaultWindow(start=0.0, end=end, faults=faults),) if end else (),
                faults=Faults(clock_skew_s=skew_s),
            ),
        ),
        configuration=configuration,
        demand=DemandSpec(
            requests=60,
            every_s=every_s,
            sizes=sizes,
            cancel=cancel,
            expire=0.0,
            use=Lognormal(30.0, 60.0),
            labels=("small",),
        ),
        kills=kills,
        faults_end=end,
        patience_s=patience_s,
        settle_s=1800.0,
    )


KILLED = story("killed", kills=12, latency=Latency(post=Lognormal(1.5, 4.0)))
LOSSY = story("lossy", faults=Faults(lose_answer=0.1, lose_request=0.05))
TIDY = story("tidy", sweep="report", cancel=0.4, networks=floating_networks())
CROWDED = story(
    "crowded", quota=CloudQuota(instances=12), every_s=1.0, latency=Latency(post=fixed(0.5))
)
STRANGE = story("strange", strangers=Strangers(servers_at_start=3, every_s=60.0, stay_s=900.0))
LAGGING = story("lagging", faults=Faults(list_lag_s=40.0))
BOOTING = story(
    "booting",
    volume=", boot-from-volume: true, volume-size: 20",
    faults=Faults(leak_volume=0.3, stuck_volume=0.1, stuck_volume_s=120.0),
    strangers=Strangers(volumes_at_start=2),
    cancel=0.3,
    kills=6,
)
UNSWEPT = attrs.evolve(
    BOOTING,
    name="unswept",
    configuration=BOOTING.configuration.replace("sweep: delete", "sweep: report"),
)
SETS = story("sets", sizes=(0.0, 1.0))
GHOSTLY = story("ghostly", faults=Faults(come_back=0.5, come_back_s=400.0))
STUCK = story("stuck", faults=Faults(stuck_build=0.1))
LATE = story(
    "late",
    sweep="report",
    cancel=0.6,
    faults=Faults(lose_answer=0.2, appear_late=0.8, appear_late_s=(20.0, 110.0)),
)
UNSURE = story(
    "unsure",
    sweep="report",
    cancel=0.4,
    networks=floating_networks(),
    faults=Faults(lose_answer=0.15),
    kills=6,
)
UNDELETED = story("undeleted", sweep="report", faults=Faults(delete_error=0.2))
# What a minute allows is used up at once: only time brings more.
SPENT = story("spent", budget=4, every_s=0.2, patience_s=3600.0)
SKEWED = story("skewed", skew_s=-600.0, patience_s=50.0, end=0.0)
SPARSE = story("sparse", every_s=15.0, kills=12, end=800.0)
OFTEN_KILLED = story("often killed", kills=40)
RESTARTED = story("restarted", kills=25, patience_s=240.0)

STORIES = [
    KILLED,
    LOSSY,
    TIDY,
    CROWDED,
    STRANGE,
    LAGGING,
    BOOTING,
    UNSWEPT,
    SETS,
    GHOSTLY,
    STUCK,
    LATE,
    UNSURE,
    UNDELETED,
    SPENT,
    SKEWED,
    SPARSE,
    OFTEN_KILLED,
    RESTARTED,
]
