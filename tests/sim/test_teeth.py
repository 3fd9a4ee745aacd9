"""The oracle has teeth: a daemon with a bug, put in on purpose, is caught within a few seeds.

Each bug is one that somebody might really write. Every story is also told with the daemon as it
is, which must pass: a judge who condemns everybody has no teeth either.
"""

from collections.abc import Callable

import attrs
import pytest

from trellis.control import life
from trellis.control.attached import Attached
from trellis.control.life import Life
from trellis.control.port import Port
from trellis.control.quota import Quota
from trellis.control.scheduling import Scheduling
from trellis.control.sweep import Sweep
from trellis.control.watcher import Watcher
from trellis.errors import AnswerLostError, CloudBrokenError
from trellis.model.names import NodeId
from trellis.model.node import NodeState, ResourceKind
from trellis.model.records import Change
from trellis.scheduler.snapshot import QuotaView
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
from trellis.sim.scenario import DemandSpec, Scenario
from trellis.sim.simulate import simulate
from trellis.spi.provider import Instance, InstanceState, Tag
from trellis.store.simulated import SimulatedLog

pytestmark = pytest.mark.slow

SEEDS = range(1, 6)
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
) -> Scenario:
    """One cloud of two zones, sixty requests within some minutes."""
    end = 360.0
    configuration = f"""
deployment: sim
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
                fault_windows=(FaultWindow(start=0.0, end=end, faults=faults),),
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
        patience_s=900.0,
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
SETS = story("sets", sizes=(0.0, 1.0))


# ------------------------------------------------------------------------------- the bugs


def creates_before_the_intent(patch: pytest.MonkeyPatch) -> None:
    """The create is recorded when it is answered, not before it is sent."""

    async def create_then_record(self, node, *_):
        await self.provider.create_turn()
        external_id = await self.provider.create(self._intent(node))
        await self._intend(node.id, ResourceKind.SERVER)
        return await self._made(node.id, ResourceKind.SERVER, external_id)

    patch.setattr(Life, "_create", create_then_record)


def repeats_a_lost_create(patch: pytest.MonkeyPatch) -> None:
    """A create without an answer is sent again without looking."""

    async def send_again(self, node, *_):
        while True:
            try:
                external_id = await self.provider.create(self._intent(node))
            except (AnswerLostError, CloudBrokenError):
                continue
            return await self._made(node.id, ResourceKind.SERVER, external_id)

    patch.setattr(Life, "_settle", send_again)


def takes_absence_for_gone(patch: pytest.MonkeyPatch) -> None:
    """What a list does not show is held to be gone."""
    take, rest = Watcher._take, Watcher._rest
    seen: dict[str, None] = {}

    def taking(self, row):
        seen[row.external_id] = None
        take(self, row)

    async def resting(self, next_full):
        for waiter in list(self._waiting.values()):
            if waiter.external_id is not None and waiter.external_id not in seen:
                gone = Instance(external_id=waiter.external_id, name="", state=InstanceState.GONE)
                self._offer(waiter, gone)
        seen.clear()
        await rest(self, next_full)

    patch.setattr(Watcher, "_take", taking)
    patch.setattr(Watcher, "_rest", resting)


def forgets_leases(patch: pytest.MonkeyPatch) -> None:
    """Leases live in memory only: a restart knows nothing of them."""
    opened = SimulatedLog.open

    async def open_without(self):
        contents = await opened(self)
        kept = [row for row in contents.records if row.key[0] != "lease"]
        return attrs.evolve(contents, records=kept)

    patch.setattr(SimulatedLog, "open", open_without)


def hands_out_twice(patch: pytest.MonkeyPatch) -> None:
    """A node that is handed out stays on the shelf for others."""
    fulfil = Scheduling._fulfil

    def careless(self, decision):
        changes = fulfil(self, decision)
        return [
            Change(x.before, attrs.evolve(x.before, allocated_to=None, slot=None))
            if isinstance(x.after, life.Node)
            else x
            for x in changes
        ]

    patch.setattr(Scheduling, "_fulfil", careless)


def shelves_used_nodes(patch: pytest.MonkeyPatch) -> None:
    """A node that was given back is given to the next one."""
    became = life.Node.became

    def reuse(self, state, at, **changes):
        if state is NodeState.USED:
            return attrs.evolve(
                self, state=NodeState.READY, state_at=at, allocated_to=None, slot=None
            )
        return became(self, state, at, **changes)

    patch.setattr(life.Node, "became", reuse)


def forgets_what_is_building(patch: pytest.MonkeyPatch) -> None:
    """Only what the cloud said is used counts against the quota."""

    def view(self, *, ours, freeing):
        used = self.reading.used if self.reading is not None else ours
        return QuotaView(limits=self.limits, used=used, freeing=freeing)

    patch.setattr(Quota, "view", view)


def cancel_forgets_nodes(patch: pytest.MonkeyPatch) -> None:
    """A cancelled request's nodes are left to themselves, and nobody looks for such ones."""
    patch.setattr(Port, "_released", lambda self, request, now: [])
    patch.setattr(Scheduling, "_orphans", lambda self: [])


def forgets_floating_ips(patch: pytest.MonkeyPatch) -> None:
    """A node's floating IP is not deleted with it."""
    order = tuple(x for x in life.DELETE_ORDER if x is not ResourceKind.FLOATING_IP)
    patch.setattr(life, "DELETE_ORDER", order)


def forgets_volumes(patch: pytest.MonkeyPatch) -> None:
    """A node's volume is left to the cloud, and no look at it proves it gone."""
    order = tuple(x for x in life.DELETE_ORDER if x is not ResourceKind.VOLUME)
    patch.setattr(life, "DELETE_ORDER", order)


def looks_at_ready_volumes_only(patch: pytest.MonkeyPatch) -> None:
    """What a server has is recorded when it is active: of a launch cut short nobody knows."""
    see = Attached.see

    def late(self, row):
        if row.state is InstanceState.ACTIVE:
            see(self, row)

    patch.setattr(Attached, "see", late)


def takes_any_volume(patch: pytest.MonkeyPatch) -> None:
    """Whatever looks like a volume of nova's is held to be ours."""

    async def ours(self, external_id):
        return NodeId("0000000001")

    patch.setattr(Attached, "whose", ours)


def splits_sets(patch: pytest.MonkeyPatch) -> None:
    """The nodes of a request come from wherever there is room."""
    new_node = Scheduling._new_node

    def anywhere(self, new_id, launch, request_id, now):
        az = ("az1", "az2")[(launch.slot or 0) % 2]
        return new_node(self, new_id, attrs.evolve(launch, az=az), request_id, now)

    patch.setattr(Scheduling, "_new_node", anywhere)


def sweeps_everything(patch: pytest.MonkeyPatch) -> None:
    """The sweep takes every server that no record claims, whoever's it is."""

    def see(self, listing):
        known = {node.external_id for node in self.nodes().values()}
        tag = Tag(deployment=self.deployment, node_id=NodeId("0000000001"))
        rows = [x for x in listing.instances if x.state is not InstanceState.GONE]
        seen = {x.external_id: tag for x in rows if x.external_id not in known}
        self._note(ResourceKind.SERVER, seen)

    patch.setattr(Sweep, "see", see)


Bug = Callable[[pytest.MonkeyPatch], None]

CASES: list[tuple[Bug, Scenario, str]] = [
    (creates_before_the_intent, KILLED, "P3"),
    (repeats_a_lost_create, LOSSY, "P3"),
    (takes_absence_for_gone, LAGGING, "progress"),
    (forgets_leases, KILLED, "P10"),
    (hands_out_twice, SETS, "P1"),
    (shelves_used_nodes, SETS, "P1"),
    (forgets_what_is_building, CROWDED, "P6"),
    (cancel_forgets_nodes, TIDY, "P2"),
    (forgets_floating_ips, TIDY, "P2"),
    (forgets_volumes, BOOTING, "P2"),
    (looks_at_ready_volumes_only, BOOTING, "P2"),
    (takes_any_volume, BOOTING, "P2"),
    (splits_sets, SETS, "P9"),
    (sweeps_everything, STRANGE, "P2"),
]


@pytest.mark.parametrize(("bug", "scenario", "promise"), CASES, ids=[x[0].__name__ for x in CASES])
def test_a_daemon_with_a_bug_is_caught(bug, scenario, promise, monkeypatch):
    """Within a few seeds the oracle names the promise that the bug breaks."""
    bug(monkeypatch)

    broken = (x.promise for seed in SEEDS for x in simulate(scenario, seed).violations)

    assert promise in broken


STORIES = [KILLED, LOSSY, TIDY, CROWDED, STRANGE, LAGGING, BOOTING, SETS]


@pytest.mark.parametrize("scenario", STORIES, ids=lambda x: x.name)
def test_the_daemon_as_it_is_passes(scenario):
    """The same stories break no promise when nobody has put a bug in."""
    assert simulate(scenario, 1).violations == ()
