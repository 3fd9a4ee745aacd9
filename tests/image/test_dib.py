"""A real diskimage-builder image, built by the daemon, uploaded, booted, and logged in to.

Takes ten minutes: five to build (two less with a cache), two to four to boot without hardware that
helps. Run by ``make test-dib`` alone. TRELLIS_TEST_DIB_CACHE names a folder that keeps what was
downloaded; the user's cache holds it otherwise.
"""

import json
import os
import time
from pathlib import Path

import pytest

from tests.image.chain import Chain
from tests.image.mini import RUN_DIB, Traces, lacking_dib
from trellis.sim.serving.vms import missing

PYTHON = Path(__file__).parents[2] / ".venv-dib/bin/python"
BUILT_S, BOOTED_S = 1800, 900
CACHE = Path(
    os.environ.get("TRELLIS_TEST_DIB_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trellis-dib"
)


@pytest.fixture
def chain(tmp_path):
    """Clouds with machines and a daemon that builds a Debian; never a skip."""
    faults = missing()[:-1] + lacking_dib()
    if not PYTHON.exists():
        faults.append("there is no diskimage-builder in .venv-dib: run `make test-dib`")
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)
    CACHE.mkdir(parents=True, exist_ok=True)
    command = tmp_path / "build"
    # Packages are kept between runs; the daemon gives each build its own folder for the rest.
    command.write_text(
        "#!/bin/bash\nset -euo pipefail\n"
        f'[ ! -e {CACHE}/kept ] || cp -rn {CACHE}/kept/. "$DIB_IMAGE_CACHE/"\n'
        # The daemon is in the network of the clouds, from which no mirror is reached.
        f'nsenter --net=/proc/{os.getpid()}/ns/net {RUN_DIB} -p ifupdown,isc-dhcp-client "$@"\n'
        f'mkdir -p {CACHE}/kept\ncp "$DIB_IMAGE_CACHE"/debootstrap-*.tar.gz {CACHE}/kept/\n'
    )
    command.chmod(0o755)
    image = {
        "elements": "[debian-minimal, vm, block-device-mbr, cloud-init, openssh-server, growroot]",
        "release": "bookworm", "build_command": command, "username": "debian",
        "env_vars": json.dumps(
            {
                "DIB_PYTHON": str(PYTHON), "DIB_DEBOOTSTRAP_CACHE": "1",
                "DIB_DEBIAN_USE_DEBOOTSTRAP_CACHE": "1",
            }
        ),
    }  # fmt: skip
    prefix = f"tl{os.getpid()}"
    with Chain(tmp_path, prefix, boot_s=BOOTED_S, places=["north"], **image) as made:
        yield made
    assert {} == Traces(tmp_path, prefix).found()


def test_a_real_image_is_built_uploaded_booted_and_logged_in_to(chain, tmp_path):
    """Debian by debootstrap, with GRUB and cloud-init: as operators build theirs."""
    build, began = "mini-0000000001", time.monotonic()

    def ready():
        (shown,) = (one for one in chain.image()["builds"] if one["id"] == build)
        assert shown["state"] != "failed", shown["fault"]
        return shown if shown["state"] == "ready" else None

    chain.wait_for("there is a build", lambda: chain.image()["builds"])
    shown = chain.wait_for("it is built", ready, seconds=BUILT_S)
    sizes = {one["format"]: one["bytes"] for one in shown["artifacts"]}
    print(f"built in {shown['elapsed_s']:.0f} s: {sizes}")
    assert Traces(chain.images, chain.clouds.prefix).found().keys() <= {"namespaces", "folders"}
    (north,) = chain.wait_served(build).values()
    print(f"uploaded {time.monotonic() - began:.0f} s after the beginning: {north['bytes']} bytes")

    began = time.monotonic()
    request = chain.fulfilled_now(chain.request("north"), seconds=BOOTED_S + 60)
    print(f"ready {time.monotonic() - began:.0f} s after the request")
    (node,) = request["nodes"]
    published = {" ".join(key.split()[:2]) for key in node["host_keys"]}
    assert published <= chain.wait_for("its host keys", lambda: chain.keys_on_console(node))
    look = "hostname; sudo id -u; cat /etc/os-release"
    done = chain.ssh(node, chain.known_hosts(node), look, user=node["username"])
    assert 0 == done.returncode, done.stderr
    assert [node["hostname"], "0"] == done.stdout.split("\n")[:2]
    assert "VERSION_CODENAME=bookworm" in done.stdout
    chain.release(request)
    chain.wait_for(
        "no machine is left", lambda: not Traces(tmp_path, chain.clouds.prefix).machines()
    )
