import os
import subprocess
from pathlib import Path

import pytest

from tests.real.project import throwaway_project

REALCLOUD = Path(__file__).parents[1] / "realcloud"
STATE = Path(os.environ.get("REALCLOUD_STATE", "/var/tmp/realcloud"))


def pytest_collection_modifyitems(items):
    """All that is here needs the real cloud."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)
            # openstacksdk warns of its own internals at every turn.
            for kind in ("DeprecationWarning", "PendingDeprecationWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{kind}"))


@pytest.fixture(scope="session")
def real_clouds_yaml():
    """The clouds.yaml of the real OpenStack, which is brought up if it is not; never a skip."""
    clouds = STATE / "clouds.yaml"
    running = subprocess.run([REALCLOUD / "status"], capture_output=True, check=False)
    if running.returncode or not clouds.exists():
        up = subprocess.run([REALCLOUD / "up"], capture_output=True, text=True, check=False)
        if up.returncode:
            tail = "\n".join((up.stdout + up.stderr).splitlines()[-25:])
            pytest.fail(f"the real cloud does not come up; run {REALCLOUD}/up\n{tail}", False)
    before = os.environ.get("OS_CLIENT_CONFIG_FILE")
    os.environ["OS_CLIENT_CONFIG_FILE"] = str(clouds)
    yield clouds
    if before is None:
        del os.environ["OS_CLIENT_CONFIG_FILE"]
    else:
        os.environ["OS_CLIENT_CONFIG_FILE"] = before


@pytest.fixture
def project(real_clouds_yaml, tmp_path):
    """A project of the test's own on the real cloud."""
    with throwaway_project(tmp_path) as made:
        yield made
