"""What a simulated daemon logs: nothing, but for its bugs, which are for the verdict.

A simulated daemon's whole log would cost more than the daemon.
"""

import logging
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

import structlog

OF_THE_CLOUD: Final = frozenset({"deletion_stuck"})
"""Errors that tell of a cloud's long trouble; every other one is a bug of ours."""


@contextmanager
def heard_by(listener: Callable[[str], None]) -> Iterator[None]:
    """Tell *listener* of every bug that is logged inside the block, and write no log."""
    before = structlog.get_config()

    def tell(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        if event["event"] not in OF_THE_CLOUD:
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
