"""VM nodes without root or qemu: what a guest is told, the command line, decisions, refusals."""

import json
import os
import shutil
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner
from structlog.testing import capture_logs

from trellis.cli.main import main
from trellis.sim.cloud import Machine
from trellis.sim.serving import config_drive, qemu
from trellis.sim.serving.qemu_node import QemuNode
from trellis.sim.serving.vms import MOST, Vms, missing

SUBNET = IPv4Network("100.64.0.0/10")


def a_machine(number=1, **more):
    """A server that is up, made from an image that was uploaded."""
    address = f"100.64.0.{number}"
    known = {
        "server_id": f"id-{number}", "name": f"tr{number}", "region": "R", "address": address,
        "addresses": (address,), "ssh_at": 0.0, "host_key": bytes(32), "public_key": None,
        "state": "ACTIVE", "image_file": Path("/images/one"), "image_format": "qcow2",
    }  # fmt: skip
    return Machine(**{**known, **more})


def a_guest(**more):
    known = {
        "uuid": "id-1", "name": "tr1", "hostname": "tr1", "mac": "52:54:64:40:00:02",
        "addresses": ("100.64.0.2", "2001:db8::2"), "subnet": SUBNET,
        "public_keys": ("ssh-ed25519 AAAA me", "ssh-ed25519 BBBB"),
    }  # fmt: skip
    return config_drive.Guest(**{**known, **more})


def a_node(folder=Path("/nowhere/n1"), **more):
    return QemuNode(
        number=1, folder=folder, subnet=SUBNET, authorized="ssh-ed25519 CCCC",
        machine=a_machine(**more),
    )  # fmt: skip


@pytest.fixture
def vms(tmp_path):
    return Vms(prefix="x", key=tmp_path / "key")


class TestConfigDrive:
    def test_every_address_is_fixed_and_on_the_card_that_the_guest_has(self):
        """There is no DHCP; the first address of each network leads out of it."""
        told = config_drive.network_data(a_guest())

        (link,) = told["links"]
        assert "52:54:64:40:00:02" == link["ethernet_mac_address"]
        four, six = told["networks"]
        assert ("ipv4", "100.64.0.2", "255.192.0.0") == (
            four["type"], four["ip_address"], four["netmask"]
        )  # fmt: skip
        assert ("ipv6", "2001:db8::2", "ffff:ffff::") == (
            six["type"], six["ip_address"], six["netmask"]
        )  # fmt: skip
        assert ["100.64.0.1", "2001:db8::1"] == [n["routes"][0]["gateway"] for n in (four, six)]
        assert {link["id"]} == {network["link"] for network in (four, six)}

    def test_every_key_is_told_as_nova_tells_keys(self):
        """A line with its end, under a name of its own."""
        told = config_drive.meta_data(a_guest())

        assert ["ssh-ed25519 AAAA me\n", "ssh-ed25519 BBBB\n"] == list(told["public_keys"].values())
        assert list(told["public_keys"].values()) == [key["data"] for key in told["keys"]]
        assert ("id-1", "tr1") == (told["uuid"], told["hostname"])

    async def test_the_disk_is_written_with_the_label_that_guests_look_for(self, tmp_path):
        """By whatever writes it: here a program that notes what it was asked for."""
        program = tmp_path / "writer"
        program.write_text(f'#!/bin/sh\nfor a; do echo "$a"; done > {tmp_path}/asked\n')
        program.chmod(0o755)

        await config_drive.write(
            a_guest(), tmp_path / "d", tmp_path / "out.iso", program=[str(program)]
        )

        asked = (tmp_path / "asked").read_text().split("\n")
        assert "config-2" == asked[asked.index("-V") + 1]
        assert str(tmp_path / "out.iso") == asked[asked.index("-o") + 1]
        written = tmp_path / "d/openstack/latest"
        assert "tr1" == json.loads((written / "meta_data.json").read_text())["name"]


class TestCommandLine:
    def command(self, **more):
        known = {
            "folder": Path("/run/n1"), "disk": Path("/images/one"), "disk_format": "raw",
            "drive": Path("/run/n1/config.iso"), "mac": "52:54:64:40:00:02",
        }  # fmt: skip
        return qemu.Vm(**{**known, **more}).command(7)

    @pytest.mark.parametrize(
        ("format", "driver"), [("raw", "raw"), ("qcow2", "qcow2"), ("vhd", "vpc")]
    )
    def test_the_image_is_read_as_what_it_was_said_to_be(self, format, driver):
        """Not as what it looks like: a wrong word of an upload shows."""
        disk = [word for word in self.command(disk_format=format) if "/images/one" in word]

        assert [True] == [f"format={driver}" in word.split(",") for word in disk]

    def test_the_image_itself_is_never_written_to(self):
        (disk,) = (word for word in self.command() if "/images/one" in word)
        (drive,) = (word for word in self.command() if "config.iso" in word)

        assert "snapshot=on" in disk.split(",")
        assert "readonly=on" in drive.split(",")

    def test_a_comma_in_a_path_is_a_part_of_it(self):
        """It would end the option."""
        (disk,) = (word for word in self.command(disk=Path("/a,b")) if "/a" in word)

        assert disk.startswith("file=/a,,b,")

    def test_translated_code_is_bounded_and_no_help_of_hardware_is_asked(self):
        command = self.command()

        assert command[command.index("-accel") + 1].startswith("tcg,tb-size=")

    async def test_a_machine_that_a_killed_run_left_is_found_by_its_folder(self, tmp_path):
        """And no other process is, whatever it is called."""
        word = f"unix:{tmp_path}/n1/qmp.sock,server=on"
        with (
            subprocess.Popen(["sleep", "60"]) as stranger,  # noqa: ASYNC220
            subprocess.Popen(  # noqa: ASYNC220
                ["sh", "-c", "echo there; read -r word", "sh", word],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as mine,
        ):
            # Its words are not to be read yet when `Popen` has returned.
            await trio.to_thread.run_sync(mine.stdout.readline)
            try:
                found = await qemu.processes_of(tmp_path / "n1")
                other = await qemu.processes_of(tmp_path / "n")
            finally:
                mine.kill()
                stranger.kill()

        assert [mine.pid] == found
        assert [] == other


class TestMonitor:
    async def test_it_is_greeted_asked_to_quit_and_heard(self, tmp_path):
        """As QMP wants it: no command before its greeting was answered."""
        path, heard = str(tmp_path / "qmp.sock"), []

        async def answer(stream):
            await stream.send_all(b'{"QMP": {}}\r\n')
            for _ in range(2):
                heard.append(json.loads(await stream.receive_some(4096))["execute"])
                await stream.send_all(b'{"return": {}}\r\n')

        with trio.socket.socket(trio.socket.AF_UNIX) as sock:
            await sock.bind(path)
            sock.listen()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, answer, [trio.SocketListener(sock)])

                await qemu.power_off(Path(path))

                nursery.cancel_scope.cancel()

        assert ["qmp_capabilities", "quit"] == heard

    async def test_one_that_is_silent_is_left_after_a_while(self, tmp_path, autojump_clock):
        """The process is ended by its id then."""
        path = str(tmp_path / "qmp.sock")
        with trio.socket.socket(trio.socket.AF_UNIX) as sock:
            await sock.bind(path)
            sock.listen()
            before = trio.current_time()

            await qemu.power_off(Path(path))

        assert 0 < trio.current_time() - before < 60

    async def test_one_that_is_gone_is_fine(self, tmp_path):
        await qemu.power_off(tmp_path / "nothing.sock")


class TestDecisions:
    def test_a_server_that_is_up_is_booted(self):
        node = a_node()

        assert node._start == node.next_step(booted=False)

    def test_one_that_is_not_wanted_any_more_is_removed(self):
        node = a_node()
        node.wanted, node.made = False, True

        assert node.remove == node.next_step(booted=True)

    def test_an_image_that_nobody_uploaded_has_nothing_to_boot(self):
        """Said once; the server stays unreachable."""
        node = a_node(image_file=None)

        with capture_logs() as told:
            steps = [node.next_step(booted=True) for _ in range(3)]

        assert [None] * 3 == steps
        assert ["nothing_to_boot"] == [row["event"] for row in told]

    def test_machines_beyond_the_most_wait_and_it_is_told_once(self, vms):
        """One that goes makes room for another."""
        with capture_logs() as told:
            got = [vms._node_of(a_machine(number)) for number in range(1, MOST + 3)]
            del vms._nodes["id-1"]
            again = vms._node_of(a_machine(MOST + 1))

        assert [True] * MOST + [False] * 2 == [node is not None for node in got]
        assert again is not None
        assert ["machines_full"] == [row["event"] for row in told]

    async def test_a_console_is_what_the_machine_has_written(self, vms, tmp_path):
        """Nothing before there is one; no matter what bytes."""
        node = vms._node_of(a_machine(1))
        node.folder = tmp_path
        before = vms._console("id-1")
        (tmp_path / "console.log").write_bytes(b"Linux\xff\nlogin:")

        assert ("", "Linux\ufffd\nlogin:", "") == (
            before, vms._console("id-1"), vms._console("nobody")
        )  # fmt: skip

    async def test_removing_leaves_no_folder(self, tmp_path):
        node = a_node(tmp_path / "n1")
        node.folder.mkdir()
        node.wanted = False

        await node.remove()

        assert [] == os.listdir(tmp_path)


class TestMissing:
    def test_without_root_and_programs_everything_is_named_at_once(self, monkeypatch):
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
        monkeypatch.setattr(qemu, "can_have_tap", lambda: None)

        faults = missing()

        assert "VM nodes need root" in faults[0]
        packages = "apt-get install genisoimage iproute2 openssh-client qemu-system-x86"
        assert packages in faults[1]
        assert "--nodes namespaces" in faults[2]

    def test_a_kernel_without_tap_devices_is_named(self, monkeypatch):
        monkeypatch.setattr("os.geteuid", lambda: 0)
        monkeypatch.setattr(shutil, "which", lambda name, **_: f"/bin/{name}")
        monkeypatch.setattr(qemu, "can_have_tap", lambda: "/dev/net/tun: No such file")

        assert "`tun`" in missing()[0]

    def test_the_command_ends_with_1_and_makes_nothing(self, monkeypatch, tmp_path):
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        folder = tmp_path / "clouds"

        ended = CliRunner().invoke(main, ["cloud", "--nodes", "vm", "--folder", str(folder)])

        assert 1 == ended.exit_code
        assert "VM nodes need root: run the command with sudo" in ended.stderr
        assert not folder.exists()
