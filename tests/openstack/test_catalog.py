"""Choosing an endpoint."""

import pytest

from trellis.errors import MisconfiguredError
from trellis.openstack.catalog import Endpoint, endpoint, header_name, read_catalog, regions


def row(
    kind: str, url: str, *, name: str = "", region: str = "R1", interface: str = "public"
) -> Endpoint:
    return Endpoint(
        service_type=kind, service_name=name, interface=interface, region=region, url=url
    )


PLAIN = (
    row("compute", "https://c.r1.test/v2.1"),
    row("compute", "https://c.int.r1.test/v2.1", interface="internal"),
    row("compute", "https://c.r2.test/v2.1", region="R2"),
    row("image", "https://i.r1.test"),
    row("network", "https://n.r1.test/"),
    row("volumev2", "https://v.r1.test/v2/p1"),
    row("volumev3", "https://v.r1.test/v3/p1"),
    row("identity", "https://k.test/v3"),
)
RACKSPACE = (
    row("compute", "https://servers.test/v1.0/1", name="cloudServers", region=""),
    row("compute", "https://pre.test/v2/1", name="cloudServersPreprod", region="DFW"),
    row("compute", "https://dfw.servers.test/v2/1", name="cloudServersOpenStack", region="DFW"),
)


@pytest.mark.parametrize(
    ("service", "region", "expected"),
    [
        ("compute", "R1", "https://c.r1.test/v2.1"),
        ("compute", "R2", "https://c.r2.test/v2.1"),
        ("image", "R1", "https://i.r1.test/v2"),
        ("network", "R1", "https://n.r1.test/v2.0"),
        ("block-storage", "R1", "https://v.r1.test/v3/p1"),
        ("volumev3", "R1", "https://v.r1.test/v3/p1"),
        ("identity", "R1", "https://k.test/v3"),
        ("image", "", "https://i.r1.test/v2"),
    ],
)
def test_by_type_and_region(service, region, expected):
    """Old and new names of a type mean the same; a lacking version is added."""
    assert endpoint(PLAIN, service, region=region) == expected


def test_by_interface():
    assert endpoint(PLAIN, "compute", region="R1", interface="internal").startswith(
        "https://c.int."
    )


def test_interfaces_are_tried_in_order():
    """`interface: [internal, public]` takes what there is."""
    assert endpoint(PLAIN, "image", region="R1", interface="internal,public") == (
        "https://i.r1.test/v2"
    )


def test_service_name_keeps_the_first_generation_out():
    """Rackspace lists three products of type compute."""
    chosen = endpoint(
        RACKSPACE,
        "compute",
        region="DFW",
        overrides={"compute_service_name": "cloudServersOpenStack"},
    )

    assert chosen == "https://dfw.servers.test/v2/1"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"compute_endpoint_override": "https://o.test/v2.1/"}, "https://o.test/v2.1"),
        (
            {"compute_endpoint_override": "https://o.test/v2/%(project_id)s"},
            "https://o.test/v2/p1",
        ),
        (
            {"compute_endpoint_override": "https://o.test/v2/$(tenant_id)s"},
            "https://o.test/v2/p1",
        ),
        ({"compute_interface": "internal"}, "https://c.int.r1.test/v2.1"),
        ({"compute_region_name": "R2"}, "https://c.r2.test/v2.1"),
    ],
)
def test_overrides_of_one_service(overrides, expected):
    """clouds.yaml may bend each choice."""
    assert expected == endpoint(PLAIN, "compute", region="R1", overrides=overrides, project_id="p1")


def test_override_is_found_under_an_alias():
    """`volume_endpoint_override` is the block storage's."""
    overrides = {"volume_endpoint_override": "https://o.test/v3/p1"}

    assert endpoint(PLAIN, "block-storage", overrides=overrides) == "https://o.test/v3/p1"


@pytest.mark.parametrize(
    ("service", "listed", "expected"),
    [
        ("image", "https://g.test:443/v1.0", "https://g.test:443/v2"),
        ("image", "https://g.test/v2/", "https://g.test/v2"),
        ("image", "https://g.test/image", "https://g.test/image/v2"),
        ("network", "https://n.test/networking", "https://n.test/networking/v2.0"),
        ("network", "https://n.test/v2.0", "https://n.test/v2.0"),
        ("compute", "https://c.test/v2/12345", "https://c.test/v2/12345"),
        ("compute", "https://c.test/compute", "https://c.test/compute/v2.1"),
        ("placement", "https://p.test/", "https://p.test"),
    ],
)
def test_version_in_the_path(service, listed, expected):
    """As listed, completed where it lacks, and Glance's v1 replaced."""
    assert endpoint((row(service, listed),), service) == expected


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        ({"service": "compute", "region": "r1"}, "it is in: R1, R2"),
        ({"service": "compute", "region": "r1"}, r"matter \(is R1 meant\?\)"),
        ({"service": "compute", "region": "R3"}, "Capital letters matter\\. Some clouds"),
        ({"service": "compute"}, "several regions: R1, R2"),
        ({"service": "compute", "region": "R1", "interface": "admin"}, "public, internal"),
        ({"service": "dns", "region": "R1"}, "no service of type dns; it has: compute, identity"),
        (
            {
                "service": "compute",
                "region": "R1",
                "overrides": {"compute_service_name": "nova2"},
            },
            None,
        ),
    ],
)
def test_what_is_missing_is_named_with_what_is_there(ask, said):
    """The operator need not print the catalog."""
    if said is None:
        named = tuple(row("compute", "https://c.test", name="nova") for _ in range(2))
        with pytest.raises(MisconfiguredError, match="there is: nova"):
            endpoint(named, **ask)
        return
    with pytest.raises(MisconfiguredError, match=said) as caught:
        endpoint(PLAIN, cloud="acme", **ask)

    assert str(caught.value).startswith("acme: ")


def test_catalog_without_compute_is_misconfigured():
    """A project without Nova, or the wrong one."""
    with pytest.raises(MisconfiguredError, match="no service of type compute; it has: image"):
        endpoint((row("image", "https://i.test"),), "compute")


def test_row_without_region_is_not_found_when_one_is_asked_for():
    """Rackspace's first generation has none."""
    with pytest.raises(MisconfiguredError, match=r"\(no region\)"):
        endpoint(RACKSPACE[:1], "compute", region="DFW")


def test_reading_leaves_out_rows_without_url():
    """v2's interface names lose their URL, a null endpoint list is fine."""
    services = [
        {"type": "compute", "name": None, "endpoints": [
            {"interface": "publicURL", "region_name": "R1", "url": "https://a.test"},
            {"interface": "adminURL", "region_name": "R1", "url": None},
        ]},
        {"type": "image", "endpoints": None},
    ]  # fmt: skip

    assert read_catalog(services) == (row("compute", "https://a.test"),)


def test_regions_in_the_catalogs_order():
    assert regions(PLAIN) == ("R1", "R2")


@pytest.mark.parametrize(
    ("listed", "wanted", "url"),
    [
        ("https://b.test/v1/p", "2", "https://b.test/v2/p"),
        ("https://b.test/v2/p", "3", "https://b.test/v3/p"),
        ("https://b.test/v3/p", "2", "https://b.test/v3/p"),
        ("https://b.test/v1/p", "", "https://b.test/v1/p"),
        ("https://b.test/p", "2", "https://b.test/p"),
    ],
)
def test_block_storage_of_a_newer_version_than_is_listed(listed, wanted, url):
    """Where the cloud's entry says that it is at the same host; never an older one."""
    catalog = (row("volume", listed),)

    assert endpoint(catalog, "block-storage", overrides={"volume_api_version": wanted}) == url


def test_header_name_of_block_storage():
    """Cinder's microversions go under `volume`."""
    assert (header_name("block-storage"), header_name("compute")) == ("volume", "compute")
