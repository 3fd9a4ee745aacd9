"""A cloud's profile: values and words from one list, and what is wrong with it said at once."""

import attrs
import pytest

from trellis.http.buckets import Limit, RatePlan
from trellis.http.message import Verb
from trellis.openstack.profile import CloudProfile, Quirk
from trellis.openstack.quirks import STOCK, Quirks

WORDS = {"does": "It does.", "evidence": "a page", "era": "2026", "check": "look"}


def a_profile(*quirks: Quirk, **of) -> CloudProfile:
    """A cloud in operation, with these quirks."""
    said = {"name": "mycloud", "title": "My Cloud", "status": "in operation"} | of
    return CloudProfile(**said, quirks=quirks)


def a_quirk(name: str, value: object = True, **of) -> Quirk:
    """A quirk with all its words."""
    return Quirk(name=name, value=value, **(WORDS | of))


def test_values_are_made_of_the_list():
    """Settings, the ground of a clouds.yaml entry, and defaults, each where it belongs."""
    profile = a_profile(
        a_quirk("lacks_neutron"),
        a_quirk("entry.auth.auth_url", "https://example.org/v3", section="1.2"),
        a_quirk("entry.image_format", "raw", section="4.2"),
        a_quirk("default.boot-timeout", 600.0, section="9"),
        a_quirk("rate.compute", Limit(per_s=20.0), section="8"),
        a_quirk("rate.compute.create", Limit(per_day=1000), section="8"),
        regions=("one", "two"),
    )

    assert profile.settings == Quirks(lacks_neutron=True)
    assert profile.entry == {
        "regions": ["one", "two"],
        "auth": {"auth_url": "https://example.org/v3"},
        "image_format": "raw",
    }
    assert profile.defaults == {"boot_timeout": 600.0}
    assert profile.rates == RatePlan(
        services={"compute": Limit(per_s=20.0)},
        verbs={("compute", Verb.CREATE): Limit(per_day=1000)},
    )
    assert profile.faults() == []


def test_a_cloud_without_quirks_is_stock():
    """Nothing differs, nothing lies under its entry."""
    assert a_profile().settings == STOCK
    assert a_profile().entry == {}


def test_one_quirk_can_be_switched_off():
    """To see what it is for."""
    profile = a_profile(a_quirk("lacks_neutron"), a_quirk("hides_zones"))

    assert profile.without("hides_zones").settings == Quirks(lacks_neutron=True)
    with pytest.raises(KeyError):
        profile.without("reaches_only_ipv6")


@pytest.mark.parametrize(
    ("quirk", "fault"),
    [
        (a_quirk("lacks_nothing"), "there is no such quirk; there is compute_microversion,"),
        (a_quirk("lacks_neutron", False), "False is the stock value"),
        (a_quirk("lacks_neutron", evidence=""), "evidence is missing"),
        (a_quirk("entry.image_format", "raw"), "section is missing"),
        (a_quirk("hook.addresses", None, section="3.2"), "object has no method addresses"),
        (a_quirk("default.speed", 1, section="9"), "STOCK has no key speed"),
        (a_quirk("rate.compute.boot", Limit(), section="8"), "no class of calls boot: delete,"),
        (a_quirk("rate.compute", 20, section="8"), "its value must be a Limit, not 20"),
    ],
)
def test_what_is_wrong_is_said(quirk, fault):
    """Each with the quirk's name."""
    configuration = attrs.make_class("STOCK", ["boot_timeout"])

    (found,) = a_profile(quirk).faults(object, configuration)

    assert found.startswith(f"quirk {quirk.name}: ")
    assert fault in found


def test_a_profile_lacks_words_and_has_a_quirk_twice():
    """All of it at once."""
    twice = a_profile(a_quirk("lacks_neutron"), a_quirk("lacks_neutron"), title="", status="")

    assert twice.faults() == [
        "the profile has no title",
        "the profile has no status",
        "quirk lacks_neutron is there twice",
    ]


class Stock:
    """A provider with methods."""

    def addresses(self) -> None: ...

    def fault(self) -> None: ...


class Ours(Stock):
    """One that differs in one of them."""

    def addresses(self) -> None: ...


@pytest.mark.parametrize(
    ("provider", "method", "fault"),
    [
        (Ours, "addresses", None),
        (type("Deeper", (Ours,), {}), "addresses", None),
        (Ours, "fault", "Ours does not override fault: it is the stock provider's"),
        (Stock, "addresses", "Stock does not override addresses"),
        (Ours, "speed", "Ours has no method speed"),
    ],
)
def test_a_hook_is_a_method_that_the_provider_has_of_its_own(provider, method, fault):
    """One that it has from stock would be a quirk that does nothing."""
    found = a_profile(a_quirk(f"hook.{method}", None, section="3.2")).faults(provider)

    assert len(found) == (fault is not None)
    assert (fault or "") in "".join(found)


def test_what_a_customer_must_say_goes_with_the_entry():
    """The reader of clouds.yaml asks for it by the profile's name."""
    profile = a_profile(needed=("auth.auth_url",))

    assert profile.entry == {"needed": {"profile": "mycloud", "keys": ["auth.auth_url"]}}
