"""openstacksdk drives the simulated cloud: what it reads is there and means what it should."""

import io

import pytest
import requests
import requests.adapters
from cloud_session import cloud_of

from trellis.sim.cloud import SimCloud, floating_networks
from trellis.sim.cloud.wire import Request

openstack = pytest.importorskip("openstack", reason="openstacksdk is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")
"""The SDK warns about its own code."""


class Adapter(requests.adapters.BaseAdapter):
    """Carries the SDK's calls to a simulated cloud, whose clock stands still in between."""

    def __init__(self, cloud: SimCloud) -> None:
        super().__init__()
        self.cloud = cloud

    def send(self, request, **_):
        path, _, query = request.path_url.partition("?")
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        ours = self.cloud.handle(Request(request.method, path, query, headers, body))
        response = requests.Response()
        response.status_code = ours.status
        response.headers = requests.structures.CaseInsensitiveDict(ours.headers)
        response.raw = io.BytesIO(ours.body)
        response.url, response.request = request.url, request
        return response

    def close(self):
        """Nothing is held open."""


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sdk(clock):
    """A connection of openstacksdk to a cloud with floating IPs."""
    from keystoneauth1.identity import v3
    from keystoneauth1.session import Session

    model = cloud_of(networks=floating_networks())
    cloud = SimCloud(model.spec, clock=clock)
    http = requests.Session()
    http.mount(cloud.root, Adapter(cloud))
    mine = cloud.spec.credentials
    auth = v3.Password(
        auth_url=cloud.auth_url,
        username=mine.username,
        password=mine.password,
        user_domain_name="Default",
        project_name=mine.project,
        project_domain_name="Default",
    )
    session = Session(auth=auth, session=http)
    connection = openstack.connection.Connection(session=session, region_name="RegionOne")
    connection.sim = cloud
    yield connection
    connection.close()


def test_offers_are_read(sdk):
    """Flavors, images, networks and zones have what the SDK's resources take from them."""
    flavor = sdk.compute.find_flavor("ci-2c-4g", ignore_missing=False)
    image = sdk.image.find_image("tiny", ignore_missing=False)
    networks = {network.name: network for network in sdk.network.networks()}

    assert (flavor.vcpus, flavor.ram, flavor.disk) == (2, 4096, 40)
    assert (image.status, image.disk_format) == ("active", "raw")
    assert networks["public"].is_router_external is True
    assert networks["ci-net"].is_router_external is False
    assert [zone.name for zone in sdk.compute.availability_zones()] == ["nova"]


def test_a_server_is_driven_through_its_life(sdk, clock):
    """Create, list, floating IP, delete: through the SDK's proxies at its own microversions."""
    network = sdk.network.find_network("ci-net", ignore_missing=False)
    public = sdk.network.find_network("public", ignore_missing=False)
    made = sdk.compute.create_server(
        name="sdk",
        flavor_id=sdk.compute.find_flavor("ci-1c-1g").id,
        image_id=sdk.image.find_image("tiny").id,
        networks=[{"uuid": network.id}],
        metadata={"node": "1"},
    )
    assert made.status == "BUILD" or sdk.compute.get_server(made).status == "BUILD"
    clock.now += 11.0
    server = sdk.compute.get_server(made)
    (port,) = sdk.network.ports(device_id=server.id)
    ip = sdk.network.create_ip(floating_network_id=public.id, port_id=port.id, description="node 1")
    (listed,) = sdk.compute.servers(changes_since="2026-01-01T00:00:00Z")
    (found,) = sdk.network.ips(description="node 1")

    assert (server.status, server.vm_state, server.metadata) == ("ACTIVE", "active", {"node": "1"})
    assert server.flavor.original_name == "ci-1c-1g"
    assert listed.id == server.id
    addresses = [entry["addr"] for entry in listed.addresses["ci-net"]]
    assert addresses == [port.fixed_ips[0]["ip_address"], ip.floating_ip_address]
    assert found.id == ip.id

    sdk.network.delete_ip(ip)
    sdk.compute.delete_server(server)
    clock.now += 3.0
    assert list(sdk.compute.servers()) == []
    assert sdk.sim.servers() == ()


def test_the_cloud_layer_finds_a_reachable_address(sdk, clock):
    """`create_server(auto_ip=True)` of the SDK's own cloud layer ends with a public address."""
    made = sdk.create_server(
        name="auto", image="tiny", flavor="ci-1c-1g", network="ci-net", wait=False, auto_ip=False
    )
    clock.now += 11.0
    server = sdk.get_server(made.id)
    server = sdk.add_ips_to_server(server, auto_ip=True, wait=False)
    server = sdk.get_server(made.id)

    (ip,) = sdk.sim.floating_ips()
    assert server.public_v4 == ip.name
    assert ip.server_id == made.id


def test_quota_and_errors_are_read(sdk):
    """Limits, quota details and a refusal arrive as the SDK's own types."""
    limits = sdk.compute.get_limits().absolute
    quota = sdk.network.get_quota(sdk.current_project_id, details=True)

    assert (limits.instances, limits.total_cores, limits.instances_used) == (100, 400, 0)
    assert quota.floating_ips["limit"] == 50
    with pytest.raises(openstack.exceptions.NotFoundException, match="could not be found"):
        sdk.compute.get_server("00000000-0000-0000-0000-000000000000")


def test_a_server_that_boots_from_a_volume_is_driven(sdk, clock):
    """The SDK makes it as it makes all such, sees its volume, and sees it go."""
    network = sdk.network.find_network("ci-net", ignore_missing=False)
    made = sdk.create_server(
        name="booting",
        image="tiny",
        flavor="ci-1c-1g",
        network=network.id,
        boot_from_volume=True,
        volume_size=8,
        terminate_volume=True,
        wait=False,
        auto_ip=False,
    )
    clock.now += 11.0
    (attached,) = sdk.compute.get_server(made.id).attached_volumes
    (volume,) = sdk.block_storage.volumes()
    limits = sdk.block_storage.get_limits().absolute

    assert volume.id == attached["id"]
    assert (volume.status, volume.size, volume.is_bootable) == ("in-use", 8, True)
    assert volume.attachments[0]["server_id"] == made.id
    assert (limits.max_total_volumes, limits.total_volumes_used) == (100, 1)
    assert limits.total_gigabytes_used == 8

    sdk.compute.delete_server(made.id)
    clock.now += 10.0
    assert list(sdk.compute.servers()) == []
    clock.now += 10.0
    assert list(sdk.block_storage.volumes()) == []
