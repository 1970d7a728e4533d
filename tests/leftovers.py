"""What a piece of code leaves behind in this process: threads, descriptors, child processes."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time


class Leftovers:
    """A snapshot of what this process owns; :meth:`wait` tells what has been added since.

    >>> leftovers = Leftovers()
    >>> reader, writer = os.pipe()
    >>> [text.partition(" → ")[0] for text in leftovers.wait(timeout=0)]
    ['descriptor ...', 'descriptor ...']
    >>> os.close(reader), os.close(writer)
    (None, None)
    >>> leftovers.wait()
    []
    """

    def __init__(self) -> None:
        self.before = _owned()

    def wait(self, *, timeout: float = 2.0) -> list[str]:
        """What is left over, a line each; empty as soon as nothing is, at the latest after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while self._found():
            gc.collect()  # an exception's traceback may hold a socket in a cycle; to look for that takes 0.2 s here
            found = self._found()
            if not found or time.monotonic() >= deadline:
                return found
            time.sleep(0.02)
        return []

    def _found(self) -> list[str]:
        return sorted(text for key, text in _owned().items() if key not in self.before)


def _owned() -> dict[tuple[object, ...], str]:
    """All of it, under keys that tell a descriptor, process or thread from a later one with the same number."""
    owned: dict[tuple[object, ...], str] = {}
    for thread in threading.enumerate():
        owned["thread", thread.ident, id(thread)] = f"thread {thread.name}"
    if sys.platform == "linux":
        owned |= _descriptors() | _children()
    return owned


def _descriptors() -> dict[tuple[object, ...], str]:
    found: dict[tuple[object, ...], str] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the descriptor of this very listing
        found["descriptor", name, target] = f"descriptor {name} → {target}"
    return found


def _children() -> dict[tuple[object, ...], str]:
    """Live children and zombies, children of children included, each with its command line and start time."""
    processes: dict[int, tuple[int, str, str]] = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                # pid (comm) state ppid … starttime; comm may hold spaces and parentheses (proc(5)).
                comm, _, rest = file.read().partition("(")[2].rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        fields = rest.split()
        processes[int(name)] = (int(fields[1]), fields[19], f"{comm}, state {fields[0]}")
    found: dict[tuple[object, ...], str] = {}
    parents = {os.getpid()}
    while parents:
        parents = {pid for pid, (parent, _, _) in processes.items() if parent in parents}
        for pid in parents:
            found["process", pid, processes[pid][1]] = f"process {pid} ({processes[pid][2]})"
    return found
