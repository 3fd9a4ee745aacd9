"""Rackspace Flex: each quirk on its twin, with it and without it; which project is chosen."""

import attrs
import pytest
from trellis_rackspace.flex import PROFILE
from trellis_rackspace.login import chosen_project

from tests.daemon.stage import Stage
from tests.plugins.quirk_stories import Stories, Told
from tests.plugins.rackspace_stage import QUICK, all_served, configured, entry_of
from trellis.errors import ConfigError, MisconfiguredError
from trellis.model.status import Health
from trellis.plugin_host import load_plugins
from trellis.sim.cloud.spec import CloudSpec
from trellis.sim.clouds.rackspaceflex import rackspaceflex

STORIES = Stories(PROFILE)
TYPES = load_plugins(environment={}).providers
LABEL = {"name": "small", "cloud-image": "Debian-12", "flavor-name": "gp.5.4.8"}


def twin(**changes: object) -> CloudSpec:
    """Its twin as the first cloud of a stage."""
    usual = {"name": "alpha", "boot": QUICK, "guest": QUICK}
    return attrs.evolve(rackspaceflex(), **{**usual, **changes})


def on_stage(stage: Stage, **auth: str) -> Stage:
    """Use the first cloud with a user and a secret, and nothing else but what is given."""
    mine = stage.alpha.spec.credentials
    auth = {"username": mine.username, "password": mine.password, **auth}
    stage.entry = {"profile": PROFILE.name, "auth": {**auth, "auth_url": stage.alpha.auth_url}}
    stage.write()
    return stage


def told_on_stage(told: Told, **auth: str) -> Stage:
    """The same with the story's types."""
    return on_stage(told.stage(alpha=twin(), configuration=text()), **auth)


def a_stage(tmp_path, **auth: str) -> Stage:
    """The same with the installed type."""
    return on_stage(Stage(tmp_path, alpha=twin(), configuration=text(), types=TYPES), **auth)


def text(region: str = "DFW3", **label: object) -> str:
    """A configuration."""
    return configured(kind=PROFILE.name, region=region, label={**LABEL, **label})


@STORIES.of("entry.auth.auth_url")
async def each_region_has_its_keystone(told: Told) -> None:
    """With the region in small letters."""
    auth = {"username": "trellis-ci", "password": "fake-api-key"}
    urls = [entry_of(told, region, **auth).auth["auth_url"] for region in PROFILE.regions[:2]]

    assert urls == [
        "https://keystone.api.sjc3.rackspacecloud.com/v3",
        "https://keystone.api.dfw3.rackspacecloud.com/v3",
    ]


@STORIES.of("entry.auth_type", "entry.auth.user_domain_name")
async def a_node_is_had_with_user_and_secret(told: Told) -> None:
    """In the project of Flex, which no file names, at a floating IP."""
    stage = told_on_stage(told)
    async with stage.running():
        (node,) = await all_served(stage)

        (floating,) = stage.alpha.floating_ips()
        assert node.addresses.public_ipv4 == floating.name
        assert node.home.project_id == stage.alpha.project_id


@STORIES.of("entry.auth.project_domain_name")
async def a_project_is_had_by_its_name(told: Told) -> None:
    """Its domain need not be written."""
    stage = told_on_stage(told, project_name="700001_Flex")
    async with stage.running():
        await all_served(stage)


def test_each_quirk_has_a_story():
    """Nothing is in the profile for nothing."""
    assert STORIES.untold() == []


@pytest.mark.parametrize("name", STORIES.names)
async def test_with_the_quirk_it_holds(name, tmp_path, autojump_clock):
    """On the twin of Flex."""
    await STORIES.tell(name, tmp_path)


@pytest.mark.parametrize("name", STORIES.names)
async def test_without_the_quirk_it_fails(name, tmp_path, autojump_clock):
    """A cloud that is stock in this one respect is not Flex."""
    failure = ConfigError if name == "entry.auth.auth_url" else AssertionError
    with pytest.RaisesGroup(failure, allow_unwrapped=True, flatten_subgroups=True):
        await STORIES.tell(name, tmp_path, without=True)


async def test_a_node_leaves_nothing(tmp_path, autojump_clock):
    """Its floating IP goes with it."""
    stage = a_stage(tmp_path)
    async with stage.running() as core:
        request = await stage.served(await stage.ask("alpha"))
        (node,) = await core.port.nodes_of(request)
        await stage.release(request)
        await stage.gone(node.id)

        assert stage.alpha.servers() == ()
        assert stage.alpha.floating_ips() == ()


async def test_a_flavor_of_the_other_region_is_said_to_be_missing(tmp_path, autojump_clock):
    """With the one that is there."""
    configuration = text(region="SJC3")
    stage = on_stage(Stage(tmp_path, alpha=twin(), configuration=configuration, types=TYPES))
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        request = await stage.ask("alpha")

        said = (await core.port.explain_request(request)).words
        assert "no flavor 'gp.5.4.8'; near: gp.0.4.8" in said


class TestProject:
    async def test_one_that_is_configured_is_taken(self, tmp_path, autojump_clock):
        """Then nothing is listed."""
        stage = a_stage(tmp_path, project_name="700001_Flex")
        async with stage.running():
            await all_served(stage)

            assert not [path for _, _, path in stage.calls if path.endswith("/auth/projects")]

    def test_the_only_one_is_taken(self):
        """Whatever its name is."""
        assert chosen_project({"1": "0a0b0c0d"}) == "1"

    def test_of_several_that_of_flex_is_taken(self):
        """By its name, in whatever letters."""
        assert chosen_project({"1": "0a0b0c0d", "2": "700001_FLEX"}) == "2"

    @pytest.mark.parametrize(
        ("projects", "why"),
        [
            ({}, "the user has no project"),
            ({"1": "one", "2": "two"}, "cannot be told: one, two"),
            ({"1": "1_Flex", "2": "2_Flex"}, "cannot be told: 1_Flex, 2_Flex"),
        ],
        ids=["none", "none of Flex", "two of Flex"],
    )
    def test_where_it_cannot_be_told_the_projects_are_listed(self, projects, why):
        """And the key of clouds.yaml to set."""
        with pytest.raises(MisconfiguredError, match=why) as caught:
            chosen_project(projects)

        assert "Set project_name in clouds.yaml" in caught.value.message

    async def test_a_user_of_two_is_told_so_by_the_provider(self, tmp_path, autojump_clock):
        """His projects are in the reason."""
        alpha = twin()
        ways = attrs.evolve(alpha.behaviour, other_projects=("700002_Flex",))
        stage = Stage(
            tmp_path, alpha=attrs.evolve(alpha, behaviour=ways), configuration=text(), types=TYPES
        )
        on_stage(stage)
        async with stage.running():
            shown = await stage.becomes(Health.UNAVAILABLE)

            assert "700001_Flex, 700002_Flex" in shown.reason


def test_an_entry_without_a_user_is_refused(tmp_path):
    """With a word of what to write: the rest is in the profile."""
    told = Told(tmp_path, PROFILE, TYPES)

    with pytest.raises(
        ConfigError, match="username is missing, which auth_type rackspace_flex needs"
    ):
        entry_of(told, "DFW3", password="fake-api-key")
