"""However something ends, nodes go on or are gone: nothing of them stays on the machine."""

import os
from pathlib import Path

from tests.ssh.place import Clouds, namespaces, processes, state_of


def alive(pids):
    """Those of these processes that still run; one that nobody has buried yet does not."""
    return [pid for pid in pids if runs(Path(f"/proc/{pid}/stat"))]


def runs(stat):
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class TestDaemonKilled:
    def test_nodes_in_all_states_outlive_a_daemon_that_is_killed(self, own_place):
        """The next one gives out the same host keys, and brings every node where it belongs."""
        place = own_place
        leased = place.fulfilled("small", "small")
        place.release(place.fulfilled("slow"))
        building = place.request("slow")

        def states():
            return {node["state"] for node in place.api("GET", "/nodes")["items"]}

        want = {"building", "ready", "in-use", "deleting"}
        place.wait_for("there are nodes in all states", lambda: want <= states())
        known = {node["id"]: place.known_hosts(node) for node in leased["nodes"]}

        place.kill_daemon()
        for node in leased["nodes"]:
            assert 0 == place.ssh(node, known[node["id"]], "true").returncode
        place.start_daemon()

        after = place.api("GET", f"/requests/{leased['id']}")
        assert leased["lease"]["id"] == after["lease"]["id"]
        for before, node in zip(leased["nodes"], after["nodes"], strict=True):
            assert before["host_keys"] == node["host_keys"]
            done = place.ssh(node, known[node["id"]], "hostname")
            assert node["hostname"] == done.stdout.strip(), done.stderr
        fulfilled = place.wait_for(
            "the node that was building is there",
            lambda: (
                place.api("GET", f"/requests/{building['id']}?wait_s=5").get("lease")
                and place.api("GET", f"/requests/{building['id']}")
            ),
        )
        (slow,) = fulfilled["nodes"]
        assert 0 == place.ssh(slow, place.known_hosts(slow), "true").returncode
        place.release(after)
        place.release(fulfilled)
        place.wait_for("only the spare node is left", lambda: len(place.clouds.nodes()) == 1)
        place.wait_for("the daemon knows it too", lambda: states() == {"ready"})


class TestNothingStays:
    def test_what_a_job_left_running_ends_with_its_node(self, own_place):
        """A process that a job set loose is gone with the node, and so is the namespace."""
        place = own_place
        before = place.wait_for("the spare node is there", place.clouds.nodes)
        request = place.fulfilled("floating")
        (node,) = request["nodes"]
        (name,) = place.clouds.nodes() - before
        loose = "setsid sleep 3600 >/dev/null 2>&1 & setsid sleep 3600 >/dev/null 2>&1 & sleep 0"
        assert 0 == place.ssh(node, place.known_hosts(node), loose).returncode
        pids = processes({name})
        assert 4 <= len(pids), "unshare, sshd and what was set loose"

        place.release(request)

        place.wait_for("its namespace is gone", lambda: name not in place.clouds.nodes())
        place.wait_for("its processes are gone", lambda: not alive(pids))
        folder = state_of(place.clouds.prefix) / "nodes" / name.rpartition("-")[2]
        place.wait_for("its folder is gone", lambda: not folder.exists())

    def test_the_end_of_the_clouds_leaves_nothing(self, own_place):
        """Ctrl-C with nodes in use: no namespace, no process, no folder."""
        place = own_place
        place.fulfilled("small", "small")
        prefix = place.clouds.prefix
        pids = processes(place.clouds.nodes())
        assert pids
        place.kill_daemon()

        status = place.clouds.stop()

        assert 0 == status, place.clouds.log()
        assert set() == namespaces(prefix)
        assert not state_of(prefix).exists()
        place.wait_for("their processes are gone", lambda: not alive(pids))

    def test_the_next_run_removes_what_a_killed_one_left(self, own_place):
        """And keeps the network namespace, in which a daemon may still be running."""
        place = own_place
        place.fulfilled("small", "small")
        clouds = place.clouds
        left = clouds.nodes()
        pids = processes(left)
        place.kill_daemon()
        clouds.kill()
        network = os.stat(f"/run/netns/{place.net}").st_ino
        assert left <= clouds.nodes()
        assert pids == alive(pids)

        clouds.start()

        assert set() == clouds.nodes()
        assert [] == alive(pids)
        assert [] == os.listdir(state_of(clouds.prefix) / "nodes")
        assert network == os.stat(f"/run/netns/{place.net}").st_ino


class TestTwoRuns:
    def test_runs_with_different_prefixes_do_not_disturb_each_other(self, own_place, tmp_path):
        """The second starts and ends beside the first, whose node answers throughout."""
        place = own_place
        request = place.fulfilled("small")
        (node,) = request["nodes"]
        known = place.known_hosts(node)

        with Clouds(tmp_path / "second", f"tt{os.getpid()}p") as second:
            assert 0 == place.ssh(node, known, "true").returncode
            mine = place.clouds.nodes()
            assert {f"{second.prefix}-net"} == namespaces(second.prefix)

        assert set() == namespaces(second.prefix)
        assert mine <= place.clouds.nodes()
        assert 0 == place.ssh(node, known, "true").returncode

    def test_a_second_run_with_the_same_prefix_refuses(self, own_place, tmp_path):
        """It says what to do, and touches nothing of the first."""
        place = own_place
        request = place.fulfilled("small")
        (node,) = request["nodes"]
        second = Clouds(tmp_path / "second", place.clouds.prefix)

        process = second.launch()
        process.communicate(timeout=60)

        assert 1 == process.returncode
        assert "choose another --prefix" in second.log()
        assert "Traceback" not in second.log()
        assert 0 == place.ssh(node, place.known_hosts(node), "true").returncode
