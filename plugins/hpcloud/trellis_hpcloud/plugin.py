"""Registers the type ``hpcloud``: Trellis's own provider, with the quirks of HP's cloud."""

from trellis.providers import register_profile
from trellis.spi.registry import ProviderRegistry
from trellis_hpcloud.profile import PROFILE

trellis_spi_version = 1


def trellis_register_providers(register: ProviderRegistry) -> None:
    """Register the type."""
    register_profile(register, PROFILE)
