"""The stock provider passes the conformance tests, on clouds of both topologies."""

from typing import ClassVar

from trellis.sim.cloud import CloudSpec, floating_networks
from trellis.testing.conformance import ProviderConformance


class TestStock(ProviderConformance):
    """Servers are on an external network."""

    type = "openstack"
    twin = CloudSpec(name="stock")


class TestStockBehindARouter(ProviderConformance):
    """Servers have private addresses, and get floating IPs."""

    type = "openstack"
    twin = CloudSpec(name="routed", networks=floating_networks(), zones=("az1", "az2"))


class TestStockFromVolumes(ProviderConformance):
    """Flavors without a disk boot from volumes."""

    type = "openstack"
    twin = CloudSpec(name="volumes")
    label: ClassVar = {"boot-from-volume": True, "volume-size": 10}
