"""The hooks of a plugin, and the marker for their implementations.

A plugin is a module (or object) named by an entry point of the group ``trellis``. Hooks are
plain functions, called once at start, before the configuration is read; what they register has
async methods. One that raises, or a name that is no hook, disables that plugin and no other.
"""

from typing import Final

import pluggy

from trellis.spi.registry import DemandSourceRegistry, ImageBuilderRegistry, ProviderRegistry

PROJECT: Final = "trellis"
hookspec: Final = pluggy.HookspecMarker(PROJECT)
hookimpl: Final = pluggy.HookimplMarker(PROJECT)
"""Marks the implementation of a hook; a function whose name is a hook's needs no marker."""


@hookspec
def trellis_register_providers(register: ProviderRegistry) -> None:
    """Register the plugin's types of provider by ``register.add``.

    Called once at start, without an event loop; must do no I/O. May raise `PluginError`,
    as ``register.add`` does; whatever it raises disables the plugin.
    """


@hookspec
def trellis_register_demand_sources(register: DemandSourceRegistry) -> None:
    """Register the plugin's types of demand source by ``register.add``.

    Called once at start, without an event loop; must do no I/O. May raise `PluginError`,
    as ``register.add`` does; whatever it raises disables the plugin.
    """


@hookspec
def trellis_register_image_builders(register: ImageBuilderRegistry) -> None:
    """Register the plugin's types of image builder by ``register.add``.

    Called once at start, without an event loop; must do no I/O. May raise `PluginError`,
    as ``register.add`` does; whatever it raises disables the plugin.
    """
