"""Registries: what they take, what they refuse, and what they undo."""

import contextlib

import attrs
import pytest

from trellis.errors import PluginError
from trellis.spi.config import ProviderConfig
from trellis.spi.registry import DemandSourceRegistry, ProviderRegistry


@attrs.frozen(kw_only=True)
class ToyConfig(ProviderConfig):
    pass


@attrs.define(kw_only=True)
class MutableConfig:
    pass


class PlainSubclass(ToyConfig):
    pass


def make_toy(config, context):
    raise NotImplementedError


def test_a_registered_type_is_found():
    registry = ProviderRegistry()

    registry.add("toy", make_toy, ToyConfig)

    found = registry.get("toy")
    assert (found.factory, found.configuration_class) == (make_toy, ToyConfig)
    assert registry.types() == ("toy",)
    assert registry.get("other") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Toy", make_toy, ToyConfig), "provider type 'Toy': a type is at most 40 lower-case"),
        (("toy-", make_toy, ToyConfig), "a type is at most 40 lower-case"),
        (("", make_toy, ToyConfig), "a type is at most 40 lower-case"),
        ((7, make_toy, ToyConfig), "provider type 7: a type is"),
        (("toy", None, ToyConfig), "the factory None cannot be called"),
        (("toy", make_toy, "ToyConfig"), "must be a class, not 'ToyConfig'"),
        (("toy", make_toy, dict), "must be a subclass of ProviderConfig, not dict"),
        (("toy", make_toy, PlainSubclass), "PlainSubclass is not"),
    ],
)
def test_wrong_arguments_are_refused_precisely(arguments, message):
    registry = ProviderRegistry()

    with pytest.raises(PluginError, match=message):
        registry.add(*arguments)

    assert registry.types() == ()


def test_the_configuration_of_a_demand_source_derives_from_that_of_all():
    with pytest.raises(PluginError, match="a subclass of DemandSourceConfig, not MutableConfig"):
        DemandSourceRegistry().add("toy", lambda config: None, MutableConfig)


def test_a_type_is_registered_once_and_the_first_stays():
    registry = ProviderRegistry()
    with registry.on_behalf_of("first"):
        registry.add("toy", make_toy, ProviderConfig)

    with pytest.raises(PluginError, match="already registered by plugin 'first'"):
        registry.add("toy", make_toy, ToyConfig)

    assert registry.get("toy").configuration_class is ProviderConfig


def test_what_was_added_before_a_failure_is_undone():
    registry = ProviderRegistry()
    registry.add("kept", make_toy, ToyConfig)

    with contextlib.suppress(RuntimeError), registry.on_behalf_of("broken"):
        registry.add("toy", make_toy, ToyConfig)
        raise RuntimeError

    assert registry.types() == ("kept",)


def test_a_closed_registry_takes_nothing_more():
    registry = ProviderRegistry()
    registry.close()

    with pytest.raises(PluginError, match="too late to register"):
        registry.add("toy", make_toy, ToyConfig)
