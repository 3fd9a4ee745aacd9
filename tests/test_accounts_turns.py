"""What accounts share of a cloud's limits, as the cloud counts by user and by project."""

from contextlib import asynccontextmanager
from random import Random
from types import ModuleType

import attrs
import pytest
import trio

from tests.daemon.stage import EPOCH, Meddler, Stage, wall
from trellis.accounts import Accounts
from trellis.config import parse
from trellis.errors import AuthError
from trellis.openstack.faults import Row
from trellis.openstack.profile import CloudProfile
from trellis.plugin_host import Plugin, PluginHost, built_in_plugins
from trellis.providers import register_profile
from trellis.world import World

LIMITED = "type: openstack\n    limits: {creates-per-day: 100}"


@asynccontextmanager
async def accounts_at(tmp_path, changes, types=None):
    """Accounts of a stage, of which each reading of clouds.yaml has its entry's changes."""
    stage = Stage(tmp_path, types=types)
    text = stage.configuration.replace("type: openstack", LIMITED, 1)
    alpha = parse(text, stage.types, file="stage", folder=tmp_path).configuration.providers[0]

    def read(name, region, *, profile=None):
        config = stage.read("alpha", region, profile=profile)
        return attrs.evolve(config, name=name, **changes.get(name, {}))

    configs = [attrs.evolve(alpha, name=name, cloud=name) for name in changes]
    accounts = Accounts(
        read=read,
        registry=stage.types,
        deployment="stage",
        world=World(
            wall=wall,
            random=Random(1),
            connect=None,
            transport=lambda _: Meddler(stage, "alpha"),
        ),
        configs=configs,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accounts.run)
        yield accounts, configs
        nursery.cancel_scope.cancel()


async def test_two_entries_of_one_project_share_what_a_day_allows(tmp_path, autojump_clock):
    """Each provider's creates of earlier count once, for both."""
    async with accounts_at(tmp_path, {"one": {}, "two": {}}) as (accounts, configs):
        one, two = [await accounts.connect(config) for config in configs]
        one.note_past([EPOCH - 60.0] * 10)
        two.note_past([EPOCH - 60.0] * 5)

        assert (one.creates_left(), two.creates_left()) == (85, 85)
        assert one.account is not two.account


async def test_another_user_has_a_day_of_his_own(tmp_path, autojump_clock):
    """Nothing is known of what the cloud counts together for them."""
    auth = {"auth_url": "http://alpha.sim/identity/v3", "username": "other", "password": "fake"}
    async with accounts_at(tmp_path, {"one": {}, "two": {"auth": auth}}) as (accounts, configs):
        one, two = [await accounts.connect(config) for config in configs]
        one.note_past([EPOCH - 60.0] * 10)

        assert (one.creates_left(), two.creates_left()) == (90, 100)


async def test_a_provider_on_new_wires_does_not_count_its_creates_twice(tmp_path, autojump_clock):
    """Another CA file makes another account, of the same project at the same cloud."""
    changes: dict[str, dict[str, object]] = {"one": {}}
    async with accounts_at(tmp_path, changes) as (accounts, (config,)):
        first = await accounts.connect(config)
        first.note_past([EPOCH - 60.0] * 10)
        changes["one"]["verify"] = False
        again = await accounts.connect(config)
        again.note_past([EPOCH - 60.0] * 10)

        assert first.account is not again.account
        assert again.creates_left() == 90


@pytest.mark.parametrize(
    ("auth_type", "secret"),
    [
        ("v3password", "password"),
        ("rackspace_apikey", "api_key"),
        ("hpcloud_accesskey", "secret_key"),
        ("v3applicationcredential", "application_credential_secret"),
    ],
)
async def test_another_secret_makes_no_other_account(auth_type, secret, tmp_path, autojump_clock):
    """It is the same user, who logs in anew: nothing else about him ends."""
    auth = {"auth_url": "http://alpha.sim/identity/v3", "username": "u", secret: "old"}
    changes = {"one": {"auth_type": auth_type, "auth": auth}}
    async with accounts_at(tmp_path, changes) as (accounts, (config,)):
        before = await accounts.connect(config)
        changes["one"]["auth"] = {**auth, secret: "new"}

        assert not before.outdated()
        assert (await accounts.connect(config)).account is before.account


@pytest.mark.parametrize(
    "change",
    [{"image_format": "raw"}, {"image_api_use_tasks": True}, {"disable_vendor_agent": {"a": "b"}}],
    ids=lambda change: next(iter(change)),
)
async def test_another_way_of_images_makes_another_provider(change, tmp_path, autojump_clock):
    """The account stays: it is the same user at the same cloud."""
    auth = {"auth_url": "http://alpha.sim/identity/v3", "username": "u", "password": "fake"}
    changes = {"one": {"auth_type": "v3password", "auth": auth}}
    async with accounts_at(tmp_path, changes) as (accounts, (config,)):
        before = await accounts.connect(config)
        assert before.provider.images.formats == ("qcow2", "raw")
        changes["one"]["settings"] = change

        assert before.outdated()
        assert (await accounts.connect(config)).account is before.account


OTHER = {"auth_url": "http://alpha.sim/identity/v3", "username": "other", "password": "fake"}


@asynccontextmanager
async def shared_with_a_strict_one(tmp_path, changes):
    """Two entries of one project, the first of which is configured to 10 creates a day."""
    async with accounts_at(tmp_path, changes) as (accounts, (one, two)):
        one = attrs.evolve(one, limits=attrs.evolve(one.limits, creates_per_day=10))
        accounts.configure([one, two])
        await accounts.connect(one)
        connected = await accounts.connect(two)
        assert connected.creates_left() == 10
        yield accounts, one, two, connected


async def test_an_entry_that_became_another_users_limits_the_first_no_more(
    tmp_path, autojump_clock
):
    changes: dict[str, dict[str, object]] = {"one": {}, "two": {}}
    async with shared_with_a_strict_one(tmp_path, changes) as (accounts, one, _, connected):
        changes["one"]["auth"] = OTHER
        await accounts.connect(one)

        assert connected.creates_left() == 100


async def test_an_entry_whose_last_provider_has_ended_limits_others_no_more(
    tmp_path, autojump_clock
):
    changes: dict[str, dict[str, object]] = {"one": {}, "two": {}}
    async with shared_with_a_strict_one(tmp_path, changes) as (accounts, _, two, connected):
        accounts.configure([two])
        assert connected.creates_left() == 10, "it still calls"
        accounts.leave("one")

        assert connected.creates_left() == 100


async def test_a_provider_that_changes_its_type_has_its_clouds_words_understood(
    tmp_path, autojump_clock
):
    """At the same cloud, as the same user: the words of refusals are those of the new type."""
    words = Row(AuthError, "this test", (401,), "go away", service="identity", remedy="stay")
    profile = CloudProfile(name="gruff", title="Gruff", status="in operation", refusals=(words,))
    module = ModuleType("gruff")
    module.trellis_register_providers = lambda register: register_profile(register, profile)
    host = PluginHost((*built_in_plugins(), Plugin(name="gruff", load=lambda: module)))
    assert host.broken() == ()
    async with accounts_at(tmp_path, {"one": {}}, host.providers) as (accounts, (config,)):
        before = await accounts.connect(config)
        after = await accounts.connect(attrs.evolve(config, type="gruff"))

        assert before.account.wired.account.refusals == ()
        assert after.account.wired.account.refusals == (words,)
