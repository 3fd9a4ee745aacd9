"""The machine the bench runs on, and what a process uses of it, as Linux tells in /proc."""

import os
import platform
from pathlib import Path
from typing import Any, Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def machine_facts() -> dict[str, Any]:
    """What a reader must know to compare figures with those of another machine."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_mib": round(os.sysconf("SC_PHYS_PAGES") * _PAGE / 2**20),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_before": os.getloadavg(),
    }


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used so far, in user and kernel mode.

    Raises:
        ProcessLookupError, FileNotFoundError: it is gone.
    """
    # The name stands in parentheses and may hold anything, blanks too.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def busy_s() -> float:
    """Seconds of CPU that all processes together have used since the machine started."""
    first = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, first)
    return (user + nice + system + irq + softirq) / _TICKS


def resident_mib(pid: int) -> float:
    """Memory of a process that is in RAM, in MiB, shared pages included."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20


def peak_mib(pid: int) -> float:
    """The most memory of a process that was in RAM at a time, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"the kernel does not tell the peak of process {pid}")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
