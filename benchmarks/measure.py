"""What is measured and how: CPU time, memory and kept connections from /proc (proc(5)), load from wrk."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from .contenders import CONNECTIONS

MICROSECONDS_PER_TICK = 1e6 / os.sysconf("SC_CLK_TCK")
WRK_STOP_TIMEOUT = 15.0
CONNECTED = "03"
"""The state of a connected socket in /proc/net/unix."""


@dataclass(slots=True)
class Result:
    """One row of a section: the figures measured, or in `remark` why there are none."""

    name: str
    status: str = "measured"  # or "skipped": something is missing; or "failed": it is there and does not work
    remark: str = ""
    figures: dict[str, float | str] = field(default_factory=dict)
    cpus: list[float] = field(default_factory=list)  # CPU µs a request, round by round; nan where none was answered

    def cpu_over(self, other: Result) -> float:
        """Divide each round's CPU time by that of the round of `other` beside it; return the median, or nan."""
        quotients = [ours / theirs for ours, theirs in zip(self.cpus, other.cpus, strict=True)]
        return median([quotient for quotient in quotients if not math.isnan(quotient)] or [math.nan])


@dataclass(frozen=True, slots=True)
class Load:
    """One run of wrk: requests answered with a success, errors of any kind, and latencies in microseconds."""

    requests: int
    errors: int
    seconds: float
    p50: float
    p99: float


def drive(url: str, *, seconds: float) -> Load:
    """Load `url` by wrk over CONNECTIONS kept connections for `seconds`, which need not be whole."""
    script = Path(__file__).with_name("wrk.lua")
    # wrk takes whole seconds only, but SIGINT makes it stop and report like the end of its time does.
    longest = f"{math.ceil(seconds) + 1}s"
    command = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", longest, "-s", str(script), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
        try:
            output, _ = wrk.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            wrk.send_signal(signal.SIGINT)
            output, _ = wrk.communicate(timeout=WRK_STOP_TIMEOUT)
        finally:
            wrk.kill()
    return Load(**json.loads(output.splitlines()[-1]))


def tree_cpu(root: int) -> float:
    """Return the CPU time, user and system, of process `root` and all its descendants, dead ones included, in µs.

    The kernel counts in ticks, of 10 ms nearly everywhere: a round must be long enough to make that small.
    """
    children: dict[int, list[int]] = defaultdict(list)
    ticks: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended since the glob: its time is now part of its parent's cutime and cstime
        fields = stat.rpartition(")")[2].split()  # the command's name, in parentheses, may contain anything
        pid = int(entry.name)
        children[int(fields[1])].append(pid)
        ticks[pid] = sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    total, tree = 0, [root]
    while tree:
        pid = tree.pop()
        total += ticks.get(pid, 0)
        tree += children[pid]
    return total * MICROSECONDS_PER_TICK


def resident(pid: int) -> dict[str, int]:
    """Return VmRSS and VmHWM (the highest VmRSS since `forget_peak`) of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return {name: int(kib) * 1024 for name, kib in re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", status, re.MULTILINE)}


def forget_peak(pid: int) -> None:
    """Reset VmHWM to the present VmRSS."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def open_connections(path: Path) -> int:
    """Return how many accepted connections to the unix socket `path` are open, idle ones included."""
    rows = (line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    return sum(row[5] == CONNECTED and row[-1] == str(path) for row in rows)
