"""The networks of clouds that plugins are for, laid on the real OpenStack of `tests/realcloud`.

Each is made in a throwaway project and removed with it: what a customer of that cloud sees of
networks, with the real services behind it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from tests.real.project import FLAVOR, IMAGE, NETWORK, Project


@attrs.frozen(kw_only=True)
class Topology:
    """What a cloud's plugin is recorded with.

    Attributes:
        kind: its provider type, and the folder of its cassettes.
        lays: makes its networks and removes them.
        stories: that show what its networks are like.
        network: of the servers; None leaves it to the plugin or the cloud.
        described: for the head of a cassette.
    """

    kind: str
    lays: Callable[[Project], "Iterator[None]"]
    stories: tuple[str, ...]
    network: str | None
    described: str


@contextmanager
def external_network(project: Project, name: str, cidr: str, *, shared: bool) -> Iterator[str]:
    """An external network of the cloud's admin; shared, servers can be put directly on it."""
    admin = project.admin.network
    made = admin.create_network(name=name, is_router_external=True, shared=shared)
    try:
        admin.create_subnet(
            name=name, network_id=made.id, ip_version=4, cidr=cidr, enable_dhcp=False
        )
        yield made.id
    finally:
        for port in list(admin.ports(network_id=made.id)):
            admin.delete_port(port)
        admin.delete_network(made)


@contextmanager
def direct(project: Project) -> Iterator[None]:
    """OVH's: servers have their public address on Ext-Net itself."""
    with external_network(project, "Ext-Net", "198.51.100.0/24", shared=True):
        yield


@contextmanager
def _behind_router(project: Project, name: str, cidr: str) -> Iterator[None]:
    """The project's own network behind a router, whose gateway is on this external network."""
    own = project.own.network
    router = own.find_router(NETWORK, ignore_missing=False)
    before = router.external_gateway_info["network_id"]
    with external_network(project, name, cidr, shared=False) as outside:
        own.update_router(router, external_gateway_info={"network_id": outside})
        try:
            yield
        finally:
            for address in own.ips(project_id=project.id):
                own.delete_ip(address)
            own.update_router(router, external_gateway_info={"network_id": before})


def hp_floating(project: Project) -> "contextmanager[None]":
    """HP's: floating IPs of Ext-Net, on servers of the project's own network."""
    return _behind_router(project, "Ext-Net", "198.51.100.0/24")


def flex_floating(project: Project) -> "contextmanager[None]":
    """Rackspace Flex's: floating IPs of PUBLICNET."""
    return _behind_router(project, "PUBLICNET", "203.0.113.0/24")


_FLOATING = ("offer", "launch", "floating_ip")
TOPOLOGIES = {
    topology.kind: topology
    for topology in (
        Topology(
            kind="ovh",
            lays=direct,
            stories=("offer", "launch"),
            network="Ext-Net",
            described="servers directly on the shared external network Ext-Net, as at OVH",
        ),
        Topology(
            kind="hpcloud",
            lays=hp_floating,
            stories=_FLOATING,
            network=NETWORK,
            described="an own network behind a router, floating IPs of Ext-Net, as at HP",
        ),
        Topology(
            kind="rackspaceflex",
            lays=flex_floating,
            stories=_FLOATING,
            network=NETWORK,
            described="an own network behind a router, floating IPs of PUBLICNET, as at "
            "Rackspace Flex",
        ),
    )
}
"""By provider type."""

LABEL = {"cloud-image": IMAGE, "flavor-name": FLAVOR}
