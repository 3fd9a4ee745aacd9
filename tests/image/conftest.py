from pathlib import Path

import pytest

from tests.image.mini import lacking
from trellis.sim.serving.vms import missing


def pytest_collection_modifyitems(items):
    """All that is here boots or makes images; what takes ten minutes has a mark of its own."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            slow = item.path.name == "test_dib.py"
            item.add_marker(pytest.mark.dib if slow else pytest.mark.image)


@pytest.fixture(scope="session")
def able():
    """This machine can make small images and boot them; never a skip."""
    if faults := missing()[:-1] + lacking():
        pytest.fail("\n".join(faults), pytrace=False)
