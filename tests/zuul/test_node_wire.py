"""A node's document: what Zuul is told of a node, and what is understood of what Zuul wrote."""

import json
import random

import attrs
import pytest
from trellis_zuul.node_wire import (
    DocumentError,
    Handover,
    Mark,
    UnfitNodeError,
    ZnodeState,
    read_node,
    ready_document,
)

from trellis.model.node import Addresses, Login
from trellis.model.quota import Resources
from trellis.model.request import RequestId
from trellis.testing.builders import NOW, a_node, a_shape

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITEST"
TO = Handover(
    deployment="ci",
    source="zuul",
    zuul_request="200-0000000007",
    request=RequestId("r1"),
    requestor="system-1",
    tenant="acme",
    launcher="pool-1",
    attributes={"executor-zone": "eu"},
)


def a_fit_node(**parts):
    given = {
        "addresses": Addresses(
            interface_ip="192.0.2.7",
            public_ipv4="192.0.2.7",
            private_ipv4="10.0.0.7",
            public_ipv6="2001:db8::7",
        ),
        "host_keys": (KEY,),
        "az": "nova",
        "login": Login(username="zuul", connection_port=2222, shell_type="sh"),
        "shape": a_shape(resources=Resources(instances=1, cores=4, ram_mib=8192)),
    }
    return a_node(3, **{**given, **parts})


def a_ready_document(node=None, to=TO):
    return json.loads(ready_document(node or a_fit_node(), to, NOW + 5))


def read(**keys):
    return read_node(json.dumps({"state": "hold", **keys}).encode())


def test_zuul_is_told_all_of_a_node():
    assert {
        "state": "ready",
        "state_time": NOW + 5,
        "created_time": NOW - 60,
        "cloud": "alpha",
        "provider": "alpha",
        "region": "RegionOne",
        "az": "nova",
        "pool": "main",
        "launcher": "pool-1",
        "type": ["small"],
        "allocated_to": "200-0000000007",
        "requestor": "system-1",
        "tenant_name": "acme",
        "interface_ip": "192.0.2.7",
        "public_ipv4": "192.0.2.7",
        "private_ipv4": "10.0.0.7",
        "public_ipv6": "2001:db8::7",
        "private_ipv6": None,
        "host_id": None,
        "hostname": "tr0000000003",
        "external_id": "server-3",
        "image_id": "tiny",
        "connection_type": "ssh",
        "connection_port": 2222,
        "ssh_port": 2222,
        "username": "zuul",
        "python_path": "auto",
        "shell_type": "sh",
        "host_keys": [KEY],
        "resources": {"cores": 4, "ram": 8192, "instances": 1},
        "attributes": {"executor-zone": "eu"},
        "node_properties": {},
        "slot": None,
        "hold_job": None,
        "hold_expiration": None,
        "comment": None,
        "user_data": None,
        "driver_data": {
            "trellis": {
                "deployment": "ci",
                "source": "zuul",
                "node": "0000000003",
                "request": "r1",
            }
        },
    } == a_ready_document()


def test_what_zuul_writes_back_is_still_ours():
    """Zuul keeps ``driver_data``; the mark is how the node is found again."""
    document = a_ready_document() | {"state": "used", "id": "0000000001", "user_data": {"a": 1}}

    node = read_node(json.dumps(document).encode())

    assert ZnodeState.USED is node.state
    mark = Mark(deployment="ci", source="zuul", node="0000000003", request="r1")
    assert mark == node.mark
    assert node.mark.is_of("ci", "zuul")
    assert not node.mark.is_of("ci", "zuul-2")
    assert not node.mark.is_of("other", "zuul")


def test_a_node_without_host_keys_is_not_handed_out():
    """Zuul would take the empty list for leave to check none."""
    with pytest.raises(UnfitNodeError, match="host keys"):
        ready_document(a_fit_node(host_keys=()), TO, NOW)


@pytest.mark.parametrize(
    "login", [Login(host_key_checking=False), Login(connection_type="winrm")], ids=["off", "winrm"]
)
def test_a_node_whose_keys_are_not_to_be_checked_needs_none(login):
    assert [] == a_ready_document(a_fit_node(host_keys=(), login=login))["host_keys"]


def test_a_node_without_an_address_is_not_handed_out():
    with pytest.raises(UnfitNodeError, match="address"):
        ready_document(a_fit_node(addresses=None), TO, NOW)


@pytest.mark.parametrize(
    ("expiration", "until"),
    [
        (None, None),
        (0, None),
        ("0", None),
        ("", None),
        (20, 120.0),
        ("20", 120.0),
        (20.5, 120.5),
        ("20.5", 120.5),
        (-1, None),
        ("soon", None),
        (True, None),
        ([20], None),
        ("inf", None),
        (10**400, None),
    ],
    ids=repr,
)
def test_a_hold_lasts_as_long_as_its_expiration_says(expiration, until):
    assert until == read(state_time=100, hold_expiration=expiration).hold_until(7.0)


def test_a_hold_that_does_not_say_since_when_lasts_from_its_writing():
    assert read(hold_expiration=20).hold_until(7.0) == pytest.approx(27.0)


def test_a_hold_without_an_expiration_lasts_until_a_word():
    assert read(state_time=100).hold_until(7.0) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"[]", b"null", b"{}", b'{"state": 3}', b'{"state": "ready", "a": NaN}', b"\xff"],
    ids=repr,
)
def test_what_is_no_document_is_refused_with_a_reason(data):
    with pytest.raises(DocumentError, match=r"\w+ \w+"):
        read_node(data)


def test_a_state_that_nobody_knows_is_one_of_its_own():
    assert ZnodeState.OTHER is read(state="hibernating").state


def test_any_json_in_any_key_is_read():
    """One strange document must not stop the others: wrong types read as absent."""
    chance = random.Random(7)
    strange = [None, True, -1, 1.5, "", "x", [], [[]], {}, {"trellis": 1}, 2**200, ["a", 1]]
    keys = [*a_ready_document(), "hold_expiration", "driver_data", "type"]
    for _ in range(500):
        document = a_ready_document() | {key: chance.choice(strange) for key in keys if key}
        document["state"] = chance.choice(["ready", "hold", "x"])
        if chance.random() < 0.5:
            document["driver_data"] = {"trellis": chance.choice(strange)}

        node = read_node(json.dumps(document).encode())

        assert node.mark is None
        node.hold_until(1.0)
        rewritten = json.loads(node.written(ZnodeState.DELETING, 1.0))
        assert document | {"state": "deleting", "state_time": 1.0} == rewritten


@pytest.mark.parametrize("field", [field.name for field in attrs.fields(Mark)])
def test_half_a_mark_is_none(field):
    document = a_ready_document()
    del document["driver_data"]["trellis"][field]

    assert read_node(json.dumps(document).encode()).mark is None
