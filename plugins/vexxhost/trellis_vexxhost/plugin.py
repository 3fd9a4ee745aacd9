"""Registers ``vexxhost``."""

from trellis.providers import register_profile
from trellis.spi.registry import ProviderRegistry
from trellis_vexxhost.profile import PROFILE

trellis_spi_version = 1


def trellis_register_providers(register: ProviderRegistry) -> None:
    """Register the type: the stock provider, with the profile's quirks."""
    register_profile(register, PROFILE)
