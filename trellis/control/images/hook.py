"""What a site wants to be run after each upload: a command, for at most ten minutes."""

import os
import shlex
import shutil
import tempfile
from collections import deque
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio

from trellis.builders.process import Command, Patience, find_program, run
from trellis.model.image import Upload

log = structlog.get_logger()

MOST_S: Final = 600.0
LAST_LINES: Final = 3
_PATIENCE: Final = Patience(end_s=10.0, output_s=1.0)


async def run_hook(command: str, upload: Upload) -> str:
    """Run a post-upload hook with provider, image id and file as its arguments.

    It is run once: a daemon that ends meanwhile ends it, and the next one does not repeat it.
    How it ends undoes nothing of the upload.

    Returns:
        How it failed, with its last lines; "" if it did not.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        return f"post-upload-hook: {command!r} is no command: {error}"
    program = find_program(words[0], os.environ) if words else None
    if program is None:
        return f"post-upload-hook: there is no program {(words or [''])[0]!r} in PATH"
    arguments = (upload.provider, upload.external_id or "", upload.artifact.path)
    lines = deque[str](maxlen=LAST_LINES)
    make = partial(tempfile.mkdtemp, prefix="trellis-hook-")
    try:
        scratch = Path(await trio.to_thread.run_sync(make))
    except OSError as error:
        return f"post-upload-hook: no folder can be made for it: {error}"
    try:
        with trio.move_on_after(MOST_S) as limit:
            status = await run(
                Command(
                    words=(program, *words[1:], *arguments),
                    environment=os.environ,
                    scratch=scratch,
                ),
                lines.append,
                patience=_PATIENCE,
            )
    except OSError as error:
        return f"post-upload-hook: {program} cannot be started: {error}"
    finally:
        with trio.CancelScope(shield=True):  # local, and empty but for what the hook left
            await trio.to_thread.run_sync(partial(shutil.rmtree, scratch, ignore_errors=True))
    said = f": {' / '.join(lines)}" if lines else ""
    if limit.cancelled_caught:
        return f"post-upload-hook: {program} did not end within {MOST_S / 60:.0f} min{said}"
    if status:
        return f"post-upload-hook: {program} ended with status {status}{said}"
    return ""
