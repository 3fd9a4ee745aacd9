"""Whatever a cloud's services answer about servers, networks, volumes: an error or no information.

No crash but a `CloudError`, no hang, and never *gone* concluded from what makes no sense. The
bodies are real ones in which something is wrong, at random places.
"""

import json
from typing import Any

import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.documents import changed, places
from trellis.errors import CloudError
from trellis.http.message import Answer
from trellis.model.node import Home, Resource, ResourceKind
from trellis.openstack.faults import error_from_fault
from trellis.openstack.paging import marker_in
from trellis.providers.config import (
    OpenStackLabelConfig,
    OpenStackPoolConfig,
    OpenStackProviderConfig,
)
from trellis.providers.openstack import OpenStackProvider
from trellis.providers.rows import earlier, seconds_of, tag_from_description
from trellis.spi.provider import Gone, InstanceState, Tag

TAG = Tag(deployment="d", node_id="0000000001")
STAMP = "2026-11-22T14:13:47Z"
SERVER: dict[str, Any] = {
    "id": "s1",
    "name": "tr0000000001",
    "status": "ACTIVE",
    "created": STAMP,
    "updated": STAMP,
    "metadata": {"trellis_deployment": "d", "trellis_node_id": "0000000001"},
    "addresses": {
        "public": [{"addr": "100.64.0.2", "version": 4, "OS-EXT-IPS:type": "fixed"}],
        "ci-net": [{"addr": "10.0.0.2", "version": 4, "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:1:2:3"}],
    },
    "accessIPv4": "",
    "fault": {"message": "No valid host was found. ", "code": 500, "created": STAMP},
    "OS-EXT-STS:task_state": None,
    "OS-EXT-AZ:availability_zone": "nova",
    "os-extended-volumes:volumes_attached": [{"id": "v1"}],
    "tenant_id": "p",
}
NEXT = [{"rel": "next", "href": "http://x/v2.1/servers/detail?marker=s1"}]
ANSWERS: dict[str, Any] = {
    "GET compute /servers/detail": {"servers": [SERVER], "servers_links": NEXT},
    "GET compute /servers/{id}": {"server": SERVER},
    "POST compute /servers": {"server": {"id": "s1", "adminPass": "x"}},
    "GET compute /flavors/detail": {
        "flavors": [{"id": "f", "name": "ci-1c-1g", "ram": 1024, "vcpus": 1, "disk": 10}],
        "flavors_links": [{"rel": "self", "href": "http://x"}],
    },
    "GET compute /limits": {
        "limits": {
            "rate": [],
            "absolute": {
                "maxTotalInstances": 10,
                "maxTotalCores": -1,
                "maxTotalRAMSize": 102400,
                "totalInstancesUsed": 1,
                "totalCoresUsed": 1,
                "totalRAMUsed": 1024,
            },
        }
    },
    "GET compute /os-availability-zone": {
        "availabilityZoneInfo": [{"zoneName": "nova", "zoneState": {"available": True}}]
    },
    "GET network /networks": {
        "networks": [
            {"id": "n1", "name": "public", "router:external": True, "shared": True},
            {"id": "n2", "name": "ci-net", "router:external": False, "tenant_id": "p"},
        ]
    },
    "GET network /routers": {
        "routers": [{"id": "r", "external_gateway_info": {"network_id": "n1"}}]
    },
    "GET network /subnets": {
        "subnets": [{"id": "u", "network_id": "n2", "ip_version": 4, "gateway_ip": "10.0.0.1"}]
    },
    "GET network /ports": {
        "ports": [
            {
                "id": "p1",
                "network_id": "n2",
                "status": "DOWN",
                "device_id": "s1",
                "device_owner": "compute:nova",
                "fixed_ips": [{"ip_address": "10.0.0.2", "subnet_id": "u"}],
            }
        ]
    },
    "GET network /floatingips": {
        "floatingips": [
            {
                "id": "i1",
                "floating_ip_address": "100.64.0.9",
                "port_id": "p1",
                "description": "trellis:d:0000000001",
            }
        ]
    },
    "POST network /floatingips": {
        "floatingip": {"id": "i1", "floating_ip_address": "100.64.0.9", "port_id": "p1"}
    },
    "GET network /quotas/{project}/details": {
        "quota": {
            "floatingip": {"limit": 10, "used": 1, "reserved": 0},
            "port": {"limit": -1, "used": 1, "reserved": 0},
        }
    },
    "GET image /images": {
        "images": [
            {"id": "m", "name": "tiny", "status": "active", "min_ram": 0, "min_disk": 0,
             "created_at": STAMP}
        ]
    },
    "GET image /images/{id}": {
        "id": "m", "name": "tiny", "status": "active", "min_ram": 0, "min_disk": 0
    },
    "GET block-storage /volumes/detail": {
        "volumes": [
            {"id": "v1", "name": "", "metadata": {}, "status": "available", "size": 10,
             "bootable": "true", "attachments": [{"server_id": "s1"}]}
        ],
        "volumes_links": NEXT,
    },
    "GET block-storage /volumes/{id}": {"volume": {"id": "v1", "status": "available", "size": 10}},
    "GET block-storage /limits": {
        "limits": {"absolute": {"maxTotalVolumes": 10, "totalVolumesUsed": 1}}
    },
}  # fmt: skip

quick = settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

odd = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.sampled_from(
        [
            "DELETED", "deleted", "deleting", "UNKNOWN", "ERROR", "-1", "http://[bad",
            "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59",
            "2026-11-22T14:13:47", "::1", "1.2.3", "fe80::1%eth0", "trellis:::", [], {}, [[]],
            [None], {"": None}, [{"rel": "next", "href": "//[", "id": 3}],
        ]
    )
)  # fmt: skip


@st.composite
def wrong_bodies(draw: st.DrawFn) -> dict[str, bytes]:
    """By call its body, in one to three places of which something is wrong."""
    found = dict[str, bytes]()
    wrong = draw(st.lists(st.sampled_from(sorted(ANSWERS)), min_size=1, max_size=3, unique=True))
    for call, good in ANSWERS.items():
        tree = good
        for _ in range(draw(st.integers(1, 3)) if call in wrong else 0):
            tree = changed(tree, draw(st.sampled_from(places(tree))), draw(odd | st.just(...)))
        found[call] = json.dumps(tree).encode()
    if draw(st.integers(0, 20)) == 0:
        found[wrong[0]] = draw(st.binary(max_size=30)) or found[wrong[0]][:40]
    return found


class Session:
    """Answers each call with the same body, whatever is asked, and counts the calls."""

    cloud = "fuzz"

    def __init__(self, bodies: dict[str, bytes]) -> None:
        self.bodies, self.calls = bodies, 0

    async def home(self) -> Home:
        await trio.lowlevel.checkpoint()
        return Home(project_id="p", region="R", endpoint="http://x")

    async def turn(self, *_: Any) -> None:
        await trio.lowlevel.checkpoint()

    async def endpoint(self, *_: Any, **__: Any) -> str:
        await trio.lowlevel.checkpoint()
        return "http://x"

    async def request(
        self, service: str, method: str, path: str, *, label: str = "", **_: Any
    ) -> Answer:
        await trio.lowlevel.checkpoint()
        self.calls += 1
        assert self.calls < 3000, "it asks for ever"
        call = f"{method} {service} {label or path}"
        if method == "DELETE":
            return an_answer(b"", 204, call)
        assert call in self.bodies, call
        return an_answer(self.bodies[call], 200, call)


def an_answer(body: bytes, status: int, call: str) -> Answer:
    return Answer(status=status, body=body, cloud="fuzz", call=call)


CONFIG = OpenStackProviderConfig(
    name="fuzz",
    type="openstack",
    cloud="fuzz",
    pools=(
        OpenStackPoolConfig(
            name="main",
            networks=("ci-net",),
            labels=(
                OpenStackLabelConfig(
                    name="small",
                    cloud_image="tiny",
                    flavor_name="ci-1c-1g",
                    boot_from_volume=True,
                    volume_size=10,
                ),
            ),
        ),
    ),
)


async def everything(provider: OpenStackProvider) -> None:
    """Ask it all there is to ask; errors of a cloud are fine, and nothing else."""

    async def asked(call: Any) -> Any:
        try:
            return await call
        except CloudError:
            return None

    await asked(provider.inventory())
    reading = await asked(provider.limits())
    if reading is not None:
        assert reading.used == reading.used.at_least_zero()
    for since in (None, STAMP, "9999-12-31T23:59:59Z"):
        listing = await asked(provider.list(since))
        for row in listing.instances if listing is not None else ():
            said = row.state is InstanceState.GONE
            assert not said or b"DELETED" in provider.session.bodies[LIST]
        if listing is not None and listing.newest is not None:
            await asked(provider.list(listing.newest))
    found = await asked(provider.get("s1"))
    if found is not None and found.state is InstanceState.GONE:
        assert b"DELETED" in provider.session.bodies["GET compute /servers/{id}"]
    await asked(provider.find(TAG, "tr0000000001"))
    await asked(provider.find_leftovers())
    await asked(provider.attach_public(TAG, "s1"))
    for kind, id in ((ResourceKind.SERVER, "s1"), (ResourceKind.PORT, "p1"),
                     (ResourceKind.VOLUME, "v1"), (ResourceKind.FLOATING_IP, None)):  # fmt: skip
        thing = Resource(kind=kind, sent_at=0.0, external_id=id)
        done = await asked(provider.delete_step(thing, TAG))
        # Nothing of it was answered with *not found*: nothing but a floating IP can be done.
        assert done is not Gone.DONE or kind is ResourceKind.FLOATING_IP


LIST = "GET compute /servers/detail"


@given(bodies=wrong_bodies())
@quick
def test_provider_survives_whatever_is_answered(bodies):
    async def main():
        provider = OpenStackProvider(CONFIG, Session(bodies), "d")
        with trio.fail_after(60):
            await everything(provider)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_good_answers_are_understood():
    """The bodies that the others are made from are good ones: else they would prove nothing."""

    async def main():
        bodies = {call: json.dumps(tree).encode() for call, tree in ANSWERS.items()}
        provider = OpenStackProvider(CONFIG, Session(bodies), "d")
        inventory = await provider.inventory()
        assert not inventory.missing
        assert (await provider.list(None)).instances[0].tag == TAG
        assert len(await provider.find_leftovers()) == 3
        assert (await provider.attach_public(TAG, "s1")).external_id == "i1"
        assert (await provider.limits()).limits.volumes == 10

    trio.run(main)


@given(link=st.text() | st.sampled_from(["//[", "http://[::1", "?marker=", "?marker=a&marker=b"]))
@quick
def test_links_of_any_kind_lead_to_the_next_page(link):
    """No URL at all is no crash: the last row tells where to go on."""
    assert marker_in(link, "last")


@given(stamp=st.text(max_size=30) | odd.filter(lambda x: isinstance(x, str)))
@quick
def test_time_stamps_of_any_kind_are_read_or_left_alone(stamp):
    assert isinstance(earlier(stamp, 5.0), str)
    assert seconds_of(stamp) is None or isinstance(seconds_of(stamp), float)


@given(text=st.text(max_size=60))
@quick
def test_descriptions_of_others_are_not_taken_for_ours(text):
    tag = tag_from_description(text)
    assert tag is None or text.startswith("trellis:")


@given(message=st.text(max_size=500), code=st.integers(-(2**63), 2**63))
@quick
def test_faults_of_any_kind_are_errors(message, code):
    assert str(error_from_fault(message, code))
