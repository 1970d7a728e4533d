"""How a run of a program comes to its end: the time it has, what tells that it is over, and what ends it."""

from __future__ import annotations

import math
import os
import signal
import time

from gateway.script.faults import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.limits import Limits
    from gateway.script.execution import Process

KILL_AFTER = 1.0
"""Seconds from SIGTERM to SIGKILL.  Apache: 3."""

EXIT_WITHIN = 0.5
"""Seconds for which the end of a response waits to learn how the program ended."""


class Clock:
    """How long a program may go on: ``timeout`` seconds without moving anything, ``request_timeout`` in all."""

    __slots__ = ("_limit", "_moved_at", "_over_at", "_timeout")

    def __init__(self, *, timeout: float, limits: Limits) -> None:
        self._timeout = timeout
        self._moved_at = time.monotonic()
        self._limit = limits.request_timeout
        self._over_at = self._moved_at + (self._limit or math.inf)

    def moved(self) -> None:
        """Something moved, or the program is not to blame that nothing does."""
        self._moved_at = time.monotonic()

    def left(self) -> float:
        """Seconds until its time is over, if nothing moves."""
        return min(self._moved_at + (self._timeout or math.inf), self._over_at) - time.monotonic()

    def overdue(self, *, wanted: bool) -> str:
        """Why its time is over, "" if it is not; ``wanted`` tells whether anybody reads its output."""
        now = time.monotonic()
        if self._timeout and now >= self._moved_at + self._timeout:
            done = "neither took input nor gave output" if wanted else "wrote what nobody reads"
            return f"timed out: it {done} for {self._timeout} s: find out what it waits for, or pass a longer timeout="
        if now >= self._over_at:
            what = f"it ran longer than limit request_timeout={self._limit:g}"
            return f"timed out: {what}: make it quicker, or raise that"
        return ""


class Group:
    """A program that was started, with all that it has started."""

    __slots__ = ("_owner", "_process")

    def __init__(self, process: Process) -> None:
        self._process = process
        self._owner = os.getpid()

    def signal(self, number: int) -> None:
        """Send them a signal, if they are a process group at all."""
        if self._process.pid:
            try:
                os.killpg(self._process.pid, number)  # nobody else gets this number while the group has members
            except (ProcessLookupError, PermissionError):
                pass  # there is nobody left, or the program has become another user's

    def terminate(self) -> None:
        """Ask them to end, from any thread, and wait for nothing; not if a fork of us is who asks."""
        if self._process.returncode is None and self._owner == os.getpid():
            self.signal(signal.SIGTERM)

    def complain(self, path: str) -> None:
        """Neither SIGTERM nor SIGKILL has ended the program at ``path``."""
        log().error(
            "%s: process %d cannot be ended: it runs as another user, or hangs in the system; look at it with ps",
            path, self._process.pid,
        )  # fmt: skip


def open_exit(process: Process) -> int:
    """A descriptor that becomes readable when a process ends, the caller's to close; -1 if there is none."""
    try:
        tells = getattr(process, "fileno", None)
        return os.dup(tells()) if tells else os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        return -1  # then one looks again and again
