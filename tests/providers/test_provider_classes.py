"""Provider classes with hooks of their own: registered by profile, and asked."""

import pytest
from canned import CannedSession, a_config, a_label

from trellis.errors import PluginError
from trellis.openstack.profile import CloudProfile, Quirk
from trellis.providers import OpenStackProvider, OpenStackProviderConfig, register_profile
from trellis.providers.lookup import MissingError
from trellis.spi.registry import ProviderContext, ProviderRegistry


class LargestFirst(OpenStackProvider):
    """A cloud where the largest flavor costs as much as the smallest."""

    def select_flavor(self, label, flavors):
        if label.flavor_name is not None:
            raise MissingError("here a flavor is chosen by its memory alone")
        return max(flavors, key=lambda flavor: flavor.ram)


HOOK = Quirk(
    name="hook.select_flavor",
    section="2.7",
    does="All flavors cost the same.",
    evidence="made up for this test",
    era="2026",
    check="look at the test",
)
PROFILE = CloudProfile(name="even", title="Even", status="made up", quirks=(HOOK,))


def made(config):
    """A provider as the registry makes it."""
    types = ProviderRegistry()
    register_profile(types, PROFILE, LargestFirst)
    registration = types.get("even")
    assert registration is not None
    session = CannedSession()
    return registration.factory(
        config, ProviderContext(deployment="d", session=session, profile=registration.profile)
    )


async def test_flavor_is_the_one_that_the_provider_selects():
    """Of the profile's class, made with its quirks."""
    provider = made(a_config(a_label(flavor_name=None, min_ram=1)))

    offer = (await provider.inventory()).offers["main", "small"]

    assert type(provider) is LargestFirst
    assert offer.shape.flavor_name == "ci-8c-8g"


async def test_label_for_which_it_selects_none_says_why():
    """In its own words; others are offered."""
    provider = made(a_config(a_label("named"), a_label(flavor_name=None, min_ram=1)))

    inventory = await provider.inventory()

    assert inventory.missing["main", "named"].startswith("here a flavor is chosen by its memory")
    assert list(inventory.offers) == [("main", "small")]


def test_profile_with_a_hook_needs_a_class():
    """The stock provider has no method of its own."""
    with pytest.raises(PluginError, match=r"overrides hook\.select_flavor: register"):
        register_profile(ProviderRegistry(), PROFILE)


def test_class_must_override_what_its_profile_says():
    """Else the quirk is there for show."""
    same = type("Same", (OpenStackProvider,), {})

    with pytest.raises(PluginError, match="select_flavor"):
        register_profile(ProviderRegistry(), PROFILE, same)


def test_configuration_is_the_stock_one():
    """With the profile's defaults."""
    types = ProviderRegistry()
    register_profile(types, PROFILE, LargestFirst)

    assert issubclass(types.get("even").configuration_class, OpenStackProviderConfig)
