"""openstacksdk drives the simulated cloud: what it reads is there and means what it should."""

import io

import attrs
import pytest
import requests
import requests.adapters
from cloud_session import QUICK, cloud_of
from keystoneauth1.identity import v2, v3
from keystoneauth1.session import Session

from trellis.sim.cloud import SimCloud, floating_networks
from trellis.sim.cloud.disk_files import vhd_footer
from trellis.sim.cloud.wire import Request
from trellis.sim.clouds import TWINS

openstack = pytest.importorskip("openstack", reason="openstacksdk is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")
"""The SDK warns about its own code."""


class Adapter(requests.adapters.BaseAdapter):
    """Carries the SDK's calls to a simulated cloud, whose clock stands still in between."""

    def __init__(self, cloud: SimCloud, clock: "Clock | None" = None, waits_s: float = 0.0) -> None:
        super().__init__()
        self.cloud = cloud
        self.clock, self.waits_s = clock, waits_s

    def send(self, request, **_):
        path, _, query = request.path_url.partition("?")
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        body = body if isinstance(body, bytes) else b"".join(body)
        if self.waits_s:
            self.clock.now += self.waits_s
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


DISK = b"a small disk" * 1000


def test_an_image_is_uploaded_by_put(sdk, tmp_path):
    """Created, filled, with its properties; the SDK reads it back, renames it and deletes it."""
    file = tmp_path / "disk.raw"
    file.write_bytes(DISK)
    made = sdk.create_image(
        "uploaded", filename=str(file), disk_format="raw", container_format="bare", wait=True,
        validate_checksum=True, meta={"trellis_build": "7", "min_disk": 1},
    )  # fmt: skip
    image = sdk.image.find_image("uploaded", ignore_missing=False)

    assert (image.id, image.status, image.size) == (made.id, "active", len(DISK))
    assert (image.properties["trellis_build"], image.min_disk) == ("7", 1)
    assert image.hash_algo == "sha512"
    assert sdk.image.download_image(image).content == DISK
    found = sdk.image.get("/images?trellis_build=7").json()["images"]
    assert [one["id"] for one in found] == [image.id]
    sdk.image.update_image(image, name="renamed")
    assert sdk.image.get_image(image.id).name == "renamed"
    sdk.image.delete_image(image)
    assert sdk.image.find_image("renamed") is None


def test_an_image_is_staged_and_imported(sdk, clock):
    """By the SDK's own steps."""
    image = sdk.image.create_image(
        name="staged", disk_format="raw", container_format="bare", allow_duplicates=True
    )
    image.data = DISK
    sdk.image.stage_image(image, data=DISK)
    assert sdk.image.get_image(image.id).status == "uploading"
    sdk.image.import_image(image, method="glance-direct")
    clock.now += 300.0
    assert sdk.image.get_image(image.id).status == "active"


def test_an_image_is_imported_by_a_task(clock, tmp_path, monkeypatch):
    """As the SDK does it at Rackspace: container, object, task, properties, object deleted."""
    twin = attrs.evolve(TWINS["rackspace"](), boot=QUICK["boot"])
    cloud = SimCloud(twin, clock=clock)
    http = requests.Session()
    http.mount(cloud.root, Adapter(cloud, clock, waits_s=60.0))
    monkeypatch.setattr("time.sleep", lambda _: None)
    mine = cloud.spec.credentials
    auth = v2.Password(
        auth_url=cloud.auth_url, username=mine.username, password=mine.password,
        tenant_name=mine.project,
    )  # fmt: skip
    connection = openstack.connection.Connection(
        session=Session(auth=auth, session=http), region_name="DFW", image_api_use_tasks=True,
    )  # fmt: skip
    connection.config.config["image_api_use_tasks"] = True
    file = tmp_path / "disk.vhd"
    file.write_bytes(DISK + vhd_footer())
    with connection:
        made = connection.create_image(
            "imported", filename=str(file), disk_format="vhd", container_format="ovf", wait=True,
            container="images", timeout=3600,
        )  # fmt: skip
    (image,) = (one for one in cloud.images() if one.who)

    assert (made.id, made.status) == (image.id, "active")
    assert image.properties["owner_specified.openstack.object"] == "images/imported"
    assert image.size == len(DISK) + 512
    assert cloud.objects() == ()
