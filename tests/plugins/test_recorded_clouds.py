"""What the plugins' own exchanges with a real OpenStack were, told to the plugins again."""

import ipaddress
from pathlib import Path

import pytest

from tests.real.topologies import TOPOLOGIES
from trellis.plugin_host import load_plugins
from trellis.spi.provider import InstanceState
from trellis.testing.cassette import read_provenance
from trellis.testing.cloud_stories import LABEL, POOL
from trellis.testing.recording import cassettes_under, tell_again

CASSETTES = Path(__file__).parents[2] / "cassettes"
TYPES = load_plugins(environment={}).providers
FLOATING = ["hpcloud", "rackspaceflex"]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=str(path.relative_to(CASSETTES)))
        for kind in TOPOLOGIES
        for path in cassettes_under(CASSETTES / kind)
    ],
)
async def test_each_is_told_again_to_its_plugin(path, autojump_clock):
    """The plugin asks what it asked then, and nothing else; the head says what stood behind."""
    head = read_provenance(path)

    assert await tell_again(path, TYPES) is not None
    assert head.source == "recorded"
    assert "all real but the hypervisor" in head.cloud
    assert head.again == f".venv/bin/python -m tests.real.record_clouds {path.parts[-3]}"


@pytest.mark.parametrize("kind", list(TOPOLOGIES))
def test_every_story_of_a_topology_is_recorded(kind):
    """None is dropped without a word."""
    found = {path.stem for path in cassettes_under(CASSETTES / kind)}

    assert set(TOPOLOGIES[kind].stories) <= found


async def test_ovh_puts_servers_on_the_external_network_itself(autojump_clock):
    """Their one address is public, no floating IP is wanted, and none is looked for."""
    path = CASSETTES / "ovh/compute/launch.yaml"

    life, found, gone = await tell_again(path, TYPES)

    addresses = life[-1].addresses
    assert ipaddress.ip_address(addresses.public_ipv4) in ipaddress.ip_network("198.51.100.0/24")
    assert addresses.interface_ip == addresses.public_ipv4
    assert not life[-1].needs_public
    assert found.external_id == life[-1].external_id
    assert gone.state is InstanceState.GONE
    assert "/floatingips" not in path.read_text()
    assert '"config_drive": true' in path.read_text()


async def test_ovh_counts_no_floating_ip_for_a_label(autojump_clock):
    """Its servers need none, though the region has routers and floating IPs."""
    inventory = await tell_again(CASSETTES / "ovh/compute/offer.yaml", TYPES)

    assert inventory.offers[POOL, LABEL].shape.resources.floating_ips == 0


@pytest.mark.parametrize("kind", FLOATING)
async def test_floating_ips_are_given_and_found_again(kind, autojump_clock):
    """One POST makes one; asked again it is the same; its server is reached at it."""
    path = CASSETTES / kind / "network/floating_ip.yaml"

    before, first, again, reached, left = await tell_again(path, TYPES)

    assert before.needs_public
    assert before.addresses.public_ipv4 is None
    assert first == again
    assert reached.addresses.interface_ip == first.address
    assert reached.addresses.private_ipv4.startswith("10.43.0.")
    text = path.read_text()
    assert text.count("method: POST\n    uri: https://network.cloud.example/v2.0/floatingips") == 1
    if kind == "rackspaceflex":
        assert [row.external_id for row in left] == [first.external_id]


@pytest.mark.parametrize("kind", FLOATING)
async def test_a_label_there_counts_its_floating_ip(kind, autojump_clock):
    """So that quota is known before it is asked for."""
    inventory = await tell_again(CASSETTES / kind / "compute/offer.yaml", TYPES)

    assert inventory.offers[POOL, LABEL].shape.resources.floating_ips == 1
