"""Imports by download: a served cloud fetches the file itself, as a Glance does."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx
import trio

from trellis.sim.cloud.images import Fetch
from trellis.sim.cloud.spec import CloudSpec
from trellis.sim.cloud.spooled import Spooled
from trellis.sim.serving.incoming import intakes

_PATIENCE_S: Final = 60.0
_log = logging.getLogger(__name__)


class Downloads:
    """Fetches files, each in a task of its own.

    Args:
        nursery: where they run.
        keep_images: folder in which the files are kept; None keeps none.
    """

    def __init__(self, nursery: trio.Nursery, *, keep_images: Path | None) -> None:
        self._nursery = nursery
        self._intake = intakes(keep_images)

    def of(self, spec: CloudSpec) -> Fetch:
        """What fetches for one cloud."""

        def fetch(uri: str, tell: Callable[[Spooled | None], None]) -> None:
            self._nursery.start_soon(self._fetch, spec, uri, tell)

        return fetch

    async def _fetch(
        self, spec: CloudSpec, uri: str, tell: Callable[[Spooled | None], None]
    ) -> None:
        intake = self._intake(spec)
        try:
            async with (
                httpx.AsyncClient(timeout=_PATIENCE_S, trust_env=False) as client,
                client.stream("GET", uri) as answer,
            ):
                answer.raise_for_status()
                async for piece in answer.aiter_bytes():
                    await intake.take(piece)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            _log.warning("the download of %s failed: %s", uri, error)
            intake.give_up()
            tell(None)
        except BaseException:
            intake.give_up()
            raise
        else:
            tell(intake.end())
