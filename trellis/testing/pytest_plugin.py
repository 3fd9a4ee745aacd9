"""What pytest gets from an installed Trellis: ``--live``, and fixtures for tests of plugins.

pytest imports this wherever Trellis and pytest are installed together, so it does nothing, and
imports nothing of Trellis, unless ``trellis-ci[testing]`` is there and a fixture is asked for.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trio.testing import MockClock

    from trellis.sim.cloud import CloudSpec, SimCloud
    from trellis.testing.cassette import CassetteTransport
    from trellis.testing.stage import Stage

_NEEDED: Final = ("pytest_trio", "vcr")


def _is_equipped() -> bool:
    """Whether the extra is installed."""
    return all(importlib.util.find_spec(name) is not None for name in _NEEDED)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--live`` and what belongs to it."""
    if _is_equipped():
        from trellis.testing.live import add_options

        add_options(parser)


@pytest.fixture
def trellis_clock(request: pytest.FixtureRequest) -> MockClock | None:
    """Virtual time that jumps over every wait; real time with ``--live``.

    A test takes its clock from its own arguments: name it there.
    """
    _need_the_extra()
    from trio.testing import MockClock

    live = request.config.getoption("--live", default=None)
    return None if live else MockClock(autojump_threshold=0.0)


@pytest.fixture
def trellis_twin() -> Callable[..., SimCloud]:
    """Makes a simulated cloud of a `CloudSpec`, or of a stock one with these changes."""
    _need_the_extra()
    from trellis.sim.cloud import CloudSpec
    from trellis.testing.ways import a_twin

    def make(spec: CloudSpec | None = None, **changes: object) -> SimCloud:
        return a_twin(CloudSpec(name="twin") if spec is None else spec, **changes)

    return make


@pytest.fixture
def trellis_stage(tmp_path: Path) -> Callable[..., Stage]:
    """Makes a `Stage`, with the options of that, in the test's own folder."""
    _need_the_extra()
    from trellis.testing.stage import Stage

    return lambda **options: Stage(tmp_path, **options)


@pytest.fixture
def trellis_cassette(
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[str], CassetteTransport]]:
    """Opens a cassette for replay: ``trellis_cassette("compute/over_quota.yaml")``.

    Looked for in the folder ``cassettes`` beside the test's file, or in one above it. The test
    fails at its end if a recorded exchange was not made, or another one was.
    """
    _need_the_extra()
    from trellis.testing.cassette import CassetteError, CassetteTransport

    opened: list[CassetteTransport] = []

    def open_(name: str) -> CassetteTransport:
        folders = [folder / "cassettes" for folder in request.path.parents]
        found = [folder / name for folder in folders if (folder / name).is_file()]
        if not found:
            beside = ", ".join(str(folder) for folder in folders if folder.is_dir())
            raise CassetteError(f"there is no cassette {name}; looked in: {beside or folders[0]}")
        opened.append(CassetteTransport(found[0]))
        return opened[-1]

    yield open_
    for transport in opened:
        transport.finish()


def _need_the_extra() -> None:
    if not _is_equipped():
        pytest.fail(
            "the fixtures of Trellis need its extra: pip install 'trellis-ci[testing]'",
            pytrace=False,
        )
