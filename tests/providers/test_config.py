"""What the configuration of an OpenStack provider refuses, and how it says so."""

import pytest
from canned import a_config, a_label

from trellis.openstack.quirks import Quirks
from trellis.providers.config import OpenStackLabelConfig, OpenStackPoolConfig
from trellis.providers.images import chosen
from trellis.spi.config import PoolConfig


def test_label_needs_one_kind_of_image():
    """Neither and both are refused with the two keys named."""
    with pytest.raises(ValueError, match=r"one of image .* and cloud-image"):
        OpenStackLabelConfig(name="small", flavor_name="f")
    with pytest.raises(ValueError, match="not both"):
        OpenStackLabelConfig(name="small", flavor_name="f", image="a", cloud_image="b")


def test_label_needs_a_size():
    """A flavor's name, a least memory, or both."""
    with pytest.raises(ValueError, match="flavor-name, min-ram, or both"):
        OpenStackLabelConfig(name="small", image="a")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"min_ram": 0}, "at least 1"),
        ({"userdata": "x" * 50000}, "at most 49149 bytes"),
        ({"instance_properties": {"a": "x" * 256}}, "255 characters"),
        ({"instance_properties": {"trellis_node_id": "1"}}, "Trellis's own"),
        ({"connection_port": 70000}, "at most 65535"),
    ],
)
def test_value_a_cloud_would_refuse_is_refused_here(wrong, words):
    """Once, at the start, rather than with each create."""
    with pytest.raises(ValueError, match=words):
        a_label(**wrong)


def test_userdata_is_never_shown():
    """It may hold secrets."""
    assert "hunter2" not in repr(a_label(userdata="hunter2"))


def test_pool_limits_may_be_zero_but_not_below():
    """Zero is the way to empty a pool."""
    assert OpenStackPoolConfig(name="main", max_servers=0).max_servers == 0
    with pytest.raises(ValueError, match="at least 0"):
        OpenStackPoolConfig(name="main", max_cores=-1)


@pytest.mark.parametrize(
    ("pool", "label", "expected"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
def test_label_decides_about_host_keys_before_its_pool(pool, label, expected):
    """What the label leaves out is the pool's."""
    config = PoolConfig(name="main", host_key_checking=pool)

    assert config.login(a_label(host_key_checking=label)).host_key_checking is expected


def test_login_is_the_labels():
    """User, port and Python of the image go out with each node."""
    login = PoolConfig(name="main").login(a_label(username="debian", connection_port=2222))

    assert (login.username, login.connection_port, login.python_path) == ("debian", 2222, "auto")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"image_upload": "web-download"}, "needs image-download-url"),
        ({"image_download_url": "https://builder.example/"}, r"URL with \{file\} in it"),
        ({"image_download_url": "ftp://builder.example/{file}"}, r"URL with \{file\} in it"),
    ],
)
def test_download_needs_an_address_that_the_cloud_can_use(wrong, words):
    """With the file's name in it."""
    with pytest.raises(ValueError, match=words):
        a_config(**wrong)


@pytest.mark.parametrize(
    ("config", "settings", "way", "formats"),
    [
        ({}, {}, "put", ("qcow2", "raw")),
        ({}, {"image_format": "raw"}, "put", ("raw",)),
        ({"image_format": "qcow2"}, {"image_format": "raw"}, "put", ("qcow2",)),
        ({}, {"image_api_use_tasks": True}, "task", ("qcow2", "raw")),
        ({}, {"image_api_use_tasks": "True"}, "task", ("qcow2", "raw")),
        ({}, {"image_api_use_tasks": "False"}, "put", ("qcow2", "raw")),
        ({"image_upload": "import"}, {"image_api_use_tasks": True}, "import", ("qcow2", "raw")),
    ],
    ids=["stock", "entry", "provider", "tasks", "text", "no-tasks", "provider-way"],
)
def test_way_and_format_are_those_of_who_says_it_first(config, settings, way, formats):
    """The provider's configuration, then the entry with its profile, then stock."""
    found = chosen(a_config(**config), settings)

    assert (found.way, found.formats) == (way, formats)


def test_cloud_without_glance_v2_is_uploaded_to_by_v1_whatever_is_configured():
    """Nothing else is there."""
    quirks = Quirks(reads_images_through_nova=True)

    assert chosen(a_config(image_upload="put"), {}, quirks).way == "v1"


def test_properties_of_the_vendor_are_texts():
    """A boolean in their place broke uploads until 2019 (survey of clouds, part 1 section 4.3)."""
    settings = {"disable_vendor_agent": {"xenapi_use_agent": False, "vm_mode": "hvm"}}

    assert chosen(a_config(), settings).vendor_properties == {
        "xenapi_use_agent": "False", "vm_mode": "hvm",
    }  # fmt: skip
