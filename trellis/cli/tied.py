"""A command of trellis as a child process that does not outlive its parent.

Run as ``python -m trellis.cli.tied COMMAND…`` with a pipe as stdin. It imports what the command
needs, and begins once it has read a byte; when the pipe closes, because the parent has ended in
whatever way, it ends too. The kernel's own signal upon a parent's death is of no use here: it
comes when the *thread* that started the child ends.
"""

import importlib
import os
import signal
import sys
import threading
import time
from typing import Final

_GRACE_S: Final = 5.0
_NEEDS: Final = {"serve": "trellis.daemon", "cloud": "trellis.sim.serving.process"}
_STDIN: Final = 0


def main() -> None:
    """Import, wait for the word, run the command."""
    told = threading.Event()
    threading.Thread(target=_listen, args=(told,), daemon=True).start()
    # The longest part of a start, which needs nothing that others must first have made.
    if (needed := _NEEDS.get(sys.argv[1])) is not None:
        importlib.import_module(needed)
    trellis = importlib.import_module("trellis.cli.main")
    told.wait()
    trellis.main(sys.argv[1:], prog_name="trellis")


def _listen(told: threading.Event) -> None:
    if not os.read(_STDIN, 1):
        os._exit(1)
    told.set()
    while os.read(_STDIN, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(1)


if __name__ == "__main__":
    main()
