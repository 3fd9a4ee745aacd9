"""What a check cannot do without: it is skipped then, and says what is missing."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import trio

from trellis.sim.cloud import SimCloud
from trellis.spi.provider import Capability
from trellis.testing.trial import Trial


def needs(trial: Trial, capability: Capability) -> None:
    """Skip the test if the provider lacks a capability."""
    if capability not in trial.provider.capabilities:
        pytest.skip(f"{trial.config.type} lacks the capability {capability.value}")


def needs_twin(trial: Trial, what: str) -> SimCloud:
    """The simulated cloud behind the provider; skips the test on a real one.

    Args:
        what: that a real cloud does not do when it is asked to.
    """
    if trial.twin is None:
        pytest.skip(f"a live cloud cannot be told to {what}")
    return trial.twin


def _run(function: Callable[..., Any], **how: Any) -> Any:
    """Run a test; a skip inside of it keeps its reason, which pytest-trio drops with the group."""
    try:
        return trio.run(function, **how)
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        if len(leaves) == 1 and isinstance(leaves[0], pytest.skip.Exception):
            raise leaves[0] from None
        raise


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for inner in error.exceptions:
        yield from _leaves(inner)


check: Final = pytest.mark.trio(run=_run)
"""Marks a test of the kit, whether or not the project it runs in has ``trio_mode``."""
