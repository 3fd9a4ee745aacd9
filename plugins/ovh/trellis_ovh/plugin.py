"""Registers ``ovh`` and ``ovh-us``."""

from trellis.providers import register_profile
from trellis.spi.registry import ProviderRegistry
from trellis_ovh.profiles import PROFILES

trellis_spi_version = 1


def trellis_register_providers(register: ProviderRegistry) -> None:
    """Register a type for each profile, by its name."""
    for profile in PROFILES:
        register_profile(register, profile)
