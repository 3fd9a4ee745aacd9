"""A plugin is used by the newest version of the interface that it and this Trellis have."""

import types

import pytest

import trellis
from trellis.errors import PluginError
from trellis.plugin_host import Plugin, PluginHost, PluginState, built_in_plugins
from trellis.spi.provider import SPI_VERSION
from trellis.spi.version import SUPPORTED, negotiated


@pytest.mark.parametrize(
    ("declared", "version"),
    [(2, 2), (3, 3), ((1, 2), 2), ([3, 2, 9], 3), (range(1, 3), 2), ({2}, 2)],
    ids=str,
)
def test_the_newest_common_version_is_used(declared, version):
    """One number, or several."""
    assert version == negotiated(declared, "trellis-toy", "2.0", supported=(2, 3))


def test_a_plugin_that_does_not_say_is_of_the_first_version():
    """As plugins were when there was one version only."""
    assert negotiated(None, "trellis-toy", "1.0", supported=(1, 2)) == 1


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (
            4,
            "it is built for version 4 of the SPI, this Trellis has 2 or 3: upgrade trellis-ci "
            "from 2.0 to a release that has version 4, or install an older release of "
            "trellis-toy, built for 3",
        ),
        (
            (5, 4),
            "it is built for version 4 or 5 of the SPI, this Trellis has 2 or 3: upgrade "
            "trellis-ci from 2.0 to a release that has version 4, or install an older release of "
            "trellis-toy, built for 3",
        ),
        (
            1,
            "it is built for version 1 of the SPI, this Trellis has 2 or 3: upgrade trellis-toy "
            "to a release built for version 3, or stay with a release of trellis-ci that has "
            "version 1",
        ),
        (
            None,
            "it is built for version 1 of the SPI (it does not say, and that was the first), this "
            "Trellis has 2 or 3: upgrade trellis-toy to a release built for version 3, or stay "
            "with a release of trellis-ci that has version 1",
        ),
    ],
    ids=str,
)
def test_another_version_says_what_to_upgrade_and_to_which(declared, words):
    """Trellis where the plugin is ahead, the plugin where it is behind."""
    with pytest.raises(PluginError) as refused:
        negotiated(declared, "trellis-toy", "2.0", supported=(2, 3))

    assert str(refused.value) == words


@pytest.mark.parametrize(
    "declared", ["1", 1.0, True, 0, -1, (), [], ("1",), (1, None), object, {"a": 1}], ids=repr
)
def test_nonsense_says_what_to_write(declared):
    """A number is meant, and nothing that looks like one."""
    with pytest.raises(PluginError, match=r"trellis_spi_version is .*: write the version"):
        negotiated(declared, "trellis-toy", "1.0")


def a_plugin(**members):
    made = types.ModuleType("a_plugin")
    vars(made).update(members, trellis_register_demand_sources=lambda register: None)
    return Plugin(name="toy", load=lambda: made, origin="trellis-toy", version="3.1")


@pytest.mark.parametrize(
    "members", [{}, {"trellis_spi_version": SPI_VERSION}, {"trellis_spi_version": SUPPORTED}]
)
def test_the_host_uses_what_was_negotiated(members):
    """And tells it."""
    (info,) = PluginHost([a_plugin(**members)]).plugins()

    assert (info.state, info.spi_version) == (PluginState.ACTIVE, SPI_VERSION)


def test_a_plugin_for_another_version_is_disabled_and_the_rest_goes_on():
    """The built-in ones are always of this release."""
    ahead = a_plugin(trellis_spi_version=SPI_VERSION + 1)

    host = PluginHost([*built_in_plugins(), ahead])

    *built_in, toy = host.plugins()
    assert {plugin.state for plugin in built_in} == {PluginState.ACTIVE}
    assert (toy.state, toy.spi_version) == (PluginState.BROKEN, None)
    assert f"upgrade trellis-ci from {trellis.__version__}" in toy.problem
    assert "openstack" in host.providers.types()
