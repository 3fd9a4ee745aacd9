"""The plugin host: each plugin on its own, and a broken one breaks nothing else."""

import importlib.metadata
import sys
import types

import attrs
import pytest

import trellis
from trellis import plugin_host
from trellis.plugin_host import Plugin, PluginHost, PluginState, blocked_names, installed_plugins
from trellis.spi import hooks
from trellis.spi.config import ProviderConfig
from trellis.spi.hooks import hookimpl
from trellis.spi.provider import SPI_VERSION


@attrs.frozen(kw_only=True)
class ToyConfig(ProviderConfig):
    pass


@attrs.frozen(kw_only=True)
class ComplexConfig(ProviderConfig):
    impedance: complex = 0j


def make_toy(config, context):
    raise NotImplementedError


def module(**members):
    """A plugin's module with these members."""
    made = types.ModuleType("a_plugin")
    vars(made).update(members)
    return made


def registering(type_, configuration_class=ToyConfig):
    @hookimpl
    def trellis_register_providers(register):
        register.add(type_, make_toy, configuration_class)

    return trellis_register_providers


def plugin(name, made, **fields):
    return Plugin(name=name, load=lambda: made, **fields)


def good(name="good"):
    return plugin(name, module(trellis_register_providers=registering(name)))


def test_a_plugin_registers_what_it_adds():
    host = PluginHost([plugin("toy", good().load(), origin="trellis-toy", version="1.2")])

    info = host.plugins()[0]
    assert (info.name, info.version, info.origin) == ("toy", "1.2", "trellis-toy")
    assert (info.state, info.problem) == (PluginState.ACTIVE, "")
    assert info.hooks == ("trellis_register_providers",)
    assert info.registered == ("provider type 'good'",)
    assert host.providers.get("good").plugin == "toy"


def test_a_hook_without_the_marker_is_a_hook_all_the_same():
    def trellis_register_providers(register):
        register.add("toy", make_toy, ToyConfig)

    host = PluginHost(
        [plugin("toy", module(trellis_register_providers=trellis_register_providers))]
    )

    assert host.providers.types() == ("toy",)


def test_every_hook_is_called_with_its_registry():
    seen = {}

    def hook(name):
        def call(register):
            seen[name] = register

        call.__name__ = name
        return hookimpl(call)

    names = [name for name in vars(hooks) if name.startswith("trellis_register_")]
    host = PluginHost([plugin("toy", module(**{name: hook(name) for name in names}))])

    assert host.plugins()[0].state is PluginState.ACTIVE
    assert seen == {
        "trellis_register_providers": host.providers,
        "trellis_register_demand_sources": host.demand_sources,
        "trellis_register_image_builders": host.image_builders,
    }
    assert len(names) == 3


def raising(error):
    def trellis_register_image_builders(register):
        raise error

    return trellis_register_image_builders


def misspelt(register):
    raise AssertionError("never called")


def wrong_arguments(registry):
    raise AssertionError("never called")


async def asynchronous(register):
    raise AssertionError("never called")


class Peculiar:
    """Looking at its members raises."""

    @property
    def trellis_register_providers(self):
        raise OSError("no such luck")


BROKEN = {
    "raises": (
        module(
            trellis_register_providers=registering("half"),
            trellis_register_image_builders=raising(ZeroDivisionError("oops")),
        ),
        "trellis_register_image_builders failed: ZeroDivisionError: oops (test_plugin_host.py:",
    ),
    "exits": (
        module(trellis_register_image_builders=raising(SystemExit(3))),
        "trellis_register_image_builders failed: SystemExit: 3",
    ),
    "misspelt": (
        module(
            trellis_register_providers=registering("half"),
            trellis_register_provider=hookimpl(misspelt),
        ),
        "there is no hook 'trellis_register_provider', did you mean 'trellis_register_providers'?",
    ),
    "misspelt-unmarked": (
        module(trellis_register_demand=misspelt),
        "there is no hook 'trellis_register_demand', did you mean",
    ),
    "arguments": (
        module(trellis_register_providers=hookimpl(wrong_arguments)),
        "Argument(s) {'registry'} are declared in the hookimpl but can not be found",
    ),
    "async": (
        module(trellis_register_providers=asynchronous),
        "trellis_register_providers is async, but hooks are plain functions",
    ),
    "duplicate": (
        module(trellis_register_providers=registering("first")),
        "provider type 'first' is already registered by plugin 'first': choose another name",
    ),
    "class": (
        module(trellis_register_providers=registering("half", dict)),
        "must be a subclass of ProviderConfig, not dict",
    ),
    "fields": (
        module(trellis_register_providers=registering("half", ComplexConfig)),
        "ComplexConfig.impedance: <class 'complex'> cannot be written in a configuration file",
    ),
    "version": (
        module(trellis_register_providers=registering("half"), trellis_spi_version=SPI_VERSION + 1),
        f"built for version {SPI_VERSION + 1} of the SPI, this Trellis has {SPI_VERSION}: "
        f"upgrade trellis-ci from {trellis.__version__} to a release that has version "
        f"{SPI_VERSION + 1}, or install an older release of version, built for {SPI_VERSION}",
    ),
    "old-version": (
        module(trellis_register_providers=registering("half"), trellis_spi_version=0),
        "trellis_spi_version is 0: write the version of the SPI",
    ),
    "empty": (module(), "it implements none of the hooks trellis_register_providers"),
    "peculiar": (Peculiar(), "its hooks are wrong: OSError: no such luck"),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_broken_plugin_is_disabled_with_the_reason_and_the_rest_goes_on(name):
    made, problem = BROKEN[name]

    host = PluginHost([good("first"), plugin(name, made), good("last")])

    states = {info.name: info.state for info in host.plugins()}
    assert states == {
        "first": PluginState.ACTIVE,
        name: PluginState.BROKEN,
        "last": PluginState.ACTIVE,
    }
    (broken,) = host.broken()
    assert problem in broken.problem
    assert host.providers.types() == ("first", "last")
    assert host.image_builders.types() == ()


def test_a_plugin_that_cannot_be_imported_is_disabled():
    def load():
        raise ImportError("No module named 'left_pad'")

    host = PluginHost([Plugin(name="toy", load=load), good()])

    (broken,) = host.broken()
    assert broken.problem.startswith(
        "importing it failed: ImportError: No module named 'left_pad' (test_plugin_host.py:"
    )
    assert host.providers.types() == ("good",)


def test_a_plugin_that_wants_another_trellis_says_what_to_upgrade():
    def load():
        from trellis.spi import no_such_thing

        return no_such_thing

    host = PluginHost([Plugin(name="toy", load=load, origin="trellis-toy")])

    (broken,) = host.broken()
    assert "cannot import name 'no_such_thing'" in broken.problem
    assert broken.problem.endswith("upgrade trellis-toy or trellis-ci")


def test_a_blocked_plugin_is_not_even_imported():
    def load():
        raise AssertionError("imported")

    host = PluginHost(
        [Plugin(name="toy", load=load), Plugin(name="b", load=load, origin="trellis-b")],
        blocked=["toy", "trellis-b"],
    )

    assert [info.state for info in host.plugins()] == [PluginState.BLOCKED] * 2
    assert "TRELLIS_DISABLED_PLUGINS" in host.plugins()[0].problem
    assert host.warnings == ()


def test_blocking_what_is_not_installed_is_a_warning():
    host = PluginHost([good()], blocked=["god"])

    assert host.warnings == ("disabled plugin 'god' is not installed, did you mean 'good'?",)


def test_names_to_block_come_from_configuration_and_environment():
    environment = {"TRELLIS_DISABLED_PLUGINS": "b, c  d"}

    assert blocked_names(("a", "b"), environment) == ("a", "b", "c", "d")


def test_of_two_plugins_of_one_name_the_first_stays():
    other = plugin("good", module(trellis_register_providers=registering("other")), origin="x")

    host = PluginHost([good(), other])

    assert host.providers.types() == ("good",)
    assert "the name is taken" in host.broken()[0].problem


def test_one_module_under_two_names_is_loaded_once():
    made = good().load()

    host = PluginHost([plugin("a", made), plugin("b", made)])

    assert "loaded already as 'a'" in host.broken()[0].problem
    assert host.providers.types() == ("good",)


def test_registering_later_than_in_the_hook_is_refused():
    kept = []
    host = PluginHost([plugin("late", module(trellis_register_providers=kept_by(kept)))])

    with pytest.raises(Exception, match="too late to register"):
        kept[0].add("late", make_toy, ToyConfig)

    assert host.providers.types() == ()


def kept_by(kept):
    def trellis_register_providers(register):
        kept.append(register)

    return trellis_register_providers


def test_installed_plugins_are_the_entry_points_of_the_group(monkeypatch, tmp_path):
    """Distributions on the path are found with name and version; nothing is imported."""
    info = tmp_path / "trellis_toy-3.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trellis-toy\nVersion: 3.1\n")
    (info / "entry_points.txt").write_text("[trellis]\ntoy = a_toy_plugin\nbad = no_such_module\n")
    (tmp_path / "a_toy_plugin.py").write_text(
        "from trellis.spi.config import ProviderConfig\n"
        "def trellis_register_providers(register):\n"
        "    register.add('toy', lambda config, context: None, ProviderConfig)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda group: importlib.metadata.EntryPoints(
            point
            for found in importlib.metadata.distributions(path=[str(tmp_path)])
            for point in found.entry_points.select(group=group)
        ),
    )

    host = PluginHost(installed_plugins())

    assert [(i.name, i.origin, i.version, i.state) for i in host.plugins()] == [
        ("bad", "trellis-toy", "3.1", PluginState.BROKEN),
        ("toy", "trellis-toy", "3.1", PluginState.ACTIVE),
    ]
    assert host.providers.types() == ("toy",)
    sys.modules.pop("a_toy_plugin")


def test_the_daemon_loads_built_in_plugins_first_and_blocks_what_is_named(monkeypatch):
    monkeypatch.setattr(plugin_host, "built_in_plugins", lambda: (good("stock"),))
    monkeypatch.setattr(plugin_host, "installed_plugins", lambda: (good("a"), good("b")))

    host = plugin_host.load_plugins(["a"], {"TRELLIS_DISABLED_PLUGINS": "b"})

    assert [(info.name, info.state.value) for info in host.plugins()] == [
        ("stock", "active"),
        ("a", "blocked"),
        ("b", "blocked"),
    ]


def test_built_in_providers_use_the_same_door():
    host = PluginHost(plugin_host.built_in_plugins())

    assert host.broken() == ()
    assert "openstack" in host.providers.types()
    assert host.plugins()[0].origin == "built-in"


def test_every_hook_says_when_it_is_called_and_what_it_may_raise():
    specs = [x for name, x in vars(hooks).items() if name.startswith("trellis_register_")]

    assert specs
    for spec in specs:
        assert "Called once at start" in spec.__doc__
        assert "May raise" in spec.__doc__
