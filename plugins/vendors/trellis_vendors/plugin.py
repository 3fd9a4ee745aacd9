"""Registers a type of provider for each cloud that is data only."""

from trellis.providers import register_profile
from trellis.spi.registry import ProviderRegistry
from trellis_vendors import (
    catalyst,
    cleura,
    elastx,
    infomaniak,
    jetstream2,
    openmetal,
    osuosl,
    otc,
)

trellis_spi_version = 1

PROFILES = (
    catalyst.PROFILE,
    cleura.PROFILE,
    elastx.PROFILE,
    infomaniak.PROFILE,
    jetstream2.PROFILE,
    openmetal.PROFILE,
    osuosl.PROFILE,
    otc.PROFILE,
)


def trellis_register_providers(register: ProviderRegistry) -> None:
    """Register one type for each profile, by its name."""
    for profile in PROFILES:
        register_profile(register, profile)
