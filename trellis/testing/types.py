"""The provider types that a plugin registers, as the daemon finds them."""

from functools import cache
from types import ModuleType

from trellis.plugin_host import Plugin, PluginHost, built_in_plugins, load_plugins
from trellis.spi.registry import ProviderRegistry


@cache
def host_of(plugin: ModuleType | None) -> PluginHost:
    """The plugin host with one plugin beside the built-in ones; None loads what is installed."""
    if plugin is None:
        return load_plugins()
    name = plugin.__name__
    return PluginHost((*built_in_plugins(), Plugin(name=name, load=lambda: plugin)))


def types_of(plugin: ModuleType | None) -> ProviderRegistry:
    """The provider types there are with one plugin, or with those that are installed."""
    return host_of(plugin).providers


def problems_of(plugin: ModuleType | None) -> list[tuple[str, str]]:
    """The plugins that cannot be used, by name, each with the reason."""
    return [(info.name, info.problem) for info in host_of(plugin).broken()]
