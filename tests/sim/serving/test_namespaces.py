"""Namespace nodes without root or sshd: names, addresses, decisions, refusals."""

import re
import shutil
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from trellis.cli.main import main
from trellis.errors import ConfigError
from trellis.sim.cloud import Machine
from trellis.sim.serving import netns
from trellis.sim.serving.namespace_node import NamespaceNode
from trellis.sim.serving.namespaces import Namespaces, missing
from trellis.sim.serving.sshd import HostKeys, furnish, hostname_of, init_command

SUBNET = IPv4Network("100.64.0.0/10")


def a_machine(number=1, *addresses):
    """A server that is up."""
    shown = addresses or (f"100.64.0.{number}",)
    return Machine(
        server_id=f"id-{number}", name=f"tr{number}", region="R", address=shown[0],
        addresses=shown, ssh_at=0.0, host_key=bytes(32), public_key=None, state="ACTIVE",
    )  # fmt: skip


def a_node(machine, **more):
    return NamespaceNode(
        number=1, namespace="x-n1", folder=Path("/nowhere/n1"), subnet=SUBNET,
        host_keys=HostKeys(), authorized="", machine=machine, **more,
    )  # fmt: skip


@pytest.fixture
def no_root(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)


@pytest.fixture
def no_programs(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)


class TestNames:
    @pytest.mark.parametrize("number", [1, 10**6, 10**12])
    def test_interfaces_have_at_most_15_characters(self, number):
        """Linux refuses longer ones; a run of years does not come to one."""
        assert len(netns.port_of(number)) <= 15

    @pytest.mark.parametrize("prefix", ["trellis", "a", "tt123o", "my-ci", "a" * 30])
    def test_a_prefix_of_plain_letters_is_taken(self, prefix):
        assert [] == netns.faults_of_prefix(prefix)

    @pytest.mark.parametrize("prefix", ["", "A", "1a", "a/b", "../x", "a b", "a-", "a" * 31, "a\n"])
    def test_any_other_is_refused_with_what_is_allowed(self, prefix):
        """It becomes a part of paths and commands."""
        (fault,) = netns.faults_of_prefix(prefix)

        assert "a-z, 0-9" in fault

    @pytest.mark.parametrize(
        ("name", "hostname"),
        [("tr0000000001", "tr0000000001"), ("a b;c", "a-b-c"), ("---", "node"), ("ü" * 3, "node")],
    )
    def test_a_servers_name_becomes_a_hostname(self, name, hostname):
        assert hostname == hostname_of(name)

    def test_a_hostname_is_not_longer_than_linux_allows(self):
        assert 64 == len(hostname_of("n" * 255))


class TestAddresses:
    def test_a_mac_is_of_the_address_and_nobody_elses(self):
        """Unicast and locally administered; the next owner of an address has it again."""
        macs = [netns.mac_of(x) for x in ("100.64.0.2", "100.64.1.2", "2001:db8::2")]

        assert 3 == len(set(macs))
        assert macs[0] == netns.mac_of("100.64.0.2")
        assert all(re.fullmatch("52:54(:[0-9a-f]{2}){4}", mac) for mac in macs)

    def test_a_node_is_on_one_link_with_all_others(self):
        """Addresses have the length of the whole network, so no routes are needed."""
        lines = netns.address_lines(["100.64.3.2", "2001:db8:1::2"], SUBNET)

        assert [
            "addr add 100.64.3.2/10 dev eth0",
            "addr add 2001:db8:1::2/32 dev eth0 nodad",
        ] == lines

    def test_the_bridge_has_an_address_that_no_server_gets(self):
        """The first of the network."""
        assert "addr add 100.64.0.1/10 dev br0" in netns.bridge_lines(SUBNET)

    def test_a_cable_leads_from_the_bridge_into_the_nodes_namespace(self):
        assert [
            "netns add x-n7",
            "link add n7 type veth peer name eth0 address 52:54:64:40:00:02 netns x-n7",
            "link set n7 master br0 up",
        ] == netns.cable_lines("x-n7", 7, "100.64.0.2")


class TestSshd:
    def test_the_folder_is_what_sshd_reads(self, tmp_path):
        """Keys by their place in the node, no passwords, and whom to let in."""
        furnish(tmp_path / "n1", ["ssh-ed25519 AAAA", "ssh-ed25519 BBBB"])

        config = (tmp_path / "n1/node/sshd_config").read_text().splitlines()
        allowed = (tmp_path / "n1/node/authorized_keys").read_text().splitlines()

        assert "HostKey /run/node/ssh_host_ed25519_key" in config
        assert "HostKey /run/node/ssh_host_ecdsa_key" in config
        assert "PasswordAuthentication no" in config
        assert ["ssh-ed25519 AAAA", "ssh-ed25519 BBBB"] == allowed
        assert [] == list((tmp_path / "n1/sshd").iterdir())

    def test_a_name_cannot_become_a_part_of_a_command(self):
        """The shell is handed the name as an argument."""
        command = init_command("x-n1", "a;reboot", Path("/f"))

        script = command[command.index("-c") + 1]
        assert "reboot" not in script
        assert "a-reboot" in command


class TestSteps:
    @pytest.mark.parametrize("booted", [False, True])
    def test_first_it_is_made(self, booted):
        node = a_node(a_machine())

        assert node._make == node.next_step(booted=booted)

    def test_sshd_starts_when_the_guest_has_booted(self):
        """Until then its address is there, and refuses."""
        node = a_node(a_machine(), made=True, addresses=("100.64.0.1",))

        assert node.next_step(booted=False) is None
        assert node._boot == node.next_step(booted=True)

    def test_it_follows_its_servers_addresses(self):
        """As when a floating IP is put on the server."""
        machine = a_machine(1, "100.64.0.1", "100.64.9.9")
        node = a_node(machine, made=True, addresses=("100.64.0.1",))

        assert node._readdress == node.next_step(booted=True)

    def test_it_goes_with_its_server(self):
        """Also when it never came to be."""
        for made in (False, True):
            node = a_node(a_machine(), made=made, wanted=False)

            assert node.remove == node.next_step(booted=False)


class TestRefusals:
    def test_without_root_and_programs_everything_is_named_at_once(self, no_root, no_programs):
        """What is missing, how to get it, and what works without."""
        faults = missing()

        assert "need root" in faults[0]
        assert "ip, sshd, ssh-keygen, unshare, mount" in faults[1]
        assert "apt-get install iproute2 mount openssh-client openssh-server" in faults[1]
        assert "--nodes stub" in faults[2]

    def test_with_all_of_it_nothing_is_missing(self, monkeypatch):
        monkeypatch.setattr("os.geteuid", lambda: 0)
        monkeypatch.setattr(shutil, "which", lambda name, **_: f"/bin/{name}")

        assert [] == missing()

    def test_a_bad_prefix_is_told_before_anything_is_done(self, monkeypatch, tmp_path):
        monkeypatch.setattr("os.geteuid", lambda: 0)
        monkeypatch.setattr(shutil, "which", lambda name, **_: f"/bin/{name}")

        with pytest.raises(ConfigError, match=r"'\.\./x'"):
            Namespaces(prefix="../x", key=tmp_path / "key").prepare()

        assert [] == list(tmp_path.iterdir())

    def test_the_command_ends_with_1_and_makes_nothing(self, no_root, tmp_path):
        """It does not fall back without having been told to."""
        folder = tmp_path / "clouds"

        ended = CliRunner().invoke(
            main, ["cloud", "--nodes", "namespaces", "--folder", str(folder)]
        )

        assert 1 == ended.exit_code
        assert "namespace nodes need root: run the command with sudo" in ended.stderr
        assert "--nodes stub" in ended.stderr
        assert "" == ended.stdout
        assert not folder.exists()

    def test_told_to_it_falls_back_and_says_why(self, no_root, tmp_path):
        """Seen at a listen address that cannot be had: that is what it stumbles over then."""
        folder = tmp_path / "file"
        folder.write_text("no folder")

        ended = CliRunner().invoke(
            main, ["cloud", "--nodes", "namespaces-or-stub", "--folder", str(folder)]
        )

        assert "need root" in ended.stderr
        assert "so the nodes are stubs" in ended.stderr
        assert f"{folder}: cannot be written" in ended.stderr


class TestManyNodes:
    def test_a_full_bridge_is_told_once_and_has_room_again(self, monkeypatch, tmp_path):
        """The servers beyond stay unreachable; one that goes makes room for another."""
        monkeypatch.setattr(netns, "MOST_PORTS", 2)
        nodes = Namespaces(prefix="x", key=tmp_path / "key")

        with capture_logs() as told:
            got = [nodes._node_of(a_machine(number)) for number in (1, 2, 3, 3)]
            del nodes._nodes["id-1"]
            again = nodes._node_of(a_machine(3))

        assert [True, True, False, False] == [node is not None for node in got]
        assert again is not None
        assert [("bridge_full", "tr3")] == [(x["event"], x["unreachable"]) for x in told]
        assert 3 == len({node.namespace for node in (got[0], got[1], again)})
