"""Many seeds, in parallel: each in a process of its own kind, since one seed owns its process."""

import logging
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial

import structlog

from trellis.sim.scenario import Scenario
from trellis.sim.simulate import Outcome, simulate

QUIET = logging.CRITICAL
"""A simulated daemon's log would cost more than the daemon."""


def hush() -> None:
    """Log nothing in this process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(QUIET))


def hunt(
    scenario: Scenario, *, first_seed: int, seeds: int, workers: int | None = None
) -> Iterator[Outcome]:
    """Run *seeds* seeds from *first_seed* on and give each outcome as it comes.

    Args:
        scenario: the story they all tell.
        workers: processes at once; None is one a core.
    """
    count = min(workers or os.cpu_count() or 1, seeds)
    numbers = range(first_seed, first_seed + seeds)
    if count == 1:
        hush()
        yield from map(partial(simulate, scenario), numbers)
        return
    # Spawned, not forked: a fork would share the parent's Trio and its random state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=hush) as pool:
        tasks = [pool.submit(simulate, scenario, number) for number in numbers]
        for task in as_completed(tasks):
            yield task.result()
