"""The types ovh, ovh-us and vexxhost pass the conformance tests, on their twins."""

import attrs

from tests.plugins.documented import CASSETTES
from trellis.sim.clouds.ovh import ovh
from trellis.sim.clouds.vexxhost import vexxhost
from trellis.testing.conformance import ProviderConformance


class TestOvh(ProviderConformance):
    """Servers are on Ext-Net, and no figure of what is used is believed."""

    type = "ovh"
    twin = ovh()
    cassettes = CASSETTES / "ovh"


class TestOvhUs(ProviderConformance):
    """The same, of the company in the United States."""

    type = "ovh-us"
    twin = ovh()


class TestVexxhost(ProviderConformance):
    """Servers of ca-ymq-1 boot from their flavor's disk."""

    type = "vexxhost"
    twin = vexxhost()


class TestVexxhostFromVolumes(ProviderConformance):
    """Those of sjc1 boot from volumes."""

    type = "vexxhost"
    twin = attrs.evolve(vexxhost(), regions=("sjc1",))
