"""Many seeds, in parallel: each in a process of its own kind, since one seed owns its process."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

from trellis.sim.scenario import Scenario
from trellis.sim.simulate import Outcome, simulate


def hunt(
    scenario: Scenario, *, first_seed: int, seeds: int, workers: int | None = None
) -> Iterator[Outcome]:
    """Run *seeds* seeds from *first_seed* on and give each outcome as it comes.

    Closing the iterator, or an exception such as Ctrl-C at the caller, ends the processes.

    Args:
        scenario: the story they all tell.
        first_seed: the first of them.
        seeds: how many.
        workers: processes at once; None is one a core, 1 is none beside this one.
    """
    count = min(workers or os.cpu_count() or 1, seeds)
    numbers = range(first_seed, first_seed + seeds)
    if count == 1:
        for number in numbers:
            yield simulate(scenario, number)
        return
    # Spawned, not forked: a fork would share the parent's Trio and its random state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_leave_signals) as pool:
        try:
            # Nobody keeps the tasks: each holds its outcome, and of thousands they fill the memory.
            for task in as_completed([pool.submit(simulate, scenario, x) for x in numbers]):
                yield task.result()
                del task
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def _leave_signals() -> None:
    """Leave Ctrl-C to the parent, which ends this process in its turn."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
