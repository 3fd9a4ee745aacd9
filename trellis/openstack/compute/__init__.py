"""Nova: servers, flavors, zones, limits, keypairs.

Owns the paths, bodies and answers of the compute API; knows no node, pool or label.
"""

from trellis.openstack.compute.client import Compute
from trellis.openstack.compute.rows import (
    AbsoluteLimits,
    FlavorRow,
    ServerAddress,
    ServerFault,
    ServerRequest,
    ServerRow,
)

__all__ = [
    "AbsoluteLimits",
    "Compute",
    "FlavorRow",
    "ServerAddress",
    "ServerFault",
    "ServerRequest",
    "ServerRow",
]
