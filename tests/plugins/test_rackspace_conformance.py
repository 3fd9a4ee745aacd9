"""The types rackspace and rackspaceflex pass the conformance tests, on their twins."""

from pathlib import Path
from typing import ClassVar

from trellis.sim.clouds.rackspace import rackspace
from trellis.sim.clouds.rackspaceflex import rackspaceflex
from trellis.testing.conformance import ProviderConformance

CASSETTES = Path(__file__).parents[2] / "cassettes"


class TestRackspace(ProviderConformance):
    """With the API key of the user; on both fixed networks."""

    type = "rackspace"
    twin = rackspace()
    label: ClassVar = {"flavor-name": "2 GB Performance"}

    def entry(self, cloud):
        """A user and his API key."""
        mine = cloud.spec.credentials
        auth = {"username": mine.username, "api_key": mine.api_key, "auth_url": cloud.auth_url}
        return {"profile": "rackspace", "auth": auth}


class TestRackspaceFlex(ProviderConformance):
    """With user and password alone; the project is found."""

    type = "rackspaceflex"
    twin = rackspaceflex()
    cassettes = CASSETTES / "rackspaceflex"

    def entry(self, cloud):
        """A user and his password, or an API key in its place."""
        mine = cloud.spec.credentials
        auth = {"username": mine.username, "password": mine.password, "auth_url": cloud.auth_url}
        return {"profile": "rackspaceflex", "auth": auth}
