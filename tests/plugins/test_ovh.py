"""OVH: each quirk of its profiles is needed at its twin."""

import pytest

from tests.plugins.ovh_stories import STORIES
from trellis.errors import ConfigError, MisconfiguredError

QUIRKS = [(kind, name) for kind, stories in STORIES.items() for name in stories.names]
FAILS = pytest.RaisesExc((AssertionError, ConfigError, MisconfiguredError))
IDS = [f"{kind}-{name}" for kind, name in QUIRKS]


@pytest.mark.parametrize(("kind", "name"), QUIRKS, ids=IDS)
async def test_quirk_holds(kind, name, tmp_path, autojump_clock):
    """The plugin does as its cloud needs."""
    await STORIES[kind].tell(name, tmp_path)


@pytest.mark.parametrize(("kind", "name"), QUIRKS, ids=IDS)
async def test_without_the_quirk_its_story_fails(kind, name, tmp_path, autojump_clock):
    """What stock does is not enough."""
    with pytest.RaisesGroup(FAILS, allow_unwrapped=True, flatten_subgroups=True):
        await STORIES[kind].tell(name, tmp_path, without=True)


@pytest.mark.parametrize("kind", sorted(STORIES))
def test_every_quirk_has_its_story(kind):
    """None is there for show."""
    assert STORIES[kind].untold() == []
