"""What a simulated daemon logs: nothing, but for its bugs, which are for the verdict.

A simulated daemon's whole log would cost more than the daemon.
"""

import logging
from collections.abc import Callable, Container, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

import structlog

from trellis.sim.host import HostFault
from trellis.sim.scenario import Scenario

NO_BUGS: Final = frozenset({"deletion_stuck"})
"""Errors that tell of a cloud's long trouble; but for those a story calls for all are bugs."""


def called_for(scenario: Scenario) -> frozenset[str]:
    """The errors that a daemon which does well logs in this story."""
    found, host = set(NO_BUGS), {trouble.fault for trouble in scenario.host.script}
    if HostFault.STORE_SET_BACK in host:
        found.add("store_is_an_older_copy")
    strange = any(cloud.strangers.never_issued for cloud in scenario.clouds)
    if strange or host & {HostFault.STORE_SET_BACK, HostFault.STORE_MOVED}:
        found.add("sweep_stopped")
    return frozenset(found)


@contextmanager
def heard_by(
    listener: Callable[[str], None], *, no_bugs: Container[str] = NO_BUGS
) -> Iterator[None]:
    """Tell *listener* of every bug that is logged inside the block, and write no log.

    Args:
        no_bugs: errors that it is not told of.
    """
    before = structlog.get_config()

    def tell(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        if event["event"] not in no_bugs:
            said = [f"{key}={value!r}" for key, value in event.items() if key != "event"]
            listener(" ".join([str(event["event"]), *said]))
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, tell],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
