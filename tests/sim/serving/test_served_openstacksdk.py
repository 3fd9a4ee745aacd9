"""openstacksdk drives served clouds over HTTP, with the clouds.yaml that was written for it."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from served import Clouds, clouds_of, spec_of

from trellis.sim.cloud import IdentityVersions, Lognormal, floating_networks

openstack = pytest.importorskip("openstack", reason="openstacksdk is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")
"""The SDK warns about its own code."""
BOOT = {"boot": Lognormal(0.1, 0.1), "delete": Lognormal(0.05, 0.05)}


async def driven(clouds: Clouds, name: str, story: Callable[[Any], Any]) -> Any:
    """Tell a story with the SDK, in a thread of its own."""

    def tell() -> Any:
        config = openstack.config.OpenStackConfig(
            config_files=[str(clouds.served.clouds_yaml)], secure_files=[], vendor_files=[]
        )
        with openstack.connection.Connection(config=config.get_one(cloud=name)) as sdk:
            return story(sdk)

    return await trio.to_thread.run_sync(tell)


def life(sdk: Any) -> dict[str, Any]:
    """Create, wait, list, floating IP, quota, delete, wait."""
    made = sdk.create_server(
        name="sdk", image="tiny", flavor="ci-1c-1g", network="ci-net", auto_ip=False, wait=False,
        meta={"node": "1"},
    )  # fmt: skip
    server = sdk.compute.wait_for_server(sdk.compute.get_server(made.id), interval=0.05, wait=10)
    public = sdk.network.find_network("public", ignore_missing=False)
    (port,) = sdk.network.ports(device_id=server.id)
    ip = sdk.network.create_ip(floating_network_id=public.id, port_id=port.id, description="mine")
    (listed,) = sdk.compute.servers()
    told = {
        "status": server.status,
        "metadata": listed.metadata,
        "addresses": [row["addr"] for row in listed.addresses["ci-net"]],
        "expected": [port.fixed_ips[0]["ip_address"], ip.floating_ip_address],
        "used": sdk.compute.get_limits().absolute.instances_used,
        "floating": sdk.network.get_quota(sdk.current_project_id, details=True).floating_ips,
    }
    sdk.network.delete_ip(ip)
    sdk.compute.delete_server(server)
    sdk.compute.wait_for_delete(server, interval=0.05, wait=10)
    return {**told, "left": list(sdk.compute.servers())}


@pytest.mark.slow
@pytest.mark.parametrize("identity", list(IdentityVersions), ids=lambda version: version.value)
async def test_a_server_is_driven_through_its_life(tmp_path, identity):
    """Through every version of Keystone; in the end nothing is left."""
    spec = spec_of(networks=floating_networks(), identity=identity, **BOOT)
    async with clouds_of(tmp_path, spec) as clouds:
        told = await driven(clouds, "one", life)
        left = [await clouds.look(f"one/{kind}") for kind in ("servers", "ports", "floating_ips")]

    assert (told["status"], told["metadata"], told["left"]) == ("ACTIVE", {"node": "1"}, [])
    assert told["addresses"] == told["expected"]
    assert (told["used"], told["floating"]["used"]) == (1, 1)
    assert left == [{"servers": []}, {"ports": []}, {"floating_ips": []}]


@pytest.mark.slow
async def test_refusals_arrive_as_the_sdks_own_errors(tmp_path):
    """A create over quota, with the words of the cloud."""
    async with clouds_of(tmp_path) as clouds:
        await clouds.say("one/quota", instances=0)

        def over_quota(sdk: Any) -> str:
            with pytest.raises(openstack.exceptions.ForbiddenException) as refused:
                sdk.create_server(name="n", image="tiny", flavor="ci-1c-1g", wait=False)
            return str(refused.value)

        told = await driven(clouds, "one", over_quota)

    assert "Quota exceeded for instances" in told
