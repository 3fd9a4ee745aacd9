"""Registers the provider types of this distribution."""

from trellis.spi.registry import ProviderRegistry

trellis_spi_version = 1


def trellis_register_providers(register: ProviderRegistry) -> None:
    """Register nothing yet."""
