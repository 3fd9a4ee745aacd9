"""A plan made with what former passes found out is the plan made without."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.model import World, worlds
from tests.properties.model import asks as ask_parts
from tests.properties.test_plan import happen, thorough
from trellis.scheduler.answers import Answers
from trellis.scheduler.memory import Memory
from trellis.scheduler.plan import plan
from trellis.scheduler.snapshot import Held

MOODS = ["plain", "barred", "closed", "refused", "no-capacity", "label-held", "hurry"]


class Nothing(dict):
    """Forgets what it is told."""

    def __setitem__(self, key, value):
        pass


class Oblivious(Answers):
    """Answers nothing, so that every question is looked into anew, also within a pass."""

    def with_other_room(self):
        return self

    def keeping(self, provider, labels):
        return self


class Forgetful(Memory):
    """The plain planner: nothing is known, ever."""

    def recall(self, quota, now):
        return Oblivious(**{field.name: Nothing() for field in attrs.fields(Answers)})


def in_mood(snapshot, mood, some):
    """The snapshot with something held back that the model's worlds do not have."""
    snapshot = attrs.evolve(snapshot, starve_after_s=0.0 if mood == "hurry" else 600.0)
    name = sorted(snapshot.providers)[some % len(snapshot.providers)]
    provider = snapshot.providers[name]
    held = Held(key="one", reason="it failed", turn=some % 2 == 0, left_s=some)
    pools = list(provider.pools)
    match mood:
        case "barred":
            provider = attrs.evolve(provider, barred="the limit of a day is used up")
        case "closed":
            provider = attrs.evolve(provider, closed="it does not answer")
        case "refused":
            quota = attrs.evolve(snapshot.quotas[provider.quota], refused="it was refused")
            quotas = {**snapshot.quotas, provider.quota: quota}
            snapshot = attrs.evolve(snapshot, quotas=quotas)
        case "no-capacity":
            spots = dict.fromkeys([("flavor-small", None), ("flavor-large", "a")], held)
            pools[0] = attrs.evolve(pools[0], spots_held=spots)
        case "label-held":
            pools[0] = attrs.evolve(pools[0], labels_held={"small": (held,)})
    provider = attrs.evolve(provider, pools=pools)
    return attrs.evolve(snapshot, providers={**snapshot.providers, name: provider})


passes = st.tuples(
    st.lists(ask_parts, max_size=3),
    st.sampled_from(["nothing", "boot", "fail", "release", "delete", "wait"]),
    st.lists(st.sampled_from(MOODS), min_size=1, max_size=3),
    st.integers(0, 9),
)


@given(spec=worlds(), story=st.lists(passes, min_size=2, max_size=8))
@thorough
def test_a_plan_does_not_depend_on_what_is_remembered(spec, story):
    """Over a story of passes: same decisions, same reasons, in the same order.

    Where there is more than one mood, the moods change and nothing else does.
    """
    world, memory = World(spec), Memory()
    for asked, what, moods, some in story:
        for ask in asked:
            world.ask(**ask)
        if what != "nothing":
            happen(world, what, some)
        now = world.snapshot()
        for mood in moods:
            snapshot = in_mood(now, mood, some)
            found, plain = plan(snapshot, memory), plan(snapshot, Forgetful())
            assert found == plain
            assert str(found) == str(plain)
        world.fleet.seen()
        world.carry_out(found.decisions)
