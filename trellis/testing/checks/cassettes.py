"""Cassettes: what was said with the real cloud, told to the provider again."""

from pathlib import Path
from typing import ClassVar

import pytest

from trellis.spi.registry import ProviderRegistry
from trellis.testing.checks.needs import check
from trellis.testing.recording import cassettes_under, tell_again

_NONE = "no-cassettes"


class CassetteChecks:
    """What a provider asks of its cloud, and how it understands the answers.

    Attributes:
        cassettes: the folder with the plugin's cassettes; those that ``trellis plugin record``
            wrote are told again.
    """

    cassettes: ClassVar[Path | None] = None

    def types(self) -> ProviderRegistry:
        """Where the type is registered."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of each cassette."""
        if "cassette" in metafunc.fixturenames:
            folder = self.cassettes
            found = [] if folder is None or not folder.is_dir() else cassettes_under(folder)
            names = [str(path.relative_to(folder)) for path in found if folder is not None]
            metafunc.parametrize("cassette", found or [None], ids=names or [_NONE])

    @check
    async def test_cassette_is_told_again(self, trial_clock: object, cassette: Path | None) -> None:
        """The provider asks what it asked then and nothing else, and makes something of it."""
        if cassette is None:
            pytest.skip("there are no cassettes that trellis plugin record has written")
        told = await tell_again(cassette, self.types())

        assert told is not None, "it makes nothing of the answers"
