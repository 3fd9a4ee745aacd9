"""The board in memory that the face's tests use."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "web"))

from face_fakes import FakeBoard, FakePort


@pytest.fixture
def board() -> FakeBoard:
    return FakeBoard(FakePort())
