"""What the configuration of an OpenStack provider refuses, and how it says so."""

import pytest
from canned import a_label

from trellis.providers.config import OpenStackLabelConfig, OpenStackPoolConfig
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
