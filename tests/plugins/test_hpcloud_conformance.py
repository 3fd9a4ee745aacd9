"""The type hpcloud passes the conformance tests, on HP's twin."""

from pathlib import Path
from typing import ClassVar

from trellis.sim.clouds.hpcloud import hpcloud
from trellis.testing.conformance import ProviderConformance

CASSETTES = Path(__file__).parents[2] / "cassettes"


class TestHpCloud(ProviderConformance):
    """Servers are spread over two of its networks, and get floating IPs."""

    type = "hpcloud"
    twin = hpcloud()
    cassettes = CASSETTES / "hpcloud"
    pool: ClassVar = {"networks": ["ci-net-1", "ci-net-2"]}

    def entry(self, cloud):
        """An access key and its secret key; the tenant is found."""
        mine = cloud.spec.credentials
        keys = {"access_key": mine.access_key, "secret_key": mine.secret_key}
        return {"profile": "hpcloud", "auth": {**keys, "auth_url": cloud.auth_url}}
