"""Twins: simulated clouds that behave as real ones do, one module each.

A twin is a `CloudSpec` with the offer, the limits and the behaviour of a cloud as the project's
survey of clouds describes it; no plugin has been looked at. Each behaviour cites its row of the
survey (`trellis.sim.cloud.behaviour`).
"""

from collections.abc import Callable, Mapping
from typing import Final

from trellis.sim.cloud.spec import CloudSpec
from trellis.sim.clouds.hpcloud import hpcloud
from trellis.sim.clouds.ovh import ovh
from trellis.sim.clouds.rackspace import rackspace
from trellis.sim.clouds.rackspaceflex import rackspaceflex
from trellis.sim.clouds.vexxhost import vexxhost

TWINS: Final[Mapping[str, Callable[[], CloudSpec]]] = {
    "hpcloud": hpcloud,
    "ovh": ovh,
    "rackspace": rackspace,
    "rackspaceflex": rackspaceflex,
    "vexxhost": vexxhost,
}
"""What makes each twin, by its name: the same as its plugin's provider type."""
