"""A whole Zuul runs real jobs on nodes of a whole Trellis: by Ansible and SSH, in namespaces."""

import os

import pytest

from tests.ssh.place import wait_for
from tests.zuul.whole.repositories import LABEL
from tests.zuul.whole.whole_site import PYTHON, WholeSite, missing

pytestmark = pytest.mark.zuul


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """All of it, for all tests here, each of which leaves no node."""
    if faults := missing():
        pytest.fail("\n".join(faults), pytrace=False)
    with WholeSite(tmp_path_factory.mktemp("z"), f"tz{os.getpid()}") as made:
        made.start_zuul()
        yield made
    wait_for("no process of Zuul is left", lambda: not made.zuul_processes(), log=made.log)


def the_node(site):
    """The one node that there is, as the REST interface shows it."""
    (node,) = site.api("GET", "/nodes")["items"]
    return site.api("GET", f"/nodes/{node['id']}")


def test_a_job_runs_on_a_node_and_nothing_stays(site):
    """Zuul logs in to the node's address, trusts its host keys and no others, and gives it back."""
    commit = site.repositories.push("A job")

    told = site.told(commit)

    node = the_node(site)
    assert "in-use" == node["state"]
    assert node["hostname"] == told["hostname"]
    same = ("label", "provider", "cloud", "az", "external_id", "interface_ip", "public_ipv4")
    assert {key: node[key] for key in same} == {key: told["nodepool"][key] for key in same}
    ssh = told["ssh"]
    assert ("root", 22, PYTHON) == (ssh["user"], ssh["port"], ssh["python"])
    assert "StrictHostKeyChecking" not in ssh["arguments"], "Zuul's way not to check host keys"
    (known,) = site.builds_folder.glob("*/home/.ssh/known_hosts")
    want = sorted(f"{node['interface_ip']} {key}" for key in node["host_keys"])
    assert want == sorted(known.read_text().splitlines())
    (request,) = site.api("GET", "/requests?job=greet")["items"]
    assert ("acme", [LABEL]) == (request["tenant"], request["labels"])
    assert "post" == request["metadata"]["zuul_pipeline"]

    site.go_on(commit)

    assert ["SUCCESS"] == site.ended(commit)
    site.nothing_left()


def test_a_node_that_shows_another_host_key_is_refused_and_the_job_runs_on_the_next(site):
    """As another machine at its address would: Zuul's ssh goes by the keys that Trellis sent."""
    site.tell_zuul("executor", "pause")
    site.zuul_says("executor", "Pausing")
    commit = site.repositories.push("A changed host key")
    site.wait_for("a node is ready", lambda: site.api("GET", "/nodes?state=ready")["items"])
    node = the_node(site)
    change = "rm /run/node/ssh_host_*; for k in ed25519 ecdsa; do "
    change += 'ssh-keygen -q -t $k -N "" -f /run/node/ssh_host_${k}_key; done; kill -HUP 1; '
    done = site.ssh(
        node, site.known_hosts(node), f"{change} cat /run/node/ssh_host_ed25519_key.pub"
    )
    new = site.known_hosts(node, [done.stdout.strip()])
    site.wait_for(
        "the node lets in whoever knows its new key",
        lambda: site.ssh(node, new, "true").returncode == 0,
    )

    site.tell_zuul("executor", "unpause")

    told = site.told(commit)
    assert node["hostname"] != told["hostname"]
    site.go_on(commit)
    assert ["RETRY", "SUCCESS"] == site.ended(commit)
    assert 1 == site.zuul_log("executor").count("one | UNREACHABLE!")
    site.nothing_left()


def test_a_job_that_is_dequeued_gives_its_node_back(site):
    """In the middle of it: Zuul ends Ansible, and Trellis deletes the node."""
    commit = site.repositories.push("A job to be dequeued")
    site.told(commit)

    site.operate("dequeue", "post", "refs/heads/main")

    site.nothing_left()
    assert "SUCCESS" not in [one["result"] for one in site.builds(commit)]


def test_a_node_of_a_failed_job_is_held_as_long_as_the_autohold_says(site):
    """It is there to be looked at, answers, and is deleted by Trellis when its time is over."""
    site.operate("autohold", "greet", "10")
    commit = site.repositories.push("A job that fails")
    site.told(commit)
    site.go_on(commit, failing=True)

    site.wait_for("a node is held", lambda: site.api("GET", "/nodes?state=hold")["items"])

    node = the_node(site)
    assert 0 == site.ssh(node, site.known_hosts(node), "true").returncode
    assert ["FAILURE"] == site.ended(commit)
    site.nothing_left()


def test_a_node_whose_executor_died_is_deleted(site):
    """When its session in ZooKeeper has ended; Zuul itself misses the build later."""
    commit = site.repositories.push("A job whose executor dies")
    site.told(commit)
    node = the_node(site)
    assert "in-use" == node["state"]

    site.kill_zuul("executor")

    def there():
        return node["id"] in [one["id"] for one in site.api("GET", "/nodes")["items"]]

    site.wait_for("the node is gone", lambda: not there())
    site.operate("dequeue", "post", "refs/heads/main")
    site.nothing_left()
