import logging

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logging_as_before():
    """A command that a test ran in this process has set up logging to a stderr that is no more."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = before
