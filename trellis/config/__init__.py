"""The configuration file: read into frozen values, with all its faults at once, and shown.

Knows the SPI's configuration classes and its registry of provider types; no plugin host, no
store, no cloud. Only `load` and `disabled_plugins` touch a file.
"""

from trellis.config.addresses import ListenAddress, StoreAddress
from trellis.config.comparison import ProviderChanges, changed_providers, label_hashes
from trellis.config.configuration import Configuration, LabelConfig, WebConfig
from trellis.config.durations import read_duration, write_duration
from trellis.config.kinds import unusable_fields
from trellis.config.loading import Loaded, disabled_plugins, load, parse
from trellis.config.recipe import recipe_of
from trellis.config.remembered import recall, remember
from trellis.config.rendering import as_plain, render

__all__ = [
    "Configuration",
    "LabelConfig",
    "ListenAddress",
    "Loaded",
    "ProviderChanges",
    "StoreAddress",
    "WebConfig",
    "as_plain",
    "changed_providers",
    "disabled_plugins",
    "label_hashes",
    "load",
    "parse",
    "read_duration",
    "recall",
    "recipe_of",
    "remember",
    "render",
    "unusable_fields",
    "write_duration",
]
