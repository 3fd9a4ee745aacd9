"""Several daemons on one tree of Zuul's: each does its part and leaves the others' alone."""

import contextlib
from functools import cache

import attrs
import pytest
import yaml

pytest.importorskip("trellis_zuul", reason="needs plugins/zuul: pip install -e plugins/zuul")

from trellis_zuul.node_wire import Mark
from trellis_zuul.pools import Pools
from trellis_zuul.request_life import RequestLife

from tests.sim.teeth import seed_that_shows
from tests.sim.test_teeth_zuul import Bug
from trellis.errors import ConfigError
from trellis.providers import openstack
from trellis.sim.daemons import DaemonSpec, configuration_of, offers_of
from trellis.sim.scenario import Scenario, zuul_two
from trellis.sim.scenario_dump import dumped
from trellis.sim.scenario_file import load_scenario
from trellis.sim.simulate import simulate
from trellis.sim.zuul.spec import ZooKeeperFaults
from trellis.zookeeper.errors import NoSuchZnodeError

MOST_SEEDS = 4


def story(*, down_for: float = 60.0) -> Scenario:
    """A small one; one daemon dies with requests under its locks, and nothing else goes wrong."""
    whole = zuul_two()
    assert whole.zuul is not None
    one, two = whole.daemons
    spec = attrs.evolve(
        whole.zuul,
        demand=attrs.evolve(whole.zuul.demand, requests=60, cancel=0.0),
        cancel_at_write=0.0,
        other_launcher=False,
        executor_deaths=0,
        zookeeper=ZooKeeperFaults(),
    )
    return attrs.evolve(
        whole,
        name="two-daemons",
        zuul=spec,
        daemons=(attrs.evolve(one, killed_at=60.0, down_for=down_for), two),
        demand=attrs.evolve(whole.demand, requests=1),
        kills=0,
        faults_end=300.0,
        patience_s=300.0,
        settle_s=1500.0,
        clouds=tuple(attrs.evolve(cloud, fault_windows=()) for cloud in whole.clouds),
    )


@pytest.mark.slow
def test_the_other_daemon_goes_on_while_one_is_dead():
    """It answers what comes, and what the dead one had locked and both can serve."""
    outcome = simulate(story(down_for=200.0), 2)

    assert () == outcome.violations
    assert outcome.figures["zuul_answered_alone"] > 10
    assert outcome.figures["zuul_passed_over"] >= 1


@pytest.mark.slow
def test_the_same_seed_is_the_same_story_of_two():
    """To the last change in the tree and in the clouds."""
    assert simulate(story(), 1).trace == simulate(story(), 1).trace


@pytest.mark.slow
def test_one_of_several_is_the_only_one():
    """A story of one daemon with a name: it has providers, kills and a verdict as any other."""
    whole = story()
    alone = attrs.evolve(
        whole, daemons=(attrs.evolve(whole.daemons[0], killed_at=0.0, down_for=0.0),)
    )

    outcome = simulate(attrs.evolve(alone, kills=2), 1)

    assert () == outcome.violations
    assert outcome.figures["kills"] >= 1
    assert 0 == outcome.figures["zuul_passed_over"]


# ------------------------------------------------------------------------------------ the bugs


def fails_what_others_could_serve(patch: pytest.MonkeyPatch) -> None:
    """Its own declines are taken for those of all."""
    patch.setattr(Pools, "others_may_serve", lambda *_: False)
    patch.setattr(Pools, "nobody_is_left", lambda self, by: self.own and {*self.own} <= {*by})


def breaks_locks_of_others(patch: pytest.MonkeyPatch) -> None:
    """Whoever has a request's lock for long must be dead, it says, and makes his place free."""

    async def others_serve(self, document):
        folder = self._lock.folder
        for name in self._ground.request_locks.children(folder):
            with contextlib.suppress(NoSuchZnodeError):
                await self._ground.session.delete(f"{folder}/{name}")
        await self._wait_a_little()

    patch.setattr(RequestLife, "_others_serve", others_serve)


def takes_all_marks_for_its_own(patch: pytest.MonkeyPatch) -> None:
    """Any node that some Trellis has marked is looked after, as if the mark were its own."""
    patch.setattr(Mark, "is_of", lambda self, deployment, source: self.source == source)


class _Anybody(str):
    """A name that is equal to every other."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def reads_no_deployment(patch: pytest.MonkeyPatch) -> None:
    """Of a server's mark only the node is looked at, not whose it is.

    The store finds out that it never issued these ids under that mark, and says so.
    """
    true = openstack.tag_of

    def tag_of(row):
        tag = true(row)
        return tag and attrs.evolve(tag, deployment=_Anybody(tag.deployment))

    patch.setattr(openstack, "tag_of", tag_of)


CASES: list[tuple[Bug, str]] = [
    (fails_what_others_could_serve, "progress"),
    (breaks_locks_of_others, "zuul"),
    (takes_all_marks_for_its_own, "zuul"),
    (reads_no_deployment, "bug"),
]


@cache
def honest(seed: int) -> tuple[object, ...]:
    """What the oracle says of the daemons as they are."""
    return simulate(story(), seed).violations


@pytest.mark.slow
@pytest.mark.parametrize(("bug", "promise"), CASES, ids=[bug.__name__ for bug, _ in CASES])
def test_a_bug_that_only_several_show_is_caught(bug, promise, monkeypatch):
    """The oracle names the promise, and finds nothing in the same story without the bug."""
    bug(monkeypatch)

    seed = seed_that_shows(promise, story(), range(MOST_SEEDS))

    monkeypatch.undo()
    assert () == honest(seed)


# --------------------------------------------------------------------------- scenario files


def test_each_has_its_part_of_the_configuration():
    """Its deployment and providers, and only the labels that these offer."""
    whole = zuul_two()

    found = yaml.safe_load(configuration_of(whole.configuration, whole.daemons[1]))

    assert "two" == found["deployment"]
    assert ["beta", "gamma-two"] == [provider["name"] for provider in found["providers"]]
    assert ["small", "huge"] == [label["name"] for label in found["labels"]]
    offers = offers_of(whole.configuration, whole.daemons)
    assert {"one": ({"small", "large"},) * 2, "two": ({"small", "huge"},) * 2} == offers


def test_a_scenario_file_has_several_daemons(tmp_path):
    """What is written down is read back the same."""
    path = tmp_path / "two.yaml"
    path.write_text(dumped(zuul_two()), encoding="utf-8")

    assert zuul_two().daemons == load_scenario(path).daemons


STORY = """\
clouds: [{name: east}, {name: west}]
demand: {requests: 1, every-s: 1, labels: [small]}
faults-end: 600
configuration:
  deployment: sim
  labels: [{name: small}, {name: large}]
  providers:
    - {name: east, type: openstack, cloud: east, sweep: delete, pools: [{name: main, labels: [
       {name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]}]}
    - {name: west, type: openstack, cloud: west, sweep: delete, pools: [{name: main, labels: [
       {name: large, cloud-image: tiny, flavor-name: ci-1c-1g}]}]}
daemons:
"""
"""Fourteen lines; the daemons follow."""


@pytest.mark.parametrize(
    ("daemons", "fault"),
    [
        (
            "- {deployment: one, providers: [east, wst]}\n- {deployment: two, providers: [west]}",
            "13:39: daemons.0.providers.1: the configuration has no provider 'wst'",
        ),
        (
            "- {deployment: one, providers: [east]}\n- {deployment: two, providers: [west, east]}",
            "14:39: daemons.1.providers.1: the provider 'east' is that of another daemon already",
        ),
        (
            "- {deployment: one, providers: [east]}\n- {deployment: one, providers: [west]}",
            "14:3: daemons.1: two daemons have the deployment 'one': give each its own",
        ),
        (
            "- {deployment: one, providers: [east]}",
            "13:3: daemons: no daemon has the provider 'west' of the configuration",
        ),
        (
            "- {deployment: one, providers: [west]}\n- {deployment: two, providers: [east]}",
            "2:44: demand.labels.0: of the first daemon: the configuration has no label 'small'",
        ),
        (
            "- {deployment: one, providers: [east, west], killed-at: 60}",
            "13:3: daemons.0: killed-at and down-for go together",
        ),
        (
            "- {deployment: one, providers: []}\n- {deployment: two, providers: [east, west]}",
            "13:32: daemons.0.providers: must name one provider at least",
        ),
        (
            "- {deployment: one, providers: [east, west], killed-at: 700, down-for: 5}",
            "1:1: (top): a daemon's killed-at must not be after faults-end",
        ),
    ],
)
def test_daemons_that_do_not_fit(daemons, fault, tmp_path):
    """Each mistake is told by its place."""
    path = tmp_path / "story.yaml"
    path.write_text(STORY + daemons + "\n")

    with pytest.raises(ConfigError) as found:
        load_scenario(path)

    assert any(f"story.yaml:{fault}" in line for line in found.value.faults), found.value.faults


def test_an_empty_name_is_refused():
    """A deployment is known by it."""
    with pytest.raises(ValueError, match="must not be empty"):
        DaemonSpec(deployment=" ", providers=("east",))
