"""Registers the demand source ``zuul``."""

from trellis.spi.registry import DemandSourceRegistry
from trellis_zuul.config import ZuulConfig
from trellis_zuul.source import ZuulSource

trellis_spi_version = 1


def trellis_register_demand_sources(register: DemandSourceRegistry) -> None:
    """Register the one type."""
    register.add("zuul", ZuulSource, ZuulConfig)
