"""Registers the provider types ``rackspace`` and ``rackspaceflex``."""

from trellis.providers import register_profile
from trellis.spi.registry import ProviderRegistry
from trellis_rackspace import classic, flex

trellis_spi_version = 1


def trellis_register_providers(register: ProviderRegistry) -> None:
    """Register classic Cloud Servers and Flex."""
    register.add(
        "rackspace", classic.make_provider, classic.RackspaceConfig, profile=classic.PROFILE
    )
    register_profile(register, flex.PROFILE)
