"""What is asked of every provider, whatever its cloud: the tests of `ProviderConformance`.

Each method is a test of its own; the clock is an argument because pytest-trio takes a test's
clock from its arguments alone.
"""

from trellis.testing.checks.addresses import AddressChecks
from trellis.testing.checks.cassettes import CassetteChecks
from trellis.testing.checks.lists import ListChecks
from trellis.testing.checks.lives import LifeChecks
from trellis.testing.checks.queries import QueryChecks
from trellis.testing.checks.troubles import TroubleChecks

__all__ = [
    "AddressChecks",
    "CassetteChecks",
    "LifeChecks",
    "ListChecks",
    "QueryChecks",
    "TroubleChecks",
]
