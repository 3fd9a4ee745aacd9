"""The built-in plugin: the stock provider comes in through the same door as everybody's."""

from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.openstack import make_provider
from trellis.spi.hooks import hookimpl
from trellis.spi.registry import ProviderRegistry


@hookimpl
def trellis_register_providers(register: ProviderRegistry) -> None:
    """Register the type ``openstack``."""
    register.add("openstack", make_provider, OpenStackProviderConfig)
