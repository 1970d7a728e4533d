"""What a process tree costs, as Linux tells it in /proc (proc(5)): CPU time, memory, and how many were started.

* CPU time, user and system, is that of all that live, by their clocks (clock_getcpuclockid(3)), and of all that were
  waited for (cutime, cstime), which is told in ticks of mostly 10 ms.
* Memory is the proportional set size (PSS): a page that n processes share counts 1/n for each, so a sum over forks is
  what they take together.  Pages of Python itself, shared with other models that run, count by their share as well.
* Processes started are counted by the kernel for the whole machine, threads among them (``processes`` in /proc/stat):
  it keeps no such count for a tree, and who looks again and again misses the short ones.  What else the machine starts
  can only add, so the round with the fewest is the one to believe.
"""

from __future__ import annotations

import os
import sys
import time

from gateway.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
_SCHED = 2  # CPUCLOCK_SCHED: the clock of a process, as clock_getcpuclockid() in the C library makes its number


def check_platform() -> None:
    """Raise ConfigError where there is no such /proc."""
    if sys.platform != "linux" or not os.path.exists("/proc/self/smaps_rollup"):
        raise ConfigError("what processes cost is read from Linux's /proc: run this on Linux, in a container or in WSL")


class Tree:
    """A process and its descendants; without a ``pid`` all that we have started ourselves, but for those ``apart``."""

    def __init__(self, pid: int | None, *, apart: Collection[int] = ()) -> None:
        self._pid = pid
        self._apart = apart

    def __repr__(self) -> str:
        return f"<Tree {self.pids()}>"

    def pids(self) -> list[int]:
        """Those that live now."""
        return list(self._stats())

    def cpu(self) -> float:
        """Seconds of CPU time so far."""
        if self._pid is None:
            import resource  # which not every platform has, and os.times() is not as fine

            ours = resource.getrusage(resource.RUSAGE_CHILDREN)
            return ours.ru_utime + ours.ru_stime
        stats = self._stats()
        waited_for = sum(int(fields[13]) + int(fields[14]) for fields in stats.values())
        return sum(map(_clock, stats)) + waited_for / os.sysconf("SC_CLK_TCK")

    def pss(self) -> int:
        """Bytes of memory.  Raises PermissionError where a process is another user's."""
        return sum(map(_pss, self.pids()))

    def _stats(self) -> dict[int, list[str]]:
        """The fields of /proc/PID/stat from the state on, of each process."""
        stats: dict[int, list[str]] = {}
        for name in filter(str.isdecimal, os.listdir("/proc")):
            if text := _read(f"/proc/{name}/stat"):
                stats[int(name)] = text.rpartition(")")[2].split()  # before it is the command's name, with anything
        root = os.getpid() if self._pid is None else self._pid
        found: dict[int, list[str]] = {}
        generation = {root} & stats.keys()
        while generation:
            found.update((pid, stats[pid]) for pid in generation)
            generation = {
                pid for pid, fields in stats.items() if int(fields[1]) in generation and pid not in self._apart
            }
        if self._pid is None:
            del found[root]
        return found


def started() -> int:
    """Processes and threads started since the machine was."""
    return next(int(line.split()[1]) for line in _read("/proc/stat").splitlines() if line.startswith("processes "))


def _clock(pid: int) -> float:
    """CPU seconds of one process, dead threads included; 0 if it has ended, for then its parent tells of it."""
    try:
        return time.clock_gettime((~pid << 3) | _SCHED)
    except OSError:
        return 0.0


def _pss(pid: int) -> int:
    lines = _read(f"/proc/{pid}/smaps_rollup").splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _read(path: str) -> str:
    """A file of /proc, "" if its process has ended."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""
