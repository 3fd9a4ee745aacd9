"""A failing seed made a short story: whatever can be left out without mending it is.

Delta debugging over the scenario as data: requests, clouds, kills, changes, faults of each kind,
outages, strangers. Each try is one simulation with the same seed. What is left out takes no
chance away from the rest, so what remains happens much as it did.
"""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Final, TypeVar

import attrs
import yaml

from trellis.sim.cloud.spec import CloudSpec, Faults
from trellis.sim.demand import wanted
from trellis.sim.only import Only
from trellis.sim.oracle import Violation
from trellis.sim.scenario import Scenario
from trellis.sim.scenario_dump import default_of
from trellis.sim.simulate import Outcome, demand_chance, simulate

MOST_TRIES: Final = 200
_KEPT_OF_SCENARIO: Final = frozenset(
    {"name", "clouds", "configuration", "demand", "faults_end", "patience_s", "settle_s", "only"}
    | {"kills", "changes"}
)
_KEPT_OF_CLOUD: Final = frozenset({"name", "number", "regions", "zones", "networks", "flavors"})

T = TypeVar("T")
Try = tuple[str, Scenario]
"""What a smaller story leaves out, in words, and the story."""


@attrs.frozen(kw_only=True)
class Shrunk:
    """The smallest story found so far that breaks the same promise.

    Attributes:
        scenario: what is left.
        outcome: what came of it.
        tries: how many simulations it took.
        done: False while smaller ones are still to be tried.
    """

    scenario: Scenario
    outcome: Outcome
    tries: int
    done: bool = False


class NothingToShrinkError(ValueError):
    """The seed breaks no promise."""


def shrink(
    scenario: Scenario,
    seed: int,
    *,
    most_tries: int = MOST_TRIES,
    told: Callable[[Shrunk, str], None] = lambda *_: None,
) -> Shrunk:
    """Leave out of a story all that its violation does not need.

    Args:
        scenario: the story.
        seed: one that breaks a promise in it; the first promise broken is the one looked at.
        most_tries: so many simulations at most, after the first one.
        told: called after each try with the best so far and what was tried, in words. What it
            raises (Ctrl-C) ends the search: the best of its calls is the result.

    Raises:
        NothingToShrinkError: the seed breaks no promise.
    """
    first = simulate(scenario, seed)
    if not first.violations:
        raise NothingToShrinkError(f"seed {seed} of {scenario.name} breaks no promise")
    search = _Search(seed, kind_of(first.violations[0]), most_tries, told)
    search.best = Shrunk(scenario=scenario, outcome=first, tries=1)
    search.run()
    return attrs.evolve(search.best, tries=search.tries, done=search.tries < most_tries)


def kind_of(violation: Violation) -> str:
    """What must stay the same of a violation: its promise, and which bug if it is one."""
    if violation.promise != "bug":
        return violation.promise
    _, _, said = violation.story.partition(": ")
    return f"bug {said.split()[0]}" if said else "bug"


@attrs.define
class _Search:
    seed: int
    kind: str
    most_tries: int
    told: Callable[[Shrunk, str], None]
    tries: int = 0
    best: Shrunk = attrs.field(init=False)

    @property
    def now(self) -> Scenario:
        return self.best.scenario

    def run(self) -> None:
        """Try one way of leaving out after the other, until none has led any further."""
        before = None
        while before is not self.now and self.tries < self.most_tries:
            before = self.now
            self._requests()
            self._jobs()
            self._settings(_clouds)
            self._kills()
            self._settings(_troubles)
            self._changes()

    def _fails(self, story: Scenario, without: str) -> bool:
        """Whether a smaller story breaks the same promise; if so it is the best now."""
        if self.tries >= self.most_tries:
            return False
        self.tries += 1
        outcome = simulate(story, self.seed)
        broken = next((x for x in outcome.violations if kind_of(x) == self.kind), None)
        if broken is not None:
            self.best = Shrunk(scenario=story, outcome=outcome, tries=self.tries)
        self.told(self.best, without)
        return broken is not None

    def _requests(self) -> None:
        everybody = tuple(
            one.requestor for one in wanted(self.now.streams, demand_chance(self.seed))
        )
        only = self.now.only or Only()
        kept = everybody if only.requests is None else only.requests
        self._least(kept, "requests", lambda some: _only(self.now, requests=some))

    def _jobs(self) -> None:
        if self.now.zuul is None:
            return
        # Their names follow from how many there are; the chance of a story does not matter.
        everybody = tuple(one.requestor for one in wanted((self.now.zuul.demand,), Random(0)))
        kept = (self.now.only or Only()).jobs
        kept = everybody if kept is None else kept
        self._least(kept, "jobs of Zuul", lambda some: _only(self.now, jobs=some))

    def _kills(self) -> None:
        kept = (self.now.only or Only()).kills
        kept = tuple(range(self.now.kills * self._daemons)) if kept is None else kept
        self._least(kept, "kills", lambda some: _only(self.now, kills=some))

    def _changes(self) -> None:
        kept = (self.now.only or Only()).changes
        kept = tuple(range(self.now.changes * self._daemons)) if kept is None else kept
        self._least(kept, "changes", lambda some: _only(self.now, changes=some))

    @property
    def _daemons(self) -> int:
        return len(self.now.daemons) or 1

    def _least(
        self, things: tuple[T, ...], what: str, story: Callable[[tuple[T, ...]], Scenario]
    ) -> None:
        """Keep as few of some things as still fail: all but a part, the parts ever smaller."""
        if not things or self._fails(story(()), f"without any {what}"):
            return
        parts = 2
        while self.tries < self.most_tries and len(things) > 1:
            size = -(-len(things) // parts)
            pieces = [things[at : at + size] for at in range(0, len(things), size)]
            for piece in pieces:
                if parts == 2 and self._fails(story(piece), f"with {len(piece)} {what}"):
                    things, parts = piece, 2
                    break
                rest = tuple(x for x in things if x not in piece)
                if parts > 2 and self._fails(story(rest), f"with {len(rest)} {what}"):
                    things, parts = rest, max(2, parts - 1)
                    break
            else:
                if size == 1:
                    return
                parts = min(len(things), parts * 2)

    def _settings(self, smaller: Callable[[Scenario], Iterator[Try]]) -> None:
        """Leave out one setting after the other; those that are needed stay."""
        tried = set[str]()
        while True:
            fresh = next(((w, s) for w, s in smaller(self.now) if w not in tried), None)
            if fresh is None or self.tries >= self.most_tries:
                return
            without, story = fresh
            tried.add(without)
            self._fails(story, without)


def _only(story: Scenario, **kept: tuple[Any, ...]) -> Scenario:
    return attrs.evolve(story, only=attrs.evolve(story.only or Only(), **kept))


def _clouds(story: Scenario) -> Iterator[Try]:
    for cloud in story.clouds:
        if len(story.clouds) > 1:
            yield f"without the cloud {cloud.name}", _without_cloud(story, cloud.name)


def _without_cloud(story: Scenario, name: str) -> Scenario:
    settings = yaml.safe_load(story.configuration)
    settings["providers"] = [x for x in settings["providers"] if x["cloud"] != name]
    left = {x["name"] for x in settings["providers"]}
    parts = [(x, tuple(p for p in x.providers if p in left)) for x in story.daemons]
    return attrs.evolve(
        story,
        daemons=tuple(attrs.evolve(x, providers=kept) for x, kept in parts if kept),
        clouds=tuple(cloud for cloud in story.clouds if cloud.name != name),
        configuration=yaml.safe_dump(settings, sort_keys=False),
    )


def _troubles(story: Scenario) -> Iterator[Try]:
    """Each thing that goes wrong left out: everywhere, then of one cloud; whatever its name."""
    for field in attrs.fields(Scenario):
        usual = default_of(field, story)
        given = getattr(story, field.name)
        if field.name not in _KEPT_OF_SCENARIO and usual is not attrs.NOTHING and given != usual:
            yield f"without {_words(field.name)}", attrs.evolve(story, **{field.name: usual})
            for part, smaller in _parts(given):
                yield f"without {part}", attrs.evolve(story, **{field.name: smaller})
    for field in attrs.fields(Faults):
        clouds = [_without_fault(cloud, field.name) for cloud in story.clouds]
        yield from _changed(story, clouds, f"without {_words(field.name)}")
    for place, cloud in enumerate(story.clouds):
        for smaller, without in _of_cloud(cloud):
            clouds = [*story.clouds]
            clouds[place] = smaller
            yield from _changed(story, clouds, f"without {without} of {cloud.name}")


def _parts(given: Any) -> Iterator[tuple[str, Any]]:
    """A group of settings with each of them left out in turn."""
    for field in attrs.fields(type(given)) if attrs.has(type(given)) else ():
        usual = default_of(field, given)
        if getattr(given, field.name) != usual and usual is not attrs.NOTHING:
            yield _words(field.name), attrs.evolve(given, **{field.name: usual})


def _of_cloud(cloud: CloudSpec) -> Iterator[tuple[CloudSpec, str]]:
    for field in attrs.fields(CloudSpec):
        given, usual = getattr(cloud, field.name), default_of(field, cloud)
        if field.name in _KEPT_OF_CLOUD or given == usual or usual is attrs.NOTHING:
            continue
        yield _evolved(cloud, field.name, usual), _words(field.name)
        if isinstance(given, tuple) and len(given) > 1:
            for at in range(len(given)):
                rest = (*given[:at], *given[at + 1 :])
                yield _evolved(cloud, field.name, rest), f"{_words(field.name)} {at + 1}"
    for field in attrs.fields(Faults):
        yield _without_fault(cloud, field.name), _words(field.name)


def _evolved(cloud: CloudSpec, name: str, value: Any) -> CloudSpec:
    """The cloud with another value; as it is where that would not fit together."""
    try:
        return attrs.evolve(cloud, **{name: value})
    except ValueError:
        return cloud


def _without_fault(cloud: CloudSpec, name: str) -> CloudSpec:
    def without(faults: Faults) -> Faults:
        return attrs.evolve(faults, **{name: getattr(Faults(), name)})

    windows = tuple(attrs.evolve(x, faults=without(x.faults)) for x in cloud.fault_windows)
    return attrs.evolve(cloud, faults=without(cloud.faults), fault_windows=windows)


def _changed(story: Scenario, clouds: Sequence[CloudSpec], without: str) -> Iterator[Try]:
    if tuple(clouds) != story.clouds:
        yield without, attrs.evolve(story, clouds=tuple(clouds))


def _words(name: str) -> str:
    return name.replace("_", "-")
