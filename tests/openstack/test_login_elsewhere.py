"""An ``auth_url`` of another service than identity is called that, whatever it answers."""

import random

import httpx
import pytest

from trellis.errors import MisconfiguredError
from trellis.http import Road
from trellis.openstack.auth import running_account
from trellis.openstack.clouds import CloudConfig

IMAGE = CloudConfig(
    name="mycloud",
    auth_type="password",
    auth={
        "auth_url": "https://image.cloud.example/v2", "username": "ci", "password": "scrubbed",
        "project_name": "ci", "user_domain_name": "Default", "project_domain_name": "Default",
    },
)  # fmt: skip


@pytest.mark.parametrize("status", [401, 404, 405])
async def test_a_service_that_is_no_keystone_is_not_taken_for_a_missing_option(
    status, autojump_clock
):
    """Glance asks for a token before it says what it is; keystoneauth1 has none to give."""
    transport = httpx.MockTransport(lambda request: httpx.Response(status, json={}))
    road = Road("mycloud", transport, random=random.Random(1))

    async with running_account(IMAGE, road) as account:
        with pytest.raises(MisconfiguredError) as caught:
            await account.token()

    said = str(caught.value)
    assert "https://image.cloud.example/v2 is no identity service" in said
    assert "Check auth_url of mycloud in clouds.yaml" in said
    assert "option" not in said
