"""What holds for every test of the repository."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Let Ctrl-C work in what the tests start.

    A shell starts what it puts in the background with SIGINT ignored, and a program hands that on
    to all that it starts: a test that sends Ctrl-C would then wait for ever.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
