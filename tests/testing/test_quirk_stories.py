"""`QuirkStories`: a story is told with its quirk and without, and a bad one is told apart."""

import pytest

from trellis.openstack.profile import CloudProfile, Quirk
from trellis.providers.openstack import OpenStackProvider
from trellis.sim.cloud import CloudSpec
from trellis.testing import QuirkStories

KNOWN = {"evidence": "a test", "era": "since 2026", "check": "run it"}
PROFILE = CloudProfile(
    name="zoned",
    title="Zoned",
    status="in a test",
    quirks=(
        Quirk(name="zones", value=("zone-1",), does="zone-2 cannot be used.", **KNOWN),
        Quirk(name="hook.console_log", does="It has none.", section="2.8", **KNOWN),
    ),
)
TWIN = CloudSpec(name="zoned", zones=("zone-1", "zone-2"))


class Silent(OpenStackProvider):
    async def console_log(self, external_id, lines):
        return "silence"


def stories():
    """With a story of one of the quirks."""
    made = QuirkStories(PROFILE, TWIN, provider=Silent)

    @made.of("zones")
    async def only_one_zone(told):
        stage = told.stage()
        async with stage.running():
            zones = {node.az for _ in range(6) for node in await stage.nodes()}
        assert zones == {"zone-1"}

    return made


async def test_a_story_holds_with_its_quirk_and_fails_without(tmp_path, autojump_clock):
    """A field of the profile is stock then."""
    made = stories()

    await made.tell("zones", tmp_path)
    (why,) = await made.fails_without("zones", tmp_path)

    assert isinstance(why, AssertionError)


async def test_a_hook_that_is_switched_off_is_the_stock_method(tmp_path):
    """Of the provider's class, all else of which stays."""
    made = QuirkStories(PROFILE, TWIN, provider=Silent)
    used = []

    @made.of("hook.console_log")
    async def look(told):
        registration = told.types.get("zoned")
        assert registration is not None
        used.append(told.profile)
        provider = registration.factory.__closure__
        classes = [c.cell_contents for c in provider if isinstance(c.cell_contents, type)]
        used.append(classes[0].console_log)

    await made.tell("hook.console_log", tmp_path)
    await made.tell("hook.console_log", tmp_path, without=True)

    assert used[1] is Silent.console_log
    assert used[3] is OpenStackProvider.console_log
    assert [quirk.name for quirk in used[2].quirks] == ["zones"]


async def test_a_story_that_holds_without_its_quirk_shows_nothing(tmp_path):
    """And is refused."""
    made = QuirkStories(PROFILE, TWIN)

    @made.of("zones")
    async def nothing(told):
        assert told.twin is TWIN

    with pytest.raises(AssertionError, match="the story of zones holds without it"):
        await made.fails_without("zones", tmp_path)


async def test_a_story_that_is_broken_does_not_pass_for_one_that_fails(tmp_path):
    """What is neither an assertion nor an error of Trellis is raised."""
    made = QuirkStories(PROFILE, TWIN)

    @made.of("zones")
    async def broken(told):
        if "zones" not in [quirk.name for quirk in told.profile.quirks]:
            raise ExceptionGroup("tasks", [AssertionError("as it should"), KeyError("a slip")])

    with pytest.RaisesGroup(AssertionError, KeyError):
        await made.fails_without("zones", tmp_path)


def test_every_quirk_needs_one_story_and_no_more():
    """What has none is told; two, or one of a quirk that is not there, are refused."""
    made = QuirkStories(PROFILE, TWIN)
    assert made.untold() == ["zones", "hook.console_log"]

    made.of("zones")(lambda told: None)

    assert made.untold() == ["hook.console_log"]
    with pytest.raises(ValueError, match="quirk zones has two stories"):
        made.of("zones")(lambda told: None)
    with pytest.raises(ValueError, match="zoned has no quirk nonsense"):
        made.of("nonsense")(lambda told: None)
