"""Configurations of Nodepool: read strictly, turned into a `trellis.yaml`, compared with it.

All of it is pure: texts and the environment's variables in, a text and a report out. What a key of
Nodepool means is taken from release 11.0.0, its last. Knows the configuration of Trellis and how
it is read; no plugin, no cloud, no file.
"""

from trellis.nodepool.comparison import Difference, compare
from trellis.nodepool.conversion import Converted, convert
from trellis.nodepool.reading import NodepoolFile, SecureFile, read_nodepool, read_secure
from trellis.nodepool.references import check_together
from trellis.nodepool.report import Change, Kind
from trellis.nodepool.site import Site, sites

__all__ = [
    "Change",
    "Converted",
    "Difference",
    "Kind",
    "NodepoolFile",
    "SecureFile",
    "Site",
    "check_together",
    "compare",
    "convert",
    "read_nodepool",
    "read_secure",
    "sites",
]
