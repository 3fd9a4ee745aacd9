"""A simulated OpenStack cloud: Keystone v3 and v2.0, Nova v2.1, Neutron v2.0, Glance, Swift.

`SimCloud` is a state machine over time: it has no task and no timer, and what it says follows
from its `CloudSpec`, its random source, the clock and the calls made so far. `SimTransport` puts
it behind an `httpx.AsyncClient` in the same process. Knows nothing of Trellis' own interfaces.
"""

from trellis.sim.cloud.behaviour import Behaviour
from trellis.sim.cloud.cloud import SimCloud, connector
from trellis.sim.cloud.ledger import Fact, Ledger, What
from trellis.sim.cloud.spec import (
    CloudSpec,
    Credentials,
    Faults,
    FaultWindow,
    FlavorSpec,
    IdentityVersions,
    ImageSpec,
    Latency,
    Lognormal,
    NetworkSpec,
    Outage,
    OutageKind,
    Quota,
    RateLimit,
    Strangers,
    direct_networks,
    floating_networks,
)
from trellis.sim.cloud.transport import SimTransport, SimWire
from trellis.sim.cloud.truth import Machine
from trellis.sim.cloud.wire import Request, Response

__all__ = [
    "Behaviour",
    "CloudSpec",
    "Credentials",
    "Fact",
    "FaultWindow",
    "Faults",
    "FlavorSpec",
    "IdentityVersions",
    "ImageSpec",
    "Latency",
    "Ledger",
    "Lognormal",
    "Machine",
    "NetworkSpec",
    "Outage",
    "OutageKind",
    "Quota",
    "RateLimit",
    "Request",
    "Response",
    "SimCloud",
    "SimTransport",
    "SimWire",
    "Strangers",
    "What",
    "connector",
    "direct_networks",
    "floating_networks",
]
