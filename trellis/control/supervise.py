"""Run what has to live long, and start it again when it crashes."""

from collections.abc import Awaitable, Callable

import structlog
import trio

from trellis.errors import StoreFailedError

log = structlog.get_logger()


async def supervise(
    name: str,
    run: Callable[[], Awaitable[None]],
    *,
    on_crash: Callable[[str, Exception], None],
    first_wait_s: float = 1.0,
    max_wait_s: float = 300.0,
) -> None:
    """Run *run* until it returns; restart it after a crash, waiting longer each time.

    One of the few places that catch every error: a bug in one provider's code must not take
    the others with it (P5). The crash is logged with its traceback and told to *on_crash*.
    Cancellation passes through.

    Raises:
        StoreFailedError: nothing can be recorded any more, which ends the daemon (in a group, if
            *run* raised it so).
    """
    wait_s = first_wait_s
    while True:
        started = trio.current_time()
        try:
            return await run()
        except Exception as crash:
            if _is_store_failure(crash):
                raise
            log.error("task_crashed", task=name, restart_in_s=wait_s, exc_info=crash)
            on_crash(name, crash)
        if trio.current_time() - started > max_wait_s:
            wait_s = first_wait_s
        await trio.sleep(wait_s)
        wait_s = min(wait_s * 2, max_wait_s)


def _is_store_failure(crash: Exception) -> bool:
    if isinstance(crash, BaseExceptionGroup):
        return crash.subgroup(StoreFailedError) is not None
    return isinstance(crash, StoreFailedError)
