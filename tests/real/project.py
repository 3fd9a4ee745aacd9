"""A project of its own on the real cloud, so that tests see nobody's servers but their own.

Everything goes through openstacksdk: what prepares and judges must not be what is judged.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import openstack
import yaml
from openstack.connection import Connection

CLOUD = "trellis-test"
APPCRED = "trellis-test-appcred"
FLAVOR = "ci-1c-1g"
TOO_BIG = "too-big"
IMAGE = "test-image"
NETWORK = "test-net"
_GONE_WITHIN_S = 120


@attrs.frozen(kw_only=True)
class Project:
    """A project with a network, a router to the outside and an image.

    Attributes:
        clouds_yaml: file with the entries `CLOUD` (password) and `APPCRED`.
        admin: connection of the cloud's admin.
        own: connection of the project's user.
        credential_id: id of the application credential.
        secrets: what must not show up anywhere.
    """

    id: str
    name: str
    credential_id: str
    clouds_yaml: Path
    admin: Connection
    own: Connection
    secrets: tuple[str, ...] = attrs.field(repr=False)

    def set_quota(self, **limits: int) -> None:
        """Set nova's limits: instances, cores, ram (MiB)."""
        self.admin.compute.update_quota_set(self.id, **limits)

    def revoke(self, token: str) -> None:
        """Make keystone refuse a token from now on.

        A service that has seen it may accept it for up to 300 s more.
        """
        headers = {"X-Subject-Token": token}
        self.admin.identity.delete("/auth/tokens", headers=headers).raise_for_status()

    def wait_empty(self) -> None:
        """Delete all servers of the project and wait until they are gone."""
        until = time.monotonic() + _GONE_WITHIN_S
        servers = list(self.own.compute.servers())
        for server in servers:
            self.own.compute.delete_server(server, ignore_missing=True)
        while left := [s.name for s in self.own.compute.servers(details=False)]:
            if time.monotonic() > until:
                raise AssertionError(f"servers that nova does not delete: {left}")
            time.sleep(0.3)


@contextmanager
def throwaway_project(folder: Path, **limits: int) -> Iterator[Project]:
    """Make a project on the cloud that OS_CLIENT_CONFIG_FILE names, and remove it with all in it.

    Args:
        folder: where its clouds.yaml is written.
        limits: nova's quota; 20 instances, 80 cores, 200000 MiB of memory if left out.
    """
    admin = openstack.connect(cloud="real-admin")
    name = f"trellis-test-{secrets.token_hex(4)}"
    password = secrets.token_hex(16)
    domain = "default"
    project = admin.identity.create_project(name=name, domain_id=domain)
    user = admin.identity.create_user(
        name=name, password=password, domain_id=domain, default_project_id=project.id
    )
    role = admin.identity.find_role("member", ignore_missing=False)
    admin.identity.assign_project_role_to_user(project, user, role)
    auth = {"auth_url": admin.config.get_auth_args()["auth_url"]}
    entry = {
        "region_name": admin.config.get_region_name(),
        "auth": {
            **auth, "username": name, "password": password, "project_name": name,
            "user_domain_name": "Default", "project_domain_name": "Default",
        },
    }  # fmt: skip
    own = openstack.connect(load_yaml_config=False, load_envvars=False, **entry)
    credential = own.identity.create_application_credential(user=user.id, name=name)
    clouds = {
        CLOUD: entry,
        APPCRED: {
            "region_name": entry["region_name"],
            "auth_type": "v3applicationcredential",
            "auth": {
                **auth,
                "application_credential_id": credential.id,
                "application_credential_secret": credential.secret,
            },
        },
    }
    path = folder / "clouds.yaml"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump({"clouds": clouds}), encoding="utf-8")
    made = Project(
        id=project.id,
        name=name,
        credential_id=credential.id,
        clouds_yaml=path,
        admin=admin,
        own=own,
        secrets=(password, credential.secret),
    )
    made.set_quota(**{"instances": 20, "cores": 80, "ram": 200_000, **limits})
    try:
        _furnish(own)
        yield made
    finally:
        _clear(made)
        own.close()
        admin.identity.delete_user(user)
        admin.identity.delete_project(project)
        admin.close()


def _furnish(own: Connection) -> None:
    network = own.network.create_network(name=NETWORK)
    subnet = own.network.create_subnet(
        name=NETWORK, network_id=network.id, ip_version=4, cidr="10.43.0.0/24"
    )
    outside = own.network.find_network("public", ignore_missing=False)
    router = own.network.create_router(
        name=NETWORK, external_gateway_info={"network_id": outside.id}
    )
    own.network.add_interface_to_router(router, subnet_id=subnet.id)
    own.create_image(
        IMAGE, data=b"\0" * (1 << 16), disk_format="raw", container_format="bare", wait=True,
        allow_duplicates=True,
    )  # fmt: skip


def _clear(project: Project) -> None:
    own = project.own
    project.wait_empty()
    for address in own.network.ips(project_id=project.id):
        own.network.delete_ip(address)
    for keypair in own.compute.keypairs():
        own.compute.delete_keypair(keypair)
    for image in own.image.images(owner=project.id):
        own.image.delete_image(image)
    for router in own.network.routers(project_id=project.id):
        for port in own.network.ports(device_id=router.id):
            if port.device_owner == "network:router_interface":
                own.network.remove_interface_from_router(router, port_id=port.id)
        own.network.delete_router(router)
    for port in own.network.ports(project_id=project.id):
        own.network.delete_port(port)
    for network in own.network.networks(project_id=project.id):
        own.network.delete_network(network)
    groups = project.admin.network.security_groups(project_id=project.id)
    for group in list(groups):
        project.admin.network.delete_security_group(group)
