"""Nodes with a real sshd are logged in to by nothing but what the API says of them."""

import pytest

from tests.ssh.place import make_key


def no_nodes_left(place):
    """Nothing of any node is left on this machine."""
    state = place.clouds.folder
    assert state.exists()
    place.wait_for("all nodes are gone", lambda: not place.clouds.nodes())


class TestLogin:
    def test_the_node_is_the_one_that_was_asked_for(self, place):
        """With its host keys alone known, ssh gets in, and it is the right machine."""
        request = place.fulfilled("small")
        (node,) = request["nodes"]

        done = place.ssh(node, place.known_hosts(node), "hostname")

        assert (0, node["hostname"]) == (done.returncode, done.stdout.strip()), done.stderr
        assert {"ssh-ed25519", "ecdsa-sha2-nistp256"} == {k.split()[0] for k in node["host_keys"]}
        place.release(request)
        no_nodes_left(place)

    @pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
    def test_each_of_its_host_keys_is_its_own(self, place, kind):
        """Each that the API shows is proved by the node: ssh, knowing this one only, gets in."""
        request = place.fulfilled("small")
        (node,) = request["nodes"]
        one = [key for key in node["host_keys"] if key.startswith(kind)]

        done = place.ssh(node, place.known_hosts(node, one), "true")

        assert 0 == done.returncode, done.stderr
        place.release(request)

    def test_three_nodes_are_three_machines_that_reach_each_other(self, place):
        """Each has its own name and keys, sees its own processes, and reaches its neighbour."""
        request = place.fulfilled("small", "small", "small")
        nodes = request["nodes"]

        names, seen = [], []
        for node, neighbour in zip(nodes, nodes[1:] + nodes[:1], strict=True):
            look = f"hostname; exec 3<>/dev/tcp/{neighbour['interface_ip']}/22; head -c 8 <&3"
            count = "echo; ls -d /proc/[0-9]* | wc -l"
            done = place.ssh(node, place.known_hosts(node), f"bash -c '{look}'; {count}")
            name, banner, processes = done.stdout.split()
            names.append(name)
            seen.append((banner, int(processes) < 10))

        assert [node["hostname"] for node in nodes] == names
        assert [("SSH-2.0-", True)] * 3 == seen
        assert 6 == len({key for node in nodes for key in node["host_keys"]})
        place.release(request)
        no_nodes_left(place)

    def test_a_node_behind_a_floating_ip_answers_there(self, place):
        """The address that Trellis allocated leads to the node, and not its private one."""
        request = place.fulfilled("floating")
        (node,) = request["nodes"]

        done = place.ssh(node, place.known_hosts(node), "hostname")

        assert node["hostname"] == done.stdout.strip(), done.stderr
        assert node["interface_ip"] == node["public_ipv4"] != node["private_ipv4"]
        place.release(request)
        no_nodes_left(place)

    def test_the_command_logs_in(self, place):
        """`trellis node ssh` gets in, and hands the exit status on."""
        request = place.fulfilled("small")
        (node,) = request["nodes"]
        key = ["-i", str(place.key), "--user", "root"]

        done = place.command("node", "ssh", node["id"], *key, "--", "hostname; exit 3")

        assert (3, node["hostname"]) == (done.returncode, done.stdout.strip()), done.stderr
        place.release(request)

    def test_the_key_in_the_folder_opens_every_node(self, place):
        """The pair that `trellis cloud` leaves beside its files needs no keypair in the cloud."""
        request = place.fulfilled("small")
        (node,) = request["nodes"]

        done = place.ssh(
            node, place.known_hosts(node), "true", key=place.clouds.folder / "id_ed25519"
        )

        assert 0 == done.returncode, done.stderr
        place.release(request)

    def test_nobody_else_gets_in(self, place, tmp_path):
        """A key that no keypair names is refused."""
        make_key(tmp_path / "stranger")
        request = place.fulfilled("small")
        (node,) = request["nodes"]

        done = place.ssh(node, place.known_hosts(node), "true", key=tmp_path / "stranger")

        assert 255 == done.returncode
        assert "Permission denied" in done.stderr
        place.release(request)


class TestWrongKeys:
    def test_ssh_refuses_a_node_that_shows_anothers_key(self, place):
        """Whoever trusts the API's keys is not led to the wrong machine."""
        request = place.fulfilled("small", "small")
        one, other = request["nodes"]

        done = place.ssh(one, place.known_hosts(one, other["host_keys"]), "hostname")

        assert (255, "") == (done.returncode, done.stdout)
        assert "Host key verification failed" in done.stderr
        place.release(request)

    def test_a_node_with_the_host_key_of_a_living_one_never_becomes_ready(self, place):
        """Keys baked into an image: the second node fails, and both are named."""
        first = place.fulfilled("baked")
        second = place.request("baked")
        (twin,) = first["nodes"]
        word = f"shows the same host key as node {twin['id']}"

        def told():
            nodes = place.api("GET", "/nodes?label=baked&gone=true")["items"]
            for node in nodes:
                text = str(place.api("GET", f"/nodes/{node['id']}/explain"))
                if word in text:
                    return node["id"], text
            return None

        failed, text = place.wait_for("the twin is found", told)

        assert failed != twin["id"]
        assert failed in text
        place.api("DELETE", f"/requests/{second['id']}")
        place.release(first)
        no_nodes_left(place)

    def test_ssh_refuses_a_node_whose_host_keys_changed_under_the_lease(self, place):
        """As after a reinstallation: the answer of the API does not let anybody in any more."""
        request = place.fulfilled("small")
        (node,) = request["nodes"]
        known = place.known_hosts(node)
        change = "rm /run/node/ssh_host_*; for k in ed25519 ecdsa; do "
        change += 'ssh-keygen -q -t $k -N "" -f /run/node/ssh_host_${k}_key; done; kill -HUP 1'
        assert 0 == place.ssh(node, known, change).returncode

        place.wait_for(
            "sshd shows its new keys",
            lambda: "verification failed" in place.ssh(node, known, "hostname").stderr,
        )

        shown = place.api("GET", f"/nodes/{node['id']}")
        assert node["host_keys"] == shown["host_keys"]
        place.release(request)
        no_nodes_left(place)
