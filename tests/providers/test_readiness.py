"""A server is active when its vendor has finished with it."""

import pytest

from tests.providers.canned import CannedSession, a_provider, a_row
from trellis.openstack.quirks import Quirks, ReadyWait
from trellis.providers.readiness import after_active
from trellis.spi.provider import InstanceState

NETWORK = ReadyWait(
    key="automation", done=("DEPLOYED", "UNPROCESSABLE"), failed=("FAILED",), awaited=True
)
SERVICE = ReadyWait(key="service_level", done=("Complete",), failed=("Build Error",))


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, InstanceState.BUILDING),
        ({"automation": "DEPLOYING"}, InstanceState.BUILDING),
        ({"automation": "DEPLOYED"}, InstanceState.ACTIVE),
        ({"automation": "UNPROCESSABLE"}, InstanceState.ACTIVE),
        ({"automation": "FAILED"}, InstanceState.ERROR),
        ({"automation": "DEPLOYED", "service_level": "In Progress"}, InstanceState.BUILDING),
        ({"automation": "DEPLOYED", "service_level": "Complete"}, InstanceState.ACTIVE),
        ({"automation": "DEPLOYED", "service_level": "Build Error"}, InstanceState.ERROR),
        ({"automation": "DEPLOYING", "service_level": "Build Error"}, InstanceState.BUILDING),
    ],
)
def test_each_step_of_the_vendor_is_waited_for_in_order(metadata, expected):
    """One whose key need not come is passed over until it does."""
    state, why = after_active(metadata, (NETWORK, SERVICE))

    assert state is expected
    assert bool(why) is (expected is InstanceState.ERROR)


async def test_an_active_server_is_building_until_then():
    """And one with which the vendor failed is in ERROR, with the reason."""
    session = CannedSession()
    rows = [
        a_row(id="there", metadata={**a_row()["metadata"], "automation": "DEPLOYED"}),
        a_row(id="waits", metadata={**a_row()["metadata"], "automation": "DEPLOYING"}),
        a_row(id="failed", metadata={**a_row()["metadata"], "automation": "FAILED"}),
    ]
    session.replies["GET compute /servers/detail"] = {"servers": rows}

    listing = await a_provider(session, quirks=Quirks(ready_waits=(NETWORK,))).list(None)

    found = {one.external_id: one for one in listing.instances}
    assert [found[name].state.value for name in ("there", "waits", "failed")] == [
        "active", "building", "error",
    ]  # fmt: skip
    assert "automation is FAILED" in str(found["failed"].fault)
