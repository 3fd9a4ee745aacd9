"""The stock OpenStack provider: the SPI in terms of the client and a `Quirks` value.

Owns what labels come to in a cloud, what a server is created from, and how a cloud's rows are
read. Knows no record, no scheduler and no order of steps: those are the core's. A cloud that
differs is a `Quirks` value first; a subclass of `OpenStackProvider` overrides one of its hooks
second.
"""

from trellis.providers.config import (
    OpenStackLabelConfig,
    OpenStackPoolConfig,
    OpenStackProviderConfig,
)
from trellis.providers.openstack import OpenStackProvider, make_provider
from trellis.providers.plugin import register_profile

__all__ = [
    "OpenStackLabelConfig",
    "OpenStackPoolConfig",
    "OpenStackProvider",
    "OpenStackProviderConfig",
    "make_provider",
    "register_profile",
]
