import os
from pathlib import Path

import pytest

from tests.ssh.place import Place
from trellis.sim.serving.namespaces import missing


def pytest_collection_modifyitems(items):
    """All that is here needs root, network namespaces and OpenSSH."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.ssh)


@pytest.fixture(scope="session")
def able():
    """This machine can have namespace nodes; never a skip."""
    if faults := missing():
        pytest.fail("\n".join(faults[:-1]), pytrace=False)


@pytest.fixture(scope="module")
def place(able, tmp_path_factory):
    """Clouds with namespace nodes, and a daemon among them; shared, so leave nothing in it."""
    with Place(tmp_path_factory.mktemp("place"), f"tt{os.getpid()}s") as made:
        yield made


@pytest.fixture
def own_place(able, tmp_path):
    """The same of the test's own, with a spare node."""
    with Place(tmp_path, f"tt{os.getpid()}o", spare=1) as made:
        yield made
