"""Small tools of the system, run to their end: mount, loop devices, removal."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

import trio

TOOL_S: Final = 60.0
"""No tool that is run here takes longer, but for what removes files, unless it hangs."""
_SYSTEM_FOLDERS: Final = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def system_path(path: str | None = None) -> str:
    """The search path with the folders of the system's tools, which a service may lack."""
    given = (os.environ.get("PATH", "") if path is None else path).split(":")
    wanted = _SYSTEM_FOLDERS.split(":")
    return ":".join(dict.fromkeys(folder for folder in (*given, *wanted) if folder))


def as_root(*words: str) -> list[str]:
    """The command as root is to run it: as it is, or by sudo, which must not ask."""
    sudo = None if os.geteuid() == 0 else shutil.which("sudo")
    return list(words) if sudo is None else [sudo, "-n", *words]


async def run_tool(words: Sequence[str], *, most_s: float = TOOL_S) -> str:
    """Run a tool and wait for it, so long at most.

    Returns:
        What went wrong, in one line; "" if nothing did. Cancellation ends it.
    """
    environment = {**os.environ, "PATH": system_path(), "LC_ALL": "C"}
    ended: subprocess.CompletedProcess[bytes] | None = None
    try:
        with trio.move_on_after(most_s):
            ended = await trio.run_process(
                words, capture_stdout=True, capture_stderr=True, check=False, env=environment
            )
    except OSError as error:
        return f"{words[0]}: {error.strerror}"
    if ended is None:
        return f"{' '.join(words)}: no end after {most_s:g} s"
    if ended.returncode == 0:
        return ""
    said = (ended.stderr or ended.stdout).decode(errors="replace").split("\n")[0]
    return said or f"{words[0]} ended with {ended.returncode}"
